"""Pauses and configuration over the API: in force at once, written to the file, logged, masked."""

from __future__ import annotations

import json
import re
from typing import TYPE_CHECKING, Any

import pytest

from app.config.model import SYSTEM_FILE, WEBHOOK_FILE
from tests.api.operator import BEARER, ask, log_of, system_file

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable
    from pathlib import Path

    from tests.api.conftest import AppServer

    StartApp = Callable[..., Awaitable[AppServer]]

SECRET_URL = "https://bridge.example/hook/password?key=1"
MASKED_URL = "https://bridge.example/***"


def nothing_in(folder: Path) -> bool:
    """Return whether no file was written."""
    return not list(folder.iterdir())


PARTS = ("engine", "buys", "delivery", "intake")


@pytest.mark.parametrize("part", PARTS)
async def test_a_pause_holds_over_a_restart_until_a_person_resumes(
    start_app: StartApp, tmp_path: Path, part: str
) -> None:
    first = await start_app()
    paused = await ask(first, "POST", f"/admin/{part}/pause")
    assert paused == {f"{each}_paused": each == part for each in PARTS}
    assert json.loads((tmp_path / SYSTEM_FILE).read_text()) == system_file(part, pause=True)
    first.stop()
    second = await start_app()
    assert getattr(second.context.config.system, f"{part}_paused")
    assert not (await ask(second, "POST", f"/admin/{part}/resume"))[f"{part}_paused"]
    await ask(second, "POST", f"/admin/{part}/resume")  # changes nothing, so it is not logged
    on, off = system_file(part, pause=True), system_file(part, pause=False)
    assert await log_of(second) == [
        ("token", "127.0.0.1", f"{part}.pause", "", {}, on, "done"),
        ("token", "127.0.0.1", f"{part}.resume", "", on, off, "done"),
    ]


async def test_a_pause_does_not_wait_for_a_correction_of_a_broken_file(
    app_server: AppServer, tmp_path: Path
) -> None:
    path = tmp_path / SYSTEM_FILE
    path.write_text('{"retention_days": }')
    assert (await ask(app_server, "POST", "/admin/delivery/pause"))["delivery_paused"]
    assert path.read_text() == '{"retention_days": }'
    refused = await ask(app_server, "PUT", "/admin/system/config", 409, body={"retention_days": 3})
    assert "config/system_config.json: line 1" in refused["detail"]
    assert "correct it by hand first" in refused["detail"]
    assert (await ask(app_server, "GET", "/admin/system/config"))["problem"] in refused["detail"]
    path.write_text('{"retention_days": 3}')
    await app_server.app.state.config_store.look()
    assert app_server.context.config.system.delivery_paused
    assert json.loads(path.read_text()) == {"retention_days": 3, "delivery_paused": True}


async def test_paused_deliveries_wait_and_go_out_when_resumed(start_app: StartApp, tmp_path: Path) -> None:
    (tmp_path / SYSTEM_FILE).write_text('{"delivery_paused": true}')
    app_server = await start_app()
    pool = app_server.context.pool
    await pool.execute(
        """INSERT INTO signals (id, status, type, ticker, expires_at, body)
           VALUES (gen_random_uuid(), 'approved', 'buy', 'AAPL', now() + interval '1 hour',
                   '{"ticker":"AAPL"}')"""
    )
    await pool.execute(
        "INSERT INTO orders (signal_id, round, seq, type, ticker, expires_at)"
        " SELECT id, round, seq, type, ticker, expires_at FROM signals"
    )
    app_server.context.wakeups.notify("approved")
    async with app_server.http.get("/health") as answer:
        health = await answer.json()
    assert health["checks"]["destination"]["reason"] == "deliveries wait: paused"
    assert await pool.fetchval("SELECT status FROM signals") == "approved"
    await ask(app_server, "POST", "/admin/delivery/resume")
    while await pool.fetchval("SELECT status FROM signals") != "forwarded":
        await app_server.context.wakeups.wait("changed", 5)


async def test_the_destination_is_changed_and_its_secret_never_shown(
    app_server: AppServer, tmp_path: Path
) -> None:
    path = tmp_path / WEBHOOK_FILE
    path.write_text('{"mine": [1.10, null], "max_req_per_min": 30}')
    answer = await ask(app_server, "PUT", "/admin/webhook/config", body={"url": SECRET_URL, "timeout": 3})
    assert (answer["values"]["url"], answer["values"]["timeout"]) == (MASKED_URL, 3)
    assert (answer["sources"]["url"], answer["sources"]["max_req_per_hour"]) == ("file", "default")
    assert app_server.context.config.webhook.url == SECRET_URL
    assert json.loads(path.read_text()) == {
        "mine": [1.1, None],
        "max_req_per_min": 30,
        "url": SECRET_URL,
        "timeout": 3.0,
    }
    # the page sends back what it was shown, with one value changed
    values = {**answer["values"], "timeout": 4, "max_signal_age_seconds": {"buy": 60}}
    await ask(app_server, "PUT", "/admin/webhook/config", body=values)
    assert app_server.context.config.webhook.url == SECRET_URL
    assert app_server.context.config.webhook.max_signal_age_seconds.buy == 60
    written = json.loads(path.read_text())
    assert written.keys() == {"mine", "max_req_per_min", "url", "timeout", "max_signal_age_seconds"}
    assert written["max_signal_age_seconds"] == {"buy": 60}
    log = await log_of(app_server)
    assert [entry[2] for entry in log] == ["config.edit", "webhook.configure", "webhook.configure"]
    assert log[1][4:] == ({}, {"url": MASKED_URL, "timeout": 3.0}, "done")
    assert "password" not in json.dumps(log)


