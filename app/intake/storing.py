"""Store posts: which of them are new, their signals and keys, and an event for each duplicate."""

import asyncio
from collections.abc import Sequence
from dataclasses import dataclass, field
from uuid import UUID

from app.config.access import DEFAULT_SOURCE
from app.db.pool import Connection
from app.intake import repository
from app.intake.dedupe import DedupeKey, KeyOwner, Resolution, keys_of, resolve
from app.intake.repository import Duplicate, KeyClaim, KeyTransfer, PostRow
from app.intake.unanswered import UnansweredPosts
from app.runtime.ids import new_id
from app.signals.alert import Alert
from app.signals.reading import Intent
from app.signals.reasons import Reason, ReasonCode, remark_details

_OVERHEAD_BYTES = 1_000  # memory of a waiting post in addition to its body
_OVER_QUOTA = Resolution(None, is_over_quota=True)
_PARTIAL_EXITS = frozenset({Intent.REDUCE, Intent.REDUCE_OR_CLOSE})


@dataclass(slots=True, eq=False)
class Post:
    """An alert that waits to be stored. `max_age` is in seconds; `id` becomes the signal's if it is new.

    `quota`: it is refused if its source has so many signals of the last minute; None: it never is.
    `rejection`: why it is rejected as soon as it is stored, None if it waits for its decision.
    `answer` is set after the commit, or earlier if the request was answered with 503.
    `stored_as`: a commit of it has begun, and can succeed even if its result is lost; then the post is this
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


async def store(
    connection: Connection, posts: Sequence[Post], unanswered: UnansweredPosts
) -> list[Resolution]:
    """Commit posts, and return the resolution of each.

    Calling it again with the same posts is safe, whether or not the first call was committed.
    """
    if not any(post.quota for post in posts):
        return await _store(connection, posts, unanswered)
    async with connection.transaction():
        over = await _over_quota(connection, posts)
        admitted = [post for post in posts if post not in over]
        stored = dict(zip(admitted, await _store(connection, admitted, unanswered), strict=True))
    return [stored.get(post, _OVER_QUOTA) for post in posts]


async def _over_quota(connection: Connection, posts: Sequence[Post]) -> set[Post]:
    """Return the posts that are beyond the quota of their source, in the caller's transaction.

    Counts the source's signals of the last minute, whichever process stored them: until the transaction ends
    no other process counts those of the same source.
    Fails open: exits count, and are never beyond a quota.
    """
    quotas = {post.source: post.quota for post in posts if post.quota}
    for source in sorted(quotas):  # sorted, so that two processes do not deadlock
        await repository.lock_source(connection, source=source)
    counts = await repository.count_last_minute(
        connection, quotas=quotas, except_for=[post.id for post in posts]
    )
    over = set[Post]()
    for post in posts:
        if post.quota and counts[post.source] >= post.quota:
            over.add(post)
            post.stored_as = None
        elif post.source in counts:
            counts[post.source] += 1
    return over


async def _store(
    connection: Connection, posts: Sequence[Post], unanswered: UnansweredPosts
) -> list[Resolution]:
    """Store posts that no quota refuses; return the resolution of each."""
    keys = [post.body_key.value for post in posts if post.body_key]
    if len(set(keys)) == len(keys) and not any(post.header_key for post in posts):
        stored = await repository.store_posts(connection, posts=_rows(posts, with_keys=True))
        if stored == len(posts):
            return [Resolution(post.id) for post in posts]
    # A key is held or shared, or a post has two keys: what became of the first post decides.
    await asyncio.sleep(0)  # the requests of the last batch find out whether their clients are still there
    await unanswered.record(connection)
    async with connection.transaction():
        return await _store_resolved(connection, posts)


async def _store_resolved(connection: Connection, posts: Sequence[Post]) -> list[Resolution]:
    """Resolve posts, store the new ones and an event for each duplicate, in the caller's transaction."""
    resolutions = await _deduplicate(connection, posts)
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
        if resolution.signal_id not in {post.id, None}
    ]
    if duplicates:
        await repository.insert_duplicates(connection, duplicates=duplicates)
    return resolutions


async def _deduplicate(connection: Connection, posts: Sequence[Post]) -> list[Resolution]:
    """Acquire the posts' keys, resolve the posts, and write who owns the keys from now on."""
    keys, batch = keys_of(posts), [post.id for post in posts]
    claims = [KeyClaim(key.value, post.id, post.digest, key.seconds) for key, post in keys.values()]
    acquired = await repository.acquire_keys(connection, claims=claims, batch=batch) if claims else set()
    before = dict[bytes, KeyOwner]()
    if held := keys.keys() - acquired:
        before = await repository.find_key_owners(connection, keys=held, batch=batch)
    after = dict(before)
    resolutions = resolve(posts, after)
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
    return [_row(place, post, post.body_key if with_keys else None) for place, post in enumerate(posts)]


def _row(place: int, post: Post, body_key: DedupeKey | None) -> PostRow:
    alert, (key, seconds) = post.alert, body_key or (None, None)
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
