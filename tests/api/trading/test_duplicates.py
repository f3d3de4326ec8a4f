"""An equal alert is resolved by the result of the first one: the rules, row by row."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING
from uuid import UUID

import pytest
from prometheus_client import REGISTRY

from tests.api.operator import ask
from tests.api.trading.posts import (
    BUY,
    SELL,
    in_one_batch,
    is_new,
    nothing_is_decided,
    post,
    stored,
)
from tests.api.trading.receiver import always

if TYPE_CHECKING:
    import io
    from collections.abc import Awaitable, Callable

    from tests.api.conftest import AppServer
    from tests.api.trading.desk import Desk

PARTIAL_EXIT = {**SELL, "quantity": 5}
# The same alert as senders write it: other order of fields, whitespace, a secret in it.
SPELLINGS = (
    b'{"ticker":"AAPL","action":"buy"}',
    b'{ "action" : "buy",\n"ticker": "AAPL" }',
    b'{"secret":"x","ticker":"AAPL","action":"buy"}',
)


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
            "duplicate: the same alert was received again",
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

    async def test_a_locked_key_keeps_the_order_of_its_ticker(self, desk: Desk) -> None:
        desk.receiver.answer = always(400)
        app = await desk.open()
        await desk.until(app, UUID((await post(app, BUY))["signal_id"]), "failed")
        desk.receiver.answer = always(200)
        part = {**SELL, "quantity": 1, "sentiment": "long"}  # which ends no buy before it
        await in_one_batch(desk, app, (post(app, alert) for alert in (BUY, part)))
        await desk.settled(app)
        assert [received.alert["action"] for received in desk.receiver.received[1:]] == ["buy", "exit"]
        assert await desk.open_positions() == {"AAPL": 1}

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
    """A header of the sender identifies the same alert."""

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
        # the exits are not rejected: an alert that was rejected may come again
        await desk.until(app, await desk.send(app, "AAPL", "buy"), "forwarded")
        for key in ("one", "two"):
            assert not (await post(app, PARTIAL_EXIT, **{"Idempotency-Key": key}))["duplicate"]
        assert not await is_new(app, PARTIAL_EXIT)
        assert await stored(desk) == 3


def swallowed() -> float:
    """Return the metric of swallowed exits."""
    return REGISTRY.get_sample_value("partial_exits_duplicate_total") or 0.0


class TestPartialExits:
    """A partial exit resolved as a duplicate may leave shares: it is shown."""

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
        assert reasons[-1] == "duplicate: the same partial exit was received again; it is not executed"
        codes = await desk.database.fetch(
            "SELECT reason_code FROM signal_events WHERE reason = $1", reasons[-1]
        )
        assert [code for (code,) in codes] == ["resent_partial_exit"]
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
        assert reasons[-1] == "duplicate: the same alert was received again"
        assert swallowed() == before
        assert "partial exit" not in logged.getvalue()
