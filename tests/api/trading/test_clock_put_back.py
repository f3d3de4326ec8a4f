"""The database's clock was ahead and is corrected: no earlier stored time lasts longer for it."""

from __future__ import annotations

import asyncio
from datetime import timedelta
from itertools import pairwise
from typing import TYPE_CHECKING, Any

from aiohttp import web

from tests.api import stepping
from tests.api.conftest import serve
from tests.api.operator import ask
from tests.api.trading.receiver import always, take

if TYPE_CHECKING:
    from collections.abc import Callable

    from app.settings import Settings
    from tests.api.conftest import AppServer
    from tests.api.trading.desk import Desk

TWO_HOURS, MINUTES_50 = 7200.0, 3000.0
AHEAD = "SELECT EXISTS (SELECT FROM signals WHERE received_at > stepping.clock_timestamp())"
LIFE = "SELECT extract(epoch FROM expires_at - stepping.clock_timestamp())::float8 FROM signals WHERE id = $1"


async def put_right(desk: Desk, *apps: AppServer, ahead: float = 0.0) -> None:
    """Correct the clock, and wait until every application has noticed it and corrected the signals."""
    await stepping.set_ahead(desk.database, ahead)
    for app in apps:
        await corrected(desk, app)


async def corrected(desk: Desk, app: AppServer) -> None:
    """Wait until the application has noticed a step and no signal is ahead of the clock."""

    async def is_corrected() -> bool:
        return app.context.clock.step is not None and not await desk.database.fetchval(AHEAD)

    await desk.wait(app, is_corrected, lambda: "the step is not noticed, or a signal is ahead")


async def alert(app: AppServer, **fields: Any) -> dict[str, Any]:
    """Post an alert as from a template: the same bytes each time."""
    async with app.http.post("/webhook/in", json=fields) as answer:
        assert answer.status == 202
        found: dict[str, Any] = await answer.json()
        return found


async def test_a_later_equal_exit_is_no_duplicate(desk: Desk) -> None:
    await stepping.install(desk.database, TWO_HOURS)
    desk.configure("webhook", dedupe_window_seconds=1)
    app = await desk.open()
    await desk.send(app, "AAPL", "buy")
    first = await alert(app, ticker="AAPL", side="sell")
    await desk.settled(app)
    await put_right(desk, app)

    async def is_released() -> bool:
        keys = "SELECT count(*) FROM intake_keys WHERE expires_at > stepping.clock_timestamp()"
        return bool(await desk.database.fetchval(keys) == 0)

    await desk.wait(app, is_released, lambda: "a key outlives its window of one second")
    await desk.send(app, "AAPL", "buy")
    await desk.settled(app)
    second = await alert(app, ticker="AAPL", side="sell")
    assert first["signal_id"] != second["signal_id"]
    assert not second["duplicate"]
    await desk.settled(app)
    assert await desk.open_positions() == {}


async def test_an_entry_never_exceeds_its_maximum_age(desk: Desk) -> None:
    await stepping.install(desk.database, TWO_HOURS)
    desk.configure("webhook", max_signal_age_seconds={"buy": 3, "sell": 3600})
    desk.configure("system", delivery_paused=True)
    app = await desk.open()
    buy = await desk.send(app, "AAPL", "buy")
    await put_right(desk, app)
    assert (await desk.until(app, buy))["status"] == "expired"
    await desk.order(app, "delivery/resume")
    assert desk.receiver.received == []


