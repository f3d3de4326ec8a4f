"""SPEC §8: what is a duplicate, what a mistake of the sender, and what a signal of its own."""

from dataclasses import dataclass, field
from uuid import UUID, uuid4

from hypothesis import given
from hypothesis import strategies as st

from app.intake.dedupe import (
    Key,
    Owner,
    Verdict,
    body_key,
    collapse_batch,
    header_key,
    resolve_follower,
    resolve_leader,
)


@dataclass(frozen=True)
class _Post:
    digest: bytes
    header_key: Key | None = None
    window: int = 60
    id: UUID = field(default_factory=uuid4)

    @property
    def body_key(self) -> Key | None:
        return body_key(self.digest, self.window)


class _Database:
    """Keys and their owners, as the table holds them; nothing expires."""

    def __init__(self) -> None:
        self.owners: dict[bytes, Owner] = {}

    def judge(self, post: _Post) -> Verdict:
        keys = [key.key for key in (post.header_key, post.body_key) if key]
        for key in keys:
            self.owners.setdefault(key, Owner(post.id, post.digest))
        verdict = resolve_leader(post, self.owners)
        for key in verdict.give_back:
            del self.owners[key]
        for key in verdict.hand_over:
            assert verdict.first is not None
            self.owners[key] = self.owners[key]._replace(signal_id=verdict.first)
        return verdict


ONE, TWO = b"one body", b"another"
H, G = header_key("h"), header_key("g")


def test_the_same_body_within_the_window_is_the_first_ones() -> None:
    database, first = _Database(), _Post(ONE)
    assert database.judge(first).first == first.id
    assert database.judge(_Post(ONE)).first == first.id
    assert database.judge(_Post(ONE, H)).first == first.id


def test_a_duplicate_by_its_body_gives_its_header_to_the_first() -> None:
    database, first = _Database(), _Post(ONE)
    database.judge(first)
    database.judge(_Post(ONE, H))
    del database.owners[first.body_key.key if first.body_key else b""]  # the window passes
    assert database.judge(_Post(ONE, H)).first == first.id


def test_a_header_with_another_body_is_refused_and_leaves_nothing_behind() -> None:
    database, first = _Database(), _Post(ONE, H)
    database.judge(first)
    assert database.judge(_Post(TWO, H)).first is None
    later = _Post(TWO)
    assert database.judge(later).first == later.id


def test_a_duplicate_by_its_header_does_not_open_a_new_window() -> None:
    database, first = _Database(), _Post(ONE, H)
    database.judge(first)
    del database.owners[first.body_key.key if first.body_key else b""]
    assert database.judge(_Post(ONE, H)).first == first.id
    own = _Post(ONE)
    assert database.judge(own).first == own.id


def test_without_window_and_header_nothing_is_a_duplicate() -> None:
    database, posts = _Database(), [_Post(ONE, window=0) for _ in range(3)]
    assert [database.judge(post).first for post in posts] == [post.id for post in posts]


def test_the_same_batch_again_is_no_duplicate_of_itself() -> None:
    database, post = _Database(), _Post(ONE, H)
    assert database.judge(post) == database.judge(post) == Verdict(post.id)


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
def test_a_batch_ends_as_if_its_posts_had_come_one_by_one(earlier: list[_Post], batch: list[_Post]) -> None:
    one_by_one, in_batches = _Database(), _Database()
    for post in earlier:
        assert one_by_one.judge(post) == in_batches.judge(post)
    expected = [one_by_one.judge(post) for post in batch]

    verdicts, left, rounds = dict[UUID, Verdict](), list(batch), 0
    while left:
        rounds += 1
        assert rounds <= len(batch)
        leaders, followers = collapse_batch(left)
        keys = [key.key for post in leaders for key in (post.header_key, post.body_key) if key]
        assert len(set(keys)) == len(keys)
        for post in leaders:
            verdicts[post.id] = in_batches.judge(post)
        for post, leader in followers:
            if same := resolve_follower(post, leader, verdicts[leader.id]):
                verdicts[post.id] = same
        left = [post for post in left if post.id not in verdicts]

    assert [verdicts[post.id].first for post in batch] == [verdict.first for verdict in expected]
