"""What the controller's tests share."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING, Any

import pytest

from tests.unit.deploy.checkout import PIECES, Checkout, lay_out

if TYPE_CHECKING:
    from pathlib import Path


@pytest.fixture
def checkout(tmp_path: Path) -> Checkout:
    """A small checkout of its own for every test: real inventory, real playbooks, real Ansible, no Docker."""
    return lay_out(tmp_path / "checkout")


@pytest.fixture(scope="session")
def recorded() -> list[dict[str, Any]]:
    """A real run: `a` rescues a failure and is done, `b` fails, `c` is never tried, `d` is unreachable."""
    lines = (PIECES / "recorded" / "one_of_four_fails.jsonl").read_text("utf-8").splitlines()
    return [json.loads(line) for line in lines]
