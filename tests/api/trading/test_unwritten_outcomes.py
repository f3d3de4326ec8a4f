"""An outcome that PostgreSQL does not store shows in /health and as an alarm until the attempt has ended."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import pytest

from tests.api import raising
from tests.api.operator import ask
from tests.api.trading.receiver import always

if TYPE_CHECKING:
    from tests.api.conftest import AppServer
    from tests.api.trading.desk import Desk


async def shown(app: AppServer) -> tuple[int, dict[str, Any], list[dict[str, Any]]]:
    """Return the status of /health, its check, and the alarms for outcomes."""
    async with app.http.get("/health") as answer:
        health = await answer.json()
    status = await ask(app, "GET", "/admin/status")
    alarms = [alarm for alarm in status["alarms"] if alarm["code"] == "outcomes_unwritten"]
    return answer.status, health["checks"]["outcomes"], alarms


async def until_shown(desk: Desk, app: AppServer, *, is_degraded: bool) -> None:
    async def there() -> bool:
        check, alarms = (await shown(app))[1:]
        return [check["status"] == "degraded", bool(alarms)] == [is_degraded] * 2

    await desk.wait(app, there, lambda: f"is_degraded is never {is_degraded}")


@pytest.mark.parametrize("status", [200, 422])
@pytest.mark.parametrize("state", ["53100", "25006", "40001"])
async def test_an_outcome_that_has_to_wait_shows_until_it_is_stored(
    desk: Desk, state: str, status: int
) -> None:
    await raising.install(desk.database)
    await raising.start(desk.database, "outcome", state)
    desk.receiver.answer = always(status)
    await desk.database.execute("INSERT INTO positions (ticker) VALUES ('NVDA')")
    app = await desk.open()
    assert (await shown(app))[1:] == ({"status": "ok"}, [])
    sell = await desk.send(app, "NVDA", "sell")
    await until_shown(desk, app, is_degraded=True)
    health, check, alarms = await shown(app)
    assert health == 200  # a restart would only turn a known outcome into an unknown one
    assert check["reason"].startswith("outcomes of deliveries not stored yet: 1; ")
    assert state in check["reason"]
    assert len(alarms) == 1
    assert alarms[0]["text"].startswith("The outcome of deliveries cannot be stored: 1. ")
    assert state in alarms[0]["text"]
    assert raising.SECRET not in f"{check}{alarms}"
    assert (await desk.signal(sell))["status"] == "forwarding"

    await raising.stop(desk.database, "outcome")
    ended = await desk.until(app, sell)
    assert ended["status"] == ("forwarded" if status == 200 else "failed")
    await until_shown(desk, app, is_degraded=False)
    assert len(desk.receiver.received) == 1


async def test_an_outcome_that_is_never_stored_shows_until_recovery_ends_its_attempt(desk: Desk) -> None:
    await raising.install(desk.database)
    await raising.start(desk.database, "outcome", "23514")  # refuses the row: it is not attempted again
    app = await desk.open()
    buy = await desk.send(app, "NVDA", "buy")
    await until_shown(desk, app, is_degraded=True)
    await raising.stop(desk.database, "outcome")
    assert (await shown(app))[1]["status"] == "degraded"
    await desk.database.execute("UPDATE signals SET lease_until = now() - interval '1 s' WHERE id = $1", buy)
    assert (await desk.until(app, buy))["status"] == "failed"
    await until_shown(desk, app, is_degraded=False)
