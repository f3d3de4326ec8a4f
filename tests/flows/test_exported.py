"""What an operator has exported for other programs has no effect on a host. `make faults` has each alone."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest

from tests.hosts.exports import FLOWS, lay_out, outcome

if TYPE_CHECKING:
    from tests.hosts.stack import Stack


@pytest.mark.exhaustive
def test_forty_exported_variables_change_nothing(stack: Stack) -> None:
    """Exit code, document and messages are the same, nothing hangs, settings of the stack are named."""
    stack.settled_health()
    kinds = lay_out(stack.host)
    together = {name: value for found in kinds.values() for name, value in found.items()}
    assert len(together) == 40
    containers = stack.containers()
    for flow in FLOWS:
        plain, nothing = outcome(stack, flow, {})
        assert (plain.code, nothing) == (0, set())
        found, named = outcome(stack, flow, together)
        assert found == plain
        assert named == (set() if flow == "--status-only" else set(kinds["stack"]))
    assert stack.containers() == containers
