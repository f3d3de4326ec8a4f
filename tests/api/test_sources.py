"""Sources of alerts: secret, addresses, signals a minute, maximum age."""

from __future__ import annotations

import asyncio
import json
from datetime import UTC, datetime, timedelta
from hashlib import sha256
from typing import TYPE_CHECKING, Any

import pytest

from app.config.model import SYSTEM_FILE, WEBHOOK_FILE
from app.intake import repository, storing
from app.intake.dedupe import body_key
from app.intake.storing import Post
from app.intake.unanswered import UnansweredPosts
from app.signals.alert import read_alert, read_fields
from tests.api.conftest import ADMIN_TOKEN
from tests.api.operator import BEARER as OPERATOR
from tests.api.operator import ask

if TYPE_CHECKING:
    import io
    from collections.abc import Awaitable, Callable, Mapping
    from pathlib import Path

    from tests.api.conftest import AppServer

    StartApp = Callable[..., Awaitable[AppServer]]

MAIN, DESK, DESK_BEFORE, ROBOT = "main-secret-0", "desk-secret-1", "desk-secret-before", "robot-secret-2"
DESK_SOURCE = {"name": "desk", "secret": DESK, "previous_secret": DESK_BEFORE}
ROBOT_SOURCE = {"name": "Röbot 2", "secret": ROBOT}
SECRETS = (MAIN, DESK, DESK_BEFORE, ROBOT)
SHOWN = (  # everything that may show a part of the configuration or of a post
    "/admin/webhook/config", "/admin/system/config", "/admin/sources", "/admin/status", "/admin/refused",
    "/admin/actions-log", "/admin/signals", "/health/detailed", "/admin/actions-log/export",
    "/admin/database/export", "/admin/page/sources", "/admin/page/refused", "/admin/page/actions",
    "/admin/trades", "/admin/trades/export", "/admin/page/trades",
)  # fmt: skip
SECONDS = 30
ADMIN_DIGEST = sha256(ADMIN_TOKEN.encode()).hexdigest()


def configure(folder: Path, *sources: Mapping[str, Any]) -> None:
    """Write the sources into the operator's file."""
    (folder / WEBHOOK_FILE).write_text(json.dumps({"sources": sources}))


async def post(app: AppServer, header: str, path: str = "/webhook/in", **fields: Any) -> tuple[int, Any]:
    """Post an alert with the secret as a header."""
    body = {"ticker": "NVDA", "action": "buy", **fields}
    headers = {"X-Webhook-Secret": header} if header else {}
    async with app.http.post(path, json=body, headers=headers) as answer:
        return answer.status, await answer.json()


async def until(app: AppServer, is_there: Callable[[], object]) -> None:
    """Wait until the application has noticed the change."""
    async with asyncio.timeout(SECONDS):
        while not is_there():
            await app.context.wakeups.wait("changed", 0.1)


async def refused_posts(app: AppServer, count: int) -> list[Any]:
    """Wait until so many refused posts are stored."""
    async with asyncio.timeout(SECONDS):
        while len(posts := (await ask(app, "GET", "/admin/refused"))["posts"]) < count:
            await app.context.wakeups.wait("changed", 0.1)
    return list(posts)


async def signals(app: AppServer, **query: str) -> list[tuple[str, str]]:
    """Return ticker and source of each listed signal, newest first."""
    listed = (await ask(app, "GET", "/admin/signals", **query))["signals"]
    return [(each["ticker"], each["source"]) for each in listed]


