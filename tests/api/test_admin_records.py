"""Refused posts, orders, history, audit trail and actions log over the API."""

from __future__ import annotations

import csv
import io
from datetime import datetime
from typing import TYPE_CHECKING, Any
from uuid import UUID, uuid4

import pytest

from tests.api.operator import BEARER, ask

if TYPE_CHECKING:
    from tests.api.conftest import AppServer

_INSERT = """
    WITH signal AS (
        INSERT INTO signals (id, status, type, ticker, received_at, status_at, expires_at, attempts, body)
        VALUES ($1, $2, $3, $4, now() - make_interval(secs => $5), now() - make_interval(secs => $5 - $6),
                now() + interval '1 hour', $7, '{}')
        RETURNING id, status
    )
    INSERT INTO signal_events (signal_id, status, detail) SELECT id, status, '{"rank": 1}' FROM signal
"""


async def add(
    app: AppServer,
    status: str,
    ticker: str = "AAPL",
    *,
    kind: str = "buy",
    age: float = 0,
    took: float = 0,
    attempts: int = 0,
) -> UUID:
    """Store a signal with one event; ages in seconds, `took` from its arrival to its status."""
    signal_id = uuid4()
    await app.context.pool.execute(_INSERT, signal_id, status, kind, ticker, age, took, attempts)
    return signal_id


async def all_pages(app: AppServer, path: str, key: str, **query: Any) -> list[Any]:
    """Return all rows of a list, read in pages of two."""
    found: list[Any] = []
    cursor: dict[str, Any] = {}
    while True:
        page = await ask(app, "GET", path, limit=2, **query, **cursor)
        assert len(page[key]) <= 2
        found += page[key]
        if page["next_cursor"] is None:
            return found
        cursor = {"cursor": page["next_cursor"]}


async def test_refused_posts_are_shown_with_their_beginning(app_server: AppServer) -> None:
    for body in (b"{", b'{"ticker": "FAR TOO LONG FOR THE TICKER OF ANYTHING AT ALL"}', b'{"ticker":"\xff"}'):
        async with app_server.http.post("/webhook/in", data=body) as answer:
            assert answer.status == 422
    await app_server.app.state.intake.refused_posts.write()
    posts = await all_pages(app_server, "/admin/refused", "posts")
    assert [post["head"] for post in posts] == [
        '{"ticker":"\N{REPLACEMENT CHARACTER}"}',
        '{"ticker": "FAR TOO LONG FOR THE TICKER OF ANYTHING AT ALL"}',
        "{",
    ]
    assert {(post["status"], post["client"]) for post in posts} == {(422, "127.0.0.1")}
    assert posts[2]["size"] == 1
    assert posts[1]["reason"].startswith("ticker")


async def test_the_audit_trail_is_every_change_of_every_signal(app_server: AppServer) -> None:
    added = [str(await add(app_server, "rejected", ticker)) for ticker in ("AAPL", "NVDA", "AAPL")]
    entries = await all_pages(app_server, "/admin/audit-trail", "entries")
    assert [entry["signal_id"] for entry in entries] == added[::-1]
    assert (entries[1]["ticker"], entries[1]["detail"]) == ("NVDA", {"rank": 1})
    of_one = await all_pages(app_server, "/admin/audit-trail", "entries", ticker="aapl")
    assert [entry["signal_id"] for entry in of_one] == [added[2], added[0]]


async def test_orders_are_what_left_or_is_about_to(app_server: AppServer) -> None:
    pool = app_server.context.pool
    await pool.execute("INSERT INTO positions (ticker) VALUES ('NVDA')")
    sent = await add(app_server, "forwarded", attempts=2)
    await pool.execute(
        """INSERT INTO attempts (signal_id, round, number, destination, webhook_id, claim_id, outcome,
                                 http_status, ended_at)
           SELECT $1, 1, n, 'paper', '', $1, CASE n WHEN 1 THEN 'not_taken' ELSE 'delivered' END,
                  CASE n WHEN 1 THEN 503 ELSE 200 END, now() FROM generate_series(1, 2) n""",
        sent,
    )
    await add(app_server, "rejected")
    await add(app_server, "expired")
    tried = await add(app_server, "expired", "NVDA", kind="sell", attempts=3)
    failed = await add(app_server, "failed", "NVDA", kind="sell", attempts=1)
    found = await all_pages(app_server, "/admin/orders", "orders")
    assert [order["id"] for order in found] == [str(failed), str(tried), str(sent)]
    assert (found[2]["outcome"], found[2]["http_status"], found[2]["destination"]) == (
        "delivered",
        200,
        "paper",
    )
    assert found[1]["outcome"] is None
    (only,) = await all_pages(app_server, "/admin/orders", "orders", ticker="nvda", status="failed")
    assert only["id"] == str(failed)


