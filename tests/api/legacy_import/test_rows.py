"""Import from the replaced system: everything is imported, nothing of it is sent, and exits pass."""

from __future__ import annotations

import asyncio
import json
import os
import sys
from datetime import UTC, datetime, timedelta
from typing import TYPE_CHECKING

import asyncpg

from tests.api.legacy import MISTYPED, SCHEMA, SIGNALS, TOKEN, contents, fill, tables_with
from tests.api.operator import ask
from tests.api.trading.receiver import listening

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable
    from pathlib import Path

    from app.settings import Settings
    from app.transfer.legacy import Report
    from tests.api.conftest import AppServer

    Database = asyncpg.Connection[asyncpg.Record]
    MakeSettings = Callable[..., Settings]
from tests.api.legacy_import.running import moved

UNFINISHED = SIGNALS // 10 * 4


def files_in(folder: Path) -> dict[str, str]:
    """Return the files of a folder, with their texts."""
    return {path.name: path.read_text() for path in folder.rglob("*") if path.is_file()}


async def until(found: Callable[[], Awaitable[bool]]) -> None:
    """Wait until the condition holds."""
    async with asyncio.timeout(60):
        while True:
            if await found():
                return
            await asyncio.sleep(0.05)  # no event reports a change of a row


def part_of(report: Report) -> dict[str, tuple[int, int, int, int]]:
    """Return the counts of a kind of rows: found, new, present, bad."""
    parts = (report.positions, report.strategies, report.signals, report.actions)
    return {part.name: (part.found, part.new, part.present, part.bad) for part in parts}


async def test_everything_is_here_afterwards_and_the_second_import_adds_nothing(
    settings_of: MakeSettings, source: Database, database: Database, tmp_path: Path
) -> None:
    await fill(source)
    before = await contents(source)
    sent = await source.fetchval(
        "SELECT count(*) FROM signals s WHERE status = 'forwarding' AND signal_type = 'buy' "
        "AND NOT EXISTS (SELECT FROM positions WHERE entry_signal_id = s.signal_id)"
    )
    report = await moved(settings_of())
    assert part_of(report) == {
        "positions": (120 + sent, 100 + sent, 0, 0),
        "strategies": (5, 3, 0, 2),
        "signals": (SIGNALS, SIGNALS, 0, 0),
        "actions": (500, 500, 0, 0),
    }
    assert report.signals.counts["unfinished there, not sent"] == UNFINISHED
    assert report.positions.counts["closed before the retention"] == 20

    rows = await database.fetch("SELECT status, count(*) FROM signals GROUP BY 1")
    statuses = {row["status"]: row["count"] for row in rows}
    tenth = SIGNALS // 10
    assert statuses == {
        "expired": 4 * tenth,
        "rejected": tenth,
        "forwarded": tenth,
        "failed": 4 * tenth,
    }
    assert await database.fetchval("SELECT count(*) FROM signals WHERE imported_at IS NULL") == 0
    assert await database.fetchval("SELECT count(*) FROM unfinished_signals") == 0
    assert await database.fetchval("SELECT count(*) FROM attempts") == 0
    unfinished = await database.fetchval(
        "SELECT count(*) FROM signals WHERE reason_code = 'moved_unfinished'"
    )
    assert unfinished == UNFINISHED
    assert (
        await database.fetchval(
            "SELECT count(*) FROM signals WHERE reason_code = 'moved_being_sent' AND status = 'failed'"
        )
        == tenth
    )
    assert await database.fetchval("SELECT count(*) FROM signal_events") == 2 * SIGNALS + UNFINISHED + tenth
    assert await database.fetchval("SELECT count(*) FROM signals WHERE ticker = 'T350'") > 0
    assert b"1.5000000000000000001" in await database.fetchval(
        "SELECT body FROM signals WHERE id = $1", await source.fetchval("SELECT md5('signal1')::uuid")
    )

    held = await database.fetch(
        "SELECT ticker, confirmed, buys, quantity FROM positions WHERE status = 'open'"
    )
    assert {row["ticker"] for row in held} >= {f"T{n}" for n in range(1, 41) if n != 2}
    assert {tuple(row)[1:] for row in held} == {(False, 0, None)}
    assert (
        await source.fetchval("SELECT count(*) FROM positions WHERE ticker = 'T1' AND status = 'open'") == 2
    )

    document = json.loads((tmp_path / "finviz_config.json").read_text())
    assert document["active"] == "Movers"
    listed = {each["name"]: each for each in document["strategies"]}
    assert listed.keys() == {"Default Strategy", "Movers", "Wide"}
    assert listed["Movers"]["url"] == "https://elite.finviz.com/export.ashx?v=111"
    assert "reprocess_window_seconds" not in listed["Movers"]
    assert "top_n" not in listed["Wide"]
    assert listed["Default Strategy"]["refresh_interval_sec"] == 6
    said = "\n".join(report.lines())
    for word in ("FINVIZ_ELITE_AUTH", "top_n 9000", "refresh_interval_sec 2 is 6", "'wide'", "'Nowhere'"):
        assert word in said

    for secret in (TOKEN, MISTYPED, "elite-token-4713"):
        assert await tables_with(database, secret) == []
        assert secret not in said
        assert secret not in str(files_in(tmp_path))
    refused = await database.fetchrow(
        "SELECT * FROM actions WHERE result <> 'done' AND session = 'replaced system'"
    )
    assert refused is not None
    assert (refused["action"], refused["origin"], refused["target"]) == (
        "moved.engine.pause",
        "192.0.2.1",
        "engine",
    )

    here = await contents(database)
    again = await moved(settings_of())
    assert await contents(database) == here
    assert {part: new for part, (_, new, _, _) in part_of(again).items()} == dict.fromkeys(part_of(again), 0)
    assert await contents(source) == before


