"""Which posts are duplicates, which are errors of the sender, and which are new signals."""

from dataclasses import dataclass, field
from itertools import product
from uuid import UUID, uuid4

import pytest
from hypothesis import given
from hypothesis import strategies as st

from app.intake.dedupe import (
    DedupeKey,
    KeyOwner,
    Resolution,
    body_key,
    header_key,
    is_duplicate,
    keys_of,
    resolve,
)


@dataclass(frozen=True)
class _Post:
    digest: bytes
    header_key: DedupeKey | None = None
    window: int = 60
    ticker: str = "A"
    is_answered: bool = True
    is_rejected: bool = False
    id: UUID = field(default_factory=uuid4)

    @property
    def body_key(self) -> DedupeKey | None:
        return body_key(self.digest, self.window)


def _ids(*posts: _Post, owners: dict[bytes, KeyOwner] | None = None) -> list[UUID | None]:
    """Return the signals of these posts of one batch."""
    return [resolution.signal_id for resolution in resolve(posts, {} if owners is None else owners)]


ONE, TWO = b"one body", b"another"
H, G = header_key("h"), header_key("g")


@pytest.mark.parametrize(("is_over", "is_followed"), list(product((True, False), repeat=2)))
def test_the_result_of_the_first_post_decides(is_over: bool, is_followed: bool) -> None:  # noqa: FBT001
    def verdict(*, is_answered: bool) -> bool:
        return is_duplicate(is_answered=is_answered, is_over=is_over, is_followed=is_followed)

    assert verdict(is_answered=False)
    assert verdict(is_answered=True) is not (is_over or is_followed)


def test_the_same_body_within_the_window_is_a_duplicate() -> None:
    first = _Post(ONE)
    assert _ids(first, _Post(ONE), _Post(ONE)) == [first.id] * 3


def test_another_signal_of_the_ticker_makes_the_next_equal_body_a_new_one() -> None:
    posts = [_Post(body) for body in (ONE, TWO, ONE, TWO)]
    assert _ids(*posts) == [post.id for post in posts]
    elsewhere = [_Post(ONE), _Post(TWO, ticker="B"), _Post(ONE)]
    assert _ids(*elsewhere) == [elsewhere[0].id, elsewhere[1].id, elsewhere[0].id]


def test_a_duplicate_in_between_is_no_other_signal() -> None:
    first, other = _Post(ONE), _Post(TWO)
    owners = dict[bytes, KeyOwner]()
    _ids(other, first, owners=owners)
    assert _ids(_Post(ONE), _Post(ONE), owners=owners) == [first.id, first.id]


def test_a_first_post_that_was_answered_503_in_the_same_batch_is_resent_whatever_followed() -> None:
    first, other = _Post(ONE, is_answered=False), _Post(TWO)
    assert _ids(first, other, _Post(ONE)) == [first.id, other.id, first.id]


@pytest.mark.parametrize("is_answered", [True, False])
def test_the_202_of_a_resend_answers_the_first_post(is_answered: bool) -> None:  # noqa: FBT001
    first, other = _Post(ONE, is_answered=False), _Post(TWO)
    resend, equal = _Post(ONE, is_answered=is_answered), _Post(ONE)
    ids = _ids(first, resend, other, equal)
    assert ids == [first.id, first.id, other.id, equal.id if is_answered else first.id]


def test_a_post_that_is_rejected_at_once_has_no_duplicates() -> None:
    posts = [_Post(ONE, is_rejected=True) for _ in range(3)]
    assert _ids(*posts) == [post.id for post in posts]


def test_a_new_signal_claims_the_key() -> None:
    owners = dict[bytes, KeyOwner]()
    first, other, second = _Post(ONE), _Post(TWO), _Post(ONE)
    assert _ids(first, other, second, _Post(ONE), owners=owners)[2:] == [second.id, second.id]
    assert owners[ONE].signal_id == second.id


def test_a_new_header_is_a_new_alert_whatever_its_body_says() -> None:
    posts = [_Post(ONE), _Post(ONE, H), _Post(ONE, G)]
    assert _ids(*posts, _Post(ONE, H)) == [*(post.id for post in posts), posts[1].id]


def test_a_post_with_a_header_is_the_first_of_an_equal_one_without() -> None:
    first = _Post(ONE, H)
    assert _ids(_Post(ONE), first, _Post(ONE))[1:] == [first.id, first.id]


def test_the_same_header_is_a_duplicate_whatever_became_of_the_first_post() -> None:
    first = _Post(ONE, H, is_rejected=True)
    assert _ids(first, _Post(TWO), _Post(ONE, H))[2] == first.id


def test_a_header_with_another_body_is_refused_and_takes_no_key() -> None:
    owners = dict[bytes, KeyOwner]()
    later = _Post(TWO)
    assert _ids(_Post(ONE, H), _Post(TWO, H), owners=owners)[1] is None
    assert TWO not in owners
    assert _ids(later, owners=owners) == [later.id]


def test_a_duplicate_by_header_does_not_start_a_new_window() -> None:
    owners = dict[bytes, KeyOwner]()
    first, own = _Post(ONE, H), _Post(ONE)
    _ids(first, owners=owners)
    del owners[ONE]
    assert _ids(_Post(ONE, H), own, owners=owners) == [first.id, own.id]


def test_without_window_and_header_nothing_is_a_duplicate() -> None:
    posts = [_Post(ONE, window=0) for _ in range(3)]
    assert _ids(*posts) == [post.id for post in posts]


def test_only_the_body_makes_a_partial_exit_doubtful() -> None:
    first = KeyOwner(uuid4(), ONE, is_answered=True, is_over=False, is_followed=False, has_closed=True)
    owners = {ONE: first, H.value: first}
    assert resolve([_Post(ONE), _Post(ONE, H)], owners) == [
        Resolution(first.signal_id, is_by_body=True, has_closed=True),
        Resolution(first.signal_id),
    ]


def test_each_key_is_claimed_by_the_first_post_that_has_it() -> None:
    first, second, third = _Post(ONE), _Post(ONE, H), _Post(TWO, H, window=0)
    assert keys_of([first, second, third]) == {ONE: (DedupeKey(ONE, 60), first), H.value: (H, second)}


_POSTS = st.lists(
    st.builds(
        _Post,
        digest=st.sampled_from([ONE, TWO, b"third"]),
        header_key=st.sampled_from([None, H, G]),
        window=st.sampled_from([0, 60]),
        ticker=st.just("A"),
        is_answered=st.booleans(),
        is_rejected=st.booleans(),
    ),
    max_size=12,
)


@given(earlier=_POSTS, batch=_POSTS)
def test_a_batch_resolves_like_its_posts_one_by_one(earlier: list[_Post], batch: list[_Post]) -> None:
    owners = dict[bytes, KeyOwner]()
    resolve(earlier, owners)
    together, one_by_one = dict(owners), dict(owners)
    resolutions = resolve(batch, together)
    for post, resolution in zip(batch, resolutions, strict=True):
        assert resolve([post], one_by_one) == [resolution]
        if resolution.signal_id == post.id:  # as the database reports of the others from now on
            for key, owner in one_by_one.items():
                one_by_one[key] = owner._replace(is_followed=owner.signal_id != post.id)
    assert {key: owner.signal_id for key, owner in together.items()} == {
        key: owner.signal_id for key, owner in one_by_one.items()
    }
