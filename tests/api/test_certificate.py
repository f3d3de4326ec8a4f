"""The remaining validity of the edge's certificate: in health, in the metrics and as an alarm."""

from __future__ import annotations

import json
import time
from typing import TYPE_CHECKING, Any

from prometheus_client import REGISTRY

from tests.api.operator import ask

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable
    from pathlib import Path

    from tests.api.conftest import AppServer


def write(file: Path, **changes: object) -> None:
    """Write a report as the service `acme` does."""
    found = {
        "checked_at": int(time.time()),
        "domain": "alerts.example.com",
        "not_after": int(time.time()) + 20 * 86_400 + 60,
        "problem": "",
        "failing_since": None,
    }
    file.write_text(json.dumps(found | changes))


async def check_of(server: AppServer) -> dict[str, Any]:
    """Return the certificate check of `/health`."""
    async with server.http.get("/health") as answer:
        check: dict[str, Any] = (await answer.json())["checks"]["certificate"]
        return check


async def alarms_of(server: AppServer) -> dict[str, dict[str, Any]]:
    """Return the alarms about the certificate, by code."""
    found = await ask(server, "GET", "/admin/alarms")
    return {each["code"]: each for each in found["alarms"] if each["code"].startswith("certificate")}


async def test_a_certificate_near_its_end(
    start_app: Callable[..., Awaitable[AppServer]], tmp_path: Path
) -> None:
    file = tmp_path / "state.json"
    write(file)
    server = await start_app(tls_domain="alerts.example.com", certificate_file=file)
    assert await check_of(server) == {"status": "ok", "days_left": 20, "domain": "alerts.example.com"}
    assert await alarms_of(server) == {}
    for name in ("certificate_days_left", "tsp_certificate_days_left"):
        days = REGISTRY.get_sample_value(name)
        assert days is not None
        assert 20 < days < 20.001
    write(file, not_after=int(time.time()) + 4 * 86_400 + 60, problem="urn: <refused>")
    check = await check_of(server)
    assert (check["status"], check["days_left"]) == ("degraded", 4)
    alarms = await alarms_of(server)
    assert list(alarms) == ["certificate_ending"]
    assert (
        alarms["certificate_ending"]["text"]
        == "The certificate ends in 4 days. Last problem: urn: <refused>."
    )
    write(file, not_after=None)
    assert REGISTRY.get_sample_value("certificate_days_left") is None
    assert list(await alarms_of(server)) == ["certificate_missing"]


async def test_without_tls_nothing_is_reported(start_app: Callable[..., Awaitable[AppServer]]) -> None:
    server = await start_app()
    assert await check_of(server) == {"status": "ok"}
    assert REGISTRY.get_sample_value("certificate_days_left") is None
    assert await alarms_of(server) == {}
