"""What the controller's unit tests share."""

from __future__ import annotations

import json
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest

from tests.controller.checkout import lay_out

if TYPE_CHECKING:
    from tests.controller.checkout import Checkout


@pytest.fixture
def checkout(tmp_path: Path) -> Checkout:
    """Create a checkout with an inventory."""
    return lay_out(tmp_path / "checkout")


@pytest.fixture(scope="session")
def recorded() -> list[dict[str, Any]]:
    """A real run: `a` rescues a failure and is done, `b` fails, `c` is never tried, `d` is unreachable."""
    lines = (Path(__file__).parent / "recorded" / "one_of_four_fails.jsonl").read_text("utf-8").splitlines()
    return [json.loads(line) for line in lines]
