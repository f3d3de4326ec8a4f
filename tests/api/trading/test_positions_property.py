"""Positions follow the outcomes, in whatever order they are recorded, once or twice."""

from __future__ import annotations

import asyncio
import json
from decimal import Decimal
from typing import TYPE_CHECKING, NamedTuple
from uuid import uuid4

import asyncpg
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from app.orders import repository
from app.orders.outcomes import Success, record_successes, record_unknown
from app.signals.book import OrderTerms, Position, apply, realized_by_close
from app.signals.reading import ENTRIES, Intent, Quantity, Sentiment, Unit
from app.signals.reasons import Reason, ReasonCode
from app.signals.statuses import Outcome, Status

if TYPE_CHECKING:
    from random import Random
    from uuid import UUID

TEN, FIVE, HALF = Quantity(Decimal(10)), Quantity(Decimal(5)), Quantity(Decimal(50), Unit.PERCENT)
TERMS = [
    OrderTerms(Intent.OPEN, TEN, price=Decimal("10.5")),
    OrderTerms(Intent.OPEN),
    OrderTerms(Intent.ADD, FIVE, price=Decimal(13)),
    OrderTerms(Intent.REDUCE, FIVE, Sentiment.LONG, price=Decimal(12)),
    OrderTerms(Intent.REDUCE, HALF),
    OrderTerms(Intent.CLOSE, price=Decimal(11)),
    OrderTerms(Intent.ADJUST),
]
# ticker, terms, and the outcome of each of its attempts
ORDERS = st.lists(
    st.tuples(
        st.sampled_from(["AAPL", "NVDA"]),
        st.sampled_from(TERMS),
        st.lists(st.sampled_from(["delivered", "refused", "unknown"]), min_size=1, max_size=3),
    ),
    max_size=12,
)


class Attempt(NamedTuple):
    """One attempt whose outcome is not recorded yet. `is_alone`: its claim saw the position as it is now."""

    signal: UUID
    ticker: str
    terms: OrderTerms
    claim: UUID
    attempt: int
    outcome: str
    is_alone: bool


@settings(max_examples=60, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(orders=ORDERS, shuffle=st.randoms(use_true_random=False))
def test_positions_follow_the_outcomes(
    database_url: str, orders: list[tuple[str, OrderTerms, list[str]]], shuffle: Random
) -> None:
    asyncio.run(_play(database_url, orders, shuffle))


async def _play(url: str, orders: list[tuple[str, OrderTerms, list[str]]], shuffle: Random) -> None:
    connection = await asyncpg.connect(url)
    await connection.set_type_codec("jsonb", schema="pg_catalog", encoder=json.dumps, decoder=json.loads)
    try:
        await connection.execute("TRUNCATE signals, positions CASCADE")
        known = [attempt for order in orders for attempt in await _send(connection, *order, shuffle)]
        shuffle.shuffle(known)
        books: dict[str, Position] = {}
        buys: dict[str, int] = {}
        gains: list[Decimal | None] = []
        delivered: set[UUID] = set()
        for attempt in known:
            await _record(connection, attempt)
            if attempt.signal not in delivered:
                before = books.pop(attempt.ticker, None)
                after = apply(attempt.terms, Outcome(attempt.outcome), before)
                if after is not None:
                    books[attempt.ticker] = after
                if attempt.outcome == "delivered":
                    delivered.add(attempt.signal)
                    buys[attempt.ticker] = buys.get(attempt.ticker, 0) + (attempt.terms.intent in ENTRIES)
                if after is None and before is not None:
                    gains.append(realized_by_close(attempt.terms, before))
                if after is None:
                    buys.pop(attempt.ticker, None)
            rows = await connection.fetch("SELECT * FROM positions WHERE status = 'open'")
            assert {
                row["ticker"]: Position(
                    row["quantity"], row["confirmed"], row["average_price"], row["realized"]
                )
                for row in rows
            } == books
            assert {row["ticker"]: row["buys"] for row in rows} == {
                ticker: buys.get(ticker, 0) for ticker in books
            }
        forwarded = await connection.fetch("SELECT id FROM signals WHERE status = 'forwarded'")
        assert {row["id"] for row in forwarded} == delivered
        closed = await connection.fetch(
            "SELECT realized FROM positions WHERE status = 'closed' ORDER BY closed_at"
        )
        assert [row["realized"] for row in closed] == gains
    finally:
        await connection.close()


async def _send(
    connection: asyncpg.Connection[asyncpg.Record],
    ticker: str,
    terms: OrderTerms,
    outcomes: list[str],
    chance: Random,
) -> list[Attempt]:
    """Claim a signal anew for each attempt, as after expired leases."""
    signal, sent = uuid4(), []
    await connection.execute(
        """INSERT INTO signals (id, status, type, ticker, expires_at, body)
           VALUES ($1, 'forwarding', $2, $3, now() + interval '1 hour', '{}')""",
        *(signal, "buy" if terms.intent in ENTRIES else "sell", ticker),
    )
    for number, outcome in enumerate(outcomes, start=1):
        claim = uuid4()
        await connection.execute("UPDATE signals SET claim_id = $2 WHERE id = $1", signal, claim)
        attempt = await connection.fetchval(
            """INSERT INTO attempts (signal_id, round, number, destination, webhook_id, claim_id)
               VALUES ($1, 1, $2, 'test', $3, $4) RETURNING id""",
            *(signal, number, str(signal), claim),
        )
        is_alone = chance.random() < 0.5
        sent.append(Attempt(signal, ticker, terms, claim, attempt, outcome, is_alone))
    return sent


async def _record(connection: asyncpg.Connection[asyncpg.Record], attempt: Attempt) -> None:
    """Write the outcome with the statements that the senders use."""
    if attempt.outcome == "delivered":
        held = None
        if attempt.is_alone:
            held = await repository.lock_position(connection, ticker=attempt.ticker, destination="default")
        success = Success(
            *(attempt.attempt, attempt.signal, attempt.ticker, 200, b""), terms=attempt.terms, held=held
        )
        await record_successes(connection, [success])
        return
    change = await repository.record_undelivered(
        connection,
        attempt=attempt.attempt,
        signal=attempt.signal,
        claim_id=attempt.claim,
        outcome=Outcome(attempt.outcome),
        error=Reason(ReasonCode.NO_ANSWER, seconds="3"),
        status=Status.FAILED,
        reason=Reason(ReasonCode.UNKNOWN_FINAL, what="x"),
        retry_in_seconds=None,
    )
    if change.is_unclear:
        await record_unknown(
            connection,
            signal=attempt.signal,
            ticker=attempt.ticker,
            destination="default",
            terms=attempt.terms,
        )