async def test_the_secret_decides_the_source_wherever_it_is(start_app: StartApp, tmp_path: Path) -> None:
    configure(tmp_path, DESK_SOURCE, ROBOT_SOURCE)
    app = await start_app(webhook_secret=MAIN)
    assert (await post(app, MAIN, ticker="A"))[0] == 202
    assert (await post(app, DESK, ticker="B"))[0] == 202
    assert (await post(app, DESK_BEFORE, ticker="C"))[0] == 202
    assert (await post(app, "", f"/webhook/in/{ROBOT}/", ticker="D"))[0] == 202
    assert (await post(app, "", f"/webhook/in?secret={ROBOT}", ticker="E"))[0] == 202
    assert (await post(app, "wrong", ticker="F", secret=DESK))[0] == 202
    assert (await post(app, DESK, ticker="G", secret=ROBOT))[0] == 202  # the header comes first
    for wrong in ("", DESK[:-1], f"{DESK}x", "***"):
        assert (await post(app, wrong, ticker="X"))[0] == 401
    found = [("G", "desk"), ("F", "desk"), ("E", "Röbot 2"), ("D", "Röbot 2"), ("C", "desk"), ("B", "desk")]
    assert await signals(app) == [*found, ("A", "default")]
    assert await signals(app, source="desk") == [each for each in found if each[1] == "desk"]
    assert await signals(app, source="default") == [("A", "default")]
    assert await signals(app, source="nobody") == []
    await ask(app, "GET", "/admin/signals", 422, source="a\0")

    stored = await app.context.pool.fetch("SELECT ticker, source, body FROM signals ORDER BY ticker")
    assert [row["source"] for row in stored][:2] == [None, "desk"]
    assert not any(secret.encode() in row["body"] for row in stored for secret in SECRETS)
    (newest, *_) = (await ask(app, "GET", "/admin/signals"))["signals"]
    timeline = await ask(app, "GET", f"/admin/signals/{newest['id']}")
    assert timeline["signal"]["source"] == "desk"


async def test_a_rotation_applies_at_once_in_every_process(start_app: StartApp, tmp_path: Path) -> None:
    configure(tmp_path, DESK_SOURCE)
    first, second = await start_app(webhook_secret=MAIN), await start_app(webhook_secret=MAIN)
    configure(tmp_path, {"name": "desk", "secret": ROBOT})
    for app in (first, second):

        def is_new(app: AppServer = app) -> bool:
            return app.context.config.alert_sources[0].secret == ROBOT

        await until(app, is_new)
        assert [(await post(app, secret))[0] for secret in (ROBOT, DESK, DESK_BEFORE)] == [202, 401, 401]
    configure(tmp_path, {"name": "desk"})  # not valid: the last valid one stays
    await until(first, lambda: first.context.config_problems)
    assert (await post(first, ROBOT, ticker="B"))[0] == 202


@pytest.mark.parametrize(
    ("documents", "reason"),
    [
        ({WEBHOOK_FILE: {"sources": [{"name": "desk", "secret": MAIN}]}}, "the same as WEBHOOK_SECRET"),
        ({WEBHOOK_FILE: {"sources": ["x", DESK_SOURCE]}}, "sources[0]"),
        ({WEBHOOK_FILE: {"sources": {"a": 1}}}, "sources: "),
        (
            {WEBHOOK_FILE: {"sources": [DESK_SOURCE, {"name": "Desk", "secret": ROBOT}]}},
            "names must be unique",
        ),
        ({WEBHOOK_FILE: {"sources": [{**DESK_SOURCE, "previous_secrets": [ROBOT]}]}}, "previous_secrets"),
        ({SYSTEM_FILE: {"tokens": ["x"]}}, "tokens[0]"),
        ({SYSTEM_FILE: {"tokens": [{"name": "t", "sha256": ADMIN_DIGEST, "scope": "read"}]}}, "ADMIN_TOKEN"),
    ],
    ids=str,
)
async def test_a_list_that_is_not_valid_at_the_start_is_a_problem_and_the_rest_counts(
    start_app: StartApp, tmp_path: Path, documents: Mapping[str, Any], reason: str
) -> None:
    ((file, document),) = documents.items()
    (tmp_path / file).write_text(json.dumps(document))
    for name in ("one", "two"):  # the second start takes over the revision of the first
        app = await start_app(webhook_secret=MAIN)

        def problems(app: AppServer = app) -> object:
            return app.context.config_problems

        await until(app, problems)
        assert reason in str(app.context.config_problems[file])
        assert (await post(app, MAIN, action="sell"))[0] == 202
        is_desk_valid = DESK_SOURCE["name"] in {source.name for source in app.context.config.alert_sources}
        assert (await post(app, DESK))[0] == (202 if is_desk_valid and DESK in json.dumps(document) else 401)
        await ask(app, "GET", "/admin/sources")
        await ask(app, "POST", "/admin/sources", 201 if file == SYSTEM_FILE else 409, body={"name": name})
    # a pause is possible whatever is wrong
    await ask(app, "POST", "/admin/delivery/pause")


