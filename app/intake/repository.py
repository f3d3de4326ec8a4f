"""The statements of intake: deduplication keys, new signals, refused posts."""

from collections.abc import Collection, Mapping, Sequence
from datetime import datetime
from decimal import Decimal
from typing import Any, NamedTuple
from uuid import UUID

import msgspec

from app.db.pool import Connection, Pool
from app.db.queries import affected_rows, load
from app.intake.dedupe import KeyOwner
from app.signals.reasons import ReasonCode

_SQL = load("app.intake")
_encode = msgspec.json.Encoder().encode


class PostRow(msgspec.Struct, omit_defaults=True):
    """A post as `store_posts` reads it; the field names are those of the SQL, and what is None is left out.

    `place` is the order of arrival, `detail` belongs to the first event. `max_age` and `seconds` (how long
    `key` is held) are in seconds. `key` None: it has none, or it is acquired already.
    `source` None: `default`.
    """

    place: int
    id: UUID
    ticker: str
    max_age: int
    body: bytes
    digest: bytes
    source: str | None = None
    type: str | None = None
    intent: str | None = None
    reason: str | None = None
    reason_code: str | None = None
    reason_params: dict[str, Any] | None = None
    detail: dict[str, Any] | None = None
    sender_signal_id: str | None = None
    price: Decimal | None = None
    key: bytes | None = None
    seconds: int | None = None


class KeyClaim(NamedTuple):
    """A deduplication key that a post wants to hold for `seconds`."""

    key: bytes
    signal_id: UUID
    digest: bytes
    seconds: int


class KeyTransfer(NamedTuple):
    """A deduplication key and the signal that holds it from now on, for `seconds`."""

    key: bytes
    signal_id: UUID
    seconds: int


class Duplicate(NamedTuple):
    """A post that is a duplicate of a signal; `reason` says so in the signal's timeline.

    `is_answer`: its 202 also answers the sender of the signal, whose resend it is. `is_swallowed_exit`: it
    is an exit that is lost if it was not a resend.
    """

    signal_id: UUID
    reason: ReasonCode
    is_answer: bool
    is_swallowed_exit: bool


class RefusedPost(NamedTuple):
    """A refused post. `size` is its length in bytes, `head` its beginning without the secret."""

    at: datetime
    status: int
    reason: str
    reason_code: str
    reason_params: dict[str, Any]
    client: str
    size: int
    head: bytes


async def store_posts(connection: Connection | Pool, *, posts: Sequence[PostRow]) -> int:
    """Insert keys, signals and first events in one statement; return the number of signals inserted.

    For posts that have one key at most, no two the same. None is inserted if another signal holds a key.
    A signal that is stored already is left unchanged, so a batch can be repeated.
    """
    # one JSON array, bytes in base64: asyncpg takes several times as long for arrays
    stored: int = await connection.fetchval(_SQL["store_posts"], _encode(posts).decode())
    return stored


async def count_last_minute(
    connection: Connection, *, quotas: Mapping[str, int], seconds: float
) -> dict[str, int]:
    """Return the signals of the last minute by source, each at most its quota.

    Raises:
        TimeoutError: it takes longer than `seconds`.
    """
    columns = list(quotas), list(quotas.values())
    rows = await connection.fetch(_SQL["count_last_minute"], *columns, timeout=seconds)
    return {row["source"]: row["signals"] for row in rows}


async def find_stored(connection: Connection, *, signal_ids: Sequence[UUID]) -> set[UUID]:
    """Return which of these signals are stored."""
    return {row["id"] for row in await connection.fetch(_SQL["find_stored"], signal_ids)}


async def fetch_last_arrivals(connection: Connection, *, sources: Sequence[str]) -> dict[str, datetime]:
    """Return when the last signal of each source arrived; a source without any is omitted."""
    rows = await connection.fetch(_SQL["last_arrivals"], sources)
    return {row["source"]: row["at"] for row in rows}


