"""The collections of the Python package `ansible` are within the ranges of requirements.yml."""

from __future__ import annotations

import importlib.util
import json
import re
from pathlib import Path

from packaging.specifiers import SpecifierSet

ROOT = Path(__file__).parents[3]


def test_the_bundled_collections_are_in_range() -> None:
    spec = importlib.util.find_spec("ansible_collections")
    assert spec is not None
    assert spec.submodule_search_locations
    bundled = Path(next(iter(spec.submodule_search_locations)))
    lines = (ROOT / "requirements.yml").read_text(encoding="utf-8")
    wanted = re.findall(r'- name: (\S+)\n\s+version: "(.+)"', lines)
    assert wanted
    for name, versions in wanted:
        manifest = bundled.joinpath(*name.split("."), "MANIFEST.json")
        version = json.loads(manifest.read_text(encoding="utf-8"))["collection_info"]["version"]
        assert version in SpecifierSet(versions), f"{name} {version}"
