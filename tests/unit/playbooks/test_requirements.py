"""What the playbooks need is the same in requirements.yml, execution-environment.yml and pyproject.toml."""

from __future__ import annotations

import importlib.util
import json
import re
import tomllib
from importlib.resources import files
from pathlib import Path

import jsonschema
import yaml  # type: ignore[import-untyped]
from packaging.specifiers import SpecifierSet

ROOT = Path(__file__).parents[3]


ENVIRONMENT = yaml.safe_load((ROOT / "execution-environment.yml").read_text("utf-8"))


def test_the_execution_environment_is_one_of_ansible_builder() -> None:
    schema = files("ansiblelint.schemas").joinpath("execution-environment.json").read_text("utf-8")
    jsonschema.validate(ENVIRONMENT, json.loads(schema))
    assert ENVIRONMENT["version"] == 3


def test_the_execution_environment_has_what_the_controller_has() -> None:
    needs = ENVIRONMENT["dependencies"]
    listed = [needs["ansible_core"]["package_pip"], needs["ansible_runner"]["package_pip"], *needs["python"]]
    groups = tomllib.loads((ROOT / "pyproject.toml").read_text("utf-8"))["dependency-groups"]
    assert sorted(listed) == sorted(groups["deploy"])


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
