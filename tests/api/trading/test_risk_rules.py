"""The risk rules over the API: entries are refused with a stored reason, exits always get out."""

from __future__ import annotations

import asyncio
from datetime import UTC, datetime, timedelta
from typing import TYPE_CHECKING, Any

import pytest

from app.db.pool import open_pool
from app.decision import worker
from app.decision.repository import Claim, claim_signals, try_lock_entry_limits
from app.decision.risk import RiskCounts, RiskRules
from app.decision.risk_facts import read_risk_counts
from app.orders.destination import destination_of
from app.orders.repository import lock_approvals_shared
from tests.api.operator import ask, health
from tests.api.trading.receiver import Received, always, take

if TYPE_CHECKING:
    from uuid import UUID

    from aiohttp import web

    from tests.api.conftest import AppServer
    from tests.api.trading.desk import Desk


async def risk(app: AppServer, **rules: Any) -> None:
    """Set risk rules; those that are not named stay."""
    await ask(app, "PUT", "/admin/system/config", body={"risk": rules})


async def outcome(desk: Desk, app: AppServer, ticker: str, side: str = "buy") -> tuple[str, str | None]:
    """Send an alert; return its final status and the code of its reason."""
    row = await desk.until(app, await desk.send(app, ticker, side))
    return row["status"], row["reason_code"]


async def until_rejected(desk: Desk, app: AppServer, *ids: UUID) -> list[str]:
    """Wait until these signals are rejected; return the codes of their reasons."""
    return [(await desk.until(app, each, "rejected"))["reason_code"] for each in ids]


async def timeline(app: AppServer, signal_id: UUID, language: str) -> str:
    """Return the page of a signal."""
    headers = {"Authorization": f"Bearer {app.context.settings.admin_token}", "Accept-Language": language}
    async with app.http.get(f"/admin/page/signals/{signal_id}", headers=headers) as answer:
        assert answer.status == 200
        return await answer.text()


async def test_stop_buying_ends_entries_that_have_not_left_and_lets_exits_pass(desk: Desk) -> None:
    app = await desk.open()
    assert await outcome(desk, app, "AAPL") == ("forwarded", "delivered")
    await desk.order(app, "delivery/pause")
    approved = await desk.send(app, "NVDA", "buy")
    await desk.until(app, approved, "approved")
    desk.watch("file:nothing.csv")  # there is no list, so the next buy waits for its decision
    await app.app.state.config_store.look()
    await app.context.pool.execute("DELETE FROM top_n_lists")
    waiting = await desk.send(app, "TSLA", "buy")
    exit_ = await desk.send(app, "AAPL", "sell")
    await desk.until(app, exit_, "approved")
    assert (await desk.signal(waiting))["status"] == "received"

    assert (await desk.order(app, "buys/pause"))["buys_paused"]
    assert await until_rejected(desk, app, approved, waiting) == ["buys_paused"] * 2
    desk.watch("list:AAPL,NVDA,TSLA")
    await app.app.state.config_store.look()
    later = await desk.send(app, "TSLA", "buy")
    assert await until_rejected(desk, app, later) == ["buys_paused"]
    assert await desk.story(later) == ["received", "rejected"]
    assert "buying is paused by an operator" in await timeline(app, later, "en")
    assert "as compras foram pausadas por um operador" in await timeline(app, later, "pt-BR")
    await desk.order(app, "delivery/resume")
    assert (await desk.until(app, exit_))["status"] == "forwarded"
    assert [(got.alert["ticker"], got.alert["action"]) for got in desk.receiver.received] == [
        ("AAPL", "buy"),
        ("AAPL", "exit"),
    ]
    assert (await health(app))[1]["buys"]["status"] == "degraded"
    assert (await ask(app, "GET", "/admin/status"))["status"]["buys_paused"]

    await desk.order(app, "buys/resume")
    assert (await health(app))[1]["buys"] == {"status": "ok"}
    assert await outcome(desk, app, "TSLA") == ("forwarded", "delivered")