async def test_the_secret_of_the_environment_is_rotated_without_a_refused_post(
    start_app: StartApp, tmp_path: Path
) -> None:
    configure(tmp_path, {"name": "default", "previous_secret": MAIN})  # before .env has the new secret
    before = await start_app(webhook_secret=MAIN)
    assert (await post(before, MAIN))[0] == 202
    after = await start_app(webhook_secret=ROBOT)
    assert [(await post(after, secret, ticker=secret))[0] for secret in (MAIN, ROBOT)] == [202, 202]
    assert not before.context.config_problems
    assert not after.context.config_problems


async def test_without_a_secret_in_the_environment_anyone_is_default_and_a_source_is_itself(
    start_app: StartApp, tmp_path: Path
) -> None:
    configure(tmp_path, DESK_SOURCE)
    app = await start_app()
    # "x" may be the secret of a source that was deleted
    assert [(await post(app, secret, ticker=f"T{secret}"))[0] for secret in ("", "x", DESK)] == [
        202,
        401,
        202,
    ]
    assert (await post(app, "", secret="x"))[0] == 401
    assert [source for _, source in await signals(app)] == ["desk", "default"]
    async with app.http.get("/admin/page/sources", headers=OPERATOR) as answer:
        assert "WEBHOOK_SECRET is empty" in await answer.text()
    configure(tmp_path, {"name": "default", "per_minute": 9})
    await until(app, lambda: app.context.config.alert_sources[0].per_minute == 9)
    assert (await post(app, "x", ticker="D"))[0] == 202  # no source has a secret


@pytest.mark.parametrize("place", ["header", "field"])
async def test_another_address_is_refused_counted_and_shown_and_not_stored(
    start_app: StartApp, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, place: str
) -> None:
    monkeypatch.setenv("FORWARDED_ALLOW_IPS", "192.0.2.1")  # no proxy of ours
    configure(
        tmp_path,
        {**DESK_SOURCE, "allow_from": ["tradingview", "10.0.0.0/8"]},
        {**ROBOT_SOURCE, "allow_from": ["127.0.0.0/8"]},
        {"name": "default", "allow_from": ["::1"]},
    )
    app = await start_app(webhook_secret=MAIN)
    fields = {"secret": DESK} if place == "field" else {}
    for forged in ("10.0.0.1", "52.89.214.238"):
        headers = {"X-Forwarded-For": forged, "X-Real-IP": forged, "Forwarded": f"for={forged}"}
        secret = {} if fields else {"X-Webhook-Secret": DESK}
        body = {"ticker": "A", "action": "sell", **fields}
        async with app.http.post("/webhook/in", json=body, headers={**headers, **secret}) as answer:
            assert answer.status == 403
            assert "allow_from" in (await answer.json())["detail"]
    async with app.http.post("/webhook/in", data=b"no JSON", headers={"X-Webhook-Secret": MAIN}) as answer:
        assert answer.status == 403
    assert (await post(app, ROBOT))[0] == 202

    seen = await ask(app, "GET", "/admin/status")
    (denied,) = seen["refused"]
    assert (denied["kind"], denied["count"], denied["last_address"]) == ("webhook_address", 3, "127.0.0.1")
    assert "denied_webhook_address" in {alarm["code"] for alarm in seen["alarms"]}
    assert (await ask(app, "GET", "/admin/refused"))["posts"] == []
    assert len(await signals(app)) == 1


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


