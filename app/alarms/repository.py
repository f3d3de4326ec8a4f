"""The statements of `queries.sql` as typed functions. Times are the database's."""

from collections.abc import Sequence
from datetime import datetime
from typing import Literal, NamedTuple

from app.config.destinations import TICKERS_SHOWN, DestinationConfig
from app.db.pool import Connection, Pool
from app.db.queries import affected_rows, fetch_one, load
from app.orders.destination import destination_of

_SQL = load("app.alarms")


class OpenAlarm(NamedTuple):
    """An alarm that has not ended. `is_announced`: a message about its begin was enqueued."""

    code: str
    subject: str
    began_at: datetime
    is_announced: bool


class PastAlarm(NamedTuple):
    """An alarm that has ended."""

    code: str
    subject: str
    began_at: datetime
    ended_at: datetime


class Unannounced(NamedTuple):
    """An open alarm without a message, its row locked."""

    id: int
    code: str
    subject: str
    began_at: datetime


class Ended(NamedTuple):
    """An alarm that has just ended. `text` is what the message about its begin said, if there was one."""

    code: str
    subject: str
    began_at: datetime
    ended_at: datetime
    text: str
    is_announced: bool


class Notification(NamedTuple):
    """A message that this process has claimed; `attempts` counts the one that follows."""

    id: int
    severity: str
    title: str
    body: str
    attempts: int


class FailingTarget(NamedTuple):
    """A target that does not accept its messages: how many wait, and since when."""

    target: str
    waiting: int
    since: datetime


class OtherKind(NamedTuple):
    """Open positions at a destination that was live when they were opened and is paper, or the reverse.

    `is_paper`: it is on paper now. `tickers`: the first of them, in order.
    """

    destination: str
    is_paper: bool
    positions: int
    tickers: Sequence[str]


class TargetState(NamedTuple):
    """What became of a target's messages. `error` is empty if the last attempt succeeded."""

    target: str
    waiting: int
    given_up: int
    last_sent_at: datetime | None
    error: str


MessageState = Literal["waiting", "sending", "retrying", "sent", "given_up"]


class StoredMessage(NamedTuple):
    """A message of the outbox; `due_at` is None once it was sent or given up."""

    id: int
    target: str
    severity: str
    title: str
    body: str
    created_at: datetime
    attempts: int
    error: str
    sent_at: datetime | None
    due_at: datetime | None
    state: MessageState


class Day(NamedTuple):
    """Signals of the last 24 hours by status; positions and alarms that are open now."""

    received: int
    rejected: int
    delivered: int
    failed: int
    expired: int
    positions: int
    alarms: int


async def settle(connection: Connection, *, code: str, subject: str, until: datetime) -> None:
    """Record that events up to `until` no longer cause an alarm of this code and subject."""
    await connection.execute(_SQL["settle"], code, subject, until)


async def record_seen(
    connection: Connection, *, codes: Sequence[str], subjects: Sequence[str], every_seconds: float
) -> None:
    """Insert alarms that have begun, and renew the others at most `every_seconds`."""
    await connection.execute(_SQL["record_seen"], codes, subjects, every_seconds)


async def end_settled(
    connection: Connection, *, codes: Sequence[str], subjects: Sequence[str], since: Sequence[datetime]
) -> list[Ended]:
    """End the alarms that were last seen before what they are about now began.

    Of several processes one returns each.
    """
    return [Ended(**row) for row in await connection.fetch(_SQL["end_settled"], codes, subjects, since)]


async def end_unseen(connection: Connection, *, after_seconds: float) -> list[Ended]:
    """End the alarms that no process has seen for so long; of several processes one returns each."""
    return [Ended(**row) for row in await connection.fetch(_SQL["end_unseen"], after_seconds)]


async def read_open(connection: Connection) -> list[OpenAlarm]:
    """Return the alarms that have not ended."""
    return [OpenAlarm(**row) for row in await connection.fetch(_SQL["read_open"])]


async def read_ended(connection: Connection, *, limit: int) -> list[PastAlarm]:
    """Return the alarms that ended last, the newest first."""
    return [PastAlarm(**row) for row in await connection.fetch(_SQL["read_ended"], limit)]


