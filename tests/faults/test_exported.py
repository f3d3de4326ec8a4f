"""`make faults`: forty exported variables, each alone and those of a kind together, change no flow."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest

from tests.controller import exported
from tests.hosts.exports import FLOWS, PREFIX, THEIRS, Outcome, lay_out, outcome

if TYPE_CHECKING:
    from tests.hosts.stack import Stack

KINDS = exported.by_kind(THEIRS, PREFIX)
ALONE = [{name: value} for found in KINDS.values() for name, value in found.items()]


@pytest.fixture(scope="module")
def plain(stack: Stack) -> dict[str, Outcome]:
    """Run the flows without any of the variables, and return their outcomes."""
    stack.settled_health()
    assert lay_out(stack.host) == KINDS
    return {flow: outcome(stack, flow, {})[0] for flow in FLOWS}


@pytest.mark.parametrize("variables", [*ALONE, *KINDS.values()], ids=[*map(", ".join, ALONE), *KINDS])
def test_it_has_no_effect(stack: Stack, plain: dict[str, Outcome], variables: dict[str, str]) -> None:
    """Exit code, document and messages are those without it; a setting of the stack is named."""
    containers = stack.containers()
    for flow in FLOWS:
        found, named = outcome(stack, flow, variables)
        assert found == plain[flow]
        assert named == (set() if flow == "--status-only" else KINDS["stack"].keys() & variables.keys())
    assert stack.containers() == containers


def test_there_are_forty() -> None:
    assert len(ALONE) == 40