async def test_keys_and_bodies_are_deduplicated_per_source(start_app: StartApp, tmp_path: Path) -> None:
    configure(tmp_path, DESK_SOURCE, ROBOT_SOURCE)
    app = await start_app(webhook_secret=MAIN)
    ids = set()
    for number, secret in enumerate((MAIN, DESK, ROBOT)):
        body = {"ticker": "A", "action": "sell", "n": number}
        headers = {"X-Webhook-Secret": secret, "Idempotency-Key": "1"}
        for is_duplicate in (False, True):
            async with app.http.post("/webhook/in", json=body, headers=headers) as answer:
                assert answer.status == 202
                accepted = await answer.json()
            assert accepted["duplicate"] is is_duplicate
        ids.add(accepted["signal_id"])
    async with app.http.post("/webhook/in", json={**body, "n": 0}, headers=headers) as answer:
        assert answer.status == 422  # its own key for another body
    for secret in (MAIN, DESK, DESK_BEFORE):
        _, accepted = await post(app, secret, ticker="B")
        assert accepted["duplicate"] is (secret == DESK_BEFORE)  # the same source as DESK
        ids.add(accepted["signal_id"])
    assert len(ids) == 5


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


async def test_no_secret_of_a_source_is_shown_anywhere(
    logged: io.StringIO, start_app: StartApp, tmp_path: Path
) -> None:
    configure(tmp_path, DESK_SOURCE)
    app = await start_app(webhook_secret=MAIN)
    configure(tmp_path, {**DESK_SOURCE, "secret": ROBOT, "per_minute": 9})
    # as a version that knows no sources stores an edit of them
    unmasked = json.dumps({"sources": [DESK_SOURCE], "sources.desk": {**DESK_SOURCE, "key": ROBOT}})
    await app.context.pool.execute(
        "INSERT INTO actions (session, origin, action, target, before, after, result)"
        " VALUES ('file', 'f', 'config.edit', 'f', $1, $1, 'done')",
        unmasked,
    )
    await until(app, lambda: app.context.config.alert_sources[0].per_minute == 9)
    headers = {"X-Webhook-Secret": ROBOT}
    for body in (
        f'{{"ticker": "{{{{{MAIN}}}}}"}}',
        f"no JSON {DESK_BEFORE} {ROBOT}",
        json.dumps({"ticker": "x" * 90 + MAIN}),  # the reason quotes 100 characters
        f"{MAIN}{ROBOT}" * 6000,
    ):
        async with app.http.post("/webhook/in", data=body, headers=headers) as answer:
            assert answer.status in {413, 422}
            told = await answer.text()
        assert not any(secret in told for secret in SECRETS)
    assert (await post(app, ROBOT, secret=ROBOT, ticker="A"))[0] == 202
    configure(tmp_path, {**DESK_SOURCE, "secret": ROBOT, "previous_secret": ROBOT})
    await until(app, lambda: app.context.config_problems)
    posts = await refused_posts(app, 4)
    assert not any(MAIN[:5] in each["reason"] for each in posts)
    for wrong in ({"secret": {"a": ROBOT}}, {"previous_secrets": ROBOT}, {"Secret": ROBOT}, ROBOT, [ROBOT]):
        refused = await ask(app, "POST", "/admin/sources", 422, body=wrong)
        assert ROBOT not in json.dumps(refused)
    for path in SHOWN:
        method = "POST" if path == "/admin/database/export" else "GET"
        async with app.http.request(method, path, headers=OPERATOR) as answer:
            text = await answer.text()
            assert answer.status == 200, (path, text)
            assert not any(secret in text for secret in SECRETS), path
    stored = await app.context.pool.fetch("SELECT before, after FROM actions")
    assert any("***" in str(row["after"]) for row in stored)
    assert not any(secret in logged.getvalue() for secret in SECRETS)


