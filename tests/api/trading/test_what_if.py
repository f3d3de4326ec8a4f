"""What-if on a real database: it gives every decision again, says what differs, and changes nothing."""

from __future__ import annotations

import asyncio
import json
from contextlib import AsyncExitStack
from datetime import UTC, datetime, timedelta
from typing import TYPE_CHECKING, Any

from app.ops import retention
from tests.api.operator import BEARER, ask

if TYPE_CHECKING:
    from tests.api.conftest import AppServer
    from tests.api.trading.desk import Desk

TICKERS = "AAPL,NVDA,TSLA,MSFT,AMD"
SECONDS = 30


def request(**rules: Any) -> dict[str, Any]:
    """The body for all of today and the day before."""
    now = datetime.now(UTC)
    return {
        "from": (now - timedelta(days=1)).isoformat(),
        "to": (now + timedelta(days=1)).isoformat(),
        **rules,
    }


async def what_if(app: AppServer, language: str = "en", **rules: Any) -> Any:
    """The comparison."""
    return (await answer_of(app, language, **rules))["comparison"]


async def answer_of(app: AppServer, language: str = "en", **rules: Any) -> Any:
    """The result; the lines before it have a progress that never goes back."""
    headers = {**BEARER, "Accept-Language": language}
    async with app.http.post("/admin/what-if", json=request(**rules), headers=headers) as answer:
        assert answer.status == 200, await answer.text()
        assert answer.content_type == "text/x-ndjson"
        lines = [json.loads(line) for line in (await answer.read()).splitlines()]
    progress = [line["progress"] for line in lines]
    assert progress == sorted(progress)
    assert [line["problem"] for line in lines] == [None] * len(lines)
    assert [line["result"] is None for line in lines] == [True] * (len(lines) - 1) + [False]
    return lines[-1]["result"]


async def trade(desk: Desk, app: AppServer) -> None:
    """Send alerts of all kinds, alone and in a burst."""
    alerts: list[tuple[str, str, dict[str, Any]]] = [
        ("AAPL", "buy", {"quantity": 10, "price": 100}),
        ("TSLA", "buy", {"quantity": 10, "price": 50}),
        ("AAPL", "buy", {"quantity": 5, "price": 101}),
        ("AAPL", "sell", {"quantity": 5, "sentiment": "long", "price": 110}),
        ("MSFT", "buy", {"price": 10}),
        ("MSFT", "sell", {}),
        ("AAPL", "sell", {"sentiment": "flat", "price": 120}),
        ("TSLA", "sell", {"price": 55}),
        ("NVDA", "add", {}),
        ("NVDA", "cancel", {}),
        ("ZZZ", "hold", {}),
    ]
    for ticker, side, fields in alerts:
        await desk.until(app, await desk.send(app, ticker, side, action=side, **fields))
    burst = [
        {"ticker": ticker, "action": side, "quantity": number, "n": number}
        for number, (ticker, side) in enumerate(
            [("AAPL", "buy"), ("AAPL", "sell"), ("NVDA", "buy"), ("AMD", "buy"), ("NVDA", "exit")] * 8, 1
        )
    ]
    await asyncio.gather(*(desk.post(app, alert) for alert in burst))
    await desk.settled(app)


async def test_with_the_rules_of_then_every_decision_is_reproduced(desk: Desk) -> None:
    desk.watch(f"list:{TICKERS}", top_n=2)
    desk.configure("system", risk={"max_open_positions": 3, "cooldown_seconds": 1, "max_buys_per_day": 9})
    app = await desk.open()
    await trade(desk, app)
    decided = await desk.database.fetch(
        """SELECT DISTINCT ON (signal_id) status FROM signal_events
           WHERE status IN ('approved', 'rejected', 'expired')
             AND signal_id IN (SELECT unnest(signal_ids) FROM decision_batches)
           ORDER BY signal_id, id"""
    )
    undecided = await desk.database.fetch(
        """SELECT DISTINCT reason_code FROM signals
           WHERE id NOT IN (SELECT unnest(signal_ids) FROM decision_batches)"""
    )
    # rejected on its arrival, or ended by an exit before it was decided
    assert {row["reason_code"] for row in undecided} <= {"unknown_word", "overtaken"}
    before = await contents(desk)
    found = await what_if(app)
    assert found["reproduced"] == found["decisions"] == len(decided) > 20
    assert (found["differences"], found["removed"]) == ([], 0)
    assert found["then"] == found["now"]
    for status in ("approved", "rejected", "expired"):
        assert found["then"][status] == sum(row["status"] == status for row in decided)
    named = await what_if(app, strategy="desk", risk={"max_open_positions": 3})
    assert named["differences"] == []
    assert await contents(desk) == before


