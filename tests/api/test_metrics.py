"""Metrics during failures: no stale gauge without the database, every series from the start."""

from __future__ import annotations

import asyncio
import time
from typing import TYPE_CHECKING

import pytest
from prometheus_client import REGISTRY, generate_latest
from prometheus_client.parser import text_string_to_metric_families

from app import metrics
from app.runtime.denials import KINDS
from tests.api.outage import away

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable

    from prometheus_client.metrics_core import Metric

    from tests.api.conftest import AppServer

    StartApp = Callable[..., Awaitable[AppServer]]

DEADLINE_SECONDS = 60  # generous: workers pause for up to 5 s after a failure
SAMPLED = (
    *("queue_depth", "oldest_waiting_seconds", "sells_at_risk", "destination_state"),
    *("limiter_tokens", "limiter_entry_tokens"),
)


def scrape() -> dict[str, Metric]:
    """Return every family with a sample, as Prometheus reads it."""
    families = text_string_to_metric_families(generate_latest(REGISTRY).decode())
    return {family.name: family for family in families if family.samples}


def value(name: str, **labels: str) -> float | None:
    """Return one sample's value."""
    return REGISTRY.get_sample_value(name, labels)


async def until(is_so: Callable[[], bool]) -> None:
    """Poll the metrics until the condition holds."""
    async with asyncio.timeout(DEADLINE_SECONDS):
        while True:
            if is_so():
                return
            await asyncio.sleep(0.05)  # workers poll every second or two


async def deliver_exit(app: AppServer) -> None:
    """Post an exit of an open position, and wait for its delivery to paper."""
    await app.context.pool.execute("INSERT INTO positions (ticker) VALUES ('NVDA')")
    async with app.http.post("/webhook/in", data=b'{"ticker": "NVDA", "action": "sell"}') as answer:
        assert answer.status == 202


async def test_without_the_database_no_gauge_keeps_its_last_value(
    start_app: StartApp, database_url: str
) -> None:
    app = await start_app()
    await until(lambda: value("database_up") == 1)
    await deliver_exit(app)
    await until(lambda: set(SAMPLED) <= scrape().keys())
    async with away(database_url):
        await until(lambda: value("database_up") == 0)
        found = scrape()
        for name in SAMPLED:
            assert name not in found
            assert metrics.PREFIX + name not in found
        assert value("tsp_database_up") == 0
        assert value("signals_received_total") is not None
    await until(lambda: value("database_up") == 1)
    assert value("queue_depth", queue="received") is not None


def test_an_age_grows_and_a_sample_does_not_outlive_its_time(monkeypatch: pytest.MonkeyPatch) -> None:
    now = 1000.0
    monkeypatch.setattr(time, "monotonic", lambda: now)
    metrics.DATABASE_UP.set(is_up=True)
    metrics.TOP_N_AGE_SECONDS.set(5.0)
    metrics.TOP_N_SIZE.set(15)
    assert (value("top_n_age_seconds"), value("top_n_size")) == (5, 15)
    now += metrics.SAMPLE_SECONDS
    assert (value("top_n_age_seconds"), value("top_n_size")) == (5 + metrics.SAMPLE_SECONDS, None)
    metrics.DATABASE_UP.set(is_up=False)
    now += 60
    assert value("top_n_age_seconds") == 65 + metrics.SAMPLE_SECONDS
    assert value("tsp_top_n_age_seconds") == value("top_n_age_seconds")


LABELS = [
    ("posts_refused_total", "status", ("401", "404", "408", "413", "422", "503")),
    ("denials_total", "kind", KINDS),
    ("signals_decided_total", "result", ("approved", "rejected", "expired")),
    ("signals_delivered_total", "result", ("delivered", "refused", "not_taken", "unknown")),
    ("screener_refresh_total", "result", ("ok", "unchanged", "probation", "failed")),
    ("worker_restarts_total", "worker", ("intake", "screener", "decision-1", "sender-1", "queues")),
    ("worker_up", "worker", ("intake", "screener", "decision-1", "sender-1", "queues")),
]


async def test_every_label_value_is_there_before_its_first_event(app_server: AppServer) -> None:
    assert app_server.context.supervisor.states()
    for name, label, values in LABELS:
        for each in values:
            assert value(name, **{label: each}) is not None, (name, each)
            assert value(metrics.PREFIX + name, **{label: each}) is not None, (name, each)


async def test_every_family_is_there_with_the_prefix_too(start_app: StartApp) -> None:
    await start_app(app_version="v-of-the-test")
    found = scrape()
    own = {
        name
        for name in found
        if not name.startswith((metrics.PREFIX, "python_", "process_")) and not name.endswith("_created")
    }
    assert {"build_info", "worker_up", "posts_refused"} <= own
    for name in own:  # latencies have a side, with the prefix
        assert found[metrics.PREFIX + name].type == found[name].type
        assert found[metrics.PREFIX + name].documentation == found[name].documentation
    assert value("tsp_build_info", version="v-of-the-test") == 1


@pytest.mark.parametrize("name", ["delivery_seconds", "end_to_end_seconds"])
def test_latencies_cover_an_exits_age_and_have_a_side(name: str) -> None:
    assert value(f"{name}_bucket", le="3600.0") is not None
    for side in ("buy", "sell"):
        assert value(f"tsp_{name}_bucket", side=side, le="3600.0") is not None


async def test_a_delivery_counts_for_its_side(app_server: AppServer) -> None:
    before = value("tsp_end_to_end_seconds_count", side="sell") or 0.0
    await deliver_exit(app_server)
    await until(lambda: value("tsp_end_to_end_seconds_count", side="sell") == before + 1)