async def test_an_operator_adds_changes_rotates_and_deletes_a_source(
    start_app: StartApp, tmp_path: Path
) -> None:
    app = await start_app(webhook_secret=MAIN)
    made = await ask(app, "POST", "/admin/sources", 201, body={"name": "desk", "per_minute": 7})
    assert (await post(app, made["secret"], ticker="A"))[0] == 202
    given = await ask(app, "POST", "/admin/sources", 201, body={"name": "a/b é", "secret": ROBOT})
    assert given == {"name": "a/b é", "secret": ROBOT}
    for wrong, reason in (
        ({"name": "Desk", "secret": DESK}, "sources[2].name: names must be unique"),
        (
            {"name": "x", "secret": ROBOT},
            "sources[2].secret: must be unique: it is the same as sources[1].secret",
        ),
        (
            {"name": "x", "secret": MAIN},
            "sources[2].secret: must be unique: it is the same as WEBHOOK_SECRET",
        ),
        ({"name": "x", "secret": "short"}, "sources[2].secret: must have at least 8 characters"),
        ({"name": "x", "allow_from": ["10.0.0.1/8"]}, "write 10.0.0.0/8 for the network or 10.0.0.1"),
    ):
        refused = await ask(app, "POST", "/admin/sources", 422, body=wrong)
        assert reason in refused["detail"]

    for wrong in (
        {"name": "\ud800"},
        {"name": "x", "secret": "\udfff1234567"},
        {"name": "x", "allow_from": ["\ud800"]},
    ):
        refused = await ask(app, "POST", "/admin/sources", 422, body=wrong)
        assert "half of a surrogate pair" in refused["detail"][0]["msg"]
    await ask(app, "POST", "/admin/finviz/strategies", 422, body={"name": "\ud800", "url": "list:A"})

    (default, desk, other) = (await ask(app, "GET", "/admin/sources"))["sources"]
    assert [each["values"]["name"] for each in (default, desk, other)] == ["default", "desk", "a/b é"]
    assert (desk["values"]["secret"], desk["values"]["per_minute"]) == ("***", 7)
    assert desk["last_signal_at"]
    assert default["last_signal_at"] is other["last_signal_at"] is None
    # sent back unchanged: nothing changes
    before = (tmp_path / WEBHOOK_FILE).read_text()
    await ask(app, "PUT", "/admin/sources/desk", body=desk["values"])
    assert (tmp_path / WEBHOOK_FILE).read_text() == before

    body = {"allow_from": ["tradingview"], "max_source_age_seconds": {"buy": 60}}
    await ask(app, "PUT", "/admin/sources/default", body=body)
    assert (await post(app, MAIN))[0] == 403
    await ask(app, "DELETE", "/admin/sources/default", 409)
    await ask(app, "PUT", "/admin/sources/default", body={"allow_from": None})
    assert (await post(app, MAIN))[0] == 202
    rotated = await ask(app, "POST", "/admin/sources/desk/rotate")
    both = made["secret"], rotated["secret"]
    assert [(await post(app, secret, ticker=f"B{n}"))[0] for n, secret in enumerate(both)] == [202, 202]
    await ask(app, "POST", "/admin/sources/default/rotate", 409)
    # a second rotation would refuse the alerts that still have the first secret
    again = await ask(app, "POST", "/admin/sources/desk/rotate", 409)
    assert "empty previous_secret" in again["detail"]
    assert [(await post(app, secret, ticker=f"C{n}"))[0] for n, secret in enumerate(both)] == [202, 202]
    await ask(app, "DELETE", "/admin/sources/a%2Fb%20%C3%A9")
    assert (await post(app, ROBOT))[0] == 401
    await ask(app, "DELETE", "/admin/sources/nobody", 404)

    async with app.http.get("/admin/page/sources", headers=OPERATOR) as answer:
        page = await answer.text()
    assert "desk" in page
    assert made["secret"] not in page
    log = (await ask(app, "GET", "/admin/actions-log", action="source."))["actions"]
    done = [(each["action"], each["target"]) for each in log if each["result"] == "done"]
    assert done == [
        ("source.delete", "a/b é"), ("source.rotate", "desk"), ("source.change", "default"),
        ("source.change", "default"), ("source.create", "a/b é"), ("source.create", "desk"),
    ]  # fmt: skip
    rotation = next(each for each in log if (each["action"], each["result"]) == ("source.rotate", "done"))
    assert rotation["after"]["sources.desk"]["secret"] == "*** (new)"
    assert not any(secret in json.dumps(log) for secret in (made["secret"], rotated["secret"], ROBOT))
