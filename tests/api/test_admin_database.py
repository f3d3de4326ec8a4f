"""Export, import and clearance: nothing is lost, and nothing imported is traded."""

from __future__ import annotations

import csv
import io
import stat
import threading
from datetime import UTC, datetime
from typing import TYPE_CHECKING, Any
from uuid import UUID, uuid4

import pytest

from app.transfer import importing
from tests.api.operator import BEARER, ask, log_of

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable
    from pathlib import Path

    from tests.api.conftest import AppServer

    StartApp = Callable[..., Awaitable[AppServer]]

PAUSED = '{"delivery_paused": true, "engine_paused": true}'
_INSERT = """
    WITH signal AS (
        INSERT INTO signals (id, status, type, ticker, expires_at, reason, body, price, sender_signal_id,
                             status_at)
        VALUES ($1, $2, $3, 'AAPL', now() + interval '1 hour', $4, $5, 1.10, $6, now() - interval '2 hours')
        RETURNING id, status, reason
    ), told AS (
        INSERT INTO signal_events (signal_id, status, reason, detail)
        SELECT id, status, reason, '{"rank": 1}' FROM signal
    )
    INSERT INTO attempts (signal_id, round, number, destination, webhook_id, claim_id, outcome, http_status,
                          started_at, ended_at, response)
    SELECT id, 1, 1, 'paper', id::text, id, 'delivered', 200, now() - interval '3 hours',
           now() - make_interval(mins => $7), '\\xff00'
    FROM signal WHERE status = 'forwarded'
"""


async def add(
    app: AppServer,
    status: str,
    *,
    kind: str | None = "buy",
    reason: str = "=1+1",
    body: bytes = b'{"ticker":"AAPL",\r\n"note":"\xc3\xa9, \\"quoted\\""}',
    minutes_ago: int = 150,
) -> UUID:
    """Store a signal with its timeline; a forwarded one has an attempt that ended so long ago."""
    signal_id = uuid4()
    await app.context.pool.execute(_INSERT, signal_id, status, kind, reason, body, "-7", minutes_ago)
    return signal_id


async def exported(app: AppServer) -> str:
    """Return the export's text."""
    async with app.http.post("/admin/database/export", headers=BEARER) as answer:
        assert answer.status == 200
        assert 'attachment; filename="signals-' in answer.headers["Content-Disposition"]
        return (await answer.read()).decode("utf-8-sig")


async def imported(app: AppServer, content: str | bytes, expected: int = 200) -> Any:
    """Return the response to an import."""
    headers = {**BEARER, "Content-Type": "text/csv"}
    async with app.http.post("/admin/database/import", data=content, headers=headers) as answer:
        assert answer.status == expected, await answer.text()
        return await answer.json()


def rows_of(text: str) -> list[dict[str, str]]:
    """Return a CSV text's rows by column."""
    return list(csv.DictReader(io.StringIO(text, newline="")))


def table(*rows: dict[str, str]) -> str:
    """Return rows as a CSV text, with the columns of the first."""
    buffer = io.StringIO(newline="")
    writer = csv.DictWriter(buffer, list(rows[0]))
    writer.writeheader()
    writer.writerows(rows)
    return buffer.getvalue()


async def timeline(app: AppServer, signal_id: UUID) -> Any:
    """Return a signal's timeline without `seq`, which an import sets anew."""
    found = await ask(app, "GET", f"/admin/signals/{signal_id}")
    del found["signal"]["seq"]
    return found


async def test_exported_history_is_imported_completely(start_app: StartApp, tmp_path: Path) -> None:
    (tmp_path / "system_config.json").write_text(PAUSED)
    app = await start_app()
    bodies = [b'{"ticker":"\xff"}', b'{"ticker":"\\u0000"}', b" \t{}\n"]
    added = [await add(app, "forwarded")]
    added += [await add(app, "rejected", kind=None, body=body) for body in bodies]
    before = [await timeline(app, signal_id) for signal_id in added]
    text = await exported(app)
    assert [row["id"] for row in rows_of(text)] == [str(signal_id) for signal_id in added]
    assert not [
        cell for row in rows_of(text) for cell in row.values() if cell.startswith(("=", "+", "-", "@", "\t"))
    ]
    await app.context.pool.execute("DELETE FROM signals")
    answer = await imported(app, text)
    assert answer == {"imported": 4, "expired": 0, "present": 0, "bad": 0, "bad_rows": []}
    assert [await timeline(app, signal_id) for signal_id in added] == before
    rows = await app.context.pool.fetch("SELECT body FROM signals ORDER BY seq")
    assert [row["body"] for row in rows][1:] == bodies
    again = await imported(app, text)
    assert (again["imported"], again["present"]) == (0, 4)
    assert [entry[2] for entry in await log_of(app)] == [
        "database.export",
        "database.import",
        "database.import",
    ]


