"""Pages and export from a real HTTP server: what is accepted, and what leaves the last good list current."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import pytest
import pytest_asyncio
from aiohttp import web

from tests.api.operator import alarms, log_of
from tests.api.trading.finviz import Site, showing
from tests.unit.app.screener.pages import BLOCKED, ashx_row, boxover_row, plain_row, tickers

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Callable

    from tests.api.conftest import AppServer
    from tests.api.trading.desk import Desk


@pytest_asyncio.fixture
async def site() -> AsyncIterator[Site]:
    """Run a site whose screen has 45 tickers on three pages."""
    async with showing(*tickers(45)) as running:
        yield running


async def until_list(desk: Desk, app: AppServer, expected: list[str]) -> None:
    """Wait until this is the current list."""
    newest = "SELECT tickers FROM top_n_lists ORDER BY id DESC LIMIT 1"

    async def there() -> bool:
        return bool(await desk.database.fetchval(newest) == expected)

    await desk.wait(app, there, lambda: f"the list is not {expected[:3]}…")


async def kept(desk: Desk) -> tuple[list[str], bool]:
    """What the first refresh has kept below the Top-N, and whether that was all."""
    row = await desk.database.fetchrow("SELECT further, is_whole FROM list_refreshes ORDER BY id LIMIT 1")
    assert row is not None
    return row["further"], row["is_whole"]


async def until_error(desk: Desk, app: AppServer, words: str) -> str:
    """Wait until the latest refresh failed with these words, empty for a good one; return its error."""
    found: list[Any] = [None]

    async def there() -> bool:
        found[0] = await desk.database.fetchval("SELECT error FROM screener_refreshes")
        return found[0] is not None and (words in found[0] if words else not found[0])

    await desk.wait(app, there, lambda: f"the error is {found[0]!r}")
    return str(found[0])


async def looks(desk: Desk, app: AppServer, count: int) -> None:
    """Wait for so many polls of the engine, which sends a heartbeat with each, once a second."""
    silent, seen = 0.0, 0

    async def there() -> bool:
        nonlocal silent, seen
        before, silent = silent, app.context.supervisor.states()["screener"].silent_seconds
        seen += silent < before
        return seen >= count

    await desk.wait(app, there, lambda: f"the engine looked {seen} times")


@pytest.mark.parametrize("row", [ashx_row, boxover_row, plain_row])
async def test_as_many_pages_as_the_list_needs_are_fetched_in_order_and_not_too_fast(
    desk: Desk, site: Site, row: Callable[[int, str], str]
) -> None:
    site.row = row
    desk.watch(f"{site.url}/screener.ashx?v=111&o=-change", top_n=42)
    app = await desk.open()
    await until_list(desk, app, tickers(42))
    asked = site.asked[:3]
    assert [first for _, first in asked] == ["1", "21", "41"]
    assert min(asked[1][0] - asked[0][0], asked[2][0] - asked[1][0]) > 0.45
    assert (await desk.until(app, await desk.send(app, tickers(42)[-1], "buy")))["reason"]
    assert await desk.open_positions() == {tickers(42)[-1]: 1}
    assert await kept(desk) == (tickers(45)[42:], True)


async def test_a_short_screen_is_the_whole_list(desk: Desk, site: Site) -> None:
    site.tickers = tickers(7)
    desk.watch(f"{site.url}/screener.ashx?v=111", top_n=40)
    await until_list(desk, await desk.open(), tickers(7))
    assert {first for _, first in site.asked} == {"1"}
    assert await kept(desk) == ([], True)


async def test_a_redirect_is_followed_where_the_strategy_may_point(desk: Desk, site: Site) -> None:
    desk.watch(f"{site.url}/moved.ashx?v=111", top_n=5)
    await until_list(desk, await desk.open(), tickers(5))


@pytest.mark.parametrize("path", ["export.ashx", "export/screener"])
async def test_the_export_is_one_request_and_another_host_gets_no_token(
    desk: Desk, site: Site, path: str
) -> None:
    desk.watch(f"{site.url}/{path}?v=111", top_n=30)
    app = await desk.open(finviz_elite_auth="elite-token")
    await until_list(desk, app, tickers(30))
    assert [token for _, token in site.asked] == [""]
    assert await desk.database.fetchval("SELECT source FROM top_n_lists") == "csv"
    assert await kept(desk) == (tickers(45)[30:40], False)  # `top_n` rounded up to a page


@pytest.mark.parametrize(("path", "depth", "pages"), [("screener.ashx", 40, 2), ("export.ashx", 44, 1)])
async def test_as_much_of_a_list_is_kept_as_the_strategy_says(
    desk: Desk, site: Site, path: str, depth: int, pages: int
) -> None:
    desk.watch(f"{site.url}/{path}?v=111", top_n=5, depth=depth)
    app = await desk.open(finviz_elite_auth="elite-token")
    await until_list(desk, app, tickers(5))
    assert await kept(desk) == (tickers(depth)[5:], False)
    assert len(site.asked) == pages
    desk.watch(f"{site.url}/{path}?v=111", top_n=5, depth=60)
    await app.app.state.config_store.look()

    async def is_whole() -> bool:
        query = "SELECT is_whole FROM list_refreshes ORDER BY id DESC LIMIT 1"
        return bool(await desk.database.fetchval(query))

    await desk.wait(app, is_whole, lambda: "the rest is not kept")
    query = "SELECT further FROM list_refreshes ORDER BY id DESC LIMIT 1"
    assert await desk.database.fetchval(query) == tickers(45)[5:]


@pytest.mark.parametrize(
    "spoiled",
    [
        lambda: web.Response(text=BLOCKED, content_type="text/html"),
        lambda: web.Response(status=500),
    ],
    ids=["blocked", "failed"],
)
async def test_a_page_below_the_list_that_fails_costs_no_list(
    desk: Desk, site: Site, spoiled: Callable[[], web.StreamResponse]
) -> None:
    site.spoil = lambda first: spoiled() if first > 20 else None
    desk.watch(f"{site.url}/screener.ashx?v=111", top_n=15, depth=60)
    await until_list(desk, await desk.open(), tickers(15))
    assert [first for _, first in site.asked] == ["1", "21"]
    assert await kept(desk) == (tickers(20)[15:], False)


async def test_a_wrong_token_is_reported_without_the_token(desk: Desk, site: Site) -> None:
    site.is_signed_out = True
    desk.watch(f"{site.url}/export.ashx?v=111")
    app = await desk.open(finviz_elite_auth="secret-token")
    assert "secret-token" not in await until_error(desk, app, "FINVIZ_ELITE_AUTH")


@pytest.mark.parametrize("path", ["screener.ashx", "export.ashx"])
async def test_a_typed_token_goes_to_no_other_host(desk: Desk, site: Site, path: str) -> None:
    desk.watch(f"{site.url}/{path}?v=111&auth=typed-token")
    app = await desk.open()
    assert "typed-token" not in await until_error(desk, app, "must not contain auth")
    assert site.asked == []


async def test_a_failed_first_refresh_is_reported_everywhere(desk: Desk, site: Site) -> None:
    site.spoil = lambda _: web.Response(status=500)
    desk.watch(f"{site.url}/screener.ashx?v=111", refresh_interval_sec=1)
    app = await desk.open()
    error = await until_error(desk, app, "HTTP 500")
    headers = {"Authorization": f"Bearer {app.context.settings.admin_token}"}
    async with app.http.get("/admin/top-n-tickers", headers=headers) as answer:
        shown = await answer.json()
    assert (shown["error"], shown["strategy"], shown["last_update"]) == (error, "desk", None)
    async with app.http.get("/admin/status", headers=headers) as answer:
        status = await answer.json()
    shown_alarms = {alarm["code"]: alarm["text"] for alarm in status["alarms"]}
    assert "top_n_missing" in shown_alarms
    assert error in shown_alarms["top_n_failing"]
    async with app.http.get("/health") as answer:
        reason = (await answer.json())["checks"]["top_n"]["reason"]
    assert reason == "the last refresh failed, the reason is on /admin; there is no list yet: buys wait"


async def test_health_names_no_strategy_page_or_file(desk: Desk, site: Site) -> None:
    site.spoil = lambda _: web.Response(text="<title>h1dden</title>", content_type="text/html")
    desk.configure(
        "finviz",
        allow_other_hosts=True,
        strategies=[{"name": "my-s3cret-idea", "url": f"{site.url}/screener.ashx?x=h1dden"}],
    )
    app = await desk.open()
    assert "h1dden" not in await until_error(desk, app, "no tickers")
    desk.configure("finviz", active="h1dden", strategies=[{"name": "my-s3cret-idea", "url": "list:A"}])
    await app.app.state.config_store.look()
    for path in ("/health", "/health/detailed"):
        async with app.http.get(path) as answer:
            text = await answer.text()
        assert "degraded" in text
        for word in ("h1dden", "s3cret", "127.0.0.1"):
            assert word not in text, text


async def test_a_deep_page_stops_neither_deliveries_nor_health(desk: Desk, site: Site) -> None:
    desk.watch(f"{site.url}/screener.ashx?v=111", top_n=5, refresh_interval_sec=1)
    app = await desk.open()
    await until_list(desk, app, tickers(5))
    deep = "<font><b><i>" * 22_000
    site.spoil = lambda _: web.Response(text=deep + "<div>" * 250_000, content_type="text/html")
    error = await until_error(desk, app, "127.0.0.1: ")
    assert "inside one another" in error or "more than 5 s" in error
    assert (await desk.until(app, await desk.send(app, tickers(1)[0], "buy")))["status"] == "forwarded"
    assert app.context.supervisor.states()["screener"].restarts == 0


@pytest.mark.parametrize(
    ("answer", "words"),
    [
        (lambda: web.Response(status=500), "HTTP 500"),
        (lambda: web.Response(text="<table></table>", content_type="text/html"), "no tickers"),
    ],
)
async def test_one_bad_page_keeps_the_last_good_list_and_raises_the_alarm(
    desk: Desk, site: Site, answer: Callable[[], web.Response], words: str
) -> None:
    desk.watch(f"{site.url}/screener.ashx?v=111", top_n=40, refresh_interval_sec=1)
    app = await desk.open()
    await until_list(desk, app, tickers(40))
    assert await alarms(app) == set()
    site.tickers = list(reversed(tickers(45)))
    site.spoil = lambda first: answer() if first == 21 else None
    await until_error(desk, app, words)
    assert "top_n_failing" in await alarms(app)
    async with app.http.get("/health") as health:
        assert (health.status, (await health.json())["status"]) == (200, "degraded")
    assert (await desk.until(app, await desk.send(app, tickers(1)[0], "buy")))["status"] == "forwarded"
    assert await desk.database.fetchval("SELECT count(*) FROM top_n_lists") == 1
    site.spoil = lambda _: None
    await until_list(desk, app, list(reversed(tickers(45)))[:40])
    await until_error(desk, app, "")
    assert await alarms(app) == set()


@pytest.mark.parametrize(
    ("answer", "words"),
    [
        (lambda: web.Response(status=429, headers={"Retry-After": "75"}), "in 75 s"),
        (lambda: web.Response(text=BLOCKED, content_type="text/html"), "'Just a moment'"),
        (lambda: web.Response(text="<p>Too Many Requests", content_type="text/html"), "'Too Many Requests'"),
    ],
)
async def test_a_site_that_blocks_us_gets_no_request_for_a_while(
    desk: Desk, site: Site, answer: Callable[[], web.Response], words: str
) -> None:
    desk.watch(f"{site.url}/screener.ashx?v=111", top_n=40, refresh_interval_sec=1)
    app = await desk.open()
    await until_list(desk, app, tickers(40))
    site.spoil = lambda _: answer()
    error = await until_error(desk, app, words)
    assert "; next request in " in error
    asked = len(site.asked)
    assert "top_n_failing" in await alarms(app)
    await desk.order(app, "engine/manual-refresh", 202)
    await looks(desk, app, 3)
    assert len(site.asked) == asked
    assert (await desk.until(app, await desk.send(app, tickers(1)[0], "buy")))["status"] == "forwarded"


async def test_a_list_that_changed_by_nine_tenths_is_accepted_after_three_agreeing_refreshes(
    desk: Desk, site: Site
) -> None:
    site.tickers = tickers(10)
    desk.watch(f"{site.url}/screener.ashx?v=111", top_n=10, refresh_interval_sec=1)
    app = await desk.open()
    await until_list(desk, app, tickers(10))
    other = [*tickers(1), *tickers(9, "Z")]
    site.tickers = other
    before = len(site.asked)
    assert "90% of the list" in await until_error(desk, app, "on probation")
    assert "top_n_failing" in await alarms(app)
    assert await desk.database.fetchval("SELECT count(*) FROM top_n_lists") == 1
    await until_list(desk, app, other)
    await until_error(desk, app, "")
    assert 3 <= len(site.asked) - before <= 4


async def test_a_person_need_not_wait_for_the_interval(desk: Desk, site: Site) -> None:
    desk.watch(f"{site.url}/screener.ashx?v=111", top_n=5, refresh_interval_sec=3600)
    apps = [await desk.open(), await desk.open()]
    await until_list(desk, apps[0], tickers(5))
    site.tickers = list(reversed(tickers(5)))
    for app in apps:  # whichever of them refreshes
        asked = await desk.order(app, "engine/manual-refresh", 202)
        assert asked["strategy"] == "desk"
    assert [line[2:4] for line in await log_of(apps[0])] == [("engine.manual-refresh", "desk")] * 2
    await until_list(desk, apps[0], list(reversed(tickers(5))))


async def test_a_paused_engine_keeps_its_list_fresh_and_refuses_to_refresh(desk: Desk, site: Site) -> None:
    desk.watch(f"{site.url}/screener.ashx?v=111", top_n=5, refresh_interval_sec=1)
    first = await desk.open()
    await until_list(desk, first, tickers(5))
    first.stop()
    desk.configure("system", engine_paused=True)
    app = await desk.open()
    await desk.database.execute("UPDATE top_n_lists SET fetched_at = now() - interval '1 day'")
    assert (await desk.until(app, await desk.send(app, tickers(5)[0], "buy")))["status"] == "forwarded"
    refused = await desk.order(app, "engine/manual-refresh", 409)
    assert "resume it first" in refused["detail"]
    assert (await log_of(app))[-1][2:] == (
        "engine.manual-refresh",
        "desk",
        None,
        None,
        f"refused: {refused['detail']}",
    )


async def test_without_a_fresh_list_buys_wait_and_then_go_on(desk: Desk, site: Site) -> None:
    site.spoil = lambda _: web.Response(status=500)
    desk.watch(f"{site.url}/screener.ashx?v=111", top_n=5, refresh_interval_sec=1)
    app = await desk.open()
    buy = await desk.send(app, tickers(1)[0], "buy")
    await until_error(desk, app, "HTTP 500")
    assert (await desk.signal(buy))["status"] == "received"
    site.spoil = lambda _: None
    assert (await desk.until(app, buy))["status"] == "forwarded"


async def test_while_the_list_is_stale_buys_wait_and_then_go_on(desk: Desk, site: Site) -> None:
    desk.watch(f"{site.url}/screener.ashx?v=111", top_n=5, refresh_interval_sec=1)
    app = await desk.open()
    await until_list(desk, app, tickers(5))
    site.spoil = lambda _: web.Response(status=500)
    await until_error(desk, app, "HTTP 500")
    await desk.database.execute("UPDATE top_n_lists SET fetched_at = now() - interval '61 s'")
    await desk.database.execute("INSERT INTO positions (ticker) VALUES ('HELD')")
    buy, sell = await desk.send(app, tickers(1)[0], "buy"), await desk.send(app, "HELD", "sell")
    await desk.until(app, sell, "forwarded")  # only buys wait
    await looks(desk, app, 2)
    assert (await desk.signal(buy))["status"] == "received"
    site.spoil = lambda _: None
    assert (await desk.until(app, buy))["status"] == "forwarded"


async def test_entered_tickers_are_kept_only_where_the_list_before_was_fresh(desk: Desk, site: Site) -> None:
    site.tickers = tickers(4)
    desk.watch(f"{site.url}/screener.ashx?v=111", top_n=10, refresh_interval_sec=1)
    app = await desk.open()
    await until_list(desk, app, tickers(4))
    site.tickers = [*tickers(4), "NEWS"]
    await until_list(desk, app, site.tickers)
    site.spoil = lambda _: web.Response(status=500)
    await until_error(desk, app, "HTTP 500")
    await desk.database.execute("UPDATE top_n_lists SET fetched_at = now() - interval '1 day'")
    site.tickers = [*tickers(4), "LATE", "NEWS"]
    site.spoil = lambda _: None
    await until_list(desk, app, site.tickers)
    rows = await desk.database.fetch("SELECT entered FROM top_n_lists ORDER BY id")
    assert [row["entered"] for row in rows] == [[], ["NEWS"], []]
