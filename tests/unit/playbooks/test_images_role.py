"""Whether the role `images` may make a missing base image on a machine."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
from ansible.parsing.dataloader import DataLoader
from ansible.template import Templar

VARIABLES = Path(__file__).parents[3] / "roles" / "images" / "vars" / "main.yml"
MADE = ["python", "missing", "trading-signal-processor/base-python:current"]


@pytest.mark.parametrize("build_here", [False, True])
@pytest.mark.parametrize(
    ("machine", "why"),
    [
        ({"os": "debian", "codename": "bookworm"}, ""),
        ({"os": "debian", "codename": "trixie"}, ""),
        ({"os": "debian", "codename": "bullseye"}, "only Debian 12 and 13"),
        ({"os": "ubuntu", "codename": "noble"}, "only Debian 12 and 13"),
    ],
)
def test_debian_makes_them_from_its_packages(machine: dict[str, Any], why: str, *, build_here: bool) -> None:
    """What counts is the machine that builds: the host, or with `build_on: controller` this one."""
    loader = DataLoader()
    elsewhere = {"os": "darwin", "codename": ""}
    variables = {
        **loader.load_from_file(str(VARIABLES), trusted_as_template=True),
        "images_missing": MADE,
        "images_from": "auto",
        "images_postgres_kind": "",
        "build_here": build_here,
        "images_docker": elsewhere if build_here else machine,
        "images_builder_found": machine if build_here else elsewhere,
    }
    found = Templar(loader, variables).template(variables["images_obstacle"])
    assert why in found
    assert bool(found) == bool(why)
