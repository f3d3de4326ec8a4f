"""A destination is live or on paper as long as anything is open there, whatever .env says at a start."""

from __future__ import annotations

import asyncio
from datetime import UTC, datetime
from typing import TYPE_CHECKING
from uuid import uuid4

from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from app.config import kinds, repository
from app.config.model import WEBHOOK_FILE, merge
from app.db.pool import open_pool
from app.db.queries import load
from app.orders.repository import lock_approvals_exclusive
from tests.api.operator import alarms, ask, health
from tests.api.trading.test_destinations import live, opened, orders_of
from tests.api.trading.test_what_if import what_if

if TYPE_CHECKING:
    from collections.abc import Callable
    from uuid import UUID

    from app.config.model import Config
    from app.db.pool import Connection, Pool
    from app.settings import Settings
    from tests.api.conftest import AppServer
    from tests.api.trading.desk import Desk
    from tests.api.trading.receiver import Receiver

__all__ = ["live"]  # the fixture

URL = "http://127.0.0.1:9/hook"


async def restarted(desk: Desk, app: AppServer, *, live: bool) -> AppServer:
    """Start the application again, with DEST_WEBHOOK_URL or without it."""
    app.stop()
    return await desk.open(live=live)


async def on_paper(desk: Desk) -> list[str]:
    """Return the tickers that were delivered on paper, in order."""
    rows = await desk.database.fetch(
        "SELECT convert_from(body, 'UTF8')::json ->> 'ticker' AS ticker FROM paper_deliveries ORDER BY id"
    )
    return [row["ticker"] for row in rows]


async def mark_closed(desk: Desk, app: AppServer) -> None:
    """Mark all positions closed, and wait until `default` delivers as it is configured."""
    for each in (await ask(app, "GET", "/admin/positions"))["positions"]:
        await desk.order(app, "order/mark-closed", position_id=each["id"], reason="by hand")

    async def is_configured() -> bool:
        listed = (await ask(app, "GET", "/admin/destinations"))["destinations"]
        return bool(listed[0]["state"] == "open")

    await desk.wait(app, is_configured, lambda: "`default` is not configured")


async def assert_waits(desk: Desk, app: AppServer, ticker: str) -> UUID:
    """Send an exit; it waits for its destination, which an alarm and health say. Return it."""
    exit_ = await desk.send(app, ticker, "exit")
    waiting = await desk.until(app, exit_, "approved", "forwarded", "rejected")
    assert (waiting["status"], waiting["reason_code"]) == ("approved", "destination_missing")

    async def is_seen() -> bool:
        reason = (await health(app))[1]["destination"].get("reason", "")
        return str(reason).startswith("not configured")

    await desk.wait(app, is_seen, lambda: "health does not say it")
    (wait,) = (await ask(app, "GET", f"/admin/signals/{exit_}"))["waits"]
    assert wait["code"] == "destination"
    status = await ask(app, "GET", "/admin/status")
    (alarm,) = [each for each in status["alarms"] if each["code"] == "destination_missing"]
    assert (alarm["subject"], alarm["severity"]) == ("default", "critical")
    return exit_


async def test_an_emptied_url_sends_no_exit_to_paper(desk: Desk) -> None:
    """Its broker holds the shares. The exit leaves once the URL is there again."""
    app = await desk.open()
    await desk.until(app, await desk.send(app, "AAPL", "buy"), "forwarded")
    app = await restarted(desk, app, live=False)
    exit_ = await assert_waits(desk, app, "AAPL")
    buy = await desk.until(app, await desk.send(app, "NVDA", "buy"))
    assert (buy["status"], buy["reason_code"]) == ("rejected", "no_destination")
    for path, given_ in (
        ("positions/adopt", {"ticker": "TSLA", "destination": "default"}),
        ("order/sell-individual", {"ticker": "TSLA"}),
    ):
        assert "default" in (await ask(app, "POST", f"/admin/{path}", 409, given_))["detail"]
    found = await what_if(app)
    assert (found["reproduced"], found["differences"]) == (found["decisions"], [])
    assert (len(desk.receiver.received), await on_paper(desk)) == (1, [])
    app = await restarted(desk, app, live=True)
    await desk.until(app, exit_, "forwarded")
    assert [got.alert["action"] for got in desk.receiver.received] == ["buy", "exit"]
    assert await on_paper(desk) == []
    assert "destination_missing" not in await alarms(app)


