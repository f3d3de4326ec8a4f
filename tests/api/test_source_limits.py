"""Limits of sources: signals a minute and maximum age. No exit is refused."""

from __future__ import annotations

import asyncio
import json
from datetime import UTC, datetime, timedelta
from typing import TYPE_CHECKING, Any

from app.intake import repository, storing
from app.intake.dedupe import body_key
from app.intake.storing import Post
from app.intake.unanswered import UnansweredPosts
from app.signals.alert import read_alert, read_fields
from tests.api.operator import ask

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable
    from pathlib import Path

    import pytest

    from tests.api.conftest import AppServer

    StartApp = Callable[..., Awaitable[AppServer]]
from tests.api.sources import (
    DESK,
    DESK_SOURCE,
    MAIN,
    configure,
    post,
    refused_posts,
)


async def set_for_all(app: AppServer, change: str) -> None:
    """Change all signals, between two transactions of the application."""
    async with app.context.pool.acquire() as connection, connection.transaction():
        await connection.execute("LOCK TABLE signals IN SHARE ROW EXCLUSIVE MODE")
        await connection.execute(f"UPDATE signals SET {change}")  # noqa: S608 - of this test


async def test_a_quota_counts_the_signals_of_every_process_and_never_refuses_an_exit(
    start_app: StartApp, tmp_path: Path
) -> None:
    configure(tmp_path, {**DESK_SOURCE, "per_minute": 5}, {"name": "default", "per_minute": 2})
    first, second = await start_app(webhook_secret=MAIN), await start_app(webhook_secret=MAIN)
    apps = (first, second)
    assert [(await post(apps[n % 2], DESK, ticker=f"A{n}"))[0] for n in range(3)] == [202] * 3
    answers = await asyncio.gather(*(post(first, DESK, ticker=f"B{n}") for n in range(9)))
    assert sorted(status for status, _ in answers) == [202] * 2 + [503] * 7
    assert (await post(second, DESK, ticker="C"))[0] == 503
    refused = next(answer for status, answer in answers if status == 503)
    assert refused["detail"] == "source desk has reached its limit of signals a minute (5)"
    for action in ("sell", "close", "cancel", "unheard-of"):
        for app in apps:
            assert (await post(app, DESK, ticker="B1", action=action, n=id(app)))[0] == 202
    assert (await post(first, DESK, action="short"))[0] == 503
    # another source has its own
    assert [(await post(apps[n % 2], MAIN, ticker=f"D{n}"))[0] for n in range(4)] == [202, 202, 503, 503]

    # a minute later the quota is free again
    await set_for_all(first, "received_at = received_at - interval '61 s'")
    assert [(await post(app, DESK, ticker="LATER", n=id(app)))[0] for app in apps] == [202, 202]
    # imported history does not use the quota up
    await set_for_all(first, "imported_at = now()")
    assert [(await post(app, DESK, ticker="IMPORT", n=id(app)))[0] for app in apps] == [202, 202]
    # times ahead of the clock, after it was put back, do not use the quota up
    await set_for_all(first, "received_at = received_at + interval '1 h'")
    assert [(await post(app, DESK, ticker="AHEAD", n=id(app)))[0] for app in apps] == [202, 202]


