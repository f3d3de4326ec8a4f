"""`make faults`: every closed terminal of the table, on a real host."""

from __future__ import annotations

from dataclasses import asdict
from typing import TYPE_CHECKING

import pytest

from tests.faults.judging import carry_out
from tests.faults.table import CLOSED, Row

if TYPE_CHECKING:
    from collections.abc import Callable

    from tests.faults.bench import Bench


@pytest.mark.parametrize("row", CLOSED, ids=lambda row: row.name)
def test_nothing_is_lost(bench: Bench, record_property: Callable[[str, object], None], row: Row) -> None:
    """Exit code and messages are right, the reported version serves, nothing that must survive is lost."""
    outcome, said = carry_out(bench, row)
    record_property("row", asdict(outcome))
    assert not outcome.problems, f"{outcome.problems}\n{said}"
