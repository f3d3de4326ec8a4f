"""In a stream, orders of some milliseconds share a claim and a commit; a single one waits for none."""

from __future__ import annotations

import asyncio
from typing import TYPE_CHECKING, Any

import pytest
import pytest_asyncio

from app.orders import outbox as outboxes
from app.orders import outcomes, repository
from app.orders.outbox import Outbox
from app.orders.outcomes import Success, Successes
from tests.api.trading.processes import close_process, open_process

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Callable

    from app.context import AppContext
    from app.orders.repository import Delivery
    from app.settings import Settings
    from tests.api.trading.desk import Desk
    from tests.api.trading.receiver import Received

_APPROVED = """
    INSERT INTO signals (id, status, type, ticker, expires_at, body)
    SELECT gen_random_uuid(), 'approved', $1, ticker, now() + interval '1 hour', '{}'
    FROM unnest($2::text[]) WITH ORDINALITY AS wanted (ticker, number) ORDER BY number
"""
# A success of a buy is written, and not yet visible to others.
_WAITING_COMMIT = """
    CREATE FUNCTION wait() RETURNS trigger LANGUAGE plpgsql AS $$
    BEGIN PERFORM pg_advisory_xact_lock(1); RETURN NEW; END $$;
    CREATE TRIGGER wait BEFORE INSERT ON orders
    FOR EACH ROW WHEN (NEW.status = 'delivered' AND NEW.type = 'buy') EXECUTE FUNCTION wait()
"""
_IS_WAITING = "SELECT EXISTS (SELECT FROM pg_locks WHERE locktype = 'advisory' AND NOT granted)"
# A turn of the event loop for each step that a task takes without waiting for anything.
_TURNS = 5


@pytest_asyncio.fixture
async def process(make_settings: Callable[..., Settings]) -> AsyncIterator[AppContext]:
    """One with two senders that delivers on paper."""
    context = await open_process(
        make_settings(dest_webhook_rate_limiting_enabled=False, forwarding_workers=2), {}
    )
    yield context
    await close_process(context)


@pytest.fixture
def long_intervals(monkeypatch: pytest.MonkeyPatch) -> None:
    """Let a stream be any orders within a minute."""
    monkeypatch.setattr(outboxes, "_CLAIM_INTERVAL_SECONDS", 60.0)
    monkeypatch.setattr(outcomes, "_COMMIT_INTERVAL_SECONDS", 60.0)


def counted(monkeypatch: pytest.MonkeyPatch, name: str, of: str = "") -> list[int]:
    """Return a list that gets the size of argument `of`, or 1, at each call of a repository's function."""
    real, counts = getattr(repository, name), list[int]()

    async def call(*arguments: Any, **named: Any) -> Any:
        result = await real(*arguments, **named)
        counts.append(len(named[of]) if of else 1)
        return result

    monkeypatch.setattr(repository, name, call)
    return counts


async def claim_all(process: AppContext, *tickers: str) -> list[Success]:
    """Approve buys, claim them, and return their deliveries' successes."""
    outbox = Outbox(process)
    await process.pool.execute(_APPROVED, "buy", tickers)
    await outbox.claim(len(tickers))
    return [success_of(await next_of(outbox)) for _ in tickers]


async def next_of(outbox: Outbox) -> Delivery:
    """Return the next delivery."""
    delivery = await outbox.next()
    assert delivery is not None
    return delivery


def success_of(delivery: Delivery) -> Success:
    """Return what a 200 to it stores."""
    assert delivery.terms is not None
    attempt = (delivery.attempt, delivery.id, delivery.ticker, 200, b"")
    return Success(*attempt, terms=delivery.terms, held=delivery.held)


@pytest.mark.parametrize(
    ("due", "wanted", "rows", "has_more"),
    [(0, 1, 0, False), (1, 2, 1, False), (2, 2, 2, False), (3, 2, 2, True), (3, 1, 1, True)],
)
async def test_a_claim_says_whether_to_look_again(
    process: AppContext, due: int, wanted: int, rows: int, *, has_more: bool
) -> None:
    await process.pool.execute(_APPROVED, "buy", [f"T{number}" for number in range(due)])
    result = await Outbox(process).claim(wanted)
    assert (result.rows, result.has_more) == (rows, has_more)