@pytest.mark.parametrize("limited", [False, True])
async def test_an_attempted_buy_ends_instead_of_a_retry(desk: Desk, *, limited: bool) -> None:
    app = await desk.open(dest_webhook_rate_limiting_enabled=limited)
    assert await outcome(desk, app, "AAPL") == ("forwarded", "delivered")
    sent, answered = asyncio.Event(), asyncio.Event()

    async def refuse_later(_: Received) -> web.StreamResponse:
        sent.set()
        await answered.wait()
        return await always(503)(_)

    desk.receiver.answer = refuse_later
    buy = await desk.send(app, "NVDA", "buy")
    await sent.wait()
    await desk.order(app, "buys/pause")
    answered.set()
    assert await until_rejected(desk, app, buy) == ["buys_paused"]
    desk.receiver.answer = take
    assert await outcome(desk, app, "AAPL", "sell") == ("forwarded", "delivered")
    assert len([got for got in desk.receiver.received if got.alert["ticker"] == "NVDA"]) == 1


async def test_a_replay_leaves_entries_out_while_buying_is_paused(desk: Desk) -> None:
    app = await desk.open()
    assert await outcome(desk, app, "AAPL") == ("forwarded", "delivered")
    desk.receiver.answer = always(400)
    buy, sell = await desk.send(app, "NVDA", "buy"), await desk.send(app, "AAPL", "sell")
    assert [(await desk.until(app, each))["status"] for each in (buy, sell)] == ["failed", "failed"]
    desk.receiver.answer = take
    await desk.order(app, "buys/pause")
    counted = await desk.order(app, "dead-letters/replay")
    assert counted == {"count": 1, "may_be_executed": 0, "blocked": [str(buy)], "replayed": 0}
    assert (await desk.order(app, "dead-letters/replay", confirm=1))["replayed"] == 1
    await desk.until(app, sell, "forwarded")
    assert (await desk.signal(buy))["status"] == "failed"


async def test_each_rule_refuses_entries_with_its_reason_and_no_exit(desk: Desk) -> None:
    app = await desk.open()
    await risk(app, blocklist=["NASDAQ:NVDA"])
    assert await outcome(desk, app, "nvda") == ("rejected", "blocklisted")
    assert await outcome(desk, app, "AAPL") == ("forwarded", "delivered")

    elsewhere = datetime.now(UTC) + timedelta(hours=6 if datetime.now(UTC).hour < 12 else -6)
    await risk(app, blocklist=[], hours=f"{elsewhere:%H}:00-{elsewhere:%H}:01")
    status, code = await outcome(desk, app, "NVDA")
    assert (status, code in {"outside_hours", "exchange_closed"}) == ("rejected", True)

    await risk(app, hours=None, max_open_positions=1)
    rejected = await desk.until(app, await desk.send(app, "NVDA", "buy"))
    assert (rejected["reason"], rejected["reason_code"]) == (
        "open positions and pending buys: 1 of 1",
        "max_positions",
    )
    assert await outcome(desk, app, "AAPL", "sell") == ("forwarded", "delivered")
    assert await outcome(desk, app, "NVDA") == ("forwarded", "delivered")

    await risk(app, max_open_positions=None, cooldown_seconds=3600)
    assert await outcome(desk, app, "AAPL") == ("rejected", "cooldown")
    assert await outcome(desk, app, "TSLA") == ("forwarded", "delivered")

    await risk(app, cooldown_seconds=0, max_buys_per_day=3)
    assert await outcome(desk, app, "AAPL") == ("rejected", "max_buys")
    for ticker in ("NVDA", "TSLA"):
        assert await outcome(desk, app, ticker, "sell") == ("forwarded", "delivered")
    await risk(app, max_buys_per_day=4)
    assert await outcome(desk, app, "AAPL") == ("forwarded", "delivered")


async def test_limits_hold_for_a_burst_at_two_processes(desk: Desk) -> None:
    tickers = [f"T{number}" for number in range(24)]
    desk.watch(f"list:{','.join(tickers)}", top_n=len(tickers))
    desk.configure("system", risk={"max_open_positions": 5}, delivery_paused=True)
    apps = [await desk.open(), await desk.open()]
    ids = await asyncio.gather(
        *(desk.send(apps[number % 2], ticker, "buy") for number, ticker in enumerate(tickers))
    )
    rows = [await desk.until(apps[0], each, "approved", "rejected") for each in ids]
    assert [row["status"] for row in rows].count("approved") == 5
    assert {row["reason_code"] for row in rows if row["status"] == "rejected"} == {"max_positions"}
    await risk(apps[0], max_open_positions=None, max_buys_per_day=7)
    await apps[1].app.state.config_store.look()
    more = [await desk.send(apps[number % 2], f"T{number}", "buy", again=1) for number in range(8)]
    rows = [await desk.until(apps[0], each, "approved", "rejected") for each in more]
    assert [row["status"] for row in rows].count("approved") == 2
    assert {row["reason_code"] for row in rows if row["status"] == "rejected"} == {"max_buys"}


