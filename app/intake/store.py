"""One intake transaction: deduplication keys, signals and their first events commit together."""

import asyncio
from collections.abc import Sequence
from dataclasses import dataclass, field
from decimal import Decimal
from uuid import UUID

import msgspec

from app.db.pool import Connection
from app.db.queries import load
from app.intake.dedupe import Key, Owner, Verdict, resolve_leader
from app.runtime.ids import new_id
from app.signals.alert import Alert

_SQL = load("app.intake")

_OVERHEAD_BYTES = 1_000  # what a waiting post costs beside its body
_encode = msgspec.json.Encoder().encode


class _Row(msgspec.Struct):
    """A post as the statements read it; `place` says which came first."""

    place: int
    id: UUID
    type: str | None
    ticker: str
    max_age: int
    reason: str | None
    sender_signal_id: str | None
    price: Decimal | None
    body: bytes
    key: bytes | None
    digest: bytes
    seconds: int | None


@dataclass(slots=True, eq=False)
class Post:
    """An alert that waits to be stored. `max_age` in seconds; `id` becomes the signal's if it is new.

    `answer` ends after the commit, or before it, when the request had to be answered 503.
    """

    alert: Alert
    max_age: int
    header_key: Key | None
    body_key: Key | None
    id: UUID = field(default_factory=new_id)
    answer: asyncio.Future[Verdict] = field(
        default_factory=lambda: asyncio.get_running_loop().create_future()
    )

    @property
    def digest(self) -> bytes:
        """Hash of the canonical body."""
        return self.alert.digest

    @property
    def size(self) -> int:
        """Bytes it holds while it waits."""
        return len(self.alert.body) + _OVERHEAD_BYTES


async def store(connection: Connection, posts: Sequence[Post]) -> list[Verdict]:
    """Commit the posts, of which no two share a key, and say for each what it is.

    Doing it again with the same posts is safe, whether or not the first time was committed.
    """
    if any(post.header_key for post in posts):
        return await _store_in_steps(connection, posts)
    stored = await connection.fetchval(_SQL["store_posts"], _document(posts))
    if stored == len(posts):
        return [Verdict(post.id) for post in posts]
    return await _store_in_steps(connection, posts)  # which also finds those just stored to be new


async def _store_in_steps(connection: Connection, posts: Sequence[Post]) -> list[Verdict]:
    """Do the same for posts that may be duplicates, or have two keys: both must be theirs, or neither."""
    async with connection.transaction():
        verdicts = await _deduplicate(connection, posts)
        new = [post for post, verdict in zip(posts, verdicts, strict=True) if verdict.first == post.id]
        if new:
            await connection.execute(_SQL["insert_signals"], _document(new))
    return verdicts


async def _deduplicate(connection: Connection, posts: Sequence[Post]) -> list[Verdict]:
    rows = [
        (key.key, post.id, post.digest, key.seconds)
        for post in posts
        for key in (post.header_key, post.body_key)
        if key
    ]
    if not rows:
        return [Verdict(post.id) for post in posts]
    taken = await connection.fetch(_SQL["take_keys"], *zip(*rows, strict=True))
    if len(taken) == len(rows):
        return [Verdict(post.id) for post in posts]
    # a second statement: only it sees what another transaction committed while the first one waited for it
    owners = {
        row["key"]: Owner(row["signal_id"], row["body_digest"])
        for row in await connection.fetch(_SQL["key_owners"], [row[0] for row in rows])
    }
    verdicts = [resolve_leader(post, owners) for post in posts]
    if handed := [(key, verdict.first) for verdict in verdicts for key in verdict.hand_over]:
        await connection.execute(_SQL["hand_over_keys"], *zip(*handed, strict=True))
    if given := [key for verdict in verdicts for key in verdict.give_back]:
        await connection.execute(_SQL["give_back_keys"], given)
    return verdicts


def _document(posts: Sequence[Post]) -> str:
    """Write the posts as one JSON array, bytes in base64: asyncpg takes several times as long for arrays."""
    return _encode([_row(place, post) for place, post in enumerate(posts)]).decode()


def _row(place: int, post: Post) -> _Row:
    alert, (key, seconds) = post.alert, post.body_key or (None, None)
    return _Row(
        place=place,
        id=post.id,
        type=alert.order.type,
        ticker=alert.ticker,
        max_age=post.max_age,
        reason=alert.order.reason,
        sender_signal_id=alert.sender_signal_id,
        price=alert.price,
        body=alert.body,
        key=key,
        digest=post.digest,
        seconds=seconds,
    )
