"""An equal alert is judged by what became of the first one: the rules row by row, and against a model."""

from __future__ import annotations

import asyncio
import json
import os
import signal
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from itertools import count
from typing import TYPE_CHECKING, Any
from uuid import UUID

import aiohttp
import pytest
from hypothesis import HealthCheck, example, given, settings
from hypothesis import strategies as st
from prometheus_client import REGISTRY

from app.intake import repository
from tests.api.operator import ask
from tests.api.process import answering, process
from tests.api.trading.receiver import always

if TYPE_CHECKING:
    import io
    from collections.abc import AsyncIterator, Awaitable, Callable, Iterable, Mapping

    from tests.api.conftest import AppServer
    from tests.api.trading.desk import Desk

_numbers = count(1)
BUY, SELL = {"ticker": "AAPL", "action": "buy"}, {"ticker": "AAPL", "action": "sell"}
# The same alert as senders write it: other order of fields, whitespace, a secret in it.
SPELLINGS = (
    b'{"ticker":"AAPL","action":"buy"}',
    b'{ "action" : "buy",\n"ticker": "AAPL" }',
    b'{"secret":"x","ticker":"AAPL","action":"buy"}',
)


async def post(
    app: AppServer, alert: Mapping[str, object] | bytes, expected: int = 202, /, **headers: str
) -> dict[str, Any]:
    """Post an alert; return the answer, whose status is expected."""
    data = alert if isinstance(alert, bytes) else json.dumps(alert).encode()
    async with app.http.post("/webhook/in", data=data, headers=headers) as answer:
        said: dict[str, Any] = await answer.json()
        assert answer.status == expected, said
        return said


async def is_new(app: AppServer, alert: Mapping[str, object] | bytes) -> bool:
    """Post an alert, and return whether it became a signal."""
    return not (await post(app, alert))["duplicate"]


async def stored(desk: Desk) -> int:
    """The number of signals."""
    return int(await desk.database.fetchval("SELECT count(*) FROM signals"))


async def until_stored(desk: Desk, app: AppServer, number: int) -> None:
    """Wait until so many signals are stored."""

    async def there() -> bool:
        return await stored(desk) == number

    await desk.wait(app, there, lambda: f"there are not {number} signals")


@asynccontextmanager
async def nothing_commits(desk: Desk) -> AsyncIterator[None]:
    """PostgreSQL takes what it is sent, and goes on with it when the block ends."""
    async with desk.database.acquire() as connection, connection.transaction():
        await connection.execute("LOCK TABLE intake_keys IN ACCESS EXCLUSIVE MODE")
        yield


@asynccontextmanager
async def nothing_is_decided(desk: Desk) -> AsyncIterator[None]:
    """Signals stay as they are received, or as the test makes them."""
    async with desk.database.acquire() as connection, connection.transaction():
        await connection.execute("SELECT pg_advisory_xact_lock(hashtextextended('approvals', 0))")
        yield


async def without_its_client(desk: Desk, app: AppServer, alert: Mapping[str, object]) -> None:
    """Post an alert, and close the connection before it is committed."""
    host, port = app.url.removeprefix("http://").split(":")
    body = json.dumps(alert).encode()
    async with nothing_commits(desk):
        _, writer = await asyncio.open_connection(host, int(port))
        writer.write(b"POST /webhook/in HTTP/1.1\r\nHost: h\r\nContent-Length: %d\r\n\r\n" % len(body))
        writer.write(body)
        await writer.drain()
        await asyncio.sleep(0.3)
        writer.close()
        await writer.wait_closed()
        await asyncio.sleep(0.1)


def lose_results(monkeypatch: pytest.MonkeyPatch, owner: object, name: str) -> None:
    """Let a function do its work, and the connection break before its result is there."""
    function = getattr(owner, name)

    async def lose(*arguments: Any, **named: Any) -> None:
        await function(*arguments, **named)
        raise ConnectionResetError

    monkeypatch.setattr(owner, name, lose)


