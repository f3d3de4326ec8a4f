"""The metrics, the alert rules and the dashboard's queries in a real Prometheus."""

from __future__ import annotations

import shutil
from contextlib import asynccontextmanager
from pathlib import Path
from typing import TYPE_CHECKING

import aiohttp
import pytest

from app.metrics import PREFIX
from tests.api.conftest import ADMIN_TOKEN
from tests.api.outage import away
from tests.api.process import answering, process
from tests.hosts.ports import free_port
from tests.hosts.prometheus import JOB, Programs, Prometheus, check_rules, find_programs, lint, scraping
from tests.unit.monitoring import DASHBOARD, RULES, queries

if TYPE_CHECKING:
    from collections.abc import AsyncIterator

RULE_TESTS = Path(__file__).with_name("alerts_test.yml")
SAMPLED = (
    *("queue_depth", "oldest_waiting_seconds", "sells_at_risk", "destination_state"),
    *("limiter_tokens", "limiter_entry_tokens"),
)
FIRST_EVENTS = (
    'posts_refused_total{status="422"}',
    'denials_total{kind="admin_token"}',
    'denials_total{kind="webhook_secret"}',
)


@pytest.fixture(scope="module")
def programs(tmp_path_factory: pytest.TempPathFactory) -> Programs:
    """Prometheus' server and its tool."""
    return find_programs(tmp_path_factory.mktemp("prometheus"))


class Observed:
    """A process of the application, its metrics' address, and the server that scrapes them."""

    def __init__(self, http: aiohttp.ClientSession, url: str, metrics: str, prometheus: Prometheus) -> None:
        self.http, self.url, self.metrics, self.prometheus = http, url, metrics, prometheus

    async def post(self, body: bytes, secret: str, expected: int) -> None:
        """Post to the webhook."""
        headers = {"X-Webhook-Secret": secret}
        async with self.http.post(f"{self.url}/webhook/in", data=body, headers=headers) as answer:
            assert answer.status == expected, await answer.text()

    async def status(self, token: str, expected: int) -> None:
        """Request the status with a token."""
        headers = {"Authorization": f"Bearer {token}"}
        async with self.http.get(f"{self.url}/admin/status", headers=headers) as answer:
            assert answer.status == expected, await answer.text()


@asynccontextmanager
async def observe(database_url: str, folder: Path, programs: Programs) -> AsyncIterator[Observed]:
    """Run the application as a process of its own, and Prometheus on it."""
    port = free_port()
    settings = {
        "DATABASE_URL": database_url,
        "ADMIN_TOKEN": ADMIN_TOKEN,
        "WEBHOOK_SECRET": "right",
        "CONFIG_DIR": str(folder),
        "DATA_DIR": str(folder / "data"),
        "ENABLE_PROMETHEUS": "true",
        "PROMETHEUS_PORT": str(port),
    }
    # the default strategy would send requests to a real site
    (folder / "finviz_config.json").write_text('{"strategies": [{"name": "none", "url": "list:NVDA"}]}')
    async with aiohttp.ClientSession() as http:
        with process(settings, folder) as (_, url):
            await answering(http, url)
            target = f"127.0.0.1:{port}"
            async with scraping(programs, target, free_port(), folder, http, rules=RULES) as prometheus:
                yield Observed(http, url, f"http://{target}/metrics", prometheus)


async def test_prometheus_sees_first_events_and_no_stale_gauge(
    database_url: str, tmp_path: Path, programs: Programs
) -> None:
    async with observe(database_url, tmp_path, programs) as observed:
        ask, until = observed.prometheus.ask, observed.prometheus.until
        await until("database_up", lambda found: found == [1])
        await observed.post(b'{"ticker": "NVDA", "action": "sell"}', "right", 202)
        for gauge in SAMPLED:
            await until(gauge, bool)
        async with observed.http.get(observed.metrics) as answer:
            assert lint(programs, await answer.read()) == []

        for event in FIRST_EVENTS:
            assert await ask(event) == [0]
            assert await ask(PREFIX + event) == [0]
        await observed.post(b"no alert", "right", 422)
        await observed.post(b'{"ticker": "NVDA"}', "wrong", 401)
        await observed.status("wrong", 401)
        for event in FIRST_EVENTS:
            await until(f"increase({event}[5m])", lambda found: len(found) == 1 and found[0] > 0)

        assert set((await observed.prometheus.read_rules()).values()) == {"ok"}
        for query in queries(DASHBOARD):
            assert await ask(query) is not None
            await until(query.removesuffix(" > 0").partition(" unless ")[0], bool)

        assert await ask("sum(worker_restarts_total)") == [0]
        async with away(database_url):
            await until("database_up", lambda found: found == [0])
            await until(f"{PREFIX}database_up", lambda found: found == [0])
            for gauge in SAMPLED:
                await until(f"absent({gauge})", lambda found: found == [1])
                await until(f"absent({PREFIX}{gauge})", lambda found: found == [1])
            await until("sum(increase(worker_restarts_total[5m]))", lambda found: found[0] > 0)
            assert await ask(f'up{{job="{JOB}"}}') == [1]
            async with observed.http.get(observed.metrics) as answer:
                assert lint(programs, await answer.read()) == []
        await until("database_up", lambda found: found == [1])
        for gauge in SAMPLED:
            await until(gauge, bool)


def test_an_error_of_the_tool_fails_the_check(programs: Programs) -> None:
    assert lint(programs, b"# TYPE spent_milliseconds counter\nspent_milliseconds 1\n")


@pytest.mark.parametrize(
    ("rule", "spoilt"),
    [
        ("", ""),
        ("tsp_database_up == 0", "tsp_database_up == 2"),
        ('code!~"intake_paused|delivery_paused|engine_paused|buys_paused"', 'code=~"disk_low"'),
        ("> 10\n", "> 1000\n"),
        (" or absent(", " and absent("),
    ],
)
def test_each_rule_fires_on_its_condition(tmp_path: Path, programs: Programs, rule: str, spoilt: str) -> None:
    rules = RULES.read_text("utf-8")
    assert rule in rules
    (tmp_path / RULES.name).write_text(rules.replace(rule, spoilt) if rule else rules)
    shutil.copy(RULE_TESTS, tmp_path)
    assert bool(check_rules(programs, tmp_path / RULE_TESTS.name)) is bool(rule)
