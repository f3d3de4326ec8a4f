"""`make bench` works: one measurement of the real application, in seconds."""

from __future__ import annotations

import subprocess
import sys
from typing import TYPE_CHECKING

from benchmarks.application import CHECKOUT
from benchmarks.report import RESULTS, Run

if TYPE_CHECKING:
    from tests.hosts.engine import Engine


def test_a_quick_measurement_counts_the_statements_of_a_signals_life(engine: Engine) -> None:  # noqa: ARG001
    """The application, its database, a destination and a sender of alerts, all as processes of their own."""
    command = [sys.executable, "-m", "benchmarks", "--quick", "--only", "usage.statements"]
    subprocess.run(command, cwd=CHECKOUT, check=True, timeout=300)
    folder = RESULTS / "scratch"
    run = Run.read(folder)
    assert run is not None
    assert list(run.results) == ["usage.statements"]
    assert 1 < run.results["usage.statements"].figure < 20
    assert "statements per signal" in (folder / "table.md").read_text("utf-8")
    assert "statements per signal" in (folder / "picture.svg").read_text("utf-8")
