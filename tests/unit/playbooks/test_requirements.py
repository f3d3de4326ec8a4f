"""The collection that comes with the Python package `ansible` lies in the range that requirements.yml names."""

from __future__ import annotations

import importlib.util
import json
from pathlib import Path

import yaml
from packaging.specifiers import SpecifierSet

ROOT = Path(__file__).parents[3]


def test_the_bundled_collections_are_in_range() -> None:
    spec = importlib.util.find_spec("ansible_collections")
    assert spec is not None
    assert spec.submodule_search_locations
    bundled = Path(next(iter(spec.submodule_search_locations)))
    wanted = yaml.safe_load((ROOT / "requirements.yml").read_text(encoding="utf-8"))["collections"]
    assert wanted
    for collection in wanted:
        manifest = bundled.joinpath(*collection["name"].split("."), "MANIFEST.json")
        version = json.loads(manifest.read_text(encoding="utf-8"))["collection_info"]["version"]
        assert version in SpecifierSet(collection["version"]), f"{collection['name']} {version}"