async def test_a_check_lists_what_would_come_and_writes_nothing(
    settings_of: MakeSettings, source: Database, database: Database, tmp_path: Path
) -> None:
    await fill(source)
    before, there = await contents(database), await contents(source)
    checked = await moved(settings_of(), check=True)
    assert await contents(database) == before
    assert await contents(source) == there
    assert files_in(tmp_path) == {}
    came = await moved(settings_of())
    assert part_of(checked) == part_of(came)
    assert checked.positions.counts == came.positions.counts
    assert checked.signals.counts == came.signals.counts
    assert [line.replace("would come", "came") for line in checked.lines()] == came.lines()


async def test_each_adopted_position_is_named(
    settings_of: MakeSettings, source: Database, database: Database
) -> None:
    """So that they can be compared with the broker's; a ticker that is open twice counts once."""
    await source.execute(SCHEMA)
    await source.execute(
        "INSERT INTO positions (ticker, status, opened_at) "
        "SELECT 'T' || n % 300, 'open', now() FROM generate_series(1, 500) AS n"
    )
    checked = await moved(settings_of(), check=True)
    came = await moved(settings_of())
    assert [line.replace("would come", "came") for line in checked.lines()] == came.lines()
    rows = await database.fetch("SELECT ticker FROM positions WHERE status = 'open'")
    prefix = "  adopted as unconfirmed: "
    named = [line.removeprefix(prefix) for line in came.lines() if line.startswith(prefix)]
    tickers = [ticker for line in named for ticker in line.split(", ")]
    assert len(tickers) == 300
    assert set(tickers) == {row["ticker"] for row in rows}


async def test_an_exit_of_an_adopted_position_gets_out_and_nothing_old_does(
    settings_of: MakeSettings,
    source: Database,
    database: Database,
    start_app: Callable[..., Awaitable[AppServer]],
) -> None:
    await fill(source)
    await moved(settings_of())
    async with listening() as receiver:
        app = await start_app(dest_webhook_url=receiver.url)
        for ticker in ("T5", "T35", "T1"):  # open, closing, open twice
            async with app.http.post("/webhook/in", json={"ticker": ticker, "action": "sell"}) as answer:
                assert answer.status == 202

        async def are_delivered() -> bool:
            delivered = "SELECT count(*) FROM signals WHERE status = 'forwarded' AND imported_at IS NULL"
            return bool(await database.fetchval(delivered) == 3)

        await until(are_delivered)
        assert sorted(received.alert["ticker"] for received in receiver.received) == ["T1", "T35", "T5"]
        assert {received.alert["action"] for received in receiver.received} == {"exit"}
        left = {each["ticker"] for each in (await ask(app, "GET", "/admin/positions"))["positions"]}
        assert not left & {"T1", "T35", "T5"}
        # a position that was closed here is not adopted again
        await moved(settings_of())
        left = {each["ticker"] for each in (await ask(app, "GET", "/admin/positions"))["positions"]}
        assert not left & {"T1", "T35", "T5"}
        assert len(receiver.received) == 3


