"""Metrics and log lines of a process: every metric, one id in all lines of a signal, and no secret."""

from __future__ import annotations

import asyncio
import json
from typing import TYPE_CHECKING, Any

import aiohttp
from prometheus_client.parser import text_string_to_metric_families

from tests.api.process import LOG, answering, process
from tests.api.trading.receiver import in_turn
from tests.hosts.ports import free_port

if TYPE_CHECKING:
    from pathlib import Path

    from tests.api.trading.desk import Desk

SECRETS = {
    "ADMIN_TOKEN": "hidden-admin-token",
    "WEBHOOK_SECRET": "hidden-webhook-secret",
    "WEBHOOK_SIGNING_SECRET": "whsec_aGlkZGVuLXNpZ25pbmcta2V5",
    "FINVIZ_ELITE_AUTH": "hidden-elite-token",
    "NOTIFY_URLS": "json://127.0.0.1:9/hidden-target tgram://hidden-bot/hidden-chat",
    "HEARTBEAT_URL": "http://127.0.0.1:9/hidden-check",
}
ALERT = {"ticker": "AAPL", "action": "buy"}

# Every documented metric, and its value after the alerts below; None: any number.
EXPECTED = {
    ("signals_received_total", ()): 2,
    ("signals_duplicate_total", ()): 1,
    ("posts_refused_total", ("422",)): 1,
    ("posts_refused_total", ("401",)): 1,
    ("signals_decided_total", ("approved",)): 1,
    ("signals_decided_total", ("rejected",)): 1,
    ("signals_delivered_total", ("not_taken",)): 1,
    ("signals_delivered_total", ("delivered",)): 1,
    ("delivery_seconds_count", ()): 2,
    ("end_to_end_seconds_count", ()): 1,
    ("queue_depth", ("received",)): 0,
    ("queue_depth", ("approved",)): 0,
    ("oldest_waiting_seconds", ("received",)): 0,
    ("oldest_waiting_seconds", ("approved",)): 0,
    ("sells_at_risk", ("late",)): 0,
    ("sells_at_risk", ("expired",)): 0,
    ("sells_at_risk", ("failed",)): 0,
    ("sells_at_risk", ("waiting",)): 0,
    ("sells_at_risk", ("swallowed",)): 0,
    ("sells_at_risk", ("entered",)): 0,
    ("unconfirmed_positions", ()): 0,
    ("alarm", ("sells_failed",)): 0,
    ("notifications_total", ("sent",)): 0,
    ("notifications_total", ("given_up",)): 0,
    ("limiter_tokens", ("default", "minute")): 58,
    ("limiter_tokens", ("default", "hour")): 498,
    ("limiter_entry_tokens", ("default", "minute")): 53,
    ("limiter_entry_tokens", ("default", "hour")): 448,
    ("destination_state", ("default", "open")): 1,
    ("destination_state", ("default", "held")): 0,
    ("destination_state", ("default", "paused")): 0,
    ("destination_failures_total", ()): 0,
    ("top_n_age_seconds", ()): None,
    ("top_n_size", ()): 1,
    ("screener_refresh_total", ("ok",)): 1,
    ("live_clients", ()): 1,
    ("group_commit_size_count", ()): None,
}


async def scrape(http: aiohttp.ClientSession, port: int) -> tuple[str, dict[tuple[str, Any], float]]:
    """Return the metrics as text, and every sample by its name and label values."""
    async with http.get(f"http://127.0.0.1:{port}/metrics") as answer:
        text = await answer.text()
    families = text_string_to_metric_families(text)
    samples = (sample for family in families for sample in family.samples)
    return text, {(sample.name, tuple(sample.labels.values())): sample.value for sample in samples}


async def post(http: aiohttp.ClientSession, url: str, body: Any, expected: int) -> str:
    """Send an alert and return its signal's id, empty where it is refused as expected."""
    async with http.post(url, json=body) as answer:
        assert answer.status == expected
        return str((await answer.json()).get("signal_id", ""))


def events_of(log: Path, signal_id: str) -> list[str]:
    """Return the events that the log has of a signal, without a line that is being written."""
    whole = log.read_text().rpartition("\n")[0].splitlines()
    return [line["event"] for line in map(json.loads, whole) if line.get("signal_id") == signal_id]


async def until_forwarded(log: Path, signal_id: str) -> None:
    """Wait until the outcome is logged, which follows the commit: the process may then be stopped."""
    async with asyncio.timeout(30):
        while "forwarded" not in events_of(log, signal_id):  # noqa: ASYNC110
            await asyncio.sleep(0.05)  # no event reports what another process does


async def test_metrics_and_log_are_complete_and_contain_no_secret(
    desk: Desk, database_url: str, tmp_path: Path
) -> None:
    desk.watch("list:AAPL")
    desk.configure("webhook", retry_seconds=[0.05])
    desk.receiver.answer = in_turn(503)
    port = free_port()
    settings = {
        "DATABASE_URL": database_url,
        "CONFIG_DIR": str(desk.folder),
        "DEST_WEBHOOK_URL": desk.receiver.url,
        "ENABLE_PROMETHEUS": "true",
        "PROMETHEUS_PORT": str(port),
        "LOG_LEVEL": "DEBUG",
        **SECRETS,
    }
    bearer = {"Authorization": f"Bearer {SECRETS['ADMIN_TOKEN']}"}
    async with aiohttp.ClientSession() as http:
        with process(settings, tmp_path) as (_, url):
            await answering(http, url)
            async with http.ws_connect(f"{url}/ws/admin-updates", headers=bearer):
                hook = f"{url}/webhook/in/{SECRETS['WEBHOOK_SECRET']}"
                signal_id = await post(http, hook, ALERT, 202)
                assert await post(http, hook, ALERT, 202) == signal_id
                await post(http, hook, {**ALERT, "ticker": "NOWHERE"}, 202)
                await post(http, f"{hook}?secret={SECRETS['WEBHOOK_SECRET']}", {"ticker": ""}, 422)
                await post(http, f"{url}/webhook/in/wrong", ALERT, 401)
                async with http.get(f"{url}/admin/status", headers=bearer) as answer:
                    assert answer.status == 200
                async with asyncio.timeout(30):
                    while True:
                        text, samples = await scrape(http, port)
                        wrong = {
                            name: samples.get(name)
                            for name, value in EXPECTED.items()
                            if samples.get(name) is None or value not in {None, samples[name]}
                        }
                        if not wrong:
                            break
                        await asyncio.sleep(0.2)  # gauges are set once a second
                order = f"{url}/admin/order/sell-individual"
                async with http.post(order, json={"ticker": "AAPL"}, headers=bearer) as answer:
                    ordered = (await answer.json())["orders"][0]["signal_id"]
                await desk.receiver.count(3)
                await until_forwarded(tmp_path / LOG, ordered)
    log = (tmp_path / LOG).read_text()
    for secret in ("hidden", "aGlkZGVu", "password"):
        assert secret not in text
        assert [line for line in log.splitlines() if secret in line] == []
    lines = [json.loads(line) for line in log.splitlines()]
    assert events_of(tmp_path / LOG, signal_id) == [
        "signal received",
        "decided",
        "not delivered",
        "forwarded",
    ]
    assert events_of(tmp_path / LOG, ordered) == ["manual order placed", "forwarded"]
    # requests, by the route's template; posts to the webhook have the lines above
    routes = {line["route"] for line in lines if line["event"] == "request"}
    assert {"/admin/status", "/admin/order/sell-individual"} <= routes