async def in_one_batch(
    desk: Desk, app: AppServer, posts: Iterable[Awaitable[dict[str, Any]]]
) -> list[dict[str, Any]]:
    """Make the posts, in this order, while the commit of another one holds the next batch back."""
    group_commit = app.app.state.intake.group_commit
    waits = "SELECT count(*) FROM pg_locks WHERE relation = 'intake_keys'::regclass AND NOT granted"
    tasks: list[asyncio.Future[dict[str, Any]]] = []
    async with asyncio.timeout(30), nothing_commits(desk):
        blocker = asyncio.create_task(post(app, {"ticker": "TSLA", "n": next(_numbers)}))
        while not await app.context.pool.fetchval(waits):  # noqa: ASYNC110  # no event tells of a lock
            await asyncio.sleep(0.005)
        for number, one in enumerate(posts, 1):
            tasks.append(asyncio.ensure_future(one))
            while group_commit.waiting < number:  # noqa: ASYNC110  # no event tells of a queued post
                await asyncio.sleep(0.001)
    await blocker
    return [await task for task in tasks]


class TestAnswered:
    """The first post was answered with 202."""

    @pytest.mark.parametrize("spelling", SPELLINGS)
    async def test_nothing_else_since_is_a_duplicate_with_an_event(self, desk: Desk, spelling: bytes) -> None:
        app = await desk.open()
        first = await post(app, BUY)
        await desk.until(app, UUID(first["signal_id"]), "forwarded")
        again = await post(app, spelling)
        assert (again["signal_id"], again["duplicate"]) == (first["signal_id"], True)
        assert len(desk.receiver.received) == await stored(desk) == 1
        story = await ask(app, "GET", f"/admin/signals/{first['signal_id']}")
        assert (story["events"][-1]["status"], story["events"][-1]["reason"]) == (
            "forwarded",
            "duplicate: an equal alert came again",
        )

    @pytest.mark.parametrize("state", ["received", "approved", "forwarding"])
    async def test_it_is_a_duplicate_while_the_first_is_pending(self, desk: Desk, state: str) -> None:
        app = await desk.open()
        async with nothing_is_decided(desk):
            first = await post(app, BUY)
            await desk.database.execute("UPDATE signals SET status = $1", state)
            assert (await post(app, BUY))["signal_id"] == first["signal_id"]
            await desk.database.execute("UPDATE signals SET status = 'forwarded'")

    async def test_constant_bodies_buy_sell_buy_sell_are_four_orders(self, desk: Desk) -> None:
        app = await desk.open()
        for alert in (BUY, SELL, BUY, SELL):
            assert await is_new(app, alert)
        await desk.settled(app)
        assert [received.alert["action"] for received in desk.receiver.received] == [
            *("buy", "exit"),
            *("buy", "exit"),
        ]
        assert await desk.open_positions() == {}

    async def test_constant_bodies_of_one_batch_are_four_orders_in_their_order(self, desk: Desk) -> None:
        app = await desk.open()
        answers = await in_one_batch(desk, app, (post(app, alert) for alert in (BUY, SELL, BUY, SELL, SELL)))
        assert [answer["duplicate"] for answer in answers] == [False] * 4 + [True]
        await desk.settled(app)
        rows = await desk.database.fetch("SELECT id, type FROM signals WHERE ticker = 'AAPL' ORDER BY seq")
        assert [str(row["id"]) for row in rows] == [answer["signal_id"] for answer in answers[:4]]
        assert [row["type"] for row in rows] == ["buy", "sell", "buy", "sell"]
        assert await desk.open_positions() == {}

    async def test_a_held_key_leaves_the_order_of_its_ticker(self, desk: Desk) -> None:
        desk.receiver.answer = always(400)
        app = await desk.open()
        await desk.until(app, UUID((await post(app, BUY))["signal_id"]), "failed")
        desk.receiver.answer = always(200)
        await in_one_batch(desk, app, (post(app, alert) for alert in (BUY, {**SELL, "n": 1})))
        await desk.settled(app)
        assert [received.alert["action"] for received in desk.receiver.received[1:]] == ["buy", "exit"]
        assert await desk.open_positions() == {}

    async def test_other_signals_of_the_ticker_make_it_new(self, desk: Desk) -> None:
        app = await desk.open()
        others: list[Callable[[], Awaitable[object]]] = [
            lambda: post(app, {**SELL, "n": 1}),
            lambda: post(app, {**BUY, "n": 2}),
            lambda: post(app, {"ticker": "aapl", "action": "nonsense"}),
            lambda: desk.order(app, "order/sell-individual", 202, ticker="AAPL"),
        ]
        assert await is_new(app, BUY)
        for other in others:
            await other()
            assert await is_new(app, BUY)
            assert not await is_new(app, BUY)

    async def test_signals_of_other_tickers_and_imported_history_do_not(self, desk: Desk) -> None:
        app = await desk.open()
        await post(app, BUY)
        await post(app, {**SELL, "ticker": "NVDA"})
        await desk.database.execute(
            "INSERT INTO signals (id, status, type, ticker, expires_at, body, imported_at) "
            "VALUES (gen_random_uuid(), 'forwarded', 'sell', 'AAPL', now(), '{}', now())"
        )
        assert not await is_new(app, BUY)

    async def test_a_rejected_one_is_followed_by_a_new_one(self, desk: Desk) -> None:
        app = await desk.open()
        for alert in ({**BUY, "ticker": "ZZZ"}, SELL, {"ticker": "NVDA", "action": "hold"}):
            for _ in range(2):
                answer = await post(app, alert)
                assert not answer["duplicate"]
                await desk.until(app, UUID(answer["signal_id"]), "rejected")

    async def test_a_failed_one_is_followed_by_a_new_one(self, desk: Desk) -> None:
        desk.receiver.answer = always(400)
        app = await desk.open()
        await desk.until(app, UUID((await post(app, BUY))["signal_id"]), "failed")
        desk.receiver.answer = always(200)
        second = await post(app, BUY)
        assert (await desk.until(app, UUID(second["signal_id"])))["status"] == "forwarded"

    async def test_an_expired_one_is_followed_by_a_new_one(self, desk: Desk) -> None:
        desk.configure("webhook", max_signal_age_seconds={"buy": 1, "sell": 3600})
        desk.configure("system", delivery_paused=True)
        app = await desk.open()
        await desk.until(app, UUID((await post(app, BUY))["signal_id"]), "expired")
        assert await is_new(app, BUY)

    async def test_posts_of_a_batch_that_are_rejected_at_once_are_all_stored(self, desk: Desk) -> None:
        app = await desk.open()
        alert = {"ticker": "NVDA", "action": "hold"}
        answers = await in_one_batch(desk, app, (post(app, alert) for _ in range(3)))
        assert [answer["duplicate"] for answer in answers] == [False] * 3

    async def test_a_new_one_starts_a_window_of_its_own(self, desk: Desk) -> None:
        app = await desk.open()
        await post(app, BUY)
        await desk.database.execute("UPDATE intake_keys SET expires_at = now() + interval '1 s'")
        await post(app, SELL)
        second = await post(app, BUY)
        left = "SELECT min(expires_at) > now() + interval '50 s' FROM intake_keys WHERE signal_id = $1"
        assert await desk.database.fetchval(left, UUID(second["signal_id"]))