async def test_a_process_that_stalls_or_a_count_that_takes_long_delays_no_exit(
    start_app: StartApp, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    configure(tmp_path, {**DESK_SOURCE, "per_minute": 1})
    first, second = await start_app(webhook_secret=MAIN), await start_app(webhook_secret=MAIN)
    # the first process stops in the middle of a commit that stores an entry of the limited source
    async with first.context.pool.acquire() as stalled:
        transaction = stalled.transaction()
        await transaction.start()
        waiting = _post_of("STALLED", quota=1)
        await storing.store(stalled, [waiting], UnansweredPosts(first.context))
        answers = await asyncio.gather(
            *(post(second, DESK, ticker="A", action=action) for action in ("buy", "sell", "close"))
        )
        assert [status for status, _ in answers] == [202] * 3
        await transaction.rollback()
    assert (await post(second, DESK, ticker="B"))[0] == 503
    slow = "SELECT pg_sleep(30), $1::text[], $2::integer[]"
    monkeypatch.setitem(repository._SQL, "count_last_minute", slow)  # noqa: SLF001
    actions = ("buy", "sell")
    answers = await asyncio.gather(*(post(second, DESK, ticker="C", action=action) for action in actions))
    assert [status for status, _ in answers] == [202, 202]


async def test_duplicates_and_repeated_commits_are_not_refused_by_a_quota_and_use_none_of_it(
    start_app: StartApp, tmp_path: Path
) -> None:
    configure(tmp_path, {**DESK_SOURCE, "per_minute": 2})
    app = await start_app(webhook_secret=MAIN)
    answers = await asyncio.gather(*(post(app, DESK, ticker="A") for _ in range(5)))
    assert [status for status, _ in answers] == [202] * 5
    assert len({answer["signal_id"] for _, answer in answers}) == 1
    assert (await post(app, DESK, ticker="B"))[0] == 202
    assert (await post(app, DESK, ticker="C"))[0] == 503
    _, answer = await post(app, DESK, ticker="B")
    assert answer["duplicate"]

    # the commit of a batch succeeds, its result is lost, and so the batch is stored again
    posts = [_post_of(ticker, quota=4) for ticker in "DEF"]
    async with app.context.pool.acquire() as connection:
        unanswered = UnansweredPosts(app.context)
        once = await storing.store(connection, posts, unanswered)
        assert [resolution.signal_id for resolution in once] == [posts[0].id, posts[1].id, None]
        assert await storing.store(connection, posts, unanswered) == once


def _post_of(ticker: str, quota: int) -> Post:
    """Return an entry that waits to be stored."""
    body = json.dumps({"ticker": ticker, "action": "buy"}).encode()
    alert = read_alert(body, read_fields(body))
    return Post(alert, 60, None, body_key(alert.digest, 60, "desk"), source="desk", quota=quota)


async def test_a_refused_entry_has_retry_after_and_is_a_refused_post(
    start_app: StartApp, tmp_path: Path
) -> None:
    configure(tmp_path, {**DESK_SOURCE, "per_minute": 1})
    app = await start_app(webhook_secret=MAIN)
    first = {"ticker": "A", "action": "buy"}
    headers = {"X-Webhook-Secret": DESK}
    async with app.http.post("/webhook/in", json=first, headers=headers) as answer:
        assert answer.status == 202
    async with app.http.post("/webhook/in", json={**first, "ticker": "B"}, headers=headers) as answer:
        assert (answer.status, answer.headers["Retry-After"]) == (503, "5")
    assert [(each["status"], each["reason"]) for each in await refused_posts(app, 1)] == [
        (503, "source desk has reached its limit of signals a minute (1)")
    ]


async def test_an_old_entry_is_rejected_and_an_old_exit_passes_with_a_remark(
    start_app: StartApp, tmp_path: Path
) -> None:
    configure(tmp_path, {**DESK_SOURCE, "max_source_age_seconds": {"buy": 60, "sell": 30}})
    app = await start_app(webhook_secret=MAIN)
    now = datetime.now(UTC)
    old, fresh = (now - timedelta(seconds=600)).isoformat(), now.isoformat()

    async def outcome(secret: str, **fields: Any) -> tuple[str, str | None, Any]:
        """Return status, reason code and remarks of an alert's signal."""
        status, answer = await post(app, secret, **fields)
        assert status == 202
        found = await ask(app, "GET", f"/admin/signals/{answer['signal_id']}")
        row = await app.context.pool.fetchrow(
            "SELECT status, reason_code FROM signals WHERE id = $1::uuid", answer["signal_id"]
        )
        assert row
        return row["status"], row["reason_code"], found["events"][0]["detail"].get("remark_codes", [{}])[-1]

    status, code, _ = await outcome(DESK, ticker="A", time=old)
    assert (status, code) == ("rejected", "too_old_at_source")
    listed = (await ask(app, "GET", "/admin/signals", status="rejected"))["signals"]
    assert [(each["ticker"], each["type"]) for each in listed] == [("A", "buy")]
    assert "its source allows 60 s" in listed[0]["reason"]
    assert (await outcome(DESK, ticker="B", time=fresh))[0] == "received"
    assert (await outcome(MAIN, ticker="C", time=old))[0] == "received"
    _, code, remark = await outcome(DESK, ticker="D", action="sell", time=old)
    assert code != "too_old_at_source"
    assert (remark["code"], remark["params"]["limit"]) == ("remark.late", 30)
    ahead = (now + timedelta(minutes=6)).isoformat()
    for unread in (ahead, "202611290830", "20261129083000", "2026-11-29"):
        status, _, remark = await outcome(DESK, ticker="E", n=unread, time=unread)
        assert (status, remark["code"]) == ("received", "remark.time")
    assert (await outcome(DESK, ticker="F", time=str(int(now.timestamp()) - 600)))[0] == "rejected"
    assert (await outcome(DESK, ticker="F", time=int(now.timestamp() - 600) * 1000))[0] == "rejected"
    for time, remark_code in (("{{time}}", "remark.time"), (None, "remark.no_time"), (10**30, "remark.time")):
        status, _, remark = await outcome(DESK, ticker="E", n=str(time), time=time)
        assert (status, remark["code"]) == ("received", remark_code)
    assert (await outcome(DESK, ticker="F", time="", timenow=old))[0] == "rejected"
    assert (await outcome(DESK, ticker="G", time="soon", timenow=fresh))[0] == "received"
