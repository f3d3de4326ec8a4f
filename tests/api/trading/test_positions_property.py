"""Positions follow the outcomes, in whatever order they are recorded, once or twice."""

from __future__ import annotations

import asyncio
import json
from typing import TYPE_CHECKING, NamedTuple
from uuid import uuid4

import asyncpg
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from app.orders import repository
from app.orders.outcomes import Success, record_successes
from app.signals.book import effect_of
from app.signals.reading import Intent
from app.signals.reasons import Reason, ReasonCode
from app.signals.statuses import Outcome, Status

if TYPE_CHECKING:
    from random import Random
    from uuid import UUID

# ticker, side, and the outcome of each of its attempts
ORDERS = st.lists(
    st.tuples(
        st.sampled_from(["AAPL", "NVDA"]),
        st.sampled_from(["buy", "sell"]),
        st.lists(st.sampled_from(["delivered", "refused", "unknown"]), min_size=1, max_size=3),
    ),
    max_size=12,
)


class Attempt(NamedTuple):
    """One attempt whose outcome is not recorded yet."""

    signal: UUID
    ticker: str
    side: str
    claim: UUID
    attempt: int
    outcome: str


@settings(max_examples=40, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(orders=ORDERS, shuffle=st.randoms(use_true_random=False))
def test_positions_follow_the_successes(
    database_url: str, orders: list[tuple[str, str, list[str]]], shuffle: Random
) -> None:
    asyncio.run(_play(database_url, orders, shuffle))


async def _play(url: str, orders: list[tuple[str, str, list[str]]], shuffle: Random) -> None:
    connection = await asyncpg.connect(url)
    await connection.set_type_codec("jsonb", schema="pg_catalog", encoder=json.dumps, decoder=json.loads)
    try:
        await connection.execute("TRUNCATE signals, positions CASCADE")
        known = [attempt for order in orders for attempt in await _send(connection, *order)]
        shuffle.shuffle(known)
        buys: dict[str, int] = {}
        confirmed: dict[str, bool] = {}
        delivered: set[UUID] = set()
        for attempt in known:
            await _record(connection, attempt)
            if attempt.outcome == "delivered" and attempt.signal not in delivered:
                delivered.add(attempt.signal)
                if attempt.side == "buy":
                    buys[attempt.ticker] = buys.get(attempt.ticker, 0) + 1
                    confirmed[attempt.ticker] = True
                else:
                    buys.pop(attempt.ticker, None)
                    confirmed.pop(attempt.ticker, None)
            elif attempt.outcome == "unknown" and attempt.signal not in delivered:
                if attempt.side == "sell" and attempt.ticker in buys:
                    confirmed[attempt.ticker] = False
                elif attempt.side == "buy" and attempt.ticker not in buys:
                    buys[attempt.ticker], confirmed[attempt.ticker] = 0, False
            rows = await connection.fetch(
                "SELECT ticker, buys, confirmed FROM positions WHERE status = 'open'"
            )
            assert len(rows) == len(buys)
            assert {row["ticker"]: row["buys"] for row in rows} == buys
            assert {row["ticker"]: row["confirmed"] for row in rows} == confirmed
        forwarded = await connection.fetch("SELECT id FROM signals WHERE status = 'forwarded'")
        assert {row["id"] for row in forwarded} == delivered
    finally:
        await connection.close()


async def _send(
    connection: asyncpg.Connection[asyncpg.Record], ticker: str, side: str, outcomes: list[str]
) -> list[Attempt]:
    """A signal on its way, claimed anew for each attempt, as after leases that ran out."""
    signal, sent = uuid4(), []
    await connection.execute(
        """INSERT INTO signals (id, status, type, ticker, expires_at, body)
           VALUES ($1, 'forwarding', $2, $3, now() + interval '1 hour', '{}')""",
        *(signal, side, ticker),
    )
    for number, outcome in enumerate(outcomes, start=1):
        claim = uuid4()
        await connection.execute("UPDATE signals SET claim_id = $2 WHERE id = $1", signal, claim)
        attempt = await connection.fetchval(
            """INSERT INTO attempts (signal_id, round, number, destination, webhook_id, claim_id)
               VALUES ($1, 1, $2, 'test', $3, $4) RETURNING id""",
            *(signal, number, str(signal), claim),
        )
        sent.append(Attempt(signal, ticker, side, claim, attempt, outcome))
    return sent


async def _record(connection: asyncpg.Connection[asyncpg.Record], attempt: Attempt) -> None:
    """Write the outcome with the statements that the senders use."""
    if attempt.outcome == "delivered":
        effect = effect_of(attempt.side, Intent.CLOSE, close_on_partial=True)
        await record_successes(
            connection, [Success(attempt.attempt, attempt.signal, attempt.ticker, 200, b"", effect)]
        )
    else:
        await repository.record_undelivered(
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