class TestHeaders:
    """The sender says with a header what is the same alert."""

    @pytest.mark.parametrize("name", ["Idempotency-Key", "webhook-id"])
    async def test_the_same_one_is_a_duplicate_whatever_became_of_the_first(
        self, desk: Desk, name: str
    ) -> None:
        app = await desk.open()
        first = await post(app, SELL, **{name: "k"})
        await desk.until(app, UUID(first["signal_id"]), "rejected")
        await post(app, BUY)
        again = await post(app, SELL, **{name: "k"})
        assert (again["signal_id"], again["duplicate"]) == (first["signal_id"], True)
        await post(app, BUY, 422, **{name: "k"})
        await desk.database.execute("UPDATE intake_keys SET expires_at = expires_at - interval '23 h'")
        assert (await post(app, SELL, **{name: "k"}))["duplicate"]
        events = await desk.story(UUID(first["signal_id"]))
        assert events == ["received", "rejected", "rejected", "rejected"]

    async def test_a_new_one_is_a_new_alert_whatever_its_body_says(self, desk: Desk) -> None:
        app = await desk.open()
        for key in ("one", "two"):
            assert not (await post(app, PARTIAL_EXIT, **{"Idempotency-Key": key}))["duplicate"]
        assert not await is_new(app, PARTIAL_EXIT)
        assert await stored(desk) == 2