async def test_no_exit_waits_for_a_process_that_decides_entries_under_a_limit(desk: Desk) -> None:
    desk.configure("system", risk={"max_open_positions": 5})
    app = await desk.open()
    assert await outcome(desk, app, "AAPL") == ("forwarded", "delivered")
    async with desk.database.acquire() as other, other.transaction():

        async def is_locked() -> bool:
            return await try_lock_entry_limits(other)

        await desk.wait(app, is_locked, lambda: "the lock is held")
        await lock_approvals_shared(other)
        buy = await desk.send(app, "NVDA", "buy")
        assert await outcome(desk, app, "AAPL", "sell") == ("forwarded", "delivered")
        assert (await desk.signal(buy))["status"] == "received"
    assert (await desk.until(app, buy))["status"] == "forwarded"


@pytest.mark.parametrize(
    "rules",
    [{"max_open_positions": 5, "max_buys_per_day": 5}, {"max_buys_per_day": 5, "cooldown_seconds": 9}],
)
async def test_no_exit_waits_for_what_the_rules_count(desk: Desk, rules: dict[str, int]) -> None:
    desk.configure("system", risk=rules)
    app = await desk.open()
    assert await outcome(desk, app, "AAPL") == ("forwarded", "delivered")
    await desk.order(app, "delivery/pause")

    async def is_counting() -> bool:
        query = """SELECT count(*) FROM pg_stat_activity
                   WHERE datname = current_database() AND wait_event_type = 'Lock'
                     AND query LIKE '%buys_today%'"""
        return bool(await desk.database.fetchval(query))

    async with desk.database.acquire() as other, other.transaction():
        await other.execute("LOCK TABLE attempts")
        buy = await desk.send(app, "NVDA", "buy")
        await desk.wait(app, is_counting, lambda: "nothing is counted")
        exit_ = await desk.send(app, "AAPL", "sell")
        await desk.until(app, exit_, "approved")
        await desk.order(app, "order/sell-individual", 202, ticker="TSLA")
        assert (await desk.signal(buy))["status"] == "received"
    await desk.until(app, buy, "approved")


async def test_an_exit_is_decided_as_soon_as_the_entry_of_its_ticker_is(
    desk: Desk, monkeypatch: pytest.MonkeyPatch
) -> None:
    desk.configure("system", risk={"max_open_positions": 5})
    desk.watch("file:later.csv", refresh_interval_sec=3600)
    monkeypatch.setattr(worker, "POLL_SECONDS", 3600)  # nothing is found by chance
    app = await desk.open()
    buy = await desk.send(app, "AAPL", "buy")
    async with desk.database.acquire() as other, other.transaction():
        await other.execute(
            "SELECT FROM signals WHERE id = $1 FOR UPDATE", buy
        )  # as a batch that is deciding it
        exit_ = await desk.send(app, "AAPL", "sell")
        for ticker in ("NVDA", "TSLA"):  # none of another ticker waits
            assert (await desk.until(app, await desk.send(app, ticker, "sell")))["status"] == "rejected"
        await asyncio.sleep(0.5)  # until every wake-up of before has been used
        assert (await desk.signal(exit_))["status"] == "received"
    await desk.until(app, exit_)
    assert (await desk.until(app, buy))["reason_code"] == "overtaken"