async def acquire_keys(
    connection: Connection, *, claims: Sequence[KeyClaim], batch: Sequence[UUID]
) -> set[bytes]:
    """Insert the keys that are free, expired or held by the batch itself; return those.

    Keys that are held stay locked until the transaction ends.
    """
    rows = await connection.fetch(_SQL["acquire_keys"], *zip(*claims, strict=True), batch)
    return {row["key"] for row in rows}


async def find_key_owners(
    connection: Connection, *, keys: Collection[bytes], batch: Sequence[UUID]
) -> dict[bytes, KeyOwner]:
    """Return the owner of each key, by key.

    A statement after `acquire_keys`: only it sees what the transactions that were waited for committed.
    """
    rows = await connection.fetch(_SQL["find_key_owners"], keys, batch)
    return {
        row["key"]: KeyOwner(
            row["signal_id"],
            row["body_digest"],
            is_answered=row["is_answered"],
            is_over=row["is_over"],
            is_followed=row["is_followed"],
            has_closed=row["has_closed"],
        )
        for row in rows
    }


async def transfer_keys(connection: Connection, *, transfers: Sequence[KeyTransfer]) -> None:
    """Make other signals the owners of keys, which the same transaction has acquired or locked."""
    await connection.execute(_SQL["transfer_keys"], *zip(*transfers, strict=True))


async def release_keys(connection: Connection, *, keys: Collection[bytes]) -> None:
    """Delete keys that were acquired in the same transaction."""
    await connection.execute(_SQL["release_keys"], keys)


async def insert_duplicates(connection: Connection, *, duplicates: Sequence[Duplicate]) -> None:
    """Insert an event for each duplicate, and each exit that is lost by it.

    Delete the signals that they answer from the unanswered ones.

    A signal that was deleted has no timeline.
    """
    columns = [
        (each.signal_id, each.reason.english, each.reason, each.is_answer, each.is_swallowed_exit)
        for each in duplicates
    ]
    await connection.execute(_SQL["insert_duplicates"], *zip(*columns, strict=True))


async def insert_unanswered_posts(connection: Connection | Pool, *, signal_ids: Sequence[UUID]) -> None:
    """Record signals, stored or not, whose senders have no 202."""
    await connection.execute(_SQL["insert_unanswered_posts"], signal_ids)


async def insert_posts_of_crash(connection: Connection, *, max_age: float) -> int:
    """Record signals of at most `max_age` seconds as unanswered if a process crashed; return how many."""
    status = await connection.execute(_SQL["insert_posts_of_crash"], max_age)
    return int(status.rpartition(" ")[2])


async def purge_unanswered_posts(pool: Connection | Pool, *, older_than: int, limit: int) -> None:
    """Delete the unanswered posts recorded more than `older_than` seconds ago, at most `limit`."""
    await pool.execute(_SQL["purge_unanswered_posts"], older_than, limit)


async def upsert_process(connection: Connection, *, process_id: UUID) -> None:
    """Record that a process stores posts over this connection."""
    await connection.execute(_SQL["upsert_process"], process_id)


async def delete_process(pool: Connection | Pool, *, process_id: UUID) -> None:
    """Record that a process has ended and owes no answer."""
    await pool.execute(_SQL["delete_process"], process_id)


async def purge_expired_keys(pool: Connection | Pool, *, limit: int) -> int:
    """Delete the keys that expired first, at most `limit`; return how many that were.

    Keys that another transaction has locked are skipped.
    """
    return affected_rows(await pool.execute(_SQL["purge_expired_keys"], limit))


async def insert_refused_posts(connection: Connection, *, posts: Collection[RefusedPost]) -> None:
    """Insert refused posts in their order."""
    columns = (list(column) for column in zip(*posts, strict=True))
    await connection.execute(_SQL["insert_refused_posts"], *columns)


async def trim_refused_posts(connection: Connection, *, keep: int) -> None:
    """Delete all refused posts except the newest `keep`."""
    await connection.execute(_SQL["trim_refused_posts"], keep)


async def probe_insert(connection: Connection) -> None:
    """Insert a signal, a key and an event like a post; the caller must roll the transaction back."""
    await connection.execute(_SQL["probe_insert"])