async def test_while_the_processor_runs_it_uses_the_strategies_and_keeps_its_own_positions(
    settings_of: MakeSettings,
    source: Database,
    database: Database,
    start_app: Callable[..., Awaitable[AppServer]],
) -> None:
    await fill(source, 10)
    app = await start_app()
    await database.execute("INSERT INTO positions (ticker, quantity) VALUES ('T7', 5)")
    await moved(settings_of())
    rows = await database.fetch(
        "SELECT quantity, confirmed FROM positions WHERE ticker = 'T7' AND status = 'open'"
    )
    assert [tuple(row) for row in rows] == [(5, True)]

    async def is_active() -> bool:
        return bool((await ask(app, "GET", "/admin/finviz/strategies"))["active"] == "Movers")

    await until(is_active)


async def test_killed_in_the_middle_and_run_again_it_is_complete(
    settings_of: MakeSettings,
    source: Database,
    source_url: str,
    database_url: str,
    database: Database,
    tmp_path: Path,
) -> None:
    await fill(source)
    middle = await source.fetchval("SELECT md5('signal1500')::uuid")
    other = await asyncpg.connect(database_url)
    holding = other.transaction()
    await holding.start()
    await other.execute(  # the import waits for this row
        "INSERT INTO signals (id, status, ticker, expires_at, body) VALUES ($1, 'rejected', 'A', now(), '')",
        middle,
    )
    process = await asyncio.create_subprocess_exec(
        *(sys.executable, "-m", "app", "import-legacy"),
        env={
            "PATH": os.environ["PATH"],
            "DATABASE_URL": database_url,
            "LEGACY_DATABASE_URL": source_url,
            "CONFIG_DIR": str(tmp_path),
        },
    )

    async def is_waiting() -> bool:
        return bool(
            await database.fetchval(
                "SELECT count(*) FROM pg_stat_activity "
                "WHERE wait_event_type = 'Lock' AND datname = current_database()"
            )
        )

    await until(is_waiting)
    process.kill()
    assert await process.wait() == -9
    await holding.rollback()
    await other.close()
    there = await database.fetchval("SELECT count(*) FROM signals")
    assert 0 < there < SIGNALS
    report = await moved(settings_of())
    assert (report.signals.new, report.signals.present) == (SIGNALS - there, there)
    assert await database.fetchval("SELECT count(*) FROM signals") == SIGNALS
    assert (
        await database.fetchval(
            "SELECT count(*) FROM actions WHERE session = 'replaced system' AND action LIKE 'moved.%'"
        )
        == 500
    )
    events = await database.fetchval("SELECT count(*) FROM signal_events")
    assert events == 2 * SIGNALS + UNFINISHED + SIGNALS // 10


ODD_SCHEMA = """
CREATE TABLE signals (signal_id text, ticker text, status text, signal_type text, side text, price text,
                      created_at text, original_signal text);
CREATE TABLE positions (id text, ticker text, status text, opened_at text, closed_at text,
                        entry_signal_id text);
"""


# id, ticker, status, type, side, price, created at, alert
ODD: list[tuple[str | None, ...]] = [
    ("17", "aapl", "FORWARDED_SUCCESS", "BUY", None, "1.5", "2026-11-01 10:00:00", '{"ticker": "aapl"}'),
    ("17", "aapl", "rejected", "buy", None, "1.5", "2026-11-01 10:00:01", "{}"),
    (None, "MSFT", None, None, "sell", "NaN", None, None),
    (None, "MSFT", None, None, "sell", "Infinity", "infinity", "no json"),
    ("{not-a-uuid}", "BRK/B", "vanished", "swap", None, "1e9999", "0001-01-01", '{"action": "exit"}'),
    ("x" * 500, "SPY", "error", "swap", "hold", "", "9999-12-31 23:59:59+00", "[1]"),
    ("1", None, "error", "buy", None, None, None, None),
    ("2", "", "error", "buy", None, None, None, None),
    ("3", "A\tB", "error", "buy", None, None, None, None),
    ("4", "T" * 41, "error", "buy", None, None, None, None),
    ("5", "BIG", "error", "buy", None, None, None, json.dumps({"a": "x" * 70_000})),
    ("6", "DEEP", "error", "buy", None, None, None, "[" * 5000 + "]" * 5000),
]


