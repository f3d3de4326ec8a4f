"""Sources of alerts: secrets, addresses, duplicates, and the operator's changes."""

from __future__ import annotations

import json
from hashlib import sha256
from typing import TYPE_CHECKING, Any

import pytest

from app.config.model import SYSTEM_FILE, WEBHOOK_FILE
from tests.api.conftest import ADMIN_TOKEN
from tests.api.operator import BEARER as OPERATOR
from tests.api.operator import ask

if TYPE_CHECKING:
    import io
    from collections.abc import Awaitable, Callable, Mapping
    from pathlib import Path

    from tests.api.conftest import AppServer

    StartApp = Callable[..., Awaitable[AppServer]]
from tests.api.sources import (
    DESK,
    DESK_BEFORE,
    DESK_SOURCE,
    MAIN,
    ROBOT,
    ROBOT_SOURCE,
    configure,
    post,
    refused_posts,
    signals,
    until,
)

SECRETS = (MAIN, DESK, DESK_BEFORE, ROBOT)


SHOWN = (  # everything that may show a part of the configuration or of a post
    "/admin/webhook/config", "/admin/system/config", "/admin/sources", "/admin/status", "/admin/refused",
    "/admin/actions-log", "/admin/signals", "/health/detailed", "/admin/actions-log/export",
    "/admin/database/export", "/admin/page/sources", "/admin/page/refused", "/admin/page/actions",
    "/admin/trades", "/admin/trades/export", "/admin/page/trades",
)  # fmt: skip


ADMIN_DIGEST = sha256(ADMIN_TOKEN.encode()).hexdigest()


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
