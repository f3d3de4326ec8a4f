"""Alarms are announced: one message when they begin, one when they end, and none in between."""

from __future__ import annotations

import asyncio
from typing import TYPE_CHECKING

import pytest
from prometheus_client import REGISTRY

from app.alarms import heartbeat
from tests.api.conftest import serve
from tests.api.operator import ask
from tests.api.outage import away
from tests.api.trading.notified import (
    announce_warnings_soon,
    messages,
    until,
    until_alarm,
    until_begun,
    until_sent,
    url_of,
)
from tests.api.trading.receiver import always, listening

if TYPE_CHECKING:
    from collections.abc import Callable

    from app.settings import Settings
    from tests.api.trading.desk import Desk
    from tests.api.trading.receiver import Receiver

pytestmark = pytest.mark.usefixtures("hurried")
UNCONFIRMED_TEXT = (
    "AAPL: the position may be open: the outcome of an order is unknown, or a person recorded it."
)
UNCONFIRMED = "INSERT INTO positions (ticker, buys, confirmed) VALUES ($1, 0, false)"
CONFIRMED = "UPDATE positions SET confirmed = true"
BEGUN = "Trading Signal Processor: critical alarm (1)"
OVER = "Trading Signal Processor: alarm ended (1)"


async def test_one_message_when_it_begins_and_one_when_it_ends(desk: Desk, inbox: Receiver) -> None:
    app = await desk.open(notify_urls=url_of(inbox))
    await desk.database.execute(UNCONFIRMED, "AAPL")
    ((kind, title, text),) = await until_sent(inbox, 1)
    assert (kind, title) == ("failure", BEGUN)
    assert text.startswith(f"{UNCONFIRMED_TEXT} Look at")
    alarm = await until_alarm(app, "positions_unconfirmed")
    assert alarm["since"]
    assert REGISTRY.get_sample_value("alarm", {"code": "positions_unconfirmed"}) == 1
    await desk.database.execute(CONFIRMED)
    kind, title, text = (await until_sent(inbox, 2))[1]
    assert (kind, title) == ("success", OVER)
    assert text.startswith(f"{UNCONFIRMED_TEXT} (from 20")
    assert REGISTRY.get_sample_value("alarm", {"code": "positions_unconfirmed"}) == 0
    listed = await ask(app, "GET", "/admin/alarms")
    assert listed["alarms"] == []
    assert ("positions_unconfirmed", "AAPL") in [(each["code"], each["subject"]) for each in listed["ended"]]
    assert REGISTRY.get_sample_value("alarm", {"code": "sells_failed"}) == 0


async def test_what_begins_together_is_one_message(desk: Desk, inbox: Receiver) -> None:
    await desk.open(notify_urls=url_of(inbox))
    async with desk.database.acquire() as connection, connection.transaction():
        for ticker in ("AAPL", "NVDA"):
            await connection.execute(UNCONFIRMED, ticker)
    ((_, title, text),) = await until_sent(inbox, 1)
    assert title == "Trading Signal Processor: critical alarm (2)"
    assert [line.partition(":")[0] for line in text.splitlines()] == ["AAPL", "NVDA"]


async def test_every_ticker_is_named_however_many_there_are(desk: Desk, inbox: Receiver) -> None:
    await desk.open(notify_urls=url_of(inbox))
    await desk.database.execute(
        """INSERT INTO positions (ticker, buys, confirmed)
           SELECT 'T' || n, 0, false FROM generate_series(1, 25) AS n"""
    )
    ((_, title, text),) = await until_sent(inbox, 1)
    assert title == "Trading Signal Processor: critical alarm (25)"
    assert {line.partition(":")[0] for line in text.splitlines()} == {f"T{n}" for n in range(1, 26)}


async def test_an_exit_that_fails_just_after_another_was_settled_is_announced(
    desk: Desk, inbox: Receiver
) -> None:
    app = await desk.open(notify_urls=url_of(inbox))
    await desk.until(app, await desk.send(app, "AAPL", "buy"), "forwarded")
    desk.receiver.answer = always(404)
    for count in (1, 2):
        await desk.until(app, await desk.send(app, "AAPL", "sell"), "failed")
        await until_begun(inbox, "AAPL", count)
        alarm = await until_alarm(app, "sells_failed")
        until_when = alarm["settle_until"]
        await desk.order(app, "alarms/acknowledge", code="sells_failed", subject="AAPL", until=until_when)
        await until_alarm(app, "sells_failed", is_there=False)
    assert [kind for kind, _, _ in await until_sent(inbox, 4)] == ["failure", "success"] * 2