async def lock_unannounced(
    connection: Connection,
    *,
    codes: Sequence[str],
    subjects: Sequence[str],
    muted_codes: Sequence[str],
    mute_minutes: int,
    after_seconds: float,
) -> list[Unannounced]:
    """Lock those of the alarms that a message is due about, until the transaction ends.

    Those of `muted_codes` have lasted for `after_seconds`, and did not end within `mute_minutes`.
    """
    rows = await connection.fetch(
        _SQL["lock_unannounced"], codes, subjects, muted_codes, mute_minutes, after_seconds
    )
    return [Unannounced(**row) for row in rows]


async def mark_announced(connection: Connection, *, ids: Sequence[int], texts: Sequence[str]) -> None:
    """Record what a message says about each alarm, in the transaction that enqueues it."""
    await connection.execute(_SQL["mark_announced"], ids, texts)


async def enqueue(
    connection: Connection,
    *,
    targets: Sequence[str],
    severity: str,
    title: str,
    body: str,
    once: str | None = None,
) -> int:
    """Insert a message for each target; return how many. One with the name `once` is inserted once."""
    return affected_rows(await connection.execute(_SQL["enqueue"], targets, once, severity, title, body))


async def enqueue_for_new(
    connection: Connection, *, targets: Sequence[str], severity: str, title: str, body: str
) -> int:
    """Insert a message for each target that never had one; return how many."""
    return affected_rows(await connection.execute(_SQL["enqueue_for_new"], targets, severity, title, body))


async def claim(
    pool: Pool, *, target: str, lease_seconds: float, failures_in_order: int
) -> Notification | None:
    """Claim the target's oldest message; None if it is not due, another process has it, or there is none.

    One that has failed `failures_in_order` times is passed over until it is due.
    """
    row = await pool.fetchrow(_SQL["claim"], target, lease_seconds, failures_in_order)
    return None if row is None else Notification(**row)


async def record_sent(pool: Pool, *, notification: int) -> None:
    """Record that a message was sent."""
    await pool.execute(_SQL["record_sent"], notification)


async def record_failure(
    pool: Pool, *, notification: int, retry_in_seconds: float, error: str, give_up_after_hours: int
) -> bool:
    """Record a failed attempt; return whether it was the last."""
    return bool(
        await pool.fetchval(
            _SQL["record_failure"], notification, retry_in_seconds, error, give_up_after_hours
        )
    )


async def read_failing(
    connection: Connection, *, targets: Sequence[str], failures: int
) -> list[FailingTarget]:
    """Return the targets whose pending messages have failed so often."""
    rows = await connection.fetch(_SQL["read_failing"], targets, failures)
    return [FailingTarget(**row) for row in rows]


async def read_targets(connection: Connection, *, targets: Sequence[str]) -> dict[str, TargetState]:
    """Return the state of each target that ever had a message, by target."""
    rows = await connection.fetch(_SQL["read_targets"], targets)
    return {row["target"]: TargetState(**row) for row in rows}


async def read_messages(connection: Connection, *, before_id: int | None, limit: int) -> list[StoredMessage]:
    """Return messages of the outbox before an id, the newest first."""
    return [StoredMessage(**row) for row in await connection.fetch(_SQL["read_messages"], before_id, limit)]


async def read_last_backup(connection: Connection | Pool) -> datetime | None:
    """Return when the newest recorded backup of the database was made."""
    found: datetime | None = await connection.fetchval(_SQL["read_last_backup"])
    return found


async def read_silence(
    connection: Connection | Pool, *, sources: Sequence[str], newest: int, is_paused: bool
) -> dict[str, datetime]:
    """Return since when each expected source is silent, and record it.

    Those of `default` are searched among so many of the newest signals. During a pause no source is silent.
    """
    rows = await connection.fetch(_SQL["read_silence"], sources, newest, is_paused)
    return {row["source"]: row["silent_since"] for row in rows}


async def read_other_kind(
    connection: Connection, *, destinations: Sequence[DestinationConfig]
) -> list[OtherKind]:
    """Return the destinations that are live and were paper, or the reverse, when positions were opened there.

    One more ticker of each is returned than is shown.
    """
    rows = await connection.fetch(
        _SQL["read_other_kind"],
        [each.name for each in destinations],
        [destination_of(None, each.name).key for each in destinations],
        [each.url is None for each in destinations],
        TICKERS_SHOWN + 1,
    )
    return [OtherKind(**row) for row in rows]


async def read_day(connection: Connection) -> Day:
    """Return the figures of the daily summary."""
    return Day(**await fetch_one(connection, _SQL["read_day"]))
