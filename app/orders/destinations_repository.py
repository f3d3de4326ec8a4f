"""The statements of `destinations.sql` as typed functions: rate limits, holds and circuit breakers.

`destination` is a destination's key (`Destination.key`). Durations are in seconds, times are the database's
(UTC). Each function runs in the caller's transaction, if there is one.
"""

from collections.abc import Sequence
from datetime import datetime
from typing import NamedTuple

from app.db.pool import Connection
from app.db.queries import load
from app.orders.destination import OWN_ERRORS, Attempt, Usage, Window
from app.signals.reasons import Reason, stored_reason

_SQL = load("app.orders", "destinations")


class Ledger(NamedTuple):
    """What counts against the limits at `now`; `ahead_seconds` above 0: the clock has stepped back.

    `probe_at`: when the next probe may start, None while the circuit is closed. `usage`: one for each window.
    """

    now: datetime
    open_attempts: int
    probe_at: datetime | None
    ahead_seconds: float
    usage: list[Usage]


class Circuit(NamedTuple):
    """A destination's circuit breaker; open while `probe_at`, the moment of the next probe, is set."""

    probe_at: datetime | None
    failed_probes: int


async def lock_limiter(connection: Connection, *, destination: str) -> None:
    """Lock the destination's tokens, in every process, until the transaction ends."""
    await connection.execute(_SQL["lock_limiter"], destination)


async def read_ledger(connection: Connection, *, destination: str, windows: Sequence[Window]) -> Ledger:
    """Return what counts against the limits; the caller holds the limiter's lock."""
    rows = await connection.fetch(
        _SQL["read_ledger"],
        destination,
        [window.seconds for window in windows],
        [window.limit for window in windows],
    )
    first = rows[0]
    usage = [Usage(int(row["ended"]), row["leaves_at"]) for row in rows]
    return Ledger(first["now"], first["open"], first["probe_at"], first["ahead_seconds"], usage)


async def move_ends_back(connection: Connection, *, destination: str, seconds: float) -> None:
    """Move ends of attempts that are ahead of the clock back by `seconds`, and the destination's hold."""
    await connection.execute(_SQL["move_ends_back"], destination, seconds)


async def read_ends_ahead(connection: Connection, *, current: Sequence[str]) -> dict[str, float]:
    """Return by how many seconds the newest end of an attempt is ahead of the clock, by destination.

    Of the current destinations, and of those that have had a hold or an open circuit.
    """
    rows = await connection.fetch(_SQL["read_ends_ahead"], current)
    return {row["destination"]: row["ahead_seconds"] for row in rows}


async def hold_destination(
    connection: Connection, *, destination: str, seconds: float, reason: Reason
) -> None:
    """Send nothing to the destination for so many seconds. A longer hold stays. Locks its row."""
    await connection.execute(_SQL["hold_destination"], destination, seconds, *reason.columns())


async def read_hold_reason(connection: Connection, *, destination: str) -> str | None:
    """Return why the destination is held or its circuit open; None while neither is so."""
    reason: str | None = await connection.fetchval(_SQL["read_hold_reason"], destination)
    return reason


async def lock_circuit(connection: Connection, *, destination: str) -> Circuit | None:
    """Lock the destination's row and return its circuit; None if it has no row yet."""
    row = await connection.fetchrow(_SQL["lock_circuit"], destination)
    return Circuit._make(row) if row else None


async def read_recent_attempts(connection: Connection, *, destination: str, limit: int) -> list[Attempt]:
    """Return the latest ended attempts that show how the destination works, newest first."""
    rows = await connection.fetch(_SQL["read_recent_attempts"], destination, list(OWN_ERRORS), limit)
    return [Attempt(*row) for row in rows]


async def open_circuit(connection: Connection, *, destination: str, probe_in: float, reason: Reason) -> bool:
    """Open the circuit, with a first probe in `probe_in` seconds; return False if it is open already."""
    return bool(await connection.fetchval(_SQL["open_circuit"], destination, probe_in, *reason.columns()))


async def record_failed_probe(
    connection: Connection, *, destination: str, probe_in: float, reason: Reason
) -> None:
    """Count a failed probe; the next one may start in `probe_in` seconds."""
    await connection.execute(_SQL["record_failed_probe"], destination, probe_in, *reason.columns())


async def close_circuit(connection: Connection, *, destination: str) -> bool:
    """Close the circuit; return whether it was open."""
    return bool(await connection.fetchval(_SQL["close_circuit"], destination))


async def is_circuit_open(connection: Connection, *, destination: str) -> bool:
    """Return whether the circuit is open."""
    return bool(await connection.fetchval(_SQL["is_circuit_open"], destination))


async def read_circuit_reason(connection: Connection, *, destination: str) -> Reason | None:
    """Return the reason of the failure that keeps the circuit open; None while it is closed."""
    row = await connection.fetchrow(_SQL["read_circuit_reason"], destination)
    return stored_reason(*row) if row else None
