"""Store posts: which of them are new, their signals and keys, and an event for each duplicate."""

import asyncio
from collections import Counter
from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass, field
from uuid import UUID

import asyncpg
import structlog

from app.config.access import DEFAULT_SOURCE
from app.db.pool import Connection
from app.errors import describe
from app.intake import repository
from app.intake.dedupe import DedupeKey, KeyOwner, Resolution, keys_of, resolve
from app.intake.repository import Duplicate, KeyClaim, KeyTransfer, PostRow
from app.intake.unanswered import UnansweredPosts
from app.runtime.ids import new_id
from app.signals.alert import Alert
from app.signals.reading import Intent
from app.signals.reasons import Reason, ReasonCode, remark_details

log = structlog.get_logger(__name__)

_OVERHEAD_BYTES = 1_000  # memory of a waiting post in addition to its body
_COUNT_SECONDS = 0.3
_PARTIAL_EXITS = frozenset({Intent.REDUCE, Intent.REDUCE_OR_CLOSE})


@dataclass(slots=True, eq=False)
class Post:
    """An alert that waits to be stored. `max_age` is in seconds; `id` becomes the signal's if it is new.

    `quota`: it is refused if its source has so many signals of the last minute; None: it never is.
    `rejection`: why it is rejected as soon as it is stored, None if it waits for its decision.
    `answer` is set after the commit, or earlier if the request was answered with 503.
    `stored_as`: a commit of it has begun, and can succeed even if its result is lost. Then the post is this
    signal: its own, or the one of which it is a duplicate by its body.
    """

    alert: Alert
    max_age: int
    header_key: DedupeKey | None
    body_key: DedupeKey | None
    source: str = DEFAULT_SOURCE
    quota: int | None = None
    rejection: Reason | None = None
    id: UUID = field(default_factory=new_id)
    answer: asyncio.Future[Resolution] = field(
        default_factory=lambda: asyncio.get_running_loop().create_future()
    )
    stored_as: UUID | None = None

    @property
    def ticker(self) -> str:
        """The alert's ticker."""
        return self.alert.ticker

    @property
    def digest(self) -> bytes:
        """Hash of the canonical body."""
        return self.alert.digest

    @property
    def is_answered(self) -> bool:
        """Whether the request still waits, and so gets the 202."""
        return not self.answer.done()

    @property
    def is_rejected(self) -> bool:
        """Whether no order follows from the alert."""
        return self.rejection is not None

    @property
    def is_partial_exit(self) -> bool:
        """Whether it may leave part of the position open."""
        return self.alert.reading.intent in _PARTIAL_EXITS

    @property
    def size(self) -> int:
        """Bytes of memory it holds while it waits."""
        return len(self.alert.body) + _OVERHEAD_BYTES


class Room:
    """How many more signals of this minute each limited source may have; counts those that it admits.

    `stored`: signals that an earlier commit of the same batch stored, although its result was lost.
    """

    def __init__(self, left: Mapping[str, int]) -> None:
        self._left = dict(left)
        self.stored: Collection[UUID] = ()

    def suffices(self, posts: Sequence[Post]) -> bool:
        """Return whether no quota can refuse any of the posts."""
        return all(
            number <= self._left.get(source, number)
            for source, number in Counter(post.source for post in posts).items()
        )

    def admits(self, post: Post) -> bool:
        """Return whether a new signal is within the quota of its source.

        Fails open: an exit counts, and is never beyond a quota.
        """
        left = self._left.get(post.source)
        if left is None or post.id in self.stored:
            return True
        if post.quota and left <= 0:
            return False
        self._left[post.source] = left - 1
        return True


async def store(
    connection: Connection, posts: Sequence[Post], unanswered: UnansweredPosts
) -> list[Resolution]:
    """Commit posts, and return the resolution of each.

    Calling it again with the same posts is safe, whether or not the first call was committed.
    """
    room = await _count_room(connection, posts)
    keys = [key.value for post in posts for key in (post.header_key, post.body_key) if key]
    is_simple = len(set(keys)) == len(keys) and not any(post.header_key and post.body_key for post in posts)
    if is_simple and room.suffices(posts):
        stored = await repository.store_posts(connection, posts=_rows(posts, with_keys=True))
        if stored == len(posts):
            return [Resolution(post.id) for post in posts]
    # A key is held or shared, a post has two keys, or a quota may refuse one: each post is resolved.
    await asyncio.sleep(0)  # the requests of the last batch find out whether their clients are still there
    await unanswered.record(connection)
    async with connection.transaction():
        return await _store_resolved(connection, posts, room)


