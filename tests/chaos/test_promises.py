"""Promises of SPEC §18 under load and with a killed process: nothing lost, nothing twice, no limit broken."""

from __future__ import annotations

import asyncio
import json
from typing import TYPE_CHECKING

import pytest

from tests.hosts.destination import Delivery, Destination
from tests.hosts.load import Sent, alert, stream
from tests.hosts.stack import APP, FINAL

if TYPE_CHECKING:
    from collections.abc import Sequence

    from tests.hosts.stack import Stack

TICKERS = [f"T{number:02}" for number in range(50)]
RATE = 200.0
SECONDS = 30.0
PER_MINUTE = 60
EARLIER = 1_000_000  # alerts of the first test are numbered from here, those of the second from 0


@pytest.fixture(scope="module")
def destination(stack: Stack) -> Destination:
    """A receiver outside the stack, set as the stack's destination; all fifty tickers are approved."""
    receiver = Destination(stack.host)
    stack.approve(*TICKERS)
    stack.configure(DEST_WEBHOOK_URL=Destination.url)
    stack.run_py("--quick").require()
    return receiver


def _kill_app(stack: Stack) -> None:
    """End the application's process by its host pid, as a crash does: the engine brings it back by itself."""
    stack.host.run(f"kill -KILL {stack.app_process()}").require()


def _numbers_of(deliveries: Sequence[Delivery]) -> dict[int, set[str]]:
    """The webhook ids under which each alert arrived, by its number."""
    ids: dict[int, set[str]] = {}
    for delivery in deliveries:
        ids.setdefault(json.loads(delivery.body)["n"], set()).add(delivery.headers["webhook-id"])
    return ids


def test_never_more_than_sixty_deliveries_in_any_minute(stack: Stack, destination: Destination) -> None:
    """With the limits as they are by default: over a window's end, and across a killed process."""
    for number in range(2 * PER_MINUTE):
        assert stack.post(alert(EARLIER + number, TICKERS)).status_code == 202
    destination.received(count=PER_MINUTE // 2, timeout=60)
    _kill_app(stack)

    # The window must be seen to move on: some deliveries of the second minute have to arrive.
    arrived = [delivery.at for delivery in destination.received(count=PER_MINUTE + 5, timeout=180)]
    assert len(arrived) >= PER_MINUTE + 5
    closest = min(later - earlier for earlier, later in zip(arrived, arrived[PER_MINUTE:], strict=False))
    assert closest >= 60


def test_no_accepted_signal_is_lost_when_the_process_is_killed(
    stack: Stack, destination: Destination
) -> None:
    """200 alerts a second over 50 tickers for 30 s, and one `kill -9` in the middle."""
    stack.configure(DEST_WEBHOOK_RATE_LIMITING_ENABLED="false")
    stack.run_py("--quick").require()
    before = stack.containers()[APP]

    async def kill() -> None:
        await asyncio.to_thread(_kill_app, stack)

    sent: Sent = asyncio.run(
        stream(
            stack.webhook_url,
            stack.secret,
            tickers=TICKERS,
            rate=RATE,
            seconds=SECONDS,
            midway=kill,
        )
    )
    # The load was real, the kill was felt, and the app came back by itself and took alerts again.
    assert stack.containers()[APP] != before
    assert sent.unanswered > 0
    assert max(sent.accepted) > RATE * SECONDS - RATE
    assert len(sent.accepted) > RATE * SECONDS / 2

    stack.wait_until(f"NOT EXISTS (SELECT FROM signals WHERE status NOT IN {FINAL})", within=300)
    rows = stack.sql("SELECT id, status FROM signals")
    outcomes = {signal_id: status for signal_id, status in rows}  # noqa: C416 - rows are lists
    assert [
        number for number, signal_id in sent.accepted.items() if outcomes.get(signal_id) not in FINAL
    ] == []

    arrived = _numbers_of(destination.received())
    assert {number: ids for number, ids in arrived.items() if len(ids) > 1} == {}
    delivered = {signal_id for ids in arrived.values() for signal_id in ids}
    assert {signal_id for signal_id, status in rows if status == "forwarded"} - delivered == set()
    assert len(delivered) > len(sent.accepted) / 2