async def contents(desk: Desk) -> Any:
    """Everything that a what-if must not change."""
    return await desk.database.fetch(
        """SELECT (SELECT jsonb_agg(s ORDER BY id) FROM signals s) AS signals,
                  (SELECT jsonb_agg(e ORDER BY id) FROM signal_events e) AS events,
                  (SELECT jsonb_agg(p ORDER BY id) FROM positions p) AS positions,
                  (SELECT count(*) FROM attempts) AS attempts, (SELECT count(*) FROM actions) AS actions,
                  (SELECT count(*) FROM decision_batches) AS batches"""
    )


async def test_a_longer_list_says_what_it_would_have_approved_and_what_that_came_to(desk: Desk) -> None:
    desk.watch(f"list:{TICKERS}", top_n=2)
    app = await desk.open()
    buy = await desk.send(app, "TSLA", "buy", quantity=10, price=50)
    assert (await desk.until(app, buy))["reason"] == "not in the Top-2"
    sell = await desk.send(app, "TSLA", "sell", price=55.5)
    await desk.until(app, sell)
    await desk.until(app, await desk.send(app, "NVDA", "buy"))
    found = await what_if(app, top_n=3)
    assert (found["then"]["approved"], found["now"]["approved"], found["newly_approved"]) == (1, 3, 2)
    first, second = found["differences"]
    assert (first["signal_id"], second["signal_id"]) == (str(buy), str(sell))
    assert first["then"] == {"status": "rejected", "reason": "not in the Top-2", "rank": None}
    assert first["now"] == {"status": "approved", "reason": "rank 3 of 3", "rank": 3}
    assert (first["price"], first["result"], found["now"]["result"]) == ("50", "55.0", "55.0")
    in_portuguese = await what_if(app, "pt-BR", top_n=3)
    assert in_portuguese["differences"][0]["then"]["reason"] == "fora do Top-2"
    shorter = await what_if(app, top_n=1)
    assert (shorter["no_longer_approved"], shorter["now"]["approved"]) == (1, 0)
    paused = await what_if(app, risk={"buys": "off"})
    assert [each["now"]["status"] for each in paused["differences"]] == ["rejected"]


async def test_signals_that_are_removed_are_counted(desk: Desk) -> None:
    app = await desk.open()
    for ticker in ("AAPL", "NVDA"):
        await desk.until(app, await desk.send(app, ticker, "buy"))
    await desk.database.execute("DELETE FROM signals WHERE ticker = 'AAPL'")
    found = await what_if(app)
    assert (found["decisions"], found["removed"]) == (1, 1)


async def test_what_retention_has_removed_is_named(desk: Desk) -> None:
    app = await desk.open()
    for ticker in ("AAPL", "NVDA", "TSLA"):
        await desk.until(app, await desk.send(app, ticker, "buy"))
    await desk.database.execute(
        """UPDATE decision_batches SET at = at - interval '40 days'
           WHERE id = (SELECT min(id) FROM decision_batches);
           UPDATE list_refreshes SET at = at - interval '40 days';
           UPDATE signals
           SET received_at = received_at - interval '40 days', status_at = status_at - interval '40 days'
           WHERE ticker = 'NVDA'"""
    )
    await retention.sweep(app.context.pool, 30, beat=lambda: None)
    start = (datetime.now(UTC) - timedelta(days=60)).isoformat()
    result = await answer_of(app, top_n=2, **{"from": start})
    found = result["comparison"]
    assert datetime.fromisoformat(result["recorded_from"]) > datetime.now(UTC) - timedelta(days=1)
    assert (found["decisions"], found["reproduced"], found["removed"]) == (1, 1, 1)
    assert (found["gaps"]["no_list"], found["differences"]) == (1, [])


