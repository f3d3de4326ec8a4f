"""A stopped stack of another checkout is taken over with --adopt, with all of its rows."""

from __future__ import annotations

from typing import TYPE_CHECKING

from tests.hosts.checkout import SOURCE
from tests.hosts.stack import APP, DATABASE, Stack

if TYPE_CHECKING:
    from tests.hosts.stack import Container

MARK = "SELECT count(*) FROM signals"


def test_a_stopped_stack_of_another_checkout_is_adopted(stack: Stack) -> None:
    """Exit 3 without --adopt, 0 with it; the containers are recreated, the volume is the same."""
    answer = stack.post(b'{"ticker": "NVDA", "action": "buy"}')
    stack.outcome(answer.json()["signal_id"])
    before: dict[str, Container] = stack.containers()
    rows = stack.sql(MARK)
    stack.host.run(f"docker stop {APP} {DATABASE}").require()

    second = Stack(stack.host, "/opt/second-checkout")
    stack.host.run(f"git clone --quiet {SOURCE} {second.project}").require()
    refused = second.run_py("--quick")
    assert refused.code == 3
    assert "--adopt" in refused.output
    second.run_py("--quick", "--adopt").require()
    assert second.sql(MARK) == rows
    assert not {one.id for one in before.values()} & {one.id for one in second.containers().values()}
    second.run_py("--quick").require()