async def test_odd_rows_are_counted_and_named_and_never_stop_the_import(
    settings_of: MakeSettings, source: Database, database: Database
) -> None:
    await source.execute(ODD_SCHEMA)
    await source.executemany("INSERT INTO signals VALUES ($1, $2, $3, $4, $5, $6, $7, $8)", ODD)
    await source.executemany(
        "INSERT INTO positions VALUES ($1, $2, $3, $4, $5, $6)",
        [
            (None, "nasdaq:aapl", "open", None, None, None),
            ("7", "MSFT", None, "yesterday", None, "17"),
            ("8", "SPY", "shut", "2026-11-01", "2026-11-28", "no id"),
            ("9", None, "open", None, None, None),
            ("9", "QQQ", "open", None, None, None),
            ("9", "IWM", "open", None, None, None),
        ],
    )
    report = await moved(settings_of(signal_retention_days=3650))
    assert part_of(report)["signals"] == (12, 6, 1, 5)
    assert part_of(report)["positions"][3] == 1
    assert report.missing == ["signal_events", "finviz_urls", "admin_actions"]
    rows = {row["ticker"]: row for row in await database.fetch("SELECT * FROM signals")}
    assert rows.keys() == {"AAPL", "MSFT", "BRK-B", "SPY", "DEEP"}
    assert (rows["AAPL"]["status"], rows["AAPL"]["type"], rows["AAPL"]["price"]) == ("forwarded", "buy", 1.5)
    assert rows["AAPL"]["received_at"] == datetime(2026, 11, 1, 10, tzinfo=UTC)
    assert (rows["BRK-B"]["status"], rows["BRK-B"]["type"]) == ("failed", "sell")
    assert "vanished" in rows["BRK-B"]["reason"]
    assert (rows["SPY"]["status"], rows["SPY"]["type"]) == ("rejected", None)
    held = {
        row["ticker"] for row in await database.fetch("SELECT ticker FROM positions WHERE status = 'open'")
    }
    assert {"AAPL", "MSFT", "QQQ", "IWM"} <= held
    assert "SPY" not in held
    again = await moved(settings_of(signal_retention_days=3650))
    assert {part: new for part, (_, new, _, _) in part_of(again).items()} == dict.fromkeys(part_of(again), 0)


async def test_a_buy_that_was_being_sent_has_an_unconfirmed_position(
    settings_of: MakeSettings, source: Database, database: Database
) -> None:
    """Its exit must pass, for it may have been executed."""
    await source.execute(SCHEMA)
    for ticker, kind in (("NVDA", "buy"), ("AMD", "sell")):
        await source.execute(
            "INSERT INTO signals (signal_id, ticker, status, signal_type, created_at) "
            "VALUES (gen_random_uuid(), $1, 'forwarding', $2, now())",
            ticker,
            kind,
        )
    await moved(settings_of())
    rows = await database.fetch("SELECT ticker, confirmed FROM positions")
    assert [tuple(row) for row in rows] == [("NVDA", False)]


async def test_ids_of_the_replaced_system_stay(
    settings_of: MakeSettings, source: Database, database: Database
) -> None:
    await fill(source, 20)
    await moved(settings_of())
    theirs = [row[0] for row in await source.fetch("SELECT signal_id FROM signals ORDER BY 1")]
    assert [row[0] for row in await database.fetch("SELECT id FROM signals ORDER BY 1")] == theirs
    newest = await database.fetchval("SELECT max(received_at) FROM signals")
    assert datetime.now(UTC) - newest < timedelta(hours=1)
