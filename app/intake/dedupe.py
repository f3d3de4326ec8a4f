"""Deduplication: which posts are the same signal. Pure: owners of keys come in, their new owners go out."""

from collections.abc import Callable, MutableMapping, Sequence
from hashlib import blake2b
from typing import NamedTuple, Protocol, TypeVar
from uuid import UUID

from app.config.access import DEFAULT_SOURCE

HEADER_SECONDS = 24 * 3600
EDGE_SECONDS = 60  # the edge repeats a request within seconds


class DedupeKey(NamedTuple):
    """A key that duplicates share; it expires `seconds` after the first post's commit."""

    value: bytes
    seconds: int


class Keyed(Protocol):
    """A post as deduplication sees it."""

    @property
    def id(self) -> UUID:
        """The id of its signal if it is not a duplicate."""

    @property
    def ticker(self) -> str:
        """The ticker of its alert."""

    @property
    def digest(self) -> bytes:
        """Hash of its canonical body."""

    @property
    def header_key(self) -> DedupeKey | None:
        """From `Idempotency-Key` or `webhook-id`, or the edge's id of the request."""

    @property
    def body_key(self) -> DedupeKey | None:
        """From the body; None if deduplication by body is off."""

    @property
    def is_answered(self) -> bool:
        """Whether its sender gets the 202; False if its request ended before."""

    @property
    def is_rejected(self) -> bool:
        """Whether it is rejected as soon as it is stored."""


Post = TypeVar("Post", bound=Keyed)


class KeyOwner(NamedTuple):
    """The first post with a key, and what became of its signal.

    `is_over`: rejected, failed, expired or deleted. `is_followed`: another signal of its ticker came since.
    `has_closed`: it was delivered and closed the position.
    """

    signal_id: UUID
    digest: bytes
    is_answered: bool
    is_over: bool
    is_followed: bool
    has_closed: bool


class Resolution(NamedTuple):
    """What a post is: new if `signal_id` is its own id, else a duplicate of that signal.

    `signal_id` None: its header's key belongs to another body.
    `is_by_body`: only the body says that it is a duplicate. `has_closed`: the first one closed the position.
    `is_over_quota`: it is not stored, since its source has posted too much; `signal_id` is None.
    """

    signal_id: UUID | None
    is_by_body: bool = False
    has_closed: bool = False
    is_over_quota: bool = False


def header_key(value: str, source: str = DEFAULT_SOURCE) -> DedupeKey:
    """Return the key of an `Idempotency-Key` or `webhook-id` header; each source has its own."""
    return DedupeKey(_of_source(value.encode("latin-1"), b"header", source), HEADER_SECONDS)


def edge_key(request_id: str, source: str = DEFAULT_SOURCE) -> DedupeKey:
    """Return the key of the id that the edge gives a request: it may send one a second time."""
    return DedupeKey(_of_source(request_id.encode("latin-1"), b"edge", source), EDGE_SECONDS)


def body_key(digest: bytes, window_seconds: int, source: str = DEFAULT_SOURCE) -> DedupeKey | None:
    """Return the key of a canonical body's digest; each source has its own. None if the window is 0 (off)."""
    if not window_seconds:
        return None
    return DedupeKey(
        digest if source == DEFAULT_SOURCE else _of_source(digest, b"body", source), window_seconds
    )


def _of_source(value: bytes, kind: bytes, source: str) -> bytes:
    """Return the hash of a value; of `default` as the version before stores it."""
    if source == DEFAULT_SOURCE:
        return blake2b(value, digest_size=16, person=kind).digest()
    of_source = blake2b(source.encode(), digest_size=32).digest()
    return blake2b(value, key=of_source, digest_size=16, person=kind).digest()


def keys_of(posts: Sequence[Keyed]) -> dict[bytes, tuple[DedupeKey, Keyed]]:
    """Return each key of the posts with the first post that has it."""
    keys = dict[bytes, tuple[DedupeKey, Keyed]]()
    for post in posts:
        for key in (post.header_key, post.body_key):
            if key:
                keys.setdefault(key.value, (key, post))
    return keys


def resolve(
    posts: Sequence[Post],
    owners: MutableMapping[bytes, KeyOwner],
    admits: Callable[[Post], bool] = lambda _: True,
) -> list[Resolution]:
    """Resolve the posts of a batch one after the other.

    `owners` holds the owners of keys before the batch, without those that expired; afterwards it holds those
    after the batch. A duplicate does not start a new window. `admits` is asked about each post that is no
    duplicate, once: one that is not admitted is not stored.
    """
    newest = dict[str, UUID]()  # of each ticker, among the new signals of this batch
    return [_resolve(post, owners, newest, admits) for post in posts]


def _resolve(
    post: Post,
    owners: MutableMapping[bytes, KeyOwner],
    newest: MutableMapping[str, UUID],
    admits: Callable[[Post], bool],
) -> Resolution:
    """Resolve one post. Its sender's key decides alone; the body decides about a post without one.

    The 202 of a duplicate by body answers the first post, too.
    """
    header, body = post.header_key, post.body_key
    if header and (first := owners.get(header.value)):
        return Resolution(first.signal_id if first.digest == post.digest else None)
    if body and not header and (first := owners.get(body.value)):
        is_followed = first.is_followed or newest.get(post.ticker, first.signal_id) != first.signal_id
        if is_duplicate(is_answered=first.is_answered, is_over=first.is_over, is_followed=is_followed):
            owners[body.value] = first._replace(is_answered=first.is_answered or post.is_answered)
            return Resolution(first.signal_id, is_by_body=True, has_closed=first.has_closed)
    if not admits(post):
        return Resolution(None, is_over_quota=True)
    newest[post.ticker] = post.id
    for key in filter(None, (header, body)):
        owners[key.value] = KeyOwner(
            post.id,
            post.digest,
            is_answered=post.is_answered,
            is_over=post.is_rejected,
            is_followed=False,
            has_closed=False,
        )
    return Resolution(post.id)


def is_duplicate(*, is_answered: bool, is_over: bool, is_followed: bool) -> bool:
    """Return whether an equal body within the window is a duplicate, by the result of the first post.

    An unanswered sender repeats its alert. An answered one does not. Its next equal alert is a new one if the
    first had no effect, or if another signal of the ticker came in between.
    Fails open: an exit that was rejected, failed or expired is let in again.
    """
    return not is_answered or not (is_over or is_followed)