async def test_paper_set_by_the_file_stays_when_its_value_is_sent_back(start_app: StartApp) -> None:
    app = await start_app(dest_webhook_url=SECRET_URL)
    shown = await ask(app, "GET", "/admin/webhook/config")
    assert (shown["values"]["url"], shown["sources"]["url"]) == (MASKED_URL, "env")
    paper = await ask(app, "PUT", "/admin/webhook/config", body={"url": ""})
    await ask(app, "PUT", "/admin/webhook/config", body=paper["values"])
    assert app.context.config.webhook.url is None
    again = await ask(app, "PUT", "/admin/webhook/config", body={"url": None})
    assert (again["values"]["url"], again["sources"]["url"]) == (MASKED_URL, "env")


@pytest.mark.parametrize(
    ("path", "body", "words"),
    [
        ("webhook", {"timeout": 0}, "timeout"),
        ("webhook", {"url": "ftp://x"}, "http"),
        ("webhook", {"url": "https://x/\0"}, "url"),
        ("webhook", {"url": "https://other.example/***"}, "whole URL"),
        ("webhook", {"retry_seconds": []}, "retry_seconds"),
        ("webhook", {"max_signal_age_seconds": {"sell": 0}}, "max_signal_age_seconds.sell"),
        ("system", {"duplicate_buys": "maybe"}, "duplicate_buys"),
        ("system", {"delivery_paused": True}, "POST /admin/delivery/pause"),
        ("system", {"risk": {"buys": "off", "cooldown_seconds": 5}}, "POST /admin/buys/pause"),
        ("system", {"risk": {"hours": "always"}}, "risk.hours"),
        ("system", {"risk": {"blocklist": ["NVDA", "\0"]}}, "risk.blocklist[1]"),
    ],
)
async def test_a_wrong_value_is_refused_and_logged(
    app_server: AppServer, tmp_path: Path, path: str, body: dict[str, Any], words: str
) -> None:
    refused = await ask(app_server, "PUT", f"/admin/{path}/config", 422, body=body)
    assert words in refused["detail"]
    assert nothing_in(tmp_path)
    ((_, _, action, _, before, after, result),) = await log_of(app_server)
    assert (action, before, after) == (f"{path}.configure", None, None)
    assert result == f"refused: {refused['detail']}"


@pytest.mark.parametrize("body", [{"timeout": "soon"}, {"unknown": 1}, [], {"retry_unknown": {"both": True}}])
async def test_a_body_that_is_not_a_configuration_is_refused(app_server: AppServer, body: Any) -> None:
    refused = await ask(app_server, "PUT", "/admin/webhook/config", 422, body=body)
    assert isinstance(refused["detail"], list)


async def test_a_body_that_is_not_utf_8_is_refused(app_server: AppServer) -> None:
    headers = {**BEARER, "Content-Type": "application/json"}
    async with app_server.http.put("/admin/system/config", data=b"\xff", headers=headers) as answer:
        assert answer.status == 422
        assert (await answer.json())["detail"][0]["msg"] == "is not valid JSON in UTF-8"


async def test_a_configuration_sent_back_unchanged_changes_nothing(
    app_server: AppServer, tmp_path: Path
) -> None:
    for part in ("webhook", "system"):
        shown = await ask(app_server, "GET", f"/admin/{part}/config")
        assert await ask(app_server, "PUT", f"/admin/{part}/config", body=shown["values"]) == shown
    assert await log_of(app_server) == []
    assert nothing_in(tmp_path)


async def test_a_change_over_the_api_keeps_an_edit_that_is_not_loaded_yet(
    app_server: AppServer, tmp_path: Path
) -> None:
    path = tmp_path / SYSTEM_FILE
    path.write_text('{"retention_days": 3, "note": "by hand"}')
    answer = await ask(app_server, "PUT", "/admin/system/config", body={"partial_exits": "close"})
    assert (answer["values"]["retention_days"], answer["values"]["partial_exits"]) == (3, "close")
    assert json.loads(path.read_text()) == {
        "retention_days": 3,
        "note": "by hand",
        "partial_exits": "close",
    }