@pytest.mark.parametrize(("per_minute", "expected"), [(1, 1), (2, 2), (3, 2), (100, 5)])
async def test_with_limits_it_looks_again_while_tokens_are_left(
    make_settings: Callable[..., Settings], per_minute: int, expected: int
) -> None:
    """Two exits and three buys; one token is reserved for exits."""
    limits = {"max_req_per_min": per_minute, "max_req_per_hour": 100, "exit_reserve": {"per_min": 1}}
    context = await open_process(make_settings(dest_webhook_rate_limiting_enabled=True), limits)
    try:
        await context.pool.execute("INSERT INTO positions (ticker) VALUES ('S1'), ('S2')")
        await context.pool.execute(_APPROVED, "buy", ["B1", "B2", "B3"])
        await context.pool.execute(_APPROVED, "sell", ["S1", "S2"])
        outbox = Outbox(context)
        result = await outbox.claim(2)
        assert result.has_more
        rows = result.rows
        while (result := await outbox.claim(2)).rows:
            rows += result.rows
        assert not result.has_more
        assert rows == expected
        assert (result.entry_wait_seconds > 0) == (expected < 5)
    finally:
        await close_process(context)


async def test_what_is_approved_while_a_success_is_committed_leaves_after_it(
    desk: Desk, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The claim in between still sees the order before it as being sent; no poll helps."""
    monkeypatch.setattr(outboxes, "POLL_SECONDS", 3600.0)
    looks = counted(monkeypatch, "find_due")
    app = await desk.open()
    await desk.database.execute(_WAITING_COMMIT)
    async with desk.database.acquire() as other:
        await other.execute("SELECT pg_advisory_lock(1)")
        await desk.send(app, "AAPL", "buy")
        await desk.wait(app, lambda: other.fetchval(_IS_WAITING), lambda: "the success is not written")
        before = len(looks)
        sell = await desk.send(app, "AAPL", "sell")
        await desk.until(app, sell, "approved")

        async def looked() -> bool:
            return len(looks) > before

        await desk.wait(app, looked, lambda: "nothing was looked for")
        await other.execute("SELECT pg_advisory_unlock(1)")
    await desk.until(app, sell, "forwarded")


@pytest.mark.usefixtures("long_intervals")
async def test_a_claim_in_a_stream_waits_for_the_other_sender(
    process: AppContext, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The first order is claimed at once; the two that follow it, once both senders are idle."""
    outbox = Outbox(process)
    process.is_configured = True
    claims = counted(monkeypatch, "claim", "verdicts")
    await process.pool.execute(_APPROVED, "buy", ["T1"])
    process.supervisor.start("outbox", lambda: outbox.run("outbox"))
    try:
        async with asyncio.timeout(10):
            busy, idle = (asyncio.create_task(next_of(outbox)) for _ in range(2))
            done, _ = await asyncio.wait({busy, idle}, return_when=asyncio.FIRST_COMPLETED)
            (first,) = done
            await process.pool.execute(_APPROVED, "buy", ["T2", "T3"])
            process.wakeups.notify("approved")
            for _ in range(_TURNS):
                await asyncio.sleep(0)
            assert claims == [1]
            await asyncio.gather(*{busy, idle} - {first}, next_of(outbox))
    finally:
        await process.supervisor.stop(5.0)
    assert claims == [1, 2]


@pytest.mark.usefixtures("long_intervals")
async def test_a_commit_in_a_stream_waits_for_the_request_that_is_being_sent(
    process: AppContext, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The first success is committed at once; the two that follow it, together."""
    commits = counted(monkeypatch, "record_delivered", "orders")
    one, two, three = await claim_all(process, "T1", "T2", "T3")
    successes = Successes(process.pool)
    async with asyncio.timeout(10):
        with successes.request():
            await successes.write(one)
            waiting = asyncio.create_task(successes.write(two))
            for _ in range(_TURNS):
                await asyncio.sleep(0)
            assert commits == [1]
        await asyncio.gather(waiting, successes.write(three))
    assert commits == [1, 2]
    delivered = "SELECT count(*) FROM orders WHERE status = 'delivered'"
    assert await process.pool.fetchval(delivered) == 3


async def test_no_order_waits_for_a_destination_that_hangs(desk: Desk) -> None:
    """While one of two senders waits for its answer, a stream passes by the other, exits too."""
    let_go = asyncio.Event()

    async def answer(received: Received) -> Any:
        if b'"HANGS"' in received.body:
            await let_go.wait()
        return await take_of(received)

    take_of = desk.receiver.answer
    desk.receiver.answer = answer
    desk.watch(f"list:HANGS,{','.join(f'T{number}' for number in range(10))}", top_n=11)
    app = await desk.open(forwarding_workers=2)
    hanging = await desk.send(app, "HANGS", "buy")
    buys = [await desk.send(app, f"T{number}", "buy") for number in range(10)]
    for buy in buys:
        await desk.until(app, buy, "forwarded")
    await desk.until(app, await desk.send(app, "T9", "sell"), "forwarded")
    assert (await desk.signal(hanging))["status"] == "forwarding"
    let_go.set()
    await desk.until(app, hanging, "forwarded")
    await desk.settled(app)
    assert await desk.database.fetchval("SELECT count(*) FROM attempts WHERE outcome = 'delivered'") == 12