async def test_what_is_open_after_an_emptied_url_is_closed_by_hand(desk: Desk) -> None:
    """Then `default` is on paper. The exit that waits finds nothing to close."""
    app = await desk.open()
    await desk.until(app, await desk.send(app, "AAPL", "buy"), "forwarded")
    app = await restarted(desk, app, live=False)
    exit_ = await assert_waits(desk, app, "AAPL")
    await mark_closed(desk, app)
    assert (await desk.until(app, exit_))["reason_code"] == "closed_before"
    await desk.until(app, await desk.send(app, "NVDA", "buy"), "forwarded")
    assert (len(desk.receiver.received), await on_paper(desk)) == (1, ["NVDA"])
    assert "destination_missing" not in await alarms(app)


async def test_a_new_url_sends_no_exit_of_shares_on_paper(desk: Desk) -> None:
    """A broker that never held them could open a short."""
    app = await desk.open(live=False)
    await desk.until(app, await desk.send(app, "AAPL", "buy"), "forwarded")
    app = await restarted(desk, app, live=True)
    exit_ = await assert_waits(desk, app, "AAPL")
    await mark_closed(desk, app)
    assert (await desk.until(app, exit_))["reason_code"] == "closed_before"
    await desk.until(app, await desk.send(app, "NVDA", "buy"), "forwarded")
    assert [got.alert["ticker"] for got in desk.receiver.received] == ["NVDA"]
    assert await on_paper(desk) == ["AAPL"]


async def test_a_url_in_the_file_in_place_of_that_in_env_is_applied(desk: Desk) -> None:
    app = await desk.open()
    await desk.until(app, await desk.send(app, "AAPL", "buy"), "forwarded")
    app = await restarted(desk, app, live=False)
    exit_ = await assert_waits(desk, app, "AAPL")
    await ask(app, "PUT", "/admin/webhook/config", 200, {"url": desk.receiver.url})
    await desk.until(app, exit_, "forwarded")
    assert len(desk.receiver.received) == 2


async def test_a_url_for_a_destination_on_paper_is_refused_while_anything_is_open(
    desk: Desk, live: Receiver
) -> None:
    app = await opened(desk, live, url=None)
    await desk.until(app, await desk.send(app, "AAPL", "buy"), "forwarded")
    path = "/admin/destinations/live"
    why = (await ask(app, "PUT", path, 409, {"url": live.url}))["detail"]
    assert why.startswith("'live' has open positions and cannot be removed, or change between live and paper")
    entry = {"name": "live", "url": live.url, "ticker_gap_seconds": 0}
    desk.configure("webhook", destinations=[entry])
    await app.app.state.config_store.look()
    assert "config_wrong" in await alarms(app)
    sell = await desk.until(app, await desk.send(app, "AAPL", "sell"), "forwarded")
    assert await orders_of(desk, sell["id"]) == {"default": "delivered", "live": "delivered"}
    assert (await on_paper(desk), live.received) == (["AAPL", "AAPL"], [])

    async def is_applied() -> bool:
        return app.context.config.kinds["live"] == "live"

    await desk.wait(app, is_applied, lambda: "the file was not applied")
    await desk.until(app, await desk.send(app, "NVDA", "buy"), "forwarded")
    assert len(live.received) == 1


async def test_a_process_that_has_not_seen_a_change_to_paper_sends_nothing(
    desk: Desk, live: Receiver
) -> None:
    """Nor does it make an order there. The process that has seen it delivers."""
    app = await opened(desk, live)
    before = app.context.config
    await ask(app, "PUT", "/admin/destinations/live", 200, {"url": None})
    after = app.context.config
    await _open(desk.database, "live")  # as a delivery on paper does
    app.context.config = before
    buy = await desk.until(app, await desk.send(app, "NVDA", "buy"), "forwarded")
    assert await orders_of(desk, buy["id"]) == {"default": "delivered"}
    (placed,) = (await desk.order(app, "order/sell-individual", 202, ticker="AAPL"))["orders"]
    last = await desk.until(app, await desk.send(app, "TSLA", "buy"), "forwarded")
    assert await orders_of(desk, last["id"]) == {"default": "delivered"}
    assert ((await desk.signal(placed["signal_id"]))["status"], live.received) == ("approved", [])
    app.context.config = after
    await desk.until(app, placed["signal_id"], "forwarded")
    assert (await on_paper(desk), live.received) == (["AAPL"], [])


async def test_nothing_is_rejected_before_a_destination_delivers_as_it_is_configured(desk: Desk) -> None:
    """As while two processes with different URLs run at once."""
    app = await desk.open()
    await desk.database.execute("UPDATE destination_kinds SET kind = 'paper'")
    await desk.until(app, await desk.send(app, "AAPL", "buy"), "forwarded")
    assert len(desk.receiver.received) == 1


