"""Under load: the database is unavailable or full, the destination answers wrongly, a process dies."""

from __future__ import annotations

import asyncio
import time
from collections import Counter
from contextlib import contextmanager
from typing import TYPE_CHECKING

import pytest

from tests.chaos.judge import TICKERS, judge
from tests.hosts.load import Sent, alert, send_again, stream
from tests.hosts.stack import APP, DATABASE

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

    from tests.hosts.destination import Destination
    from tests.hosts.stack import Stack

pytestmark = pytest.mark.minutes(4)

RATE = 40.0
ANSWER_SECONDS = 3.0  # TradingView's time limit
RECOVERY_SECONDS = 10.0
FAST = {"rate_limiting_enabled": False, "timeout": 3, "retry_seconds": [0.5, 1, 2]}
VOLUME = "/var/lib/docker/volumes/trading-signal-processor_postgres_data/_data"

# One answer of each invalid kind, among valid ones.
LIES = ["500", "429", "302", "hang", "close", "huge", "nul", "503", "400", "close"]
ANSWERS = [answer for lie in LIES for answer in ("200", "200", "200", lie)]


@pytest.fixture(autouse=True)
def fast(deliver: Callable[..., None]) -> None:
    """Deliver without limits; retries come soon."""
    deliver(**FAST)


def _run(stack: Stack, first: int, seconds: float, calamity: Callable[[], None]) -> Sent:
    """Send a stream of alerts, with a failure in its middle."""

    async def midway() -> None:
        await asyncio.to_thread(calamity)

    return asyncio.run(
        stream(
            stack.webhook_url,
            stack.secret,
            tickers=TICKERS,
            rate=RATE,
            seconds=seconds,
            midway=midway,
            first=first,
        )
    )


def _require_recovery(stack: Stack, number: int) -> None:
    """Assert that an alert is accepted and delivered again, soon enough."""
    started = time.monotonic()
    while True:
        answer = stack.post(alert(number, TICKERS))
        if answer.status_code == 202:
            break
        assert time.monotonic() - started < RECOVERY_SECONDS, answer.text
    stack.outcome(answer.json()["signal_id"], within=RECOVERY_SECONDS)
    assert time.monotonic() - started < RECOVERY_SECONDS


def _require_clear_refusals(sent: Sent) -> None:
    """Assert that some alerts were refused, in time and with Retry-After."""
    assert sent.unanswered == set()
    assert {refusal.status for refusal in sent.refused.values()} == {503}
    assert all(refusal.retry_after for refusal in sent.refused.values())
    assert max(refusal.seconds for refusal in sent.refused.values()) < ANSWER_SECONDS


def test_the_running_app_reconnects_after_a_restart_or_crash_of_the_database(
    stack: Stack, destination: Destination
) -> None:
    app = stack.containers()[APP]

    def restart() -> None:
        stack.host.run(f"docker restart {DATABASE}").require()
        _require_recovery(stack, 2_900_000)
        stack.host.run(f"docker kill {DATABASE} && sleep 3 && docker start {DATABASE}").require()
        _require_recovery(stack, 2_900_001)

    sent = _run(stack, 2_000_000, 14, restart)
    _require_clear_refusals(sent)
    assert stack.containers()[APP] == app
    judge(stack, destination, sent.accepted, within=60)


def test_what_a_paused_database_commits_after_its_503_is_processed_once(
    stack: Stack, destination: Destination
) -> None:
    def pause() -> None:
        stack.host.run(f"docker pause {DATABASE} && sleep 4 && docker unpause {DATABASE}").require()
        _require_recovery(stack, 3_900_000)

    sent = _run(stack, 3_000_000, 10, pause)
    _require_clear_refusals(sent)
    stored = {
        int(number) for (number,) in stack.sql("SELECT convert_from(body, 'UTF8')::json ->> 'n' FROM signals")
    }
    assert sent.refused.keys() & stored, "nothing was committed after its 503: this showed nothing"
    # as TradingView does: the same body again, without a header, until it is answered
    again = asyncio.run(send_again(stack.webhook_url, stack.secret, sent.refused, tickers=TICKERS))
    assert again.accepted.keys() == sent.refused.keys()
    judge(stack, destination, {**sent.accepted, **again.accepted}, within=60)


