"""The filter of signals: of the list, its CSV file, the dead letters and their replay."""

from __future__ import annotations

import csv
import io
from datetime import UTC, datetime, timedelta
from typing import TYPE_CHECKING, Any

import pytest

from app.admin.filters import in_query
from tests.api.operator import BEARER, ask

if TYPE_CHECKING:
    from tests.api.conftest import AppServer

NOW = datetime.now(UTC).replace(microsecond=0)
# ticker, type, status, source, minutes ago, sender's id, outcome of the last attempt
ROWS = (
    ("NVDA", "buy", "forwarded", None, 5, "order-1", "delivered"),
    ("NVDA", "sell", "failed", "desk", 30, "order-2", "refused"),
    ("NVO", "buy", "rejected", "desk", 90, None, None),
    ("AAPL", "buy", "failed", None, 20, "Long", "unknown"),
    ("AAPL", "sell", "expired", None, 200, None, "not_taken"),
)
INSERT = """
    WITH signal AS (
        INSERT INTO signals (id, status, type, ticker, source, received_at, status_at, expires_at, reason,
                             body, sender_signal_id, attempts, quantity, quantity_unit, price)
        VALUES (gen_random_uuid(), $1, $2, $3, $4, $5, $5::timestamptz + interval '1.5 s',
                $5::timestamptz + interval '5 min', '', '{}', $6, 1, 2, 'shares', 10.5)
        RETURNING id
    ), attempt AS (
        INSERT INTO attempts (signal_id, round, number, destination, webhook_id, claim_id, started_at,
                              ended_at, outcome)
        SELECT id, 1, 1, 'https://bridge.example 0123456789ab', id::text, id, $5, $5, $7 FROM signal
        WHERE $7::text IS NOT NULL
    )
    SELECT id::text FROM signal
"""
HOUR_AGO = "an hour ago"  # the ids of the cases must not have a time


async def add(app: AppServer) -> list[str]:
    """Store the rows; return their ids."""
    ids = []
    for ticker, kind, status, source, minutes, sender_id, outcome in ROWS:
        values = (status, kind, ticker, source, NOW - timedelta(minutes=minutes), sender_id, outcome)
        ids.append(await app.context.pool.fetchval(INSERT, *values))
    return ids


@pytest.mark.parametrize(
    ("query", "found"),
    [
        ({}, [0, 1, 2, 3, 4]),
        ({"q": "nv"}, [0, 1, 2]),
        ({"q": "NASDAQ:NVD"}, [0, 1]),
        ({"q": "NASDAQ:"}, []),
        ({"q": "order-"}, [0, 1]),
        ({"q": "Long"}, [3]),
        ({"q": "long"}, []),
        ({"q": "%"}, []),
        ({"from": HOUR_AGO}, [0, 1, 3]),
        ({"to": HOUR_AGO}, [2, 4]),
        ({"status": ["failed", "expired"]}, [1, 3, 4]),
        ({"side": "sell"}, [1, 4]),
        ({"side": "buy", "source": "desk"}, [2]),
        ({"source": "default"}, [0, 3, 4]),
        ({"outcome": "unknown"}, [3]),
        ({"destination": "https://bridge.example"}, [0, 1, 3, 4]),
        ({"destination": "https://bridge"}, []),
        ({"q": "A", "from": HOUR_AGO, "status": ["failed"]}, [3]),
    ],
    ids=str,
)
async def test_each_condition_and_several_at_once(
    app_server: AppServer, query: dict[str, Any], found: list[int]
) -> None:
    ids = await add(app_server)
    hour_ago = in_query(NOW - timedelta(hours=1))
    asked = {name: hour_ago if value == HOUR_AGO else value for name, value in query.items()}
    listed = (await ask(app_server, "GET", "/admin/signals", **asked))["signals"]
    assert sorted(ids.index(each["id"]) for each in listed) == found
    dead = (await ask(app_server, "GET", "/admin/dead-letters", **asked))["dead_letters"]
    expected = [number for number in found if ROWS[number][2] in {"failed", "expired"}]
    assert sorted(ids.index(each["id"]) for each in dead) == expected