async def test_two_processes_announce_it_once(desk: Desk, inbox: Receiver) -> None:
    for _ in range(2):
        await desk.open(notify_urls=url_of(inbox))
    for ticker in ("AAPL", "NVDA", "TSLA"):
        await desk.database.execute(UNCONFIRMED, ticker)
        await asyncio.sleep(0.3)
    await until(lambda: sum(text.count("(since") for _, _, text in messages(inbox)) == 3)
    await desk.database.execute(CONFIRMED)
    await until(lambda: sum(text.count("(from") for _, _, text in messages(inbox)) == 3)
    await asyncio.sleep(0.5)
    lines = [line.partition(":")[0] for _, _, text in messages(inbox) for line in text.splitlines()]
    assert sorted(lines) == ["AAPL", "AAPL", "NVDA", "NVDA", "TSLA", "TSLA"]


async def test_what_began_before_a_restart_ends_after_it(
    desk: Desk, inbox: Receiver, make_settings: Callable[..., Settings]
) -> None:
    settings = make_settings(notify_urls=url_of(inbox))
    async with serve(settings):
        await desk.database.execute(UNCONFIRMED, "AAPL")
        await until_sent(inbox, 1)
    async with serve(settings) as app:
        await asyncio.sleep(1)
        assert len(inbox.received) == 1
        began = (await until_alarm(app, "positions_unconfirmed"))["since"]
        assert began
        await desk.database.execute(CONFIRMED)
        assert [title for _, title, _ in await until_sent(inbox, 2)] == [BEGUN, OVER]


async def test_a_target_that_is_added_later_gets_what_is_open(
    desk: Desk, inbox: Receiver, make_settings: Callable[..., Settings]
) -> None:
    inbox.answer = always(503)
    async with serve(make_settings(notify_urls=url_of(inbox))):
        await desk.database.execute(UNCONFIRMED, "AAPL")
        await inbox.count(1)
    async with listening() as other:
        both = make_settings(notify_urls=f"{url_of(inbox)} {url_of(other)} {url_of(other)}")
        for _ in range(2):
            async with serve(both):
                ((kind, title, text),) = await until_sent(other, 1)
                assert (kind, title) == ("failure", BEGUN)
                assert text.startswith("AAPL: ")
        async with serve(both):
            await desk.database.execute(CONFIRMED)
            assert [title for _, title, _ in await until_sent(other, 2)] == [BEGUN, OVER]


async def test_a_locked_table_of_backups_delays_no_alarm_about_an_exit(desk: Desk, inbox: Receiver) -> None:
    desk.configure("system", notify={"backup_max_age_days": 1})
    app = await desk.open(notify_urls=url_of(inbox))
    await until_alarm(app, "backup_missing")
    async with desk.database.acquire() as connection, connection.transaction():
        await connection.execute("LOCK TABLE database_backups")
        await desk.database.execute(UNCONFIRMED, "AAPL")
        await until_sent(inbox, 1)
        await until_alarm(app, "positions_unconfirmed")
        await until_alarm(app, "backup_missing")


async def test_an_alarm_from_before_a_clock_step_ends(desk: Desk) -> None:
    app = await desk.open()
    await desk.database.execute(
        "INSERT INTO alarms (code, subject, seen_at) VALUES ('disk_low', '', now() + interval '2 hours')"
    )

    async def has_ended() -> bool:
        ended = (await ask(app, "GET", "/admin/alarms"))["ended"]
        return "disk_low" in {each["code"] for each in ended}

    await desk.wait(app, has_ended, lambda: "it does not end")


async def test_muted_between_two_alarms_of_a_kind_but_not_where_an_exit_may_be_lost(
    desk: Desk, inbox: Receiver, monkeypatch: pytest.MonkeyPatch
) -> None:
    desk.configure("system", notify={"min_severity": "info", "mute_minutes": 5})
    app = await desk.open(notify_urls=url_of(inbox))
    await announce_warnings_soon(app, monkeypatch)
    await desk.order(app, "delivery/pause")
    await until_sent(inbox, 1)
    await desk.order(app, "delivery/resume")
    await until_sent(inbox, 2)
    await desk.order(app, "delivery/pause")
    await asyncio.sleep(3.0)
    await desk.order(app, "delivery/resume")
    for messages_so_far in (2, 4):
        await desk.database.execute(UNCONFIRMED, "AAPL")
        await until_sent(inbox, messages_so_far + 1)
        await desk.database.execute("DELETE FROM positions")
        await until_sent(inbox, messages_so_far + 2)
    kinds = [kind for kind, _, _ in messages(inbox)]
    assert kinds == ["info", "success", *("failure", "success") * 2]


