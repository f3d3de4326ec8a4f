"""The pace at which waiting signals are counted."""

from __future__ import annotations

import pytest

from app.ops.queue_sampling import pause_seconds
from app.runtime.supervisor import SILENT_AFTER_SECONDS


@pytest.mark.parametrize(("cost", "pause"), [(0.001, 1.0), (0.2, 4.0), (0.5, 10.0), (9.5, 10.0)])
def test_the_pause_grows_with_the_cost_of_a_count_and_stays_below_the_supervisor_limit(
    cost: float, pause: float
) -> None:
    """A count that waited for a lock is slow once; it does not predict the next one."""
    assert pause_seconds(cost) == pause < SILENT_AFTER_SECONDS
