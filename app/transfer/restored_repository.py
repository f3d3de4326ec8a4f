"""The statements of `restored.sql` as typed functions, for `restored.py`."""

from collections.abc import Sequence
from typing import NamedTuple

import asyncpg

from app.db.pool import Connection
from app.db.queries import fetch_one, load

_SQL = load("app.transfer", "restored")
_Rows = Sequence[asyncpg.Record]
_OF_ATTEMPTS = (
    *("signal_id", "round", "number", "destination", "webhook_id", "claim_id", "started_at", "ended_at"),
    *("outcome", "http_status", "error", "response"),
)
_OF_ENDED = ("signal_id", "claim_id", "ended_at", "outcome", "http_status", "error", "response")


class Carried(NamedTuple):
    """What a restored database gets of the current one; `switches` is JSON, or None."""

    attempts: _Rows
    signals: _Rows
    orders: _Rows
    destinations: _Rows
    switches: str | None


class Held(NamedTuple):
    """How many signals were not final in the restored database."""

    buys: int
    others: int


class Contents(NamedTuple):
    """How many signals and open positions a database has."""

    signals: int
    open: int


async def read_carried(current: Connection) -> Carried:
    """Read what has to be carried over, as of one moment."""
    async with current.transaction(isolation="repeatable_read", readonly=True):
        attempts = await current.fetch(_SQL["current_attempts"])
        ids = {row["signal_id"] for row in attempts}
        return Carried(
            attempts=attempts,
            signals=await current.fetch(_SQL["current_signals"], ids),
            orders=await current.fetch(_SQL["current_orders"], ids)
            if await _has_destinations(current)
            else (),
            destinations=await current.fetch(_SQL["current_destinations"]),
            switches=await current.fetchval(_SQL["current_switches"])
            if await _has_configuration(current)
            else None,
        )


async def carry_over(restored: Connection, carried: Carried) -> None:
    """Insert what is missing, and end every attempt. The caller holds a transaction."""
    has_destinations = await _has_destinations(restored)
    if carried.signals:
        added = await restored.fetch(_SQL["carry_signals"], *_columns(carried.signals))
        new = {row["id"] for row in added}
        orders = [row for row in carried.orders if row["signal_id"] in new]
        if orders and has_destinations:
            await restored.execute(_SQL["forget_orders"], {row["signal_id"] for row in orders})
            await restored.execute(_SQL["carry_orders"], *_columns(orders))
    if carried.attempts:
        await restored.execute(_SQL["end_carried_attempts"], *_named(carried.attempts, _OF_ENDED))
        await restored.execute(_SQL["carry_attempts"], *_named(carried.attempts, _OF_ATTEMPTS))
        if has_destinations:
            names = _named(carried.attempts, ("signal_id", "claim_id", "sent_to"))
            await restored.execute(_SQL["name_destinations"], *names)
    await restored.execute(_SQL["end_open_attempts"])
    # Also without a hold: a dump that lacks the table is refused.
    await restored.execute(_SQL["forget_destinations"], [row["destination"] for row in carried.destinations])
    if carried.destinations:
        await restored.execute(_SQL["carry_destinations"], *_columns(carried.destinations))


async def expire_unfinished(restored: Connection) -> Held:
    """End each signal and order that is not final: nothing old is sent. The caller holds a transaction."""
    held = Held(*await fetch_one(restored, _SQL["expire_unfinished"]))
    if await restored.fetchval(_SQL["has_orders"]):
        await restored.execute(_SQL["expire_orders"])
    return held


async def pause_delivery(restored: Connection, *, switches: str | None) -> None:
    """Pause delivery in the configuration's revision, where there is one. The caller holds a transaction."""
    if await _has_configuration(restored):
        await restored.execute(_SQL["record_pause"])
        await restored.execute(_SQL["pause_delivery"], switches)


async def count_contents(restored: Connection) -> Contents:
    """Return how much there is."""
    return Contents(*await fetch_one(restored, _SQL["contents"]))


async def _has_configuration(database: Connection) -> bool:
    found: bool = await database.fetchval(_SQL["has_configuration"])
    return found


async def _has_destinations(database: Connection) -> bool:
    found: bool = await database.fetchval(_SQL["has_destinations"])
    return found


def _named(rows: _Rows, columns: Sequence[str]) -> list[list[object]]:
    return [[row[name] for row in rows] for name in columns]


def _columns(rows: _Rows) -> list[list[object]]:
    return [list(column) for column in zip(*rows, strict=True)]