async def test_the_orders_figures(app_server: AppServer) -> None:
    for took in (1, 2, 3):
        await add(app_server, "forwarded", age=60, took=took, attempts=1)
    await add(app_server, "failed", attempts=1)
    await add(app_server, "forwarded", age=7300, took=1, attempts=1)
    await add(app_server, "expired", kind="sell", attempts=1)
    buys, sells = await ask(app_server, "GET", "/admin/orders/stats", hours=2)
    assert (buys["type"], buys["orders"], buys["forwarded"], buys["failed"]) == ("buy", 4, 3, 1)
    assert buys["median_seconds"] == pytest.approx(2)
    assert (sells["type"], sells["expired"], sells["median_seconds"]) == ("sell", 1, None)


async def test_the_history_has_a_row_for_every_hour(app_server: AppServer) -> None:
    await add(app_server, "forwarded", took=4, age=4)
    await add(app_server, "rejected", age=3 * 3600)
    await add(app_server, "rejected", age=24 * 3600)
    hours = await ask(app_server, "GET", "/admin/signals-history", hours=5)
    assert len(hours) == 5
    assert [hour["rejected"] for hour in hours] == [0, 1, 0, 0, 0]
    assert sum(hour["forwarded"] for hour in hours) == sum(hour["approved"] for hour in hours) == 1
    delivered = next(hour for hour in hours if hour["forwarded"])
    assert delivered["median_seconds"] == pytest.approx(4)
    assert len(await ask(app_server, "GET", "/admin/signals-history")) == 24


async def test_the_actions_log_by_pages_and_as_a_spreadsheet(app_server: AppServer) -> None:
    for word in ("pause", "resume"):
        await ask(app_server, "POST", f"/admin/engine/{word}")
    body = {"name": "=HYPERLINK(1);=1+1", "url": "list:A"}
    await ask(app_server, "POST", "/admin/finviz/strategies", 201, body=body)
    found = await all_pages(app_server, "/admin/actions-log", "actions")
    assert [entry["action"] for entry in found] == ["strategy.create", "engine.resume", "engine.pause"]
    assert (found[1]["before"], found[1]["after"]) == ({"engine_paused": True}, {"engine_paused": False})
    async with app_server.http.get("/admin/actions-log/export", headers=BEARER) as answer:
        assert answer.status == 200
        assert answer.headers["Content-Type"].startswith("text/csv")
        assert 'attachment; filename="actions-log-' in answer.headers["Content-Disposition"]
        content = await answer.read()
    assert content.startswith(b"\xef\xbb\xbf")
    rows = list(csv.DictReader(io.StringIO(content.decode("utf-8-sig"), newline="")))
    assert [row["action"] for row in rows] == ["strategy.create", "engine.resume", "engine.pause"]
    assert rows[0]["target"] == "'=HYPERLINK(1);'=1+1"
    assert [row["at"] for row in rows] == [
        datetime.fromisoformat(entry["at"]).strftime("%Y-%m-%dT%H:%M:%S.%fZ") for entry in found
    ]
    assert rows[1]["target"] == ""
    assert rows[1]["after"] == '{"engine_paused": false}'


async def test_the_actions_log_has_filters(app_server: AppServer) -> None:
    await ask(app_server, "POST", "/admin/engine/pause")
    await ask(app_server, "POST", "/admin/delivery/pause")
    refusal = await ask(app_server, "PUT", "/admin/webhook/config", 422, body={"timeout": 61})
    assert refusal["place"] == "timeout"

    async def actions(**query: str) -> list[str]:
        found = await all_pages(app_server, "/admin/actions-log", "actions", **query)
        return [entry["action"] for entry in found]

    assert await actions(action="delivery") == await actions(action="delivery.pause") == ["delivery.pause"]
    assert await actions(result="refused") == ["webhook.configure"]
    assert await actions(result="done") == ["delivery.pause", "engine.pause"]
    assert await actions(action="order.") == await actions(action="engine", result="refused") == []


@pytest.mark.parametrize(
    ("path", "query"),
    [
        ("refused", {"limit": 0}),
        ("audit-trail", {"ticker": "A" * 41}),
        ("orders", {"status": "rejected"}),
        ("orders/stats", {"hours": 0}),
        ("signals-history", {"hours": 745}),
        ("actions-log", {"cursor": 2**63}),
        ("actions-log", {"action": "%"}),
        ("actions-log", {"result": "maybe"}),
    ],
)
async def test_an_invalid_query_is_refused(app_server: AppServer, path: str, query: dict[str, Any]) -> None:
    await ask(app_server, "GET", f"/admin/{path}", 422, **query)