async def test_two_processes_change_at_the_same_time_and_both_changes_stay(start_app: StartApp) -> None:
    import asyncio

    both = [await start_app(), await start_app()]
    await asyncio.gather(
        *(
            ask(app, "PUT", "/admin/webhook/config", body={key: value})
            for app, (key, value) in zip(
                both * 3,
                [
                    ("timeout", 1),
                    ("max_req_per_min", 2),
                    ("max_req_per_hour", 3),
                    ("dedupe_window_seconds", 4),
                    ("rate_limiting_enabled", False),
                    ("retry_seconds", [6]),
                ],
                strict=True,
            )
        )
    )
    for app in both:
        await app.app.state.config_store.look()
        webhook = app.context.config.webhook
        assert (webhook.timeout, webhook.max_req_per_min, webhook.max_req_per_hour) == (1, 2, 3)
        assert (webhook.dedupe_window_seconds, webhook.rate_limiting_enabled) == (4, False)
        assert webhook.retry_seconds == (6,)
    assert len(await log_of(both[0])) == 6


async def test_a_file_that_cannot_be_written_changes_nothing(start_app: StartApp, tmp_path: Path) -> None:
    app = await start_app(config_dir=tmp_path / "missing")
    refused = await ask(app, "PUT", "/admin/webhook/config", 500, body={"timeout": 3})
    assert "nothing was changed" in refused["detail"]
    assert app.context.config.webhook.timeout == 5
    ((*_, action, _, before, after, result),) = await log_of(app)
    assert (action, before, after, result) == (
        "webhook.configure",
        None,
        None,
        f"refused: {refused['detail']}",
    )


async def test_the_reserve_for_exits_is_changed_and_a_negative_one_refused(
    app_server: AppServer, tmp_path: Path
) -> None:
    answer = await ask(app_server, "GET", "/admin/webhook/config")
    assert answer["values"]["exit_reserve"] == {"per_min": 5, "per_hour": 50}
    changed = {"exit_reserve": {"per_min": 0}}
    answer = await ask(app_server, "PUT", "/admin/webhook/config", body=changed)
    assert answer["values"]["exit_reserve"] == {"per_min": 0, "per_hour": 50}
    assert answer["sources"]["exit_reserve.per_min"] == "file"
    assert json.loads((tmp_path / WEBHOOK_FILE).read_text()) == changed
    wrong = {"exit_reserve": {"per_hour": -1}}
    refused = await ask(app_server, "PUT", "/admin/webhook/config", 422, body=wrong)
    assert "exit_reserve.per_hour" in json.dumps(refused)
    assert "must be at least 0" in json.dumps(refused)
    assert app_server.context.config.webhook.exit_reserve.per_hour == 50


async def test_a_session_is_named_in_the_log(app_server: AppServer) -> None:
    from app.web.authentication import COOKIE, Sessions

    cookie = Sessions(app_server.context.settings.admin_token).issue()
    headers = {"Cookie": f"{COOKIE}={cookie}", "Origin": app_server.url}
    async with app_server.http.post("/admin/engine/pause", headers=headers) as answer:
        assert answer.status == 200
    async with app_server.http.post(
        "/admin/engine/resume", headers={**headers, "Origin": "https://evil.example"}
    ) as answer:
        assert answer.status == 403
    ((session, *_),) = await log_of(app_server)
    assert re.fullmatch(r"[\w-]{12}", session)


async def test_configuration_needs_the_token(app_server: AppServer) -> None:
    for method, path in (
        ("POST", "/admin/intake/pause"),
        ("GET", "/admin/webhook/config"),
        ("PUT", "/admin/system/config"),
    ):
        async with app_server.http.request(method, path, json={"nonsense": 1}) as answer:
            assert answer.status == 401
    assert await log_of(app_server) == []


async def test_the_page_and_health_show_what_is_paused_or_broken(
    app_server: AppServer, tmp_path: Path
) -> None:
    for part in PARTS:
        await ask(app_server, "POST", f"/admin/{part}/pause")
    (tmp_path / WEBHOOK_FILE).write_text("{")
    await app_server.app.state.config_store.look()
    seen = await ask(app_server, "GET", "/admin/status")
    assert all(seen["status"][f"{part}_paused"] for part in PARTS)
    alarms = {alarm["code"]: alarm["text"] for alarm in seen["alarms"]}
    assert {f"{part}_paused" for part in PARTS} <= alarms.keys()
    assert "config/webhook_config.json: line 1" in alarms["config_wrong"]
    async with app_server.http.get("/health") as answer:
        assert answer.status == 200
        health = await answer.json()
    assert health["status"] == "degraded"
    paused = [name for name, check in health["checks"].items() if "paused" in check.get("reason", "")]
    assert paused == ["intake", "buys", "top_n", "destination"]


async def test_a_frozen_list_counts_as_fresh(app_server: AppServer) -> None:
    await ask(app_server, "POST", "/admin/engine/pause")
    await app_server.context.pool.execute(
        """INSERT INTO top_n_lists (strategy, source, tickers, max_age_seconds, fetched_at)
           VALUES ('top-gainers', 'html', '{AAPL}', 60, now() - interval '1 day')"""
    )
    assert (await ask(app_server, "GET", "/admin/top-n-tickers"))["fresh"]
    await ask(app_server, "POST", "/admin/engine/resume")
    assert not (await ask(app_server, "GET", "/admin/top-n-tickers"))["fresh"]