async def test_an_entry_of_before_a_short_step_keeps_its_age_in_every_process(desk: Desk) -> None:
    await stepping.install(desk.database, 300.0)
    desk.configure("webhook", max_signal_age_seconds={"buy": 3600, "sell": 3600})
    desk.configure("system", delivery_paused=True)
    await desk.database.execute("INSERT INTO positions (ticker) VALUES ('NVDA')")
    apps = [await desk.open(), await desk.open()]
    old = await desk.send(apps[0], "AAPL", "buy")
    await desk.until(apps[0], old, "approved")
    await desk.database.execute(
        "UPDATE signals SET received_at = received_at - $1::interval, expires_at = expires_at - $1::interval",
        timedelta(seconds=400),
    )
    sell = await desk.send(apps[0], "NVDA", "sell")
    await desk.until(apps[0], sell, "approved")
    for app in apps:  # both have read the clock since
        await turns(desk, app, 2)
    lives = [await desk.database.fetchval(LIFE, signal) for signal in (old, sell)]
    await put_right(desk, *apps)
    for app in apps:
        await turns(desk, app, 2)
    after = [await desk.database.fetchval(LIFE, signal) for signal in (old, sell)]
    for life, now in zip(lives, after, strict=True):
        assert life - 250 < now < life  # shorter by what has passed, and not by the 300 s of the step


async def turns(desk: Desk, app: AppServer, count: int) -> None:
    """Wait until the worker that watches the clock has begun `count` more turns."""
    beats: list[float] = []

    async def has_turned() -> bool:
        silent = app.context.supervisor.states()["delivery-recovery"].silent_seconds
        beats.append(silent)
        return sum(later < earlier for earlier, later in pairwise(beats)) >= count

    await desk.wait(app, has_turned, lambda: "the worker does not turn")


async def test_an_entry_that_arrives_before_the_step_is_noticed_keeps_its_whole_age(desk: Desk) -> None:
    await stepping.install(desk.database, TWO_HOURS)
    desk.configure("webhook", max_signal_age_seconds={"buy": 600, "sell": 3600})
    desk.configure("system", delivery_paused=True)
    app = await desk.open()
    early = await desk.send(app, "AAPL", "buy")
    await desk.until(app, early, "approved")
    await turns(desk, app, 2)
    await stepping.set_ahead(desk.database, 0)
    late = await desk.send(app, "NVDA", "buy")
    await corrected(desk, app)
    assert await desk.database.fetchval(LIFE, late) > 550
    assert await desk.database.fetchval(LIFE, early) > 550


async def test_after_a_restart_exits_leave_and_entries_of_unknown_age_do_not(
    desk: Desk, make_settings: Callable[..., Settings]
) -> None:
    await stepping.install(desk.database, TWO_HOURS)
    desk.configure("system", delivery_paused=False)
    settings = make_settings(dest_webhook_url=desk.receiver.url, dest_webhook_rate_limiting_enabled=False)
    async with serve(settings) as app:
        bought = await desk.send(app, "AAPL", "buy")
        await desk.until(app, bought, "forwarded")
        await desk.order(app, "delivery/pause")
        sell = await desk.send(app, "AAPL", "sell")
        buy = await desk.send(app, "NVDA", "buy")
        for signal in (sell, buy):
            await desk.until(app, signal, "approved")
    await stepping.set_ahead(desk.database, 0)
    async with serve(settings) as app:
        assert (await desk.until(app, buy))["status"] == "expired"
        assert await desk.database.fetchval(LIFE, sell) < 3600
        await desk.order(app, "delivery/resume")
        await desk.until(app, sell, "forwarded")
    assert await desk.open_positions() == {}


async def test_a_list_is_never_fresh_beyond_its_maximum_age(desk: Desk) -> None:
    await stepping.install(desk.database, TWO_HOURS)
    runner = web.AppRunner(application := web.Application())
    down = asyncio.Event()
    refused = asyncio.Event()

    async def get(_: web.Request) -> web.StreamResponse:
        if down.is_set():
            refused.set()
            return web.Response(status=500)
        return web.Response(text="Ticker\nAAPL\n", content_type="text/csv")

    application.router.add_get("/list.csv", get)
    await runner.setup()
    try:
        await web.TCPSite(runner, "127.0.0.1", 0).start()
        url = f"http://127.0.0.1:{runner.addresses[0][1]}/list.csv"
        desk.watch(url, refresh_interval_sec=1, max_age_seconds=3)
        app = await desk.open()
        early = await desk.send(app, "AAPL", "buy")
        assert (await desk.until(app, early))["status"] == "forwarded"
        down.set()
        await refused.wait()  # the previous list is stored
        await put_right(desk, app)

        async def is_stale() -> bool:
            return not (await ask(app, "GET", "/admin/top-n-tickers"))["fresh"]

        await desk.wait(app, is_stale, lambda: "the list stays fresh")
        late = await desk.send(app, "AAPL", "buy")
        other = await desk.send(app, "NVDA", "sell")  # decided after the buy, in the same order
        assert (await desk.until(app, other))["status"] == "rejected"
        assert (await desk.signal(late))["status"] == "received"
    finally:
        await runner.cleanup()


