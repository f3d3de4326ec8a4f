"""A source that sends nothing for too long while the exchange is open is an alarm."""

from __future__ import annotations

import asyncio
from datetime import UTC, datetime, timedelta
from typing import TYPE_CHECKING, Any

import pytest

from app.alarms import repository
from app.db import clock
from tests.api import stepping
from tests.api.conftest import serve
from tests.api.operator import ask
from tests.api.trading.notified import (
    announce_warnings_soon,
    messages,
    until,
    until_alarm,
    until_sent,
    url_of,
)

if TYPE_CHECKING:
    from collections.abc import Callable

    from app.settings import Settings
    from tests.api.conftest import AppServer
    from tests.api.trading.desk import Desk
    from tests.api.trading.receiver import Receiver

pytestmark = pytest.mark.usefixtures("hurried")

SECRET = "s3cret-of-the-indicator"
INDICATOR = {"name": "indicator", "secret": SECRET, "expect_within_minutes": 30}
DEFAULT = {"name": "default", "expect_within_minutes": 30}
LONG_AGO = "UPDATE expected_sources SET silent_since = now() - interval '10 days'"
# Friday and Monday; New York is open from 14:30 to 21:00 UTC.
FRIDAY, MONDAY = datetime(2028, 12, 1, 20, 50, tzinfo=UTC), datetime(2028, 12, 4, 14, 30, tzinfo=UTC)


async def send(app: AppServer, secret: str = SECRET, **fields: Any) -> None:
    """Post an exit that only creates a signal."""
    async with app.http.post(
        f"/webhook/in/{secret}", json={"ticker": "AAPL", "side": "sell", **fields}
    ) as sent:
        assert sent.status == 202, await sent.text()


async def silences(app: AppServer) -> dict[str, str]:
    """Return the text of the alarm about each source."""
    found = (await ask(app, "GET", "/admin/status"))["alarms"]
    return {each["subject"]: each["text"] for each in found if each["code"] == "source_silent"}


async def until_recorded(desk: Desk, *sources: str) -> None:
    """Wait until so many sources are recorded as expected."""
    async with asyncio.timeout(20):
        while True:
            rows = await desk.database.fetch("SELECT source FROM expected_sources ORDER BY source")
            if [row["source"] for row in rows] == sorted(sources):
                return
            await asyncio.sleep(0.05)


async def until_looked() -> None:
    """Wait for a check of the alarms that began after this call."""
    began = asyncio.get_running_loop().time()
    found = dict[str, float]()
    real = repository.read_open

    async def note(connection: Any) -> Any:
        found["at"] = asyncio.get_running_loop().time()
        return await real(connection)

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(repository, "read_open", note)
        for _ in range(2):  # the first one may have begun before
            found.clear()
            await until(lambda: found.get("at", 0) > began)


async def test_a_silence_is_an_alarm_until_a_signal_of_the_source_arrives(desk: Desk) -> None:
    other = {"name": "other", "secret": "s3cret-of-the-other"}
    desk.configure("webhook", sources=[INDICATOR, DEFAULT, other])
    app = await desk.open(webhook_secret="s3cret-of-default")
    await until_recorded(desk, "indicator", "default")
    assert await silences(app) == {}
    await desk.database.execute(LONG_AGO)
    await until_alarm(app, "source_silent")
    assert set(await silences(app)) == {"indicator", "default"}
    assert "within 30 min of trading hours" in (await silences(app))["indicator"]

    await send(app, other["secret"])  # another source's signal, and a person's order
    await desk.database.execute("INSERT INTO positions (ticker) VALUES ('NVDA')")
    await desk.order(app, "order/sell-all", 202)
    await until_looked()
    assert set(await silences(app)) == {"indicator", "default"}
    await send(app)
    await until_silent(desk, app, "default")
    await send(app, "s3cret-of-default", number=2)
    await until_silent(desk, app)


async def until_silent(desk: Desk, app: AppServer, *sources: str) -> None:
    """Wait until the alarms are about these sources."""

    async def is_so() -> bool:
        return set(await silences(app)) == set(sources)

    await desk.wait(app, is_so, lambda: f"not {sources} are silent")


