"""What-if in a process of its own: its memory does not depend on how many signals are recorded."""

from __future__ import annotations

import pytest

from benchmarks.application import Application
from benchmarks.groups.what_if import run
from benchmarks.recorded import DEPTH, TOP_N, store_week

SIGNALS = 20_000  # forty pages, and as many differences as are listed eight times over
MOST_MEGABYTES = 12.0  # a page of both kinds of rows, and the differences that are listed


@pytest.mark.parametrize("a_batch", [1, pytest.param(40, marks=pytest.mark.exhaustive)])
def test_many_signals_are_compared_in_bounded_memory(database_url: str, a_batch: int) -> None:
    store_week(database_url, SIGNALS, a_batch)
    with Application(database_url) as application:
        found, _, memory = run(application, top_n=DEPTH)
    assert found["reproduced"] == found["decisions"] == SIGNALS
    assert found["then"]["approved"] == SIGNALS * TOP_N / DEPTH
    assert found["now"]["approved"] == SIGNALS
    assert found["newly_approved"] == SIGNALS - SIGNALS * TOP_N / DEPTH
    assert len(found["differences"]) == 500
    assert memory < MOST_MEGABYTES
