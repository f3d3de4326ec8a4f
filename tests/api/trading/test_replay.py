"""Dead letters: counted, confirmed, and replayed in a new round."""

from __future__ import annotations

import asyncio
from typing import TYPE_CHECKING, Any
from uuid import uuid4

import pytest

from tests.api.operator import log_of
from tests.api.trading.receiver import always, take

if TYPE_CHECKING:
    from uuid import UUID

    from tests.api.conftest import AppServer
    from tests.api.trading.desk import Desk

REPLAY = "dead-letters/replay"
FORWARDED = ["forwarding", "forwarded"]


async def listed(app: AppServer, **query: Any) -> dict[str, Any]:
    """Return a page of dead letters."""
    headers = {"Authorization": f"Bearer {app.context.settings.admin_token}"}
    async with app.http.get("/admin/dead-letters", params=query, headers=headers) as answer:
        page: dict[str, Any] = await answer.json()
        assert answer.status == 200, page
        return page


async def refused(desk: Desk, app: AppServer, *tickers: str) -> list[UUID]:
    """Send buys of these tickers, which the destination refuses."""
    desk.receiver.answer = always(400)
    ids = [await desk.send(app, ticker, "buy") for ticker in tickers]
    for signal_id in ids:
        assert (await desk.until(app, signal_id))["status"] == "failed"
    desk.receiver.answer = take
    return ids


async def test_a_replay_is_counted_first_and_leaves_with_an_id_of_its_own(desk: Desk) -> None:
    app = await desk.open()
    (buy,) = await refused(desk, app, "AAPL")
    before = await desk.signal(buy)
    counted = await desk.order(app, REPLAY, ids=[str(buy)])
    assert counted == {"count": 1, "may_be_executed": 0, "blocked": [], "replayed": 0}
    assert (await desk.signal(buy))["status"] == "failed"
    assert (await desk.order(app, REPLAY, ids=[str(buy)], confirm=1))["replayed"] == 1
    after = await desk.until(app, buy, "forwarded")
    assert (after["round"], after["attempts"]) == (2, 1)
    assert after["expires_at"] > before["expires_at"]
    assert [got.webhook_id for got in desk.receiver.received] == [str(buy), f"{buy}.r2"]
    assert desk.receiver.received[1].body == desk.receiver.received[0].body
    assert await desk.story(buy) == ["received", "approved", "forwarding", "failed", "approved", *FORWARDED]
    assert [(row["round"], row["number"]) for row in await desk.attempts(buy)] == [(1, 1), (2, 1)]
    assert await desk.open_positions() == {"AAPL": 1}
    assert (await listed(app))["dead_letters"] == []


async def test_a_replay_of_an_expired_signal_has_a_new_age(desk: Desk) -> None:
    desk.receiver.answer = always(503)
    desk.configure("webhook", retry_seconds=[0.1], max_signal_age_seconds={"buy": 1})
    app = await desk.open()
    buy = await desk.send(app, "AAPL", "buy")
    assert (await desk.until(app, buy))["status"] == "expired"
    desk.receiver.answer = take
    assert (await desk.order(app, REPLAY, confirm=1))["replayed"] == 1
    assert (await desk.until(app, buy))["status"] == "forwarded"


async def test_a_count_that_is_not_what_was_confirmed_sends_nothing(desk: Desk) -> None:
    app = await desk.open()
    await refused(desk, app, "AAPL", "NVDA")
    for confirm in (0, 1, 3):
        said = await desk.order(app, REPLAY, 409, confirm=confirm)
        assert f"the count has changed from {confirm} to 2" in said["detail"]
        (*_, action, _, before, after, result) = (await log_of(app))[-1]
        assert (action, before, after) == ("dead-letters.replay", {"confirm": confirm}, None)
        assert result == f"refused: {said['detail']}"
    assert len(desk.receiver.received) == 2
    assert (await desk.order(app, REPLAY, ticker="NVDA"))["count"] == 1
    assert (await desk.order(app, REPLAY, status="expired"))["count"] == 0
    assert (await desk.order(app, REPLAY, ids=[str(uuid4())]))["count"] == 0
    assert (await desk.order(app, REPLAY, confirm=2))["replayed"] == 2
    await desk.settled(app)
    assert await desk.open_positions() == {"AAPL": 1, "NVDA": 1}