async def test_a_silence_counts_while_the_exchange_is_open(
    desk: Desk, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(clock, "EVERY_SECONDS", 0.1)
    ahead = (FRIDAY - datetime.now(UTC)).total_seconds()
    await stepping.install(desk.database, ahead)
    desk.configure("webhook", sources=[INDICATOR])
    app = await desk.open(webhook_secret="s3cret-of-default")
    await send(app)
    await until_recorded(desk, "indicator")

    async def step_to(moment: datetime) -> None:
        await stepping.set_ahead(desk.database, (moment - datetime.now(UTC)).total_seconds())

        async def is_noticed() -> bool:
            return abs(app.context.clock.now() - moment) < timedelta(minutes=1)

        await desk.wait(app, is_noticed, lambda: "the clock is not read")
        await until_looked()

    for moment in (FRIDAY + timedelta(hours=20), MONDAY, MONDAY + timedelta(minutes=19)):
        await step_to(moment)
        assert await silences(app) == {}
    await step_to(MONDAY + timedelta(minutes=21))
    alarm = await until_alarm(app, "source_silent")
    assert abs(datetime.fromisoformat(alarm["since"]) - MONDAY - timedelta(minutes=20)) < timedelta(minutes=1)
    await step_to(MONDAY + timedelta(hours=10))  # it has closed: the source stays silent
    assert set(await silences(app)) == {"indicator"}


async def test_a_silence_outlasts_restarts_and_the_deletion_of_signals(
    desk: Desk, inbox: Receiver, make_settings: Callable[..., Settings], monkeypatch: pytest.MonkeyPatch
) -> None:
    desk.configure("webhook", sources=[INDICATOR, DEFAULT])
    settings = make_settings(webhook_secret="s3cret-of-default", notify_urls=url_of(inbox))
    async with serve(settings) as app:
        await announce_warnings_soon(app, monkeypatch, 0.2)
        await send(app)
        await until_recorded(desk, "indicator", "default")
        await desk.database.execute(LONG_AGO + " WHERE source = 'default'")
        await until_alarm(app, "source_silent")
        await until_sent(inbox, 1)
        await desk.database.execute("DELETE FROM signals")
        await until_looked()
        assert set(await silences(app)) == {"default"}
    async with serve(settings) as app:
        await until_alarm(app, "source_silent")
        await until_looked()
        assert set(await silences(app)) == {"default"}
        await send(app, "s3cret-of-default")
        await until_alarm(app, "source_silent", is_there=False)
        sent = [text for _, _, text in await until_sent(inbox, 2) if text.startswith("default: no signal")]
    assert len(sent) == 2
    async with serve(settings) as app:
        await until_looked()
        assert await silences(app) == {}


async def test_two_processes_announce_a_silence_once(
    desk: Desk, inbox: Receiver, monkeypatch: pytest.MonkeyPatch
) -> None:
    desk.configure("webhook", sources=[INDICATOR])
    apps = [await desk.open(webhook_secret="s3cret-of-default", notify_urls=url_of(inbox)) for _ in range(2)]
    for app in apps:
        await announce_warnings_soon(app, monkeypatch, 0.2)
    await until_recorded(desk, "indicator")
    await desk.database.execute(LONG_AGO)
    for app in apps:
        await until_alarm(app, "source_silent")
    await until_sent(inbox, 1)
    await send(apps[0])
    for app in apps:
        await until_alarm(app, "source_silent", is_there=False)
    await until_sent(inbox, 2)
    assert [kind for kind, _, text in messages(inbox) if text.startswith("indicator: ")] == [
        "warning",
        "success",
    ]


async def test_a_pause_of_intake_and_a_changed_expectation_are_no_silence(desk: Desk) -> None:
    desk.configure("webhook", sources=[INDICATOR])
    app = await desk.open(webhook_secret="s3cret-of-default")
    await until_recorded(desk, "indicator")
    await desk.order(app, "intake/pause")
    await desk.database.execute(LONG_AGO)
    await until_looked()
    assert await silences(app) == {}
    await desk.order(app, "intake/resume")
    await until_looked()
    assert await silences(app) == {}  # it counts from the end of the pause

    await desk.database.execute(LONG_AGO)
    await until_alarm(app, "source_silent")
    await ask(app, "PUT", "/admin/sources/indicator", body={"expect_within_minutes": None})
    await until_alarm(app, "source_silent", is_there=False)
    await until_recorded(desk)
    await ask(app, "PUT", "/admin/sources/indicator", body={"expect_within_minutes": 30})
    await until_recorded(desk, "indicator")
    await until_looked()
    assert await silences(app) == {}


async def test_a_locked_table_of_sources_delays_no_alarm_about_an_exit(desk: Desk) -> None:
    desk.configure("webhook", sources=[INDICATOR])
    app = await desk.open(webhook_secret="s3cret-of-default")
    await until_recorded(desk, "indicator")
    await desk.database.execute(LONG_AGO)
    await until_alarm(app, "source_silent")
    async with desk.database.acquire() as connection, connection.transaction():
        await connection.execute("LOCK TABLE expected_sources")
        await desk.database.execute(
            "INSERT INTO positions (ticker, buys, confirmed) VALUES ('NVDA', 0, false)"
        )
        await until_alarm(app, "positions_unconfirmed")
        await until_alarm(app, "source_silent")  # as it was read last
        await send(app)  # a post does not need it


async def test_a_time_of_before_the_clock_stepped_back_hides_no_silence(desk: Desk) -> None:
    desk.configure("webhook", sources=[INDICATOR])
    app = await desk.open(webhook_secret="s3cret-of-default")
    await until_recorded(desk, "indicator")
    await desk.database.execute("UPDATE expected_sources SET silent_since = now() + interval '1 year'")

    async def is_corrected() -> bool:
        query = "SELECT bool_and(silent_since <= now()) FROM expected_sources"
        return bool(await desk.database.fetchval(query))

    await desk.wait(app, is_corrected, lambda: "the time is ahead")
