"""Which posts are the same signal. Pure: what is stored comes in, what to do comes out."""

from collections.abc import Iterable, Mapping
from hashlib import blake2b
from typing import NamedTuple, Protocol, TypeVar
from uuid import UUID

HEADER_SECONDS = 24 * 3600


class Key(NamedTuple):
    """What a later post would share with this one; it holds for `seconds` from the first post's commit."""

    key: bytes
    seconds: int


class Keyed(Protocol):
    """A post as deduplication sees it."""

    @property
    def id(self) -> UUID:
        """The id it gets if it is the first of its kind."""

    @property
    def digest(self) -> bytes:
        """Hash of its canonical body."""

    @property
    def header_key(self) -> Key | None:
        """From `Idempotency-Key` or `webhook-id`."""

    @property
    def body_key(self) -> Key | None:
        """From the body, unless the window is off."""


_Post = TypeVar("_Post", bound=Keyed)


class Owner(NamedTuple):
    """Who holds a key in the database."""

    signal_id: UUID
    digest: bytes


class Verdict(NamedTuple):
    """What a post is: a part of signal `first`, its own id if it is new; None: its header names another body.

    Keys that were taken for a post that is not new go to `first` (`hand_over`) or to nobody (`give_back`).
    """

    first: UUID | None
    hand_over: tuple[bytes, ...] = ()
    give_back: tuple[bytes, ...] = ()


def header_key(value: str) -> Key:
    """Make the key of an `Idempotency-Key` or `webhook-id` header."""
    return Key(blake2b(value.encode("latin-1"), digest_size=16, person=b"header").digest(), HEADER_SECONDS)


def body_key(digest: bytes, window_seconds: int) -> Key | None:
    """Make the key of a canonical body, its digest; None when the window is off."""
    return Key(digest, window_seconds) if window_seconds else None


def collapse_batch(batch: Iterable[_Post]) -> tuple[list[_Post], list[tuple[_Post, _Post]]]:
    """Split a batch into leaders, no two of which share a key, and followers with their leaders."""
    leaders, followers, holders = list[_Post](), list[tuple[_Post, _Post]](), dict[bytes, _Post]()
    for post in batch:
        keys = [key.key for key in (post.header_key, post.body_key) if key]
        leader = next((holders[key] for key in keys if key in holders), None)
        if leader is None:
            leaders.append(post)
        else:
            followers.append((post, leader))
        for key in keys:  # a follower's too: a later post must not get past it
            holders.setdefault(key, leader or post)
    return leaders, followers


def resolve_follower(post: Keyed, leader: Keyed, verdict: Verdict) -> Verdict | None:
    """Return the follower's verdict if its leader's settles it; None: it has to ask the database itself."""
    if post.digest != leader.digest or verdict.first is None:
        return None
    same_header = post.header_key == leader.header_key
    # A leader without a body key (window off) met it over a third post, which may not hold that key.
    same_body = post.header_key is None and post.body_key == leader.body_key
    leader_is_new = verdict.first == leader.id
    return Verdict(verdict.first) if same_header or (leader_is_new and same_body) else None


def resolve_leader(post: Keyed, owners: Mapping[bytes, Owner]) -> Verdict:
    """Say what a leader is, given who holds its keys after it tried to take them.

    The header goes before the body: with the same body it makes the same post for 24 h, with another body
    it is a mistake of the sender.
    """
    header, body = post.header_key, post.body_key
    taken = tuple(
        key.key for key in (header, body) if key is not None and owners[key.key].signal_id == post.id
    )
    header_owner = owners[header.key] if header else None
    if header_owner and header_owner.signal_id != post.id:
        if header_owner.digest != post.digest:
            return Verdict(None, give_back=taken)
        # it got the body's key, so the window has passed; a duplicate does not start it again
        return Verdict(header_owner.signal_id, give_back=taken)
    body_owner = owners[body.key] if body else None
    if body_owner and body_owner.signal_id != post.id:
        return Verdict(body_owner.signal_id, hand_over=taken)
    return Verdict(post.id)
