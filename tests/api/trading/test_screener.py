"""The stored Top-N: refreshed by one process, kept when a refresh fails."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from prometheus_client import REGISTRY

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable

    from tests.api.trading.desk import Desk

LOCK_HOLDER = """
    SELECT min(pid) FROM pg_locks l JOIN pg_stat_activity a USING (pid)
    WHERE l.locktype = 'advisory' AND l.granted AND a.datname = current_database()
      AND a.application_name LIKE '%screener'
"""


def says(desk: Desk, query: str, expected: object, *arguments: object) -> Callable[[], Awaitable[bool]]:
    """Return a condition: the query's first value."""

    async def there() -> bool:
        value: Any = await desk.database.fetchval(query, *arguments)
        return bool(value == expected)

    return there


async def test_the_list_is_cut_to_top_n_and_an_unchanged_one_is_only_renewed(desk: Desk) -> None:
    desk.watch("list:AAPL,NVDA,TSLA,AMD", top_n=2, refresh_interval_sec=1)
    app = await desk.open()
    stored = "SELECT tickers FROM top_n_lists"
    await desk.wait(app, says(desk, stored, ["AAPL", "NVDA"]), lambda: "no list")
    fetched = await desk.database.fetchval("SELECT fetched_at FROM top_n_lists")
    later = "SELECT count(*) FROM top_n_lists WHERE fetched_at > $1"
    await desk.wait(app, says(desk, later, 1, fetched), lambda: "not renewed")
    assert await desk.database.fetchval("SELECT count(*) FROM top_n_lists") == 1
    assert await desk.database.fetchval("SELECT max_age_seconds FROM top_n_lists") is None
    assert REGISTRY.get_sample_value("top_n_size") == 2


async def test_the_gauges_of_a_strategy_without_a_list_are_absent_after_a_switch(desk: Desk) -> None:
    app = await desk.open()

    def gauges() -> list[float | None]:
        return [REGISTRY.get_sample_value(name) for name in ("top_n_age_seconds", "top_n_size")]

    async def are_there() -> bool:
        return None not in gauges()

    async def are_absent() -> bool:
        return gauges() == [None, None]

    await desk.wait(app, are_there, lambda: "there are no gauges of the first list")
    desk.configure("finviz", strategies=[{"name": "other", "url": "file:missing.csv"}])
    await desk.wait(app, are_absent, lambda: f"the gauges show another strategy's list: {gauges()}")


async def test_a_changed_file_is_read_and_a_broken_one_keeps_the_last_good_list(desk: Desk) -> None:
    file = desk.folder / "top.csv"
    file.write_text("AAPL\n")
    desk.watch("file:top.csv", refresh_interval_sec=1)
    app = await desk.open()
    newest = "SELECT tickers FROM top_n_lists ORDER BY id DESC LIMIT 1"
    await desk.wait(app, says(desk, newest, ["AAPL"]), lambda: "no list")
    file.write_text("NVDA\n")
    await desk.wait(app, says(desk, newest, ["NVDA"]), lambda: "the change was not taken")
    file.write_text("not a ticker\n")
    error = "SELECT error FROM screener_refreshes"
    expected = "config/top.csv: line 1, column 1 is not a ticker: use 1 to 20 of A-Z 0-9 . -"
    await desk.wait(app, says(desk, error, expected), lambda: "the error was not kept")
    assert (await desk.until(app, await desk.send(app, "NVDA", "buy")))["status"] == "forwarded"
    file.write_text("AAPL\n")
    await desk.wait(app, says(desk, error, ""), lambda: "the error stays")


async def test_a_current_file_that_is_no_longer_allowed_keeps_its_list_and_is_named(desk: Desk) -> None:
    secret = "bridge-pa55word"
    (desk.folder / "watch.txt").write_text(secret)
    first = await desk.open()
    await desk.wait(first, says(desk, "SELECT count(*) FROM top_n_lists", 1), lambda: "no list")
    for name in ("watch.txt", "webhook_config.json"):
        desk.watch(f"file:{name}")
        await first.app.state.config_store.look()
        error = "SELECT count(*) FROM screener_refreshes WHERE error LIKE 'file:%plain name of a .csv file%'"
        await desk.wait(first, says(desk, error, 1), lambda: "the failure was not kept")
        assert first.context.config.finviz.active_strategy.url == f"file:{name}"
        async with first.http.get("/health") as answer:
            assert (answer.status, (await answer.json())["status"]) == (200, "degraded")
            assert secret not in await answer.text()
    assert await desk.database.fetchval("SELECT count(*) FROM top_n_lists") == 1
    assert (await desk.until(first, await desk.send(first, "AAPL", "buy")))["status"] == "forwarded"


async def test_a_source_that_cannot_be_read_degrades_and_stops_nothing(desk: Desk) -> None:
    first = await desk.open()
    await desk.wait(first, says(desk, "SELECT count(*) FROM top_n_lists", 1), lambda: "no list")
    desk.watch("gopher://finviz.com/screener.ashx?v=111")
    app = await desk.open()
    first.stop()
    error = "SELECT count(*) FROM screener_refreshes WHERE error LIKE '%''gopher'' cannot be read%'"
    await desk.wait(app, says(desk, error, 1), lambda: "the failure was not kept")
    async with app.http.get("/health") as answer:
        health = await answer.json()
        assert (answer.status, health["status"]) == (200, "degraded")
    # the current list stays until its maximum age
    assert await desk.database.fetchval("SELECT max_age_seconds FROM top_n_lists") == 60
    assert (await desk.until(app, await desk.send(app, "AAPL", "buy")))["status"] == "forwarded"


async def test_one_of_two_processes_refreshes_and_the_other_takes_over(desk: Desk) -> None:
    desk.watch("list:AAPL", refresh_interval_sec=1)
    first = await desk.open()
    await desk.wait(first, says(desk, f"SELECT ({LOCK_HOLDER}) > 0", 1), lambda: "nobody refreshes")
    second = await desk.open()
    before = await desk.database.fetchval(LOCK_HOLDER)
    second = await desk.open()
    first.stop()
    taken_over = f"SELECT ({LOCK_HOLDER}) <> $1"
    await desk.wait(second, says(desk, taken_over, 1, before), lambda: "nobody takes over")
    await desk.database.execute("DELETE FROM top_n_lists")
    await desk.wait(second, says(desk, "SELECT count(*) FROM top_n_lists", 1), lambda: "nobody refreshes")
