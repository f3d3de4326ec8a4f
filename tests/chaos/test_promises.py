"""With a killed process nothing is lost, nothing is delivered twice and no limit is exceeded."""

from __future__ import annotations

import asyncio
import random
from typing import TYPE_CHECKING

import pytest
import requests

from tests.chaos.judge import TICKERS, judge
from tests.hosts.destination import Destination
from tests.hosts.load import Sent, alert, stream
from tests.hosts.stack import APP

if TYPE_CHECKING:
    from collections.abc import Callable

    from tests.hosts.stack import Stack

pytestmark = pytest.mark.minutes(4)

RATE = 200.0
SECONDS = 30.0
KILLS = 3
PER_MINUTE = 60
LIMITED = f"{Destination.url}/limited"  # another destination has its own ledger


def _kill_app(stack: Stack) -> None:
    """End the application's process by its host pid, as a crash does: the engine restarts it."""
    stack.host.run(f"kill -KILL {stack.app_process()}").require()


async def _serving(stack: Stack) -> None:
    """Wait until the application answers again."""
    async with asyncio.timeout(60):
        while True:
            try:
                await asyncio.to_thread(stack.health)
            except requests.RequestException:
                await asyncio.sleep(0.1)  # no event reports when a port opens
            else:
                return


def test_never_more_than_sixty_deliveries_in_any_minute(
    stack: Stack, destination: Destination, deliver: Callable[..., None]
) -> None:
    """With the limits as they are by default: over a window's end, and across a killed process."""
    deliver(url=LIMITED)
    already = len(destination.received())
    for number in range(2 * PER_MINUTE):
        assert stack.post(alert(number, TICKERS)).status_code == 202
    destination.received(count=already + PER_MINUTE // 2, timeout=60)
    _kill_app(stack)

    # The window must be seen to move on: some deliveries of the second minute have to arrive.
    arrived = [got.at for got in destination.received(count=already + PER_MINUTE + 5, timeout=180)[already:]]
    assert len(arrived) >= PER_MINUTE + 5
    closest = min(later - earlier for earlier, later in zip(arrived, arrived[PER_MINUTE:], strict=False))
    assert closest >= 60


def test_no_accepted_signal_is_lost_when_the_process_is_killed_again_and_again(
    stack: Stack, destination: Destination, deliver: Callable[..., None]
) -> None:
    """200 alerts a second over 50 tickers for 30 s, and a `kill -9` at random moments."""
    deliver(rate_limiting_enabled=False, timeout=1)  # a short time-out makes short leases
    before = stack.containers()[APP]
    moments = [random.uniform(0, 2) for _ in range(KILLS)]

    async def kill() -> None:
        for moment in moments:
            await asyncio.sleep(moment)
            await asyncio.to_thread(_kill_app, stack)
            await _serving(stack)

    sent: Sent = asyncio.run(
        stream(
            stack.webhook_url,
            stack.secret,
            tickers=TICKERS,
            rate=RATE,
            seconds=SECONDS,
            midway=kill,
            first=1_000_000,
        )
    )
    # The load was real, and the app restarted and accepted alerts again. Meanwhile the edge held
    # them, or answered 503.
    assert stack.containers()[APP] != before
    assert sent.unanswered == set(), f"killed after {moments}"
    assert {refusal.status for refusal in sent.refused.values()} <= {503}, f"killed after {moments}"
    assert all(refusal.retry_after for refusal in sent.refused.values())
    assert stack.post(alert(999_999, TICKERS)).status_code == 202
    assert len(sent.accepted) > RATE * SECONDS / 3
    signals = judge(stack, destination, sent.accepted, within=300)
    forwarded = sum(signals[id_].status == "forwarded" for id_ in sent.accepted.values())
    assert forwarded > len(sent.accepted) / 2, f"killed after {moments}"
