"""A trader's desk: one database, a destination, and applications between them."""

from __future__ import annotations

import asyncio
import json
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any
from uuid import UUID

from tests.api.trading.receiver import WAIT_SECONDS

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable
    from pathlib import Path

    import asyncpg

    from tests.api.conftest import AppServer
    from tests.api.trading.receiver import Receiver

FINAL = ("rejected", "forwarded", "failed", "expired")
# Settings of a pool: signals that a test inserts get their orders by the trigger, as from a version before.
BY_TRIGGER = {"trading_signals.writes_orders": "off"}
# Whatever was committed, the newest order of each signal is what a version before means by the signal's row.
_DIFFERENT_ORDERS = """
    SELECT v.*, o.status AS found, o.claim_id AS found_claim_id, o.attempts AS found_attempts
    FROM orders_of_signals v
    FULL JOIN (
        SELECT DISTINCT ON (signal_id) * FROM orders ORDER BY signal_id, round DESC) AS o USING (signal_id)
    WHERE to_jsonb(o) ->> 'is_shared' IS DISTINCT FROM 'true'  -- where it is there already
      AND (v.round, v.seq, v.type, v.ticker, v.status, v.attempts, v.expires_at, v.not_before, v.claim_id,
           v.lease_until, v.intent, v.quantity, v.quantity_unit, v.sentiment, v.ended_at IS NULL)
        IS DISTINCT FROM (o.round, o.seq, o.type, o.ticker, o.status, o.attempts, o.expires_at, o.not_before,
                          o.claim_id, o.lease_until, o.intent, o.quantity, o.quantity_unit, o.sentiment,
                          o.ended_at IS NULL)
"""


async def assert_orders_match(database: asyncpg.Pool[asyncpg.Record]) -> None:
    """Compare orders and signals in one snapshot; applications may run meanwhile."""
    assert [dict(row) for row in await database.fetch(_DIFFERENT_ORDERS)] == []


@dataclass(slots=True)
class Desk:
    """Configure, open an application, send alerts, and look at what became of them."""

    start_app: Callable[..., Awaitable[AppServer]]
    receiver: Receiver
    folder: Path
    database: asyncpg.Pool[asyncpg.Record]

    def configure(self, name: str, **document: Any) -> None:
        """Write `config/<name>_config.json`; an application reads it when it is opened."""
        (self.folder / f"{name}_config.json").write_text(json.dumps(document))

    def watch(self, url: str, **strategy: Any) -> None:
        """Make `url` the active strategy's source."""
        self.configure(
            "finviz", allow_other_hosts=True, strategies=[{"name": "desk", "url": url, **strategy}]
        )

    async def open(self, *, live: bool = True, **settings: Any) -> AppServer:
        """Start an application, without limits unless a keyword says otherwise."""
        settings = {"dest_webhook_rate_limiting_enabled": False, **settings}
        if live:
            settings["dest_webhook_url"] = self.receiver.url
        return await self.start_app(**settings)

    async def send(self, app: AppServer, ticker: str, side: str, **fields: Any) -> UUID:
        """Post an alert and return its signal's id; a number of its own keeps it from being a duplicate."""
        number = await self.database.fetchval("SELECT count(*) FROM signals")
        return await self.post(app, {"ticker": ticker, "side": side, "number": number, **fields})

    async def post(self, app: AppServer, alert: dict[str, Any]) -> UUID:
        """Post an alert as it is and return its signal's id."""
        async with app.http.post("/webhook/in", json=alert) as answer:
            accepted = await answer.json()
            assert answer.status == 202, accepted
            return UUID(accepted["signal_id"])

    async def order(self, app: AppServer, path: str, expected: int = 200, /, **body: Any) -> Any:
        """Post to `/admin/<path>` as a person; return the answer, whose status is expected."""
        headers = {"Authorization": f"Bearer {app.context.settings.admin_token}"}
        async with app.http.post(f"/admin/{path}", json=body, headers=headers) as answer:
            said = await answer.json()
            assert answer.status == expected, said
            return said

    async def signal(self, signal_id: UUID) -> asyncpg.Record:
        """Return the signal's current row."""
        row = await self.database.fetchrow("SELECT * FROM signals WHERE id = $1", signal_id)
        assert row is not None
        return row

    async def until(self, app: AppServer, signal_id: UUID, *statuses: str) -> asyncpg.Record:
        """Wait until the signal is in one of the statuses (any final one by default) and return its row."""
        found: list[asyncpg.Record] = []

        async def there() -> bool:
            found[:] = [await self.signal(signal_id)]
            return found[0]["status"] in (statuses or FINAL)

        await self.wait(app, there, lambda: f"{signal_id} is {dict(found[0])}")
        return found[0]

    async def settled(self, app: AppServer) -> None:
        """Wait until no signal is unfinished."""

        async def there() -> bool:
            query = "SELECT count(*) FROM signals WHERE NOT status = ANY ($1)"
            return bool(await self.database.fetchval(query, FINAL) == 0)

        await self.wait(app, there, lambda: "signals are left unfinished")

    async def wait(
        self, app: AppServer, there: Callable[[], Awaitable[bool]], why: Callable[[], str]
    ) -> None:
        """Wait for a condition, checked at each wake-up of the application."""
        try:
            async with asyncio.timeout(WAIT_SECONDS):
                while not await there():
                    await app.context.wakeups.wait("changed", 0.2)
        except TimeoutError:
            raise AssertionError(why()) from None

    async def story(self, signal_id: UUID) -> list[str]:
        """Return the statuses the signal went through."""
        rows = await self.database.fetch(
            "SELECT status FROM signal_events WHERE signal_id = $1 ORDER BY id", signal_id
        )
        return [row["status"] for row in rows]

    async def attempts(self, signal_id: UUID) -> list[asyncpg.Record]:
        """Return the signal's delivery attempts, in order."""
        rows: list[asyncpg.Record] = await self.database.fetch(
            "SELECT * FROM attempts WHERE signal_id = $1 ORDER BY id", signal_id
        )
        return rows

    async def open_positions(self) -> dict[str, int]:
        """Return how many delivered buys each open position counts, unconfirmed ones excluded."""
        rows = await self.database.fetch(
            "SELECT ticker, buys FROM positions WHERE status = 'open' AND buys > 0"
        )
        return {row["ticker"]: row["buys"] for row in rows}

    async def is_circuit_open(self) -> bool:
        """Return whether the destination's circuit is open."""
        query = "SELECT count(*) FROM destinations WHERE probe_at IS NOT NULL"
        return bool(await self.database.fetchval(query))

    async def has_ended_attempt(self, signal_id: UUID) -> bool:
        """Return whether an attempt of the signal has ended."""
        return any(attempt["ended_at"] for attempt in await self.attempts(signal_id))
