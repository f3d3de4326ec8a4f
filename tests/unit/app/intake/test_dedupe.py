"""Which posts are duplicates, which are errors of the sender, and which are new signals."""

from dataclasses import dataclass, field
from uuid import UUID, uuid4

from hypothesis import given
from hypothesis import strategies as st

from app.intake.dedupe import (
    DedupeKey,
    KeyOwner,
    Resolution,
    body_key,
    collapse_batch,
    header_key,
    resolve_follower,
    resolve_leader,
)


@dataclass(frozen=True)
class _Post:
    digest: bytes
    header_key: DedupeKey | None = None
    window: int = 60
    id: UUID = field(default_factory=uuid4)

    @property
    def body_key(self) -> DedupeKey | None:
        return body_key(self.digest, self.window)


class _Database:
    """Stand-in for the table of keys and their owners; keys never expire."""

    def __init__(self) -> None:
        self.owners: dict[bytes, KeyOwner] = {}

    def resolve(self, post: _Post) -> Resolution:
        keys = [key.value for key in (post.header_key, post.body_key) if key]
        for key in keys:
            self.owners.setdefault(key, KeyOwner(post.id, post.digest))
        resolution = resolve_leader(post, self.owners)
        for key in resolution.released_keys:
            del self.owners[key]
        for key in resolution.transferred_keys:
            assert resolution.signal_id is not None
            self.owners[key] = self.owners[key]._replace(signal_id=resolution.signal_id)
        return resolution


ONE, TWO = b"one body", b"another"
H, G = header_key("h"), header_key("g")


def test_the_same_body_within_the_window_is_a_duplicate() -> None:
    database, first = _Database(), _Post(ONE)
    assert database.resolve(first).signal_id == first.id
    assert database.resolve(_Post(ONE)).signal_id == first.id
    assert database.resolve(_Post(ONE, H)).signal_id == first.id


def test_the_header_key_of_a_duplicate_by_body_is_transferred() -> None:
    database, first = _Database(), _Post(ONE)
    database.resolve(first)
    database.resolve(_Post(ONE, H))
    del database.owners[first.body_key.value if first.body_key else b""]  # the window passes
    assert database.resolve(_Post(ONE, H)).signal_id == first.id


def test_a_header_with_another_body_is_refused_and_its_keys_are_released() -> None:
    database, first = _Database(), _Post(ONE, H)
    database.resolve(first)
    assert database.resolve(_Post(TWO, H)).signal_id is None
    later = _Post(TWO)
    assert database.resolve(later).signal_id == later.id


def test_a_duplicate_by_header_does_not_start_a_new_window() -> None:
    database, first = _Database(), _Post(ONE, H)
    database.resolve(first)
    del database.owners[first.body_key.value if first.body_key else b""]
    assert database.resolve(_Post(ONE, H)).signal_id == first.id
    own = _Post(ONE)
    assert database.resolve(own).signal_id == own.id


def test_without_window_and_header_nothing_is_a_duplicate() -> None:
    database, posts = _Database(), [_Post(ONE, window=0) for _ in range(3)]
    assert [database.resolve(post).signal_id for post in posts] == [post.id for post in posts]


def test_a_repeated_batch_is_not_a_duplicate_of_itself() -> None:
    database, post = _Database(), _Post(ONE, H)
    assert database.resolve(post) == database.resolve(post) == Resolution(post.id)


_POSTS = st.lists(
    st.builds(
        _Post,
        digest=st.sampled_from([ONE, TWO, b"third"]),
        header_key=st.sampled_from([None, H, G]),
        window=st.sampled_from([0, 60]),
    ),
    max_size=12,
)


@given(earlier=_POSTS, batch=_POSTS)
def test_a_batch_resolves_like_its_posts_one_by_one(earlier: list[_Post], batch: list[_Post]) -> None:
    one_by_one, in_batches = _Database(), _Database()
    for post in earlier:
        assert one_by_one.resolve(post) == in_batches.resolve(post)
    expected = [one_by_one.resolve(post) for post in batch]

    resolutions, left, rounds = dict[UUID, Resolution](), list(batch), 0
    while left:
        rounds += 1
        assert rounds <= len(batch)
        leaders, followers = collapse_batch(left)
        keys = [key.value for post in leaders for key in (post.header_key, post.body_key) if key]
        assert len(set(keys)) == len(keys)
        for post in leaders:
            resolutions[post.id] = in_batches.resolve(post)
        for post, leader in followers:
            if same := resolve_follower(post, leader, resolutions[leader.id]):
                resolutions[post.id] = same
        left = [post for post in left if post.id not in resolutions]

    assert [resolutions[post.id].signal_id for post in batch] == [
        resolution.signal_id for resolution in expected
    ]