async def test_an_exit_of_a_position_that_was_recorded_on_paper_leaves_once_it_is_live(desk: Desk) -> None:
    """A person, or an import, recorded what the broker holds before the address was there."""
    app = await desk.open(live=False)
    for ticker in ("AAPL", "NVDA"):
        await ask(app, "POST", "/admin/positions/adopt", 201, {"ticker": ticker, "destination": "default"})
    await ask(app, "POST", f"/admin/positions/{await position_of(desk, 'NVDA')}/confirm", 200)
    imported = uuid4()
    await desk.database.execute(
        """INSERT INTO signals (id, status, type, ticker, expires_at, imported_at, body)
           VALUES ($1, 'forwarded', 'buy', 'TSLA', now(), now(), '{}')""",
        imported,
    )
    adopted = await desk.database.fetch(
        load("app.transfer", "legacy")["adopt"], [uuid4()], ["TSLA"], [datetime.now(UTC)], [imported], "x"
    )
    assert len(adopted) == 1
    app = await restarted(desk, app, live=True)
    for ticker in ("AAPL", "NVDA", "TSLA"):
        await desk.until(app, await desk.send(app, ticker, "exit"), "forwarded")
    assert [got.alert["ticker"] for got in desk.receiver.received] == ["AAPL", "NVDA", "TSLA"]
    assert await on_paper(desk) == []


async def position_of(desk: Desk, ticker: str) -> UUID:
    """Return the id of the open position."""
    found: UUID = await desk.database.fetchval(
        "SELECT id FROM positions WHERE ticker = $1 AND status <> 'closed'", ticker
    )
    return found


PROCESSES, PLACES = (0, 1), ("default", "a")
EVENTS = st.lists(
    st.one_of(
        st.tuples(
            st.just("configure"),
            st.sampled_from(PROCESSES),
            st.sampled_from(PLACES),
            st.sampled_from(["live", "paper", None]),
        ),
        st.tuples(
            st.sampled_from(["look", "open", "close"]),
            st.sampled_from(PROCESSES),
            st.sampled_from(PLACES),
            st.none(),
        ),
    ),
    max_size=14,
)


@settings(max_examples=150, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(events=EVENTS)
def test_what_is_open_at_a_destination_is_of_one_kind(
    database_url: str, make_settings: Callable[..., Settings], events: list[tuple[str, int, str, str | None]]
) -> None:
    """Whatever two processes with different settings record, and whichever of them opens something."""
    asyncio.run(_play(database_url, make_settings(), events))


async def _play(url: str, given_: Settings, events: list[tuple[str, int, str, str | None]]) -> None:
    pool = await open_pool(url, 1)
    try:
        async with pool.acquire() as connection:
            await connection.execute("TRUNCATE positions, destination_kinds CASCADE")
            chosen: list[dict[str, str | None]] = [dict.fromkeys(PLACES, "live") for _ in PROCESSES]
            is_open: dict[str, set[str]] = {name: set() for name in PLACES}
            await kinds.record(connection, _config(chosen[0], given_), lock_approvals_exclusive)
            for what, process, name, kind in events:
                if what == "configure" and (kind or name != "default"):
                    chosen[process][name] = kind
                config = _config(chosen[process], given_)
                if what in {"configure", "look"}:  # a process looks once before it opens anything
                    async with connection.transaction():
                        await kinds.record(connection, config, lock_approvals_exclusive)
                elif what == "open":
                    configured = await repository.still_configured(connection, config.destinations)
                    if name in {each.name for each in configured} and not is_open[name]:
                        await _open(connection, name)
                    if name in {each.name for each in configured}:
                        is_open[name].add(config.kinds[name])
                elif what == "close":
                    await connection.execute(
                        "UPDATE positions SET status = 'closed' WHERE destination = $1", name
                    )
                    is_open[name].clear()
                assert all(len(found) <= 1 for found in is_open.values()), (is_open, events)
            await connection.execute("UPDATE positions SET status = 'closed'")
            for process in PROCESSES:  # the one that looks last has what it is configured for
                config = _config(chosen[process], given_)
                assert await kinds.record(connection, config, lock_approvals_exclusive) == set()
                configured = await repository.still_configured(connection, config.destinations)
                assert configured == list(config.destinations)
    finally:
        await pool.close()


async def _open(connection: Connection | Pool, name: str) -> None:
    await connection.execute(
        """INSERT INTO positions (ticker, destination, status, opened_by)
           VALUES ('AAPL', $1, CASE $1 WHEN 'default' THEN 'open' ELSE 'held' END, gen_random_uuid())""",
        name,
    )


def _config(chosen: dict[str, str | None], given_: Settings) -> Config:
    urls = {name: f"{URL}/{name}" if kind == "live" else "" for name, kind in chosen.items() if kind}
    document = {
        "url": urls.pop("default"),
        "destinations": [{"name": name, "url": url} for name, url in urls.items()],
    }
    return merge({WEBHOOK_FILE: document}, given_)