async def test_two_simultaneous_replays_send_once(desk: Desk) -> None:
    app, other = await desk.open(), await desk.open()
    (buy,) = await refused(desk, app, "AAPL")
    body = {"ids": [str(buy)], "confirm": 1}
    headers = {"Authorization": f"Bearer {app.context.settings.admin_token}"}

    async def press(server: AppServer) -> int:
        async with server.http.post(f"/admin/{REPLAY}", json=body, headers=headers) as answer:
            return answer.status

    statuses = await asyncio.gather(*(press(server) for server in (app, other, app, other)))
    assert sorted(statuses) == [200, 409, 409, 409]
    await desk.until(app, buy, "forwarded")
    assert [got.webhook_id for got in desk.receiver.received] == [str(buy), f"{buy}.r2"]


async def test_a_later_pending_order_blocks_and_several_of_a_ticker_keep_their_order(desk: Desk) -> None:
    app = await desk.open()
    first, second = await refused(desk, app, "AAPL", "AAPL")
    desk.receiver.answer = always(503)
    later = await desk.send(app, "AAPL", "buy")
    await desk.until(app, later, "approved", "forwarding")
    counted = await desk.order(app, REPLAY)
    assert (counted["count"], counted["blocked"]) == (0, [str(first), str(second)])
    assert all(letter["blocked"] for letter in (await listed(app))["dead_letters"])
    desk.receiver.answer = take
    await desk.until(app, later, "forwarded")
    await desk.order(app, REPLAY, confirm=2)
    await desk.settled(app)
    assert [got.webhook_id for got in desk.receiver.received][-2:] == [f"{first}.r2", f"{second}.r2"]
    assert await desk.open_positions() == {"AAPL": 3}


async def test_a_replayed_sell_closes_the_position_that_it_left_open(desk: Desk) -> None:
    app = await desk.open()
    await desk.until(app, await desk.send(app, "AAPL", "buy"))
    desk.receiver.answer = always(400)
    sell = await desk.send(app, "AAPL", "sell")
    await desk.until(app, sell, "failed")
    assert await desk.open_positions() == {"AAPL": 1}
    desk.receiver.answer = take
    await desk.order(app, REPLAY, ids=[str(sell)], confirm=1)
    await desk.until(app, sell, "forwarded")
    assert await desk.open_positions() == {}


async def test_dead_letters_are_listed_by_pages(desk: Desk) -> None:
    app = await desk.open()
    ids = await refused(desk, app, "AAPL", "NVDA", "TSLA")
    first = await listed(app, limit=2)
    assert [letter["id"] for letter in first["dead_letters"]] == [str(ids[2]), str(ids[1])]
    rest = await listed(app, limit=2, cursor=first["next_cursor"])
    assert [letter["id"] for letter in rest["dead_letters"]] == [str(ids[0])]
    assert rest["next_cursor"] is None
    assert [letter["ticker"] for letter in (await listed(app, ticker="nvda"))["dead_letters"]] == ["NVDA"]
    assert (await listed(app, status="expired"))["dead_letters"] == []


@pytest.mark.parametrize(
    "body", [{"ids": []}, {"ids": ["x"]}, {"status": "forwarded"}, {"ticker": "a\0b"}, {"confirm": -1}]
)
async def test_an_odd_choice_is_refused(desk: Desk, body: dict[str, Any]) -> None:
    await desk.order(await desk.open(), REPLAY, 422, **body)


async def test_a_replay_is_in_the_actions_log_and_a_count_is_not(desk: Desk) -> None:
    app = await desk.open()
    await refused(desk, app, "AAPL")
    await desk.order(app, REPLAY, ticker="AAPL")
    assert await log_of(app) == []
    await desk.order(app, REPLAY, ticker="AAPL", confirm=1)
    ((*_, action, target, before, after, result),) = await log_of(app)
    assert (action, target, result) == ("dead-letters.replay", "", "done")
    assert (before, after) == ({"ticker": "AAPL", "confirm": 1}, {"replayed": 1})


async def test_imported_history_is_not_replayed(desk: Desk) -> None:
    app = await desk.open()
    await refused(desk, app, "AAPL")
    await desk.database.execute("UPDATE signals SET imported_at = now()")
    assert (await listed(app))["dead_letters"] == []
    assert (await desk.order(app, REPLAY))["count"] == 0
