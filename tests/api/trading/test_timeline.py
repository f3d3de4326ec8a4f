"""`/admin/signals/{id}` shows a signal's whole timeline, whatever its outcome."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING, Any

from app.signals.reasons import ReasonCode, stored_reason
from tests.api.operator import ask
from tests.api.trading.receiver import always, in_turn, take

if TYPE_CHECKING:
    from uuid import UUID

    from tests.api.conftest import AppServer
    from tests.api.trading.desk import Desk


async def fetch_timeline(app: AppServer, signal_id: UUID) -> dict[str, Any]:
    """Return the timeline, and assert that it is complete."""
    told: dict[str, Any] = await ask(app, "GET", f"/admin/signals/{signal_id}")
    moments = [told["signal"]["received_at"], *(event["at"] for event in told["events"])]
    assert moments == sorted(moments)
    assert told["events"][0]["status"] == "received"
    assert (told["events"][-1]["status"], told["events"][-1]["reason"]) == (
        told["signal"]["status"],
        told["signal"]["reason"],
    )
    assert all(attempt["ended_at"] and attempt["outcome"] for attempt in told["attempts"])
    return told


def of_kind(told: dict[str, Any], status: str) -> list[tuple[str, dict[str, Any]]]:
    """Return the reasons and facts with which the signal entered a status."""
    return [(event["reason"], event["detail"]) for event in told["events"] if event["status"] == status]


async def check_codes(desk: Desk) -> None:
    """Check that every stored text is what its code and parameters render."""
    rows = await desk.database.fetch(
        """SELECT reason, reason_code, reason_params FROM signals
           UNION ALL SELECT reason, reason_code, reason_params FROM signal_events WHERE reason <> ''
           UNION ALL SELECT error, error_code, error_params FROM attempts WHERE error IS NOT NULL
           UNION ALL SELECT reason, reason_code, reason_params FROM refused_posts
           UNION ALL SELECT reason, reason_code, reason_params FROM destinations"""
    )
    assert rows
    for text, code, params in rows:
        assert stored_reason(text, code, json.loads(params or "null")).code is not ReasonCode.OTHER, text


async def test_the_timeline_of_a_delivered_buy_reaches_from_arrival_to_position(desk: Desk) -> None:
    desk.configure("webhook", retry_seconds=[0.2])
    desk.receiver.answer = in_turn(503)
    app = await desk.open()
    buy = await desk.send(app, "NVDA", "buy", note="x")
    await desk.until(app, buy, "forwarded")
    told = await fetch_timeline(app, buy)
    assert told["body"] == '{"ticker": "NVDA", "side": "buy", "number": 0, "note": "x"}'
    assert [event["status"] for event in told["events"]] == [
        *("received", "approved", "forwarding", "approved", "forwarding", "forwarded")
    ]
    (decided, facts), (failed, failure) = of_kind(told, "approved")
    assert decided == "rank 2 of 3"
    assert (facts["rank"], facts["list_size"]) == (2, 3)
    assert 0 <= facts["list_age_seconds"] < 60
    assert failed == "not accepted: HTTP 503; will be retried"
    assert (failure["outcome"], failure["http_status"]) == ("not_taken", 503)
    assert failure["retry_in_seconds"] > 0
    assert [facts["attempt"] for _, facts in of_kind(told, "forwarding")] == [1, 2]
    assert of_kind(told, "forwarded")[0][1] == {"http_status": 200, "position": "opened"}
    outcomes = [(got["number"], got["outcome"], got["http_status"]) for got in told["attempts"]]
    assert outcomes == [(1, "not_taken", 503), (2, "delivered", 200)]
    assert {got["webhook_id"] for got in told["attempts"]} == {str(buy)}

    again = await desk.send(app, "NVDA", "buy")
    await desk.until(app, again, "forwarded")
    sell = await desk.send(app, "NVDA", "sell")
    await desk.until(app, sell, "forwarded")
    assert of_kind(await fetch_timeline(app, again), "forwarded")[0][1]["position"] == "counted up"
    assert of_kind(await fetch_timeline(app, sell), "forwarded")[0][1]["position"] == "closed"
    assert of_kind(await fetch_timeline(app, sell), "approved")[0][1]["position_open"] in {True, False}
    await check_codes(desk)


async def test_the_timeline_of_signals_that_were_never_sent(desk: Desk) -> None:
    desk.configure("webhook", max_signal_age_seconds={"buy": 1}, retry_seconds=[0.1])
    app = await desk.open()
    outside = await desk.send(app, "ZZZ", "buy")
    await desk.until(app, outside, "rejected")
    ((reason, facts),) = of_kind(await fetch_timeline(app, outside), "rejected")
    assert (reason, facts["rank"], facts["list_size"]) == ("not in the Top-3", None, 3)
    assert facts["list_age_seconds"] >= 0
    sell = await desk.send(app, "AAPL", "sell")
    await desk.until(app, sell, "rejected")
    assert of_kind(await fetch_timeline(app, sell), "rejected") == [
        ("no position is open and no buy is pending", {"position_open": False, "buy_on_its_way": False})
    ]
    odd = await desk.send(app, "AAPL", "short")
    assert "short selling" in (await fetch_timeline(app, odd))["signal"]["reason"]
    desk.receiver.answer = always(503)
    late = await desk.send(app, "AAPL", "buy")
    await desk.until(app, late, "expired")
    assert (await fetch_timeline(app, late))["signal"]["reason"].startswith("expired; last: not accepted")
    await check_codes(desk)


async def test_the_timeline_of_a_refused_buy_that_a_person_replays(desk: Desk) -> None:
    app = await desk.open()
    desk.receiver.answer = always(400)
    buy = await desk.send(app, "AAPL", "buy")
    await desk.until(app, buy, "failed")
    desk.receiver.answer = take
    await desk.order(app, "dead-letters/replay", ids=[str(buy)], confirm=1)
    await desk.until(app, buy, "forwarded")
    told = await fetch_timeline(app, buy)
    assert ("replayed by a person", {"round": 2}) in of_kind(told, "approved")
    assert [(got["round"], got["outcome"]) for got in told["attempts"]] == [(1, "refused"), (2, "delivered")]
    await check_codes(desk)


async def test_the_timeline_of_a_manual_order(desk: Desk) -> None:
    app = await desk.open()
    await desk.until(app, await desk.send(app, "AAPL", "buy"), "forwarded")
    (ordered,) = (await desk.order(app, "order/sell-all", 202))["orders"]
    row = await desk.database.fetchrow("SELECT id FROM signals WHERE type = 'sell_all'")
    assert row is not None
    assert str(row["id"]) == ordered["signal_id"]
    await desk.until(app, row["id"], "forwarded")
    told = await fetch_timeline(app, row["id"])
    assert of_kind(told, "approved") == [("manual order", {})]
    assert of_kind(told, "forwarded")[0][1]["position"] == "closed"
    await check_codes(desk)