async def test_exits_and_entries_that_are_decided_separately_keep_their_order(database_url: str) -> None:
    arrived = [
        *(("A", "sell", "close"), ("A", "buy", "open")),
        *(("B", "buy", "open"), ("B", "sell", "reduce"), ("B", "buy", "add"), ("B", "sell", "adjust")),
        *(("C", "buy", "open"), ("C", "sell", "close"), ("C", "buy", "open")),
    ]

    async def claimed(claim: Claim) -> list[int]:
        async with pool.acquire() as connection, connection.transaction():
            signals, *_ = await claim_signals(
                connection,
                claim=claim,
                limit=100,
                strategy="Long",
                is_frozen=False,
                destinations={"default": lambda *_: True},
            )
            return [each.seq - first for each in signals]

    async with await open_pool(database_url, 2) as pool:
        await pool.execute(
            "INSERT INTO top_n_lists (strategy, source, tickers) VALUES ('Long', 'list', '{A,B,C}')"
        )
        for ticker, kind, intent in arrived:
            await pool.execute(
                """INSERT INTO signals (id, status, type, intent, ticker, expires_at, body)
                   VALUES (gen_random_uuid(), 'received', $1, $2, $3, now() + interval '1 hour', '{}')""",
                *(kind, intent, ticker),
            )
        first = await pool.fetchval("SELECT min(seq) FROM signals")
        assert await claimed(Claim.ALL) == list(range(9))
        # what closes passes the entries before it; a part and an adjustment wait for what they are about
        assert await claimed(Claim.EXITS) == [0, 7]
        # no entry passes an exit
        assert await claimed(Claim.ENTRIES) == [2, 6]
        for claim, free in ((Claim.ENTRIES, [0]), (Claim.ALL, [])):
            async with pool.acquire() as other, other.transaction():
                await claim_signals(
                    other,
                    claim=claim,
                    limit=100,
                    strategy="Long",
                    is_frozen=False,
                    destinations={"default": lambda *_: True},
                )
                # no exit waits for a row: those of tickers that another batch decides are left to a later one
                assert await claimed(Claim.EXITS) == free
        async with pool.acquire() as other, other.transaction():
            await other.execute(
                "UPDATE signals SET status = 'approved' WHERE ticker = 'B' AND seq = $1", first + 2
            )
            # nothing waits for a row that another transaction has locked
            assert await claimed(Claim.ENTRIES) == [6]
        assert await claimed(Claim.EXITS) == [0, 3, 7]
        assert await claimed(Claim.ENTRIES) == [6]
        # a part of what is open passes as well
        await pool.execute("UPDATE signals SET intent = 'reduce' WHERE seq = $1", first + 7)
        assert await claimed(Claim.EXITS) == [0, 3]
        await pool.execute("INSERT INTO positions (ticker) VALUES ('C')")
        assert await claimed(Claim.EXITS) == [0, 3, 7]


async def test_reprocessing_goes_through_the_rules(desk: Desk) -> None:
    app = await desk.open()
    buys = {ticker: await desk.send(app, ticker, "buy") for ticker in ("AMD", "INTC", "MU", "QCOM")}
    for buy in buys.values():
        assert (await desk.until(app, buy))["reason_code"] == "not_listed"
    desk.watch("list:AMD,INTC,MU,QCOM", reprocess_max_age_seconds=0, reprocess_window_seconds=0)
    await app.app.state.config_store.look()
    await desk.order(app, "engine/manual-refresh", 202)
    await risk(app, blocklist=["AMD"], max_open_positions=2)

    async def is_listed() -> bool:
        query = "SELECT count(*) FROM top_n_lists WHERE 'MU' = ANY (tickers)"
        return bool(await desk.database.fetchval(query))

    await desk.wait(app, is_listed, lambda: "the list was not refreshed")
    skipped = {
        "AMD": "AMD is on the blocklist",
        "QCOM": "open positions and pending buys: 2 of 2",
    }
    for dry_run in (True, False):
        said = await desk.order(app, "reprocessing/trigger", dry_run=dry_run)
        assert [each["ticker"] for each in said["signals"]] == ["INTC", "MU"]
        assert {each["ticker"]: each["reason"] for each in said["skipped"]} == skipped
        assert (await desk.signal(buys["AMD"]))["reason_code"] == ("not_listed" if dry_run else "blocklisted")
    assert (await desk.signal(buys["QCOM"]))["reason"] == skipped["QCOM"]
    assert await desk.story(buys["AMD"]) == ["received", "rejected", "rejected"]
    assert (await desk.until(app, buys["MU"]))["status"] == "forwarded"


PAPER = destination_of(None)


async def test_without_a_rule_that_counts_nothing_is_read() -> None:
    at = datetime.now(UTC)
    nobody: Any = None
    rules = RiskRules(buys_paused=True, blocklist=frozenset({"A"}))
    counts = await read_risk_counts(nobody, rules, now=at, destination=PAPER, tickers=["A"])
    assert counts == RiskCounts()
    limited = RiskRules(max_buys_per_day=1)
    await read_risk_counts(nobody, limited, now=at, destination=PAPER, tickers=[], has_entries=False)
    with pytest.raises(AttributeError):
        await read_risk_counts(nobody, limited, now=at, destination=PAPER, tickers=[])