async def test_the_counts_of_stored_rows(app_server: AppServer) -> None:
    empty = await ask(app_server, "GET", "/admin/database")
    assert (empty["signals"], empty["oldest"], empty["open_positions"]) == ({}, None, 0)
    await add(app_server, "forwarded")
    await add(app_server, "rejected")
    await add(app_server, "rejected")
    app_server.context.reading.forget()  # a busy machine takes long enough for the first count to be reused
    full = await ask(app_server, "GET", "/admin/database")
    assert full["signals"] == {"forwarded": 1, "rejected": 2}
    assert (full["events"], full["attempts"]) == (3, 1)
    assert full["size_bytes"] > 1_000_000
    assert datetime.fromisoformat(full["oldest"]) <= datetime.now(UTC)


async def test_an_export_is_made_in_pages(app_server: AppServer) -> None:
    await app_server.context.pool.execute(
        """INSERT INTO signals (id, status, ticker, expires_at, body)
           SELECT gen_random_uuid(), 'rejected', 'AAPL', now(), '{}' FROM generate_series(1, 450)"""
    )
    rows = rows_of(await exported(app_server))
    assert len({row["id"] for row in rows}) == len(rows) == 450
    await app_server.context.pool.execute("DELETE FROM signals")
    assert (await imported(app_server, table(*rows)))["imported"] == 450


async def test_an_imported_unfinished_signal_expires_and_is_never_traded(app_server: AppServer) -> None:
    row = {
        "id": str(uuid4()),
        "received_at": datetime.now(UTC).isoformat(),
        "status": "approved",
        "type": "sell",
        "ticker": "NVDA",
        "body": '{"ticker":"NVDA"}',
    }
    assert (await imported(app_server, table(row)))["expired"] == 1
    found = await ask(app_server, "GET", f"/admin/signals/{row['id']}")
    assert found["signal"]["status"] == "expired"
    assert [event["status"] for event in found["events"]] == ["expired"]
    assert "it was approved" in found["events"][0]["reason"]
    status = await ask(app_server, "GET", "/admin/status")
    assert status["metrics"]["expired"] == 1
    assert "sells_expired" not in {alarm["code"] for alarm in status["alarms"]}
    assert await app_server.context.pool.fetchval("SELECT count(*) FROM attempts") == 0


_GOOD = {
    "id": "00000000-0000-0000-0000-000000000001",
    "received_at": "2026-11-22T10:00:00Z",
    "status": "rejected",
    "type": "buy",
    "ticker": "AAPL",
    "body": "{}",
    "price": "1.5",
    "round": "1",
    "events": "",
}


async def test_bad_rows_are_listed_and_good_ones_imported(app_server: AppServer) -> None:
    wrong = [
        ("id", "no-uuid"),
        ("received_at", "yesterday"),
        ("received_at", "2999-01-01T00:00:00Z"),
        ("status", "lost"),
        ("ticker", "far too long for the ticker of anything at all"),
        ("ticker", ""),
        ("price", "NaN"),
        ("price", "ten"),
        ("round", "99999"),
        ("body", "base64:?"),
        ("body", "x" * 65_537),
        ("body", "\0"),
        ("events", "[{}]"),
        ("events", '[{"at":"2026-11-22T10:00:00Z","status":"\\u0000","reason":"","detail":{}}]'),
        ("events", "[" * 60_000),
        ("received_at", "0001-01-01T00:00:00+23:59"),
        ("received_at", "2099-01-01T00:00:00Z"),
    ]
    bad = [{**_GOOD, name: value} for name, value in wrong]
    other = {**_GOOD, "id": "00000000-0000-0000-0000-000000000002", "type": ""}
    answer = await imported(app_server, table(_GOOD, *bad, other))
    assert (answer["imported"], answer["bad"]) == (2, len(wrong))
    for found, (number, (name, _)) in zip(answer["bad_rows"], enumerate(wrong, 3), strict=True):
        assert found["line"] == number, found
        assert found["reason"].startswith(name), found
    half = table(_GOOD).encode().replace(b"{}", b"\xff").replace(b"0001,", b"0003,")
    assert (await imported(app_server, half))["bad_rows"] == [
        {"line": 2, "reason": "body: must be UTF-8 text without NUL"}
    ]
    assert (await imported(app_server, table(_GOOD) + "one,cell\r\n"))["bad_rows"][0]["line"] == 3
    assert (await imported(app_server, table({**_GOOD, "status": "failed", "type": ""})))["bad"] == 1