async def test_a_hold_of_seconds_holds_an_exit_for_seconds(desk: Desk) -> None:
    await stepping.install(desk.database, MINUTES_50)
    app = await desk.open()
    await desk.send(app, "AAPL", "buy")
    await desk.settled(app)
    desk.receiver.answer = always(429, **{"Retry-After": "2"})
    await desk.send(app, "NVDA", "buy")
    await desk.receiver.count(2)

    async def is_held() -> bool:
        return bool(await desk.database.fetchval("SELECT EXISTS (SELECT FROM destinations)"))

    await desk.wait(app, is_held, lambda: "there is no hold")
    desk.receiver.answer = take
    await put_right(desk, app)
    sell = await desk.send(app, "AAPL", "sell")
    assert (await desk.until(app, sell))["status"] == "forwarded"


async def test_a_manual_refresh_is_made(desk: Desk) -> None:
    await stepping.install(desk.database, TWO_HOURS)
    (desk.folder / "top.csv").write_text("AAPL\n")
    desk.watch("file:top.csv", refresh_interval_sec=3600)
    app = await desk.open()
    await desk.send(app, "AAPL", "buy")
    await desk.settled(app)
    await put_right(desk, app)
    (desk.folder / "top.csv").write_text("NVDA\n")
    await desk.order(app, "engine/manual-refresh", 202)

    async def is_refreshed() -> bool:
        return bool((await ask(app, "GET", "/admin/top-n-tickers"))["tickers"] == ["NVDA"])

    await desk.wait(app, is_refreshed, lambda: "the refresh is not made")
    ended = await desk.database.fetchval("SELECT at FROM screener_refreshes")
    await turns(desk, app, 2)
    assert await desk.database.fetchval("SELECT at FROM screener_refreshes") == ended  # once


async def test_an_entry_is_reprocessed_within_its_window_only(desk: Desk) -> None:
    await stepping.install(desk.database, TWO_HOURS)
    (desk.folder / "top.csv").write_text("AAPL\n")
    desk.watch("file:top.csv", refresh_interval_sec=1, reprocess_enabled=True, reprocess_window_seconds=3)
    app = await desk.open()
    buy = await desk.send(app, "NVDA", "buy")
    assert (await desk.until(app, buy))["status"] == "rejected"
    await turns(desk, app, 3)  # more than the window
    await put_right(desk, app)
    (desk.folder / "top.csv").write_text("AAPL\nNVDA\n")

    async def is_processed() -> bool:
        query = "SELECT reprocessed_at FROM top_n_lists WHERE 'NVDA' = ANY (entered)"
        return await desk.database.fetchval(query) is not None

    await desk.wait(app, is_processed, lambda: "the list is not processed")
    assert (await desk.signal(buy))["status"] == "rejected"


async def test_an_exit_that_expires_after_the_step_is_an_alarm(desk: Desk) -> None:
    await stepping.install(desk.database, TWO_HOURS)
    desk.configure("webhook", max_signal_age_seconds={"buy": 60, "sell": 1})
    app = await desk.open()
    await desk.send(app, "AAPL", "buy")
    await desk.settled(app)
    await put_right(desk, app)
    await desk.order(app, "delivery/pause")
    sell = await desk.send(app, "AAPL", "sell")
    assert (await desk.until(app, sell))["status"] == "expired"

    async def is_counted() -> bool:
        return app.context.queues.at_risk["sells_expired"] == 1

    await desk.wait(app, is_counted, lambda: "no alarm names the expired exit")