async def test_a_muted_alarm_that_lasts_is_announced_after_the_silence(
    desk: Desk, inbox: Receiver, monkeypatch: pytest.MonkeyPatch
) -> None:
    desk.configure("system", notify={"min_severity": "info", "mute_minutes": 5})
    app = await desk.open(notify_urls=url_of(inbox))
    await announce_warnings_soon(app, monkeypatch)
    await desk.database.execute(
        """INSERT INTO alarms (code, subject, announced_at, ended_at, seen_at)
           VALUES ('delivery_paused', '', now(), now() - interval '4 minutes 57 seconds', now())"""
    )
    await desk.order(app, "delivery/pause")
    await asyncio.sleep(2.0)
    assert inbox.received == []
    assert [kind for kind, _, _ in await until_sent(inbox, 1)] == ["info"]


async def test_only_what_is_severe_enough_is_announced_and_in_the_language_chosen(
    desk: Desk, inbox: Receiver
) -> None:
    desk.configure("system", notify={"min_severity": "critical", "language": "pt-BR"})
    app = await desk.open(notify_urls=url_of(inbox))
    await desk.order(app, "delivery/pause")
    await until_alarm(app, "delivery_paused")
    await desk.database.execute(UNCONFIRMED, "AAPL")
    ((_, title, text),) = await until_sent(inbox, 1)
    assert title == "Trading Signal Processor: alarme crítico (1)"
    assert text.startswith("AAPL: a posição pode estar aberta")


async def test_the_daily_summary_comes_once_however_many_processes(desk: Desk, inbox: Receiver) -> None:
    now = await desk.database.fetchval("SELECT now() - interval '1 minute'")
    desk.configure("system", notify={"daily_summary_at": f"{now:%H:%M} UTC"})
    for _ in range(2):
        await desk.open(notify_urls=url_of(inbox))
    ((kind, title, text),) = await until_sent(inbox, 1)
    assert (kind, title) == ("info", "Trading Signal Processor: the last 24 hours")
    assert text.startswith("Signals: 0. Delivered: 0")


async def test_the_heartbeat_is_sent_only_while_all_is_well(
    desk: Desk, inbox: Receiver, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(heartbeat, "EVERY_SECONDS", 0.2)
    monkeypatch.setattr(heartbeat, "FIRST_SECONDS", 0.1)
    app = await desk.open(heartbeat_url=inbox.url)
    await inbox.count(3)
    await desk.order(app, "delivery/pause")  # a person's own pause is not a problem
    await inbox.count(len(inbox.received) + 2)
    async with app.http.get("/admin/status", headers={"Authorization": "Bearer wrong"}) as refused:
        assert refused.status == 401
    await until_alarm(app, "denied_admin_token")
    await asyncio.sleep(0.5)
    await inbox.count(len(inbox.received) + 2)  # any client can cause this
    await ask(app, "PUT", "/admin/system/config", body={"notify": {"backup_max_age_days": 1}})
    await until_alarm(app, "backup_missing")
    await asyncio.sleep(0.5)
    await inbox.count(len(inbox.received) + 2)  # it may last for days
    await desk.database.execute(UNCONFIRMED, "AAPL")
    await asyncio.sleep(1)
    asked = len(inbox.received)
    await asyncio.sleep(1)
    assert len(inbox.received) == asked
    await desk.database.execute(CONFIRMED)
    await inbox.count(asked + 1)


async def test_an_unavailable_database_is_announced_without_it(
    desk: Desk, inbox: Receiver, database_url: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    app = await desk.open(notify_urls=url_of(inbox))
    await announce_warnings_soon(app, monkeypatch)
    async with away(database_url):
        ((kind, title, text),) = await until_sent(inbox, 1)
    assert (kind, title) == ("failure", BEGUN)
    assert text.startswith("The database does not answer.")
    assert [kind for kind, _, _ in await until_sent(inbox, 2)] == ["failure", "success"]


async def test_a_failure_to_read_alarms_is_announced(
    desk: Desk, inbox: Receiver, monkeypatch: pytest.MonkeyPatch
) -> None:
    app = await desk.open(notify_urls=url_of(inbox))
    await announce_warnings_soon(app, monkeypatch)
    await desk.database.execute("ALTER TABLE swallowed_exits RENAME TO renamed")
    ((kind, title, text),) = await until_sent(inbox, 1)
    assert (kind, title) == ("warning", "Trading Signal Processor: alarm (1)")
    assert text.startswith("Workers fail and are restarted: alarms (UndefinedTableError")
    await desk.database.execute("ALTER TABLE renamed RENAME TO swallowed_exits")
    assert [kind for kind, _, _ in await until_sent(inbox, 2)] == ["warning", "success"]