@contextmanager
def _small_disk(stack: Stack) -> Iterator[None]:
    """Put the database's files on their own disk with little space."""
    elsewhere = f"{VOLUME}.aside"
    move = "docker stop {db} && {there} && docker start {db}"
    onto = (
        f"cp -a {VOLUME} {elsewhere} && size=$(($(du -sm {VOLUME} | cut -f1) + 48))m"
        f" && mount -t tmpfs -o size=$size none {VOLUME}"
        f" && cp -a {elsewhere}/. {VOLUME} && chown --reference={elsewhere} {VOLUME}"
        f" && chmod --reference={elsewhere} {VOLUME} && rm -r {elsewhere}"
    )
    back = f"cp -a {VOLUME} {elsewhere} && umount {VOLUME} && rm -r {VOLUME} && mv {elsewhere} {VOLUME}"
    stack.host.run(move.format(db=DATABASE, there=onto)).require()
    try:
        yield
    finally:
        stack.host.run(move.format(db=DATABASE, there=back)).require()


def test_a_full_disk_causes_refusals_and_nothing_else(stack: Stack, destination: Destination) -> None:
    app = stack.containers()[APP]

    def fill() -> None:
        stack.host.run(f"cat /dev/zero > {VOLUME}/fill")  # ends when the disk is full
        full.append(stack.host.run(f"df --output=avail {VOLUME} | tail -1").stdout.strip())
        time.sleep(6)  # the failure itself
        stack.host.run(f"rm {VOLUME}/fill").require()
        _require_recovery(stack, 4_900_000)

    full: list[str] = []
    with _small_disk(stack):
        _require_recovery(stack, 4_900_001)
        sent = _run(stack, 4_000_000, 12, fill)
        signals = judge(stack, destination, sent.accepted, within=60)
    assert full == ["0"]
    _require_clear_refusals(sent)
    assert stack.containers()[APP] == app
    assert Counter(signal.status for signal in signals.values())["forwarded"] > len(sent.accepted) / 3
    _require_recovery(stack, 4_900_002)


@pytest.mark.exhaustive
def test_open_attempts_of_a_killed_second_process_get_their_outcome(
    stack: Stack, destination: Destination, deliver: Callable[..., None]
) -> None:
    deliver(**{**FAST, "timeout": 10})  # long enough for every request to be sent before one times out
    compose = "docker compose run --detach --no-deps -T --name second trading-signal-processor"
    stack.host.run(compose, folder=stack.project).require()
    ready = "until docker logs second 2>&1 | grep -q 'Uvicorn running'; do sleep 0.1; done"
    stack.host.run(ready, timeout=60).require()
    already = len(destination.received())
    destination.answers("hang")
    accepted = {}
    for number in range(5_000_000, 5_000_048, 2):  # even ones are buys
        accepted[number] = stack.post(alert(number, TICKERS)).json()["signal_id"]
    # eight senders in each process, and all of them wait for an answer
    assert len(destination.received(count=already + 16, timeout=30)) == already + 16
    kill = "kill -KILL $(docker inspect --format '{{.State.Pid}}' second) && docker rm --force second"
    stack.host.run(kill).require()
    destination.answers("200")
    signals = judge(stack, destination, accepted, within=60)
    ended = Counter((signals[id_].status, signals[id_].orphaned) for id_ in accepted.values())
    assert ended == {("failed", 1): 8, ("failed", 0): 8, ("forwarded", 0): 8}


def test_a_destination_that_answers_wrongly_and_is_unavailable_for_a_minute_gets_everything_once(
    stack: Stack, destination: Destination
) -> None:
    already = len(destination.received())
    destination.answers(*ANSWERS)
    sent = _run(stack, 6_000_000, 8, lambda: None)
    assert len(sent.accepted) == 8 * RATE
    answered = {
        got.answer for got in destination.received(count=already + 2 * len(ANSWERS), timeout=120)[already:]
    }
    assert answered == set(ANSWERS)

    destination.answers("200")
    destination.away(60)
    late = asyncio.run(
        send_again(stack.webhook_url, stack.secret, range(6_500_000, 6_500_030), tickers=TICKERS)
    )
    assert len(late.accepted) == 30
    destination.until_back(within=90)
    signals = judge(stack, destination, {**sent.accepted, **late.accepted}, within=200)
    # it was unavailable for less than an alert's maximum age, so nothing that came meanwhile expired
    buys = [signals[id_] for id_ in late.accepted.values() if signals[id_].type == "buy"]
    assert {signal.status for signal in buys} == {"forwarded"}