async def test_it_needs_no_connection_of_decisions_and_deliveries(desk: Desk) -> None:
    app = await desk.open()
    await desk.until(app, await desk.send(app, "AAPL", "buy"))
    pool = app.context.pool
    async with AsyncExitStack() as held:
        for _ in range(pool.get_max_size() - 1):  # intake holds the other one
            await held.enter_async_context(pool.acquire())
        assert (await what_if(app, top_n=1))["decisions"] == 1


async def test_what_another_transaction_ended_meanwhile_is_no_decision(desk: Desk) -> None:
    """Its update finds no row, as after `expire` of another process."""
    app = await desk.open()
    await desk.database.execute(
        """CREATE FUNCTION pass_over() RETURNS trigger LANGUAGE plpgsql AS $$ BEGIN RETURN NULL; END $$;
           CREATE TRIGGER pass_over BEFORE UPDATE ON signals FOR EACH ROW
           WHEN (OLD.ticker = 'NVDA' AND OLD.status = 'received') EXECUTE FUNCTION pass_over()"""
    )
    buy = await desk.send(app, "NVDA", "buy")
    query = "SELECT inputs FROM decision_batches WHERE $1 = ANY (signal_ids)"

    async def is_recorded() -> bool:
        return bool(await desk.database.fetch(query, buy))

    await desk.wait(app, is_recorded, lambda: "no batch is recorded")
    await desk.database.execute("DROP TRIGGER pass_over ON signals")
    await desk.until(app, buy)
    first = json.loads(await desk.database.fetchval(f"{query} ORDER BY id", buy))
    assert first["ended"] == [0]
    found = await what_if(app)
    assert found["reproduced"] == found["decisions"] == 1


async def test_what_is_wrong_is_refused(desk: Desk) -> None:
    app = await desk.open()
    refused = await ask(app, "POST", "/admin/what-if", 404, request(strategy="nobody"))
    assert "nobody" in refused["detail"]
    refused = await ask(app, "POST", "/admin/what-if", 422, request(risk={"hours": "late"}))
    assert refused["place"] == "risk.hours"
    start = request()["from"]
    refused = await ask(app, "POST", "/admin/what-if", 422, request(to=start))
    assert "to must be later than from" in str(refused["detail"])
    for wrong in ({"top_n": 0}, {"max_age_seconds": 0}, {"until": 3}):
        await ask(app, "POST", "/admin/what-if", 422, request(**wrong))


async def test_closing_the_connection_cancels_it_and_another_one_waits_for_its_turn(desk: Desk) -> None:
    app = await desk.open()
    await desk.until(app, await desk.send(app, "AAPL", "buy"))
    await desk.database.execute(
        """INSERT INTO decision_batches (at, signal_ids, inputs)
           SELECT at + n * interval '1 ms', signal_ids, inputs
           FROM decision_batches, generate_series(1, 20000) AS n"""
    )
    turn = app.context.what_if_turn
    async with app.http.post("/admin/what-if", json=request(), headers=BEARER) as answer:
        async for line in answer.content:
            if json.loads(line)["progress"] > 0:
                break
        assert turn.locked()
        await ask(app, "POST", "/admin/what-if", 503, request())
        answer.close()
    async with asyncio.timeout(SECONDS), turn:
        pass


async def test_every_refresh_is_kept_with_the_tickers_below_the_list(desk: Desk) -> None:
    desk.watch(f"list:{TICKERS}", top_n=2, refresh_interval_sec=1)
    app = await desk.open()
    query = "SELECT top_n, further, is_whole, at, list_id FROM list_refreshes ORDER BY id"

    async def twice() -> bool:
        return len(await desk.database.fetch(query)) >= 2

    await desk.wait(app, twice, lambda: "no second refresh")
    first, second, *_ = await desk.database.fetch(query)
    assert (first["top_n"], first["further"], first["is_whole"]) == (2, ["TSLA", "MSFT", "AMD"], True)
    assert first["list_id"] == second["list_id"]
    assert first["at"] < second["at"]
    assert await desk.database.fetchval("SELECT tickers FROM top_n_lists") == ["AAPL", "NVDA"]
    desk.watch(f"list:{TICKERS}", top_n=3, depth=1)
    await app.app.state.config_store.look()

    async def is_larger() -> bool:
        query = "SELECT top_n, further, is_whole FROM list_refreshes ORDER BY id DESC LIMIT 1"
        return tuple(await desk.database.fetchrow(query) or ()) == (3, [], False)

    await desk.wait(app, is_larger, lambda: "the Top-N is not kept")