async def test_rows_that_postgresql_refuses_are_listed_and_good_ones_imported(app_server: AppServer) -> None:
    digits = f'[{{"at":"2026-11-22T10:00:00Z","status":"","reason":"","detail":{{"a":0.{"0" * 20_000}1}}}}]'
    rows = [{**_GOOD, "id": str(uuid4())} for _ in range(5)]
    rows[2]["events"] = digits
    answer = await imported(app_server, table(*rows))
    assert (answer["imported"], answer["bad"]) == (4, 1)
    assert answer["bad_rows"] == [{"line": 4, "reason": "PostgreSQL cannot store this signal"}]


class _NotedBytes(io.BytesIO):
    """Bytes that record which threads read them."""

    threads: set[int]

    def read1(self, size: int | None = -1, /) -> bytes:
        self.threads.add(threading.get_ident())
        return super().read1(size)


async def test_a_file_is_read_outside_the_event_loop(app_server: AppServer) -> None:
    """While its rows are read, however slowly, requests are answered."""
    file = _NotedBytes(table(*({**_GOOD, "id": str(uuid4())} for _ in range(450))).encode())
    file.threads = set()
    text = io.TextIOWrapper(file, encoding="utf-8", newline="")
    result = await importing.import_csv(app_server.context.pool, text)
    assert (result.imported, result.bad) == (450, 0)
    assert file.threads
    assert threading.get_ident() not in file.threads


@pytest.mark.parametrize(
    "content", ["", "nonsense", '{"json": 1}', '"a"b"c","\n', "id,ticker\r\n1,A\r\n", b"\xff\xfe"]
)
async def test_a_file_that_is_not_an_export_is_refused(app_server: AppServer, content: str | bytes) -> None:
    refused = await imported(app_server, content, 422)
    assert "is this an export" in refused["detail"]
    ((*_, action, _, _, after, result),) = await log_of(app_server)
    assert (action, after, result) == ("database.import", None, f"refused: {refused['detail']}")


async def test_an_import_has_a_limit(app_server: AppServer) -> None:
    refused = await imported(app_server, b"x" * (64 * 1024 * 1024 + 1), 413)
    assert "in parts" in refused["detail"]


async def test_clear_dumps_and_deletes_and_the_dump_can_be_imported(
    app_server: AppServer, tmp_path: Path
) -> None:
    added = [await add(app_server, status) for status in ("forwarded", "rejected", "failed", "expired")]
    recent = await add(app_server, "forwarded", minutes_ago=5)
    answer = await ask(app_server, "POST", "/admin/database/clear", body={"confirm": "clear"})
    assert (answer["deleted"], answer["kept"]) == (4, 1)
    left = await app_server.context.pool.fetch("SELECT id FROM signals")
    assert [row["id"] for row in left] == [recent]  # the limiter counts its attempt
    (dump,) = (tmp_path / "data" / "exports").iterdir()
    assert str(dump) == answer["dump"]
    assert stat.S_IMODE(dump.stat().st_mode) == 0o600
    again = await imported(app_server, dump.read_bytes())
    assert (again["imported"], again["present"]) == (4, 1)
    assert await timeline(app_server, added[0])
    assert ((await log_of(app_server))[0][2], (await log_of(app_server))[0][5]) == ("database.clear", answer)


@pytest.mark.parametrize("status", ["received", "approved", "forwarding"])
async def test_nothing_is_cleared_while_a_signal_is_unfinished(
    start_app: StartApp, tmp_path: Path, status: str
) -> None:
    (tmp_path / "system_config.json").write_text(PAUSED)
    app = await start_app()
    await add(app, "rejected")
    # no worker claims it: there is no list yet, deliveries are paused, and it has no claim
    await add(app, status)
    refused = await ask(app, "POST", "/admin/database/clear", 409, body={"confirm": "clear"})
    assert "1 signals are undelivered" in refused["detail"]
    assert await app.context.pool.fetchval("SELECT count(*) FROM signals") == 2
    assert (await log_of(app))[0][6] == f"refused: {refused['detail']}"


async def test_clear_needs_the_confirmation_word(app_server: AppServer) -> None:
    await add(app_server, "rejected")
    for body in (None, {}, {"confirm": "yes"}):
        await ask(app_server, "POST", "/admin/database/clear", 422, body=body)
    assert await app_server.context.pool.fetchval("SELECT count(*) FROM signals") == 1


async def test_without_a_dump_nothing_is_cleared(start_app: StartApp, tmp_path: Path) -> None:
    (tmp_path / "file").touch()
    app = await start_app(data_dir=tmp_path / "file")
    await add(app, "rejected")
    refused = await ask(app, "POST", "/admin/database/clear", 500, body={"confirm": "clear"})
    assert "nothing was deleted" in refused["detail"]
    assert await app.context.pool.fetchval("SELECT count(*) FROM signals") == 1
    assert [entry[2:] for entry in await log_of(app)] == [
        ("database.clear", "", None, None, f"refused: {refused['detail']}")
    ]