async def test_by_our_id_whole_or_its_beginning(app_server: AppServer) -> None:
    ids = await add(app_server)
    for text in (ids[2], ids[2].upper(), ids[2][:13]):
        listed = (await ask(app_server, "GET", "/admin/signals", q=text))["signals"]
        assert [each["id"] for each in listed] == [ids[2]]


async def test_the_file_has_the_rows_of_the_filter(app_server: AppServer) -> None:
    await add(app_server)
    query = {"side": "sell", "from": in_query(NOW - timedelta(hours=5))}
    async with app_server.http.get("/admin/signals/export", params=query, headers=BEARER) as answer:
        assert answer.status == 200
        text = (await answer.read()).decode("utf-8-sig")
    rows = list(csv.DictReader(io.StringIO(text, newline="")))
    # in the order in which they were stored, newest first
    assert [(row["ticker"], row["status"], row["quantity"], row["price"]) for row in rows] == [
        ("AAPL", "expired", "2", "10.5"),
        ("NVDA", "failed", "2", "10.5"),
    ]
    assert rows[1]["received_at"] == (NOW - timedelta(minutes=30)).strftime("%Y-%m-%dT%H:%M:%S.%fZ")


async def test_a_replay_of_a_filter_leaves_out_buys_that_may_be_executed(app_server: AppServer) -> None:
    """An exit of unknown outcome is never left out: it can only close."""
    ids = await add(app_server)
    path, hour_ago = "/admin/dead-letters/replay", in_query(NOW - timedelta(hours=1))
    await ask(app_server, "POST", "/admin/delivery/pause")
    counted = await ask(app_server, "POST", path, body={"from": hour_ago})
    assert (counted["count"], counted["may_be_executed"], counted["blocked"]) == (2, 1, [])
    await app_server.context.pool.execute("UPDATE attempts SET outcome = 'unknown'")
    body = {"from": hour_ago, "unknown": False}
    assert (await ask(app_server, "POST", path, body=body))["count"] == 1
    replayed = await ask(app_server, "POST", path, body={**body, "confirm": 1})
    assert (replayed["replayed"], replayed["may_be_executed"]) == (1, 0)
    left = (await ask(app_server, "GET", "/admin/dead-letters"))["dead_letters"]
    assert {ids.index(each["id"]) for each in left} == {3, 4}
    assert all(each["may_be_executed"] for each in left)


@pytest.mark.parametrize(
    "query",
    [{"from": "yesterday"}, {"side": "short"}, {"outcome": "no"}, {"q": "\0"}, {"q": "x" * 201}],
    ids=["from", "side", "outcome", "nul", "length"],
)
async def test_what_the_filter_does_not_know(app_server: AppServer, query: dict[str, str]) -> None:
    for path in ("/admin/signals", "/admin/dead-letters", "/admin/signals/export"):
        assert "detail" in await ask(app_server, "GET", path, 422, **query)


async def test_imported_history_follows_what_came_here(app_server: AppServer) -> None:
    """Whenever it was imported, page by page; the rows of an import are inserted last."""
    first = await add(app_server)
    imported = await add(app_server)
    await app_server.context.pool.execute(
        "UPDATE signals SET imported_at = now() WHERE id = ANY ($1::uuid[])", imported
    )
    last = await add(app_server)
    expected = [*last[::-1], *first[::-1], *imported[::-1]]
    for limit in (1, 2, 7, 100):
        seen: list[str] = []
        cursor: dict[str, int] = {}
        while True:
            page = await ask(app_server, "GET", "/admin/signals", limit=limit, **cursor)
            seen += [each["id"] for each in page["signals"]]
            if page["next_cursor"] is None:
                break
            cursor = {"cursor": page["next_cursor"]}
        assert seen == expected
    async with app_server.http.get("/admin/signals/export", headers=BEARER) as answer:
        text = (await answer.read()).decode("utf-8-sig")
    assert [row["id"] for row in csv.DictReader(io.StringIO(text, newline=""))] == expected
