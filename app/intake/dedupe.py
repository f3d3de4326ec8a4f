"""Deduplication: which posts are the same signal. Pure: stored owners come in, changes of keys come out."""

from collections.abc import Iterable, Mapping
from hashlib import blake2b
from typing import NamedTuple, Protocol, TypeVar
from uuid import UUID

HEADER_SECONDS = 24 * 3600


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
    def digest(self) -> bytes:
        """Hash of its canonical body."""

    @property
    def header_key(self) -> DedupeKey | None:
        """From `Idempotency-Key` or `webhook-id`."""

    @property
    def body_key(self) -> DedupeKey | None:
        """From the body; None if deduplication by body is off."""


_Post = TypeVar("_Post", bound=Keyed)


class KeyOwner(NamedTuple):
    """The signal that holds a key in the database, and the digest of its body."""

    signal_id: UUID
    digest: bytes


class Resolution(NamedTuple):
    """What a post is: new if `signal_id` is its own id, else a duplicate of that signal.

    `signal_id` None: its header's key belongs to another body. A duplicate's new keys are transferred to
    `signal_id` (`transferred_keys`) or deleted (`released_keys`).
    """

    signal_id: UUID | None
    transferred_keys: tuple[bytes, ...] = ()
    released_keys: tuple[bytes, ...] = ()


def header_key(value: str) -> DedupeKey:
    """Return the key of an `Idempotency-Key` or `webhook-id` header."""
    return DedupeKey(
        blake2b(value.encode("latin-1"), digest_size=16, person=b"header").digest(), HEADER_SECONDS
    )


def body_key(digest: bytes, window_seconds: int) -> DedupeKey | None:
    """Return the key of a canonical body's digest; None if the window is 0, which turns it off."""
    return DedupeKey(digest, window_seconds) if window_seconds else None


def collapse_batch(batch: Iterable[_Post]) -> tuple[list[_Post], list[tuple[_Post, _Post]]]:
    """Split a batch into leaders, no two of which share a key, and followers, each with its leader."""
    leaders, followers, holders = list[_Post](), list[tuple[_Post, _Post]](), dict[bytes, _Post]()
    for post in batch:
        keys = [key.value for key in (post.header_key, post.body_key) if key]
        leader = next((holders[key] for key in keys if key in holders), None)
        if leader is None:
            leaders.append(post)
        else:
            followers.append((post, leader))
        for key in keys:  # a follower's keys too: a later post with one of them has the same leader
            holders.setdefault(key, leader or post)
    return leaders, followers


def resolve_follower(post: Keyed, leader: Keyed, resolution: Resolution) -> Resolution | None:
    """Derive the follower's resolution from its leader's; None if only the database can tell."""
    if post.digest != leader.digest or resolution.signal_id is None:
        return None
    same_header = post.header_key == leader.header_key
    # A leader without a body key (window off) may share only a third post's key, which it may not hold.
    same_body = post.header_key is None and post.body_key == leader.body_key
    is_leader_new = resolution.signal_id == leader.id
    return Resolution(resolution.signal_id) if same_header or (is_leader_new and same_body) else None


def resolve_leader(post: Keyed, owners: Mapping[bytes, KeyOwner]) -> Resolution:
    """Resolve a leader by the owners of its keys, read after it tried to acquire them.

    The header takes precedence over the body. For 24 h the same header with the same body is a duplicate, and
    with another body an error of the sender.
    """
    header, body = post.header_key, post.body_key
    acquired = tuple(
        key.value for key in (header, body) if key is not None and owners[key.value].signal_id == post.id
    )
    header_owner = owners[header.value] if header else None
    if header_owner and header_owner.signal_id != post.id:
        if header_owner.digest != post.digest:
            return Resolution(None, released_keys=acquired)
        # it acquired the body's key, so the window has ended; a duplicate does not start a new one
        return Resolution(header_owner.signal_id, released_keys=acquired)
    body_owner = owners[body.value] if body else None
    if body_owner and body_owner.signal_id != post.id:
        return Resolution(body_owner.signal_id, transferred_keys=acquired)
    return Resolution(post.id)