class TestUnanswered:
    """The first sender was not told that its alert is stored: an equal one is its resend."""

    async def followed(self, app: AppServer) -> None:
        """Something else comes in the same ticker."""
        assert await is_new(app, {**SELL, "n": next(_numbers)})

    async def test_its_503_went_out_while_its_commit_ran(self, desk: Desk) -> None:
        app = await desk.open()
        async with nothing_commits(desk):
            await post(app, BUY, 503)
        await until_stored(desk, app, 1)
        await self.followed(app)
        assert not await is_new(app, BUY)
        assert await desk.database.fetchval("SELECT count(*) FROM signals WHERE type = 'buy'") == 1

    async def test_another_process_knows_it(self, desk: Desk) -> None:
        app, other = await desk.open(), await desk.open()
        async with nothing_commits(desk):
            await post(app, BUY, 503)
            async with asyncio.timeout(5):
                recorded = "SELECT count(*) FROM unanswered_posts"
                while not await desk.database.fetchval(recorded):  # noqa: ASYNC110  # the commit still runs
                    await asyncio.sleep(0.05)
        await until_stored(desk, other, 1)
        await self.followed(other)
        assert not await is_new(other, BUY)

    async def test_its_client_was_gone_before_the_answer(self, desk: Desk) -> None:
        app = await desk.open()
        await without_its_client(desk, app, BUY)
        await until_stored(desk, app, 1)
        await self.followed(app)
        assert not await is_new(app, BUY)

    async def test_a_resend_that_was_answered_makes_the_next_exit_a_new_one(self, desk: Desk) -> None:
        app = await desk.open()
        await desk.until(app, await desk.send(app, "AAPL", "buy"), "forwarded")
        async with nothing_commits(desk):
            await post(app, SELL, 503)
        await until_stored(desk, app, 2)
        assert not await is_new(app, SELL)
        assert await is_new(app, {**BUY, "n": 1})
        assert await is_new(app, SELL)
        await desk.settled(app)
        assert await desk.open_positions() == {}

    @pytest.mark.parametrize("loss", ["late", "gone", "broken"])
    async def test_a_duplicate_is_resent_if_its_202_was_lost(
        self, desk: Desk, monkeypatch: pytest.MonkeyPatch, loss: str
    ) -> None:
        app = await desk.open()
        await without_its_client(desk, app, BUY)
        await until_stored(desk, app, 1)
        if loss == "late":
            async with nothing_commits(desk):
                await post(app, BUY, 503)
        elif loss == "gone":
            await without_its_client(desk, app, BUY)
        else:
            with monkeypatch.context() as losing:
                lose_results(losing, app.app.state.intake.group_commit, "_store")
                await post(app, BUY, 503)
        await self.followed(app)
        assert not await is_new(app, BUY)
        await self.followed(app)
        assert await is_new(app, BUY)

    async def test_a_resend_stays_one_when_its_commit_is_repeated(
        self, desk: Desk, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        app = await desk.open()
        await without_its_client(desk, app, BUY)
        await until_stored(desk, app, 1)
        await self.followed(app)
        with monkeypatch.context() as losing:
            lose_results(losing, app.app.state.intake.group_commit, "_store")
            resend = asyncio.create_task(is_new(app, BUY))
            duplicates = "SELECT count(*) FROM signal_events WHERE reason LIKE 'duplicate%'"
            async with asyncio.timeout(5):
                while await desk.database.fetchval(duplicates) < 2:  # noqa: ASYNC110  # commits are lost
                    await asyncio.sleep(0.01)
        assert not await resend
        assert await is_new(app, BUY)

    async def test_a_client_that_waits_for_its_answer_is_not_taken_for_gone(self, desk: Desk) -> None:
        app = await desk.open()
        async with nothing_commits(desk):
            waiting = asyncio.create_task(post(app, BUY))
            await asyncio.sleep(0.3)
        await waiting
        await self.followed(app)
        assert await is_new(app, BUY)

    async def test_the_result_of_its_commit_was_lost(
        self, desk: Desk, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        app = await desk.open()
        with monkeypatch.context() as losing:
            lose_results(losing, repository, "store_posts")
            await post(app, BUY, 503)
        await self.followed(app)
        assert not await is_new(app, BUY)

    @pytest.mark.parametrize(
        ("ending", "age", "expected"),
        [(signal.SIGKILL, 0, False), (signal.SIGKILL, 600, True), (signal.SIGTERM, 0, True)],
    )
    async def test_its_process_crashed(
        self,
        desk: Desk,
        database_url: str,
        ending: int,
        age: int,
        expected: bool,  # noqa: FBT001
    ) -> None:
        values = {"DATABASE_URL": database_url, "CONFIG_DIR": str(desk.folder), "DATA_DIR": str(desk.folder)}
        with process(values, desk.folder) as (running, url):
            async with aiohttp.ClientSession(url) as http:
                await answering(http, url)
                for alert in (BUY, SELL):
                    async with http.post("/webhook/in", json=alert) as answer:
                        assert answer.status == 202
            os.kill(running.pid, ending)
            await asyncio.to_thread(running.wait)
        # as if the next process had started at once, or later: this one takes its time
        await desk.database.execute(
            "UPDATE signals SET received_at = clock_timestamp() - make_interval(secs => $1)", age
        )
        app = await desk.open()
        assert await is_new(app, BUY) is expected
        assert await desk.database.fetchval("SELECT count(*) FROM intake_processes") == 1

    async def test_a_process_that_runs_has_not_crashed(self, desk: Desk) -> None:
        app = await desk.open()
        await post(app, BUY)
        await post(app, SELL)
        other = await desk.open()
        assert await is_new(other, BUY)


PARTIAL_EXIT = {**SELL, "quantity": 5}


def swallowed() -> float:
    """The metric of partial exits that were taken for duplicates."""
    return REGISTRY.get_sample_value("partial_exits_duplicate_total") or 0.0


class TestPartialExits:
    """A sell with a quantity that is taken for a duplicate may leave shares: people see it."""

    async def twice(self, desk: Desk, app: AppServer, **headers: str) -> list[str]:
        """Open a position, post the partial exit twice, and return the reasons of its events."""
        await desk.until(app, await desk.send(app, "AAPL", "buy"), "forwarded")
        first = await post(app, PARTIAL_EXIT, **headers)
        await desk.until(app, UUID(first["signal_id"]), "forwarded")
        assert (await post(app, PARTIAL_EXIT, **headers))["signal_id"] == first["signal_id"]
        story = await ask(app, "GET", f"/admin/signals/{first['signal_id']}")
        return [event["reason"] for event in story["events"]]

    async def test_it_is_shown(self, logged: io.StringIO, desk: Desk) -> None:
        desk.configure("system", close_on_partial=False)
        before = swallowed()
        reasons = await self.twice(desk, await desk.open())
        assert reasons[-1] == "duplicate: an equal partial exit came again, and is not executed"
        assert swallowed() == before + 1
        lines = [json.loads(line) for line in logged.getvalue().splitlines() if "partial exit" in line]
        assert [(line["level"], line["ticker"]) for line in lines] == [("warning", "AAPL")]

    @pytest.mark.parametrize("headers", [{}, {"Idempotency-Key": "k"}])
    async def test_it_is_an_ordinary_duplicate_if_the_first_closed_the_position_or_has_the_same_header(
        self, logged: io.StringIO, desk: Desk, headers: dict[str, str]
    ) -> None:
        desk.configure("system", close_on_partial=not headers)
        before = swallowed()
        reasons = await self.twice(desk, await desk.open(), **headers)
        assert reasons[-1] == "duplicate: an equal alert came again"
        assert swallowed() == before
        assert "partial exit" not in logged.getvalue()


@dataclass
class First:
    """A signal of the model."""

    number: int
    status: str = "received"
    is_answered: bool = True
    is_in_window: bool = True


@dataclass
class Model:
    """The rules for duplicates, said once more."""

    tickers: list[str] = field(default_factory=list)  # of each signal, in the order of arrival
    by_body: dict[tuple[str, str], First] = field(default_factory=dict)
    by_header: dict[str, tuple[tuple[str, str], First]] = field(default_factory=dict)

    def post(self, body: tuple[str, str], header: str | None) -> int | None:
        """The number of the post's signal; None if it is refused."""
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
    """Let something become of the last signal with this body."""
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
async def test_the_application_judges_as_the_model_does(
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
    """An application that stores and decides nothing."""
    async with nothing_is_decided(desk):
        yield await desk.open()