async def _count_room(connection: Connection, posts: Sequence[Post]) -> Room:
    """Count the signals of the last minute of the limited sources, whichever process stored them.

    Fails open: without a count within 0.3 s, no quota refuses these posts. Nothing is locked, so that no
    process delays the exits of another. So while two processes overlap, a quota may be exceeded by one batch.
    """
    quotas = {post.source: post.quota for post in posts if post.quota}
    if not quotas:
        return Room({})
    try:
        counts = await repository.count_last_minute(connection, quotas=quotas, seconds=_COUNT_SECONDS)
    except (TimeoutError, asyncpg.PostgresError) as error:
        log.warning("signals of the last minute cannot be counted; no quota applies", error=describe(error))
        return Room({})
    return Room({source: quota - counts[source] for source, quota in quotas.items()})


async def _store_resolved(connection: Connection, posts: Sequence[Post], room: Room) -> list[Resolution]:
    """Resolve posts, store the new ones and an event for each duplicate, in the caller's transaction."""
    resolutions = await _deduplicate(connection, posts, room)
    for post, resolution in zip(posts, resolutions, strict=True):
        is_by_header = not resolution.is_by_body and resolution.signal_id != post.id
        post.stored_as = None if is_by_header else resolution.signal_id  # a resend has the header, too
    if new := new_posts(posts, resolutions):
        await repository.store_posts(connection, posts=_rows(new, with_keys=False))
    duplicates = [
        Duplicate(
            resolution.signal_id,
            ReasonCode.RESENT_PARTIAL_EXIT if is_swallowed_exit(post, resolution) else ReasonCode.RESENT,
            is_answer=resolution.is_by_body and post.is_answered,
            is_swallowed_exit=is_swallowed_exit(post, resolution),
        )
        for post, resolution in zip(posts, resolutions, strict=True)
        if resolution.signal_id not in (post.id, None)
    ]
    if duplicates:
        await repository.insert_duplicates(connection, duplicates=duplicates)
    return resolutions


async def _deduplicate(connection: Connection, posts: Sequence[Post], room: Room) -> list[Resolution]:
    """Acquire the posts' keys, resolve the posts, and write who owns the keys from now on."""
    keys, batch = keys_of(posts), [post.id for post in posts]
    claims = [KeyClaim(key.value, post.id, post.digest, key.seconds) for key, post in keys.values()]
    acquired = await repository.acquire_keys(connection, claims=claims, batch=batch) if claims else set()
    before = dict[bytes, KeyOwner]()
    if held := keys.keys() - acquired:
        before = await repository.find_key_owners(connection, keys=held, batch=batch)
    if not room.suffices(posts):  # read now: a commit whose result was lost ended before the keys were free
        room.stored = await repository.find_stored(connection, signal_ids=batch)
    after = dict(before)
    resolutions = resolve(posts, after, room.admits)
    transfers = [
        KeyTransfer(key.value, after[key.value].signal_id, key.seconds)
        for key, claimant in keys.values()
        if key.value in after
        and after[key.value].signal_id
        != (before[key.value].signal_id if key.value in before else claimant.id)
    ]
    if transfers:
        await repository.transfer_keys(connection, transfers=transfers)
    if released := acquired - after.keys():
        await repository.release_keys(connection, keys=released)
    return resolutions


def is_swallowed_exit(post: Post, resolution: Resolution) -> bool:
    """Return whether a partial exit is a duplicate only by its body, and the first one closed no position."""
    return resolution.is_by_body and not resolution.has_closed and post.is_partial_exit


def new_posts(posts: Sequence[Post], resolutions: Sequence[Resolution]) -> list[Post]:
    """Return the posts that became signals of their own."""
    return [
        post for post, resolution in zip(posts, resolutions, strict=True) if resolution.signal_id == post.id
    ]


def _rows(posts: Sequence[Post], *, with_keys: bool) -> list[PostRow]:
    return [
        _row(place, post, post.header_key or post.body_key if with_keys else None)
        for place, post in enumerate(posts)
    ]


def _row(place: int, post: Post, only_key: DedupeKey | None) -> PostRow:
    alert, (key, seconds) = post.alert, only_key or (None, None)
    reading = alert.reading
    reason, code, params = post.rejection.columns() if post.rejection else (None, None, None)
    return PostRow(
        place=place,
        id=post.id,
        ticker=alert.ticker,
        max_age=post.max_age,
        body=alert.body,
        digest=alert.digest,
        source=None if post.source == DEFAULT_SOURCE else post.source,
        type=reading.type,
        intent=reading.stored_intent,
        reason=reason,
        reason_code=code,
        reason_params=params,
        detail=remark_details(alert.remarks) if alert.remarks else None,
        sender_signal_id=alert.sender_signal_id,
        price=alert.price,
        key=key,
        seconds=seconds,
    )
