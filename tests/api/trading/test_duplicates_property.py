"""Duplicates: the application against a model of the rules, in any order of posts and changes."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any
from uuid import UUID

import pytest
from hypothesis import HealthCheck, example, given, settings
from hypothesis import strategies as st

from tests.api.trading.posts import in_one_batch, nothing_is_decided, post

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Awaitable

    from tests.api.conftest import AppServer
    from tests.api.trading.desk import Desk


@dataclass
class First:
    """A signal of the model."""

    number: int
    status: str = "received"
    is_answered: bool = True
    is_in_window: bool = True


@dataclass
class Model:
    """A second implementation of the rules for duplicates."""

    tickers: list[str] = field(default_factory=list)  # of each signal, in the order of arrival
    by_body: dict[tuple[str, str], First] = field(default_factory=dict)
    by_header: dict[str, tuple[tuple[str, str], First]] = field(default_factory=dict)

    def post(self, body: tuple[str, str], header: str | None) -> int | None:
        """Return the number of the post's signal; None if it is refused."""
        if header in self.by_header:
            its_body, first = self.by_header[header]
            return first.number if its_body == body else None
        first = self.by_body.get(body, First(-1, is_in_window=False))
        is_followed = body[0] in self.tickers[first.number + 1 :]
        has_no_effect = first.status in {"rejected", "failed", "expired"}
        if header or not first.is_in_window or (first.is_answered and (is_followed or has_no_effect)):
            first = self.by_body[body] = First(len(self.tickers))
            self.tickers.append(body[0])
        first.is_answered = True
        if header:
            self.by_header[header] = (body, first)
        return first.number


_BODIES = st.tuples(st.sampled_from(["AAPL", "NVDA"]), st.sampled_from(["buy", "sell"]))
_POSTS = st.lists(st.tuples(_BODIES, st.sampled_from([None, None, None, "h", "g"])), min_size=1, max_size=6)
_CHANGES = st.tuples(
    _BODIES,
    st.sampled_from(["approved", "forwarding", "forwarded", "rejected", "failed", "expired", "503", "later"]),
)


async def change(desk: Desk, model: Model, body: tuple[str, str], what: str, ids: list[str]) -> None:
    """Change the status of the last signal with this body."""
    if body not in model.by_body:
        return
    first = model.by_body[body]
    signal_id = UUID(ids[first.number])
    if what == "503":
        first.is_answered = False
        await desk.database.execute(
            "INSERT INTO unanswered_posts VALUES ($1) ON CONFLICT DO NOTHING", signal_id
        )
    elif what == "later":
        first.is_in_window = False
        await desk.database.execute(
            "UPDATE intake_keys SET expires_at = now() WHERE signal_id = $1 "
            "AND expires_at < now() + interval '1 h'",
            signal_id,
        )
    else:
        first.status = what
        await desk.database.execute("UPDATE signals SET status = $2 WHERE id = $1", signal_id, what)


_BUY, _SELL = ("AAPL", "buy"), ("AAPL", "sell")


@example(steps=[(True, [(_BUY, None), (_SELL, None), (_BUY, None)], [])])
@example(
    steps=[
        (False, [(_SELL, None)], [(_SELL, "503")]),
        (False, [(_SELL, None), (_BUY, None), (_SELL, None)], []),
    ]
)
@settings(max_examples=25, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(steps=st.lists(st.tuples(st.booleans(), _POSTS, st.lists(_CHANGES, max_size=3)), max_size=5))
async def test_the_application_resolves_posts_as_the_model_does(
    desk: Desk, model_app: AppServer, steps: list[tuple[bool, Any, Any]]
) -> None:
    await desk.database.execute("DELETE FROM signals; DELETE FROM intake_keys; DELETE FROM unanswered_posts")
    model, ids = Model(), list[str]()

    def send(body: tuple[str, str], header: str | None, expected: int) -> Awaitable[dict[str, Any]]:
        headers = {"Idempotency-Key": header} if header else {}
        return post(model_app, {"ticker": body[0], "action": body[1]}, expected, **headers)

    for is_batch, posts, changes in steps:
        verdicts = [(body, header, model.post(body, header)) for body, header in posts]
        makes = (send(body, header, 422 if number is None else 202) for body, header, number in verdicts)
        if is_batch:
            answers = await in_one_batch(desk, model_app, makes)
        else:
            answers = [await one for one in makes]
        for (_, _, number), answer in zip(verdicts, answers, strict=True):
            if number is not None:
                assert answer["duplicate"] is (number < len(ids))
                if number == len(ids):
                    ids.append(answer["signal_id"])
                assert answer["signal_id"] == ids[number]
        for body, what in changes:
            await change(desk, model, body, what, ids)
    rows = await desk.database.fetch("SELECT id FROM signals WHERE ticker <> 'TSLA' ORDER BY seq")
    assert [str(row["id"]) for row in rows] == ids


@pytest.fixture
async def model_app(desk: Desk) -> AsyncIterator[AppServer]:
    """Start an application that stores signals and decides nothing."""
    async with nothing_is_decided(desk):
        yield await desk.open()
