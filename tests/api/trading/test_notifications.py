"""Alarms are told to real targets: once when they begin, once when they end, whatever fails in between."""

from __future__ import annotations

import asyncio
import json
from contextlib import asynccontextmanager
from typing import TYPE_CHECKING, Any

import pytest
from prometheus_client import REGISTRY

from app.alarms import heartbeat, outbox, targets, watch
from tests.api import shown
from tests.api.conftest import serve
from tests.api.operator import ask, log_of
from tests.api.outage import away
from tests.api.trading.receiver import always, listening, take

if TYPE_CHECKING:
    import io
    from collections.abc import AsyncIterator, Callable

    from aiohttp import web

    from app.settings import Settings
    from tests.api.conftest import AppServer
    from tests.api.trading.desk import Desk
    from tests.api.trading.receiver import Received, Receiver

SECRET = "s3cret-of-the-target"
UNCONFIRMED = "INSERT INTO positions (ticker, buys, confirmed) VALUES ($1, 0, false)"
CONFIRMED = "UPDATE positions SET confirmed = true"
BEGUN = "Trading Signal Processor: critical alarm (1)"
OVER = "Trading Signal Processor: alarm ended (1)"


@pytest.fixture(autouse=True)
def hurried(monkeypatch: pytest.MonkeyPatch) -> None:
    """Look, retry and end within fractions of a second."""
    monkeypatch.setattr(watch, "LOOK_SECONDS", 0.1)
    monkeypatch.setattr(watch, "SEEN_EVERY_SECONDS", 0.2)
    monkeypatch.setattr(watch, "END_AFTER_SECONDS", 1.0)
    monkeypatch.setattr(watch, "COST_FACTOR", 1)
    monkeypatch.setattr(watch, "START_SECONDS", 0.0)
    monkeypatch.setattr(outbox, "RETRY_SECONDS", (0.2,))
    monkeypatch.setattr(outbox, "POLL_SECONDS", 0.1)


@pytest.fixture
async def told() -> AsyncIterator[Receiver]:
    """A target of notifications."""
    async with listening() as running:
        yield running


def url_of(receiver: Receiver) -> str:
    """The URL by which apprise posts JSON to it, with a secret in it."""
    return receiver.url.replace("http://", "json://").partition("?")[0] + f"/{SECRET}"


def messages(receiver: Receiver) -> list[tuple[str, str, str]]:
    """What a target was told: type, title and text of each message."""
    found = [json.loads(each.body) for each in receiver.received]
    return [(each["type"], each["title"], each["message"]) for each in found]


async def until_told(receiver: Receiver, count: int) -> list[tuple[str, str, str]]:
    """Wait for so many messages, and a little longer for one too many."""
    await receiver.count(count)
    await asyncio.sleep(0.5)
    return messages(receiver)


async def until(is_so: Callable[[], bool]) -> None:
    """Wait until a look finds it."""
    async with asyncio.timeout(30):
        while True:
            if is_so():
                return
            await asyncio.sleep(0.05)


async def until_begun(receiver: Receiver, ticker: str, count: int) -> None:
    """Wait until the begin of alarms of a ticker was told at least so often."""

    def is_told() -> bool:
        begun = [text for kind, _, text in messages(receiver) if kind == "failure"]
        return sum(text.startswith(f"{ticker}:") for text in begun) >= count

    await until(is_told)


async def until_alarm(app: AppServer, code: str, *, is_there: bool = True) -> dict[str, Any]:
    """Wait until the page shows the alarm, or does not any more."""
    async with asyncio.timeout(30):
        while True:
            shown_now = (await ask(app, "GET", "/admin/status"))["alarms"]
            found = [alarm for alarm in shown_now if alarm["code"] == code]
            if bool(found) is is_there:
                return found[0] if found else {}
            await asyncio.sleep(0.1)


async def hurry_warnings(app: AppServer, monkeypatch: pytest.MonkeyPatch) -> None:
    """Tell warnings, too, within a second, once the alarm of every start is over: there is no list yet."""
    await until_alarm(app, "top_n_missing", is_there=False)
    monkeypatch.setattr(watch, "ANNOUNCE_AFTER_SECONDS", 1.0)


async def test_one_message_when_it_begins_and_one_when_it_ends(desk: Desk, told: Receiver) -> None:
    app = await desk.open(notify_urls=url_of(told))
    await desk.database.execute(UNCONFIRMED, "AAPL")
    ((kind, title, text),) = await until_told(told, 1)
    assert (kind, title) == ("failure", BEGUN)
    assert text.startswith("AAPL: the position may be open: the outcome of an order is unknown. Look at")
    alarm = await until_alarm(app, "positions_unconfirmed")
    assert alarm["since"]
    assert REGISTRY.get_sample_value("alarm", {"code": "positions_unconfirmed"}) == 1
    await desk.database.execute(CONFIRMED)
    kind, title, text = (await until_told(told, 2))[1]
    assert (kind, title) == ("success", OVER)
    assert text.startswith("AAPL: the position may be open: the outcome of an order is unknown. (from 20")
    assert REGISTRY.get_sample_value("alarm", {"code": "positions_unconfirmed"}) == 0
    listed = await ask(app, "GET", "/admin/alarms")
    assert listed["alarms"] == []
    assert ("positions_unconfirmed", "AAPL") in [(each["code"], each["subject"]) for each in listed["ended"]]
    assert REGISTRY.get_sample_value("alarm", {"code": "sells_failed"}) == 0


async def test_what_begins_together_is_one_message(desk: Desk, told: Receiver) -> None:
    await desk.open(notify_urls=url_of(told))
    async with desk.database.acquire() as connection, connection.transaction():
        for ticker in ("AAPL", "NVDA"):
            await connection.execute(UNCONFIRMED, ticker)
    ((_, title, text),) = await until_told(told, 1)
    assert title == "Trading Signal Processor: critical alarm (2)"
    assert [line.partition(":")[0] for line in text.splitlines()] == ["AAPL", "NVDA"]


async def test_every_ticker_is_told_however_many_there_are(desk: Desk, told: Receiver) -> None:
    await desk.open(notify_urls=url_of(told))
    await desk.database.execute(
        """INSERT INTO positions (ticker, buys, confirmed)
           SELECT 'T' || n, 0, false FROM generate_series(1, 25) AS n"""
    )
    ((_, title, text),) = await until_told(told, 1)
    assert title == "Trading Signal Processor: critical alarm (25)"
    assert {line.partition(":")[0] for line in text.splitlines()} == {f"T{n}" for n in range(1, 26)}


async def test_an_exit_that_fails_just_after_another_was_settled_is_told(desk: Desk, told: Receiver) -> None:
    app = await desk.open(notify_urls=url_of(told))
    await desk.until(app, await desk.send(app, "AAPL", "buy"), "forwarded")
    desk.receiver.answer = always(404)
    for count in (1, 2):
        await desk.until(app, await desk.send(app, "AAPL", "sell"), "failed")
        await until_begun(told, "AAPL", count)
        alarm = await until_alarm(app, "sells_failed")
        until_when = alarm["settle_until"]
        await desk.order(app, "alarms/acknowledge", code="sells_failed", subject="AAPL", until=until_when)
        await until_alarm(app, "sells_failed", is_there=False)
    assert [kind for kind, _, _ in await until_told(told, 4)] == ["failure", "success"] * 2


async def test_a_message_that_is_always_refused_delays_no_other(desk: Desk, told: Receiver) -> None:
    async def answer(received: Received) -> web.StreamResponse:
        return await (always(400) if b"NVDA" in received.body else take)(received)

    told.answer = answer
    await desk.open(notify_urls=url_of(told))
    for ticker in ("NVDA", "AAPL"):
        await desk.database.execute(UNCONFIRMED, ticker)
        await until_begun(told, ticker, 1)


async def test_a_target_that_is_away_gets_everything_once(desk: Desk, told: Receiver) -> None:
    app = await desk.open(notify_urls=url_of(told))
    told.answer = always(503)
    await desk.database.execute(UNCONFIRMED, "AAPL")
    alarm = await until_alarm(app, "notifications_failing")
    assert alarm["subject"] == "1 (json)"
    assert SECRET not in json.dumps(alarm)
    await desk.database.execute(CONFIRMED)
    await until_alarm(app, "positions_unconfirmed", is_there=False)
    state = await ask(app, "GET", "/admin/notifications")
    assert state["targets"][0]["error"] == "the target did not accept it"
    accepted = list[str]()

    async def answer(received: Received) -> web.StreamResponse:
        accepted.extend(json.loads(received.body)["message"].splitlines())
        return await take(received)

    told.answer = answer
    await until_alarm(app, "notifications_failing", is_there=False)
    await until(lambda: any("(from" in line for line in accepted))
    await asyncio.sleep(1)
    about = [("(from" in line) for line in accepted if line.startswith("AAPL")]
    assert sorted(about) == [False, True]  # one that failed often lets others go first
    state = await ask(app, "GET", "/admin/notifications")
    assert (state["targets"][0]["waiting"], state["targets"][0]["error"]) == (0, "")
    assert REGISTRY.get_sample_value("notifications_total", {"result": "failed"})


async def test_two_processes_tell_it_once(desk: Desk, told: Receiver) -> None:
    for _ in range(2):
        await desk.open(notify_urls=url_of(told))
    for ticker in ("AAPL", "NVDA", "TSLA"):
        await desk.database.execute(UNCONFIRMED, ticker)
        await asyncio.sleep(0.3)
    await until(lambda: sum(text.count("(since") for _, _, text in messages(told)) == 3)
    await desk.database.execute(CONFIRMED)
    await until(lambda: sum(text.count("(from") for _, _, text in messages(told)) == 3)
    await asyncio.sleep(0.5)
    lines = [line.partition(":")[0] for _, _, text in messages(told) for line in text.splitlines()]
    assert sorted(lines) == ["AAPL", "AAPL", "NVDA", "NVDA", "TSLA", "TSLA"]


async def test_what_began_before_a_restart_ends_after_it(
    desk: Desk, told: Receiver, make_settings: Callable[..., Settings]
) -> None:
    settings = make_settings(notify_urls=url_of(told))
    async with serve(settings):
        await desk.database.execute(UNCONFIRMED, "AAPL")
        await until_told(told, 1)
    async with serve(settings) as app:
        await asyncio.sleep(1)
        assert len(told.received) == 1
        began = (await until_alarm(app, "positions_unconfirmed"))["since"]
        assert began
        await desk.database.execute(CONFIRMED)
        assert [title for _, title, _ in await until_told(told, 2)] == [BEGUN, OVER]


async def test_a_message_that_a_process_had_claimed_when_it_died_is_sent_by_another(
    desk: Desk, told: Receiver, make_settings: Callable[..., Settings]
) -> None:
    settings = make_settings(notify_urls=url_of(told))
    (target,) = targets.targets_of([settings.notify_urls])
    await desk.database.execute(
        """INSERT INTO notifications (target, severity, title, body, attempts, claimed_until)
           VALUES ($1, 'info', 'kept', 'kept', 1, clock_timestamp() + interval '1 second')""",
        target.key,
    )
    async with serve(settings):
        await asyncio.sleep(0.5)
        assert told.received == []
        assert [title for _, title, _ in await until_told(told, 1)] == ["kept"]


async def test_a_target_that_never_answers_delays_neither_the_others_nor_an_exit(
    desk: Desk, told: Receiver
) -> None:
    async with silent() as port:
        app = await desk.open(notify_urls=f"json://127.0.0.1:{port}/?rto=30 {url_of(told)}")
        await desk.database.execute(UNCONFIRMED, "AAPL")
        await until_told(told, 1)
        await desk.until(app, await desk.send(app, "AAPL", "sell"), "forwarded")
        await until_told(told, 2)


async def test_muted_between_two_alarms_of_a_kind_but_not_where_an_exit_may_be_lost(
    desk: Desk, told: Receiver, monkeypatch: pytest.MonkeyPatch
) -> None:
    desk.configure("system", notify={"min_severity": "info", "mute_minutes": 5})
    app = await desk.open(notify_urls=url_of(told))
    await hurry_warnings(app, monkeypatch)
    await desk.order(app, "delivery/pause")
    await until_told(told, 1)
    await desk.order(app, "delivery/resume")
    await until_told(told, 2)
    await desk.order(app, "delivery/pause")
    await asyncio.sleep(3.0)
    await desk.order(app, "delivery/resume")
    for messages_so_far in (2, 4):
        await desk.database.execute(UNCONFIRMED, "AAPL")
        await until_told(told, messages_so_far + 1)
        await desk.database.execute("DELETE FROM positions")
        await until_told(told, messages_so_far + 2)
    kinds = [kind for kind, _, _ in messages(told)]
    assert kinds == ["info", "success", *("failure", "success") * 2]


async def test_a_muted_alarm_that_lasts_is_told_after_the_silence(
    desk: Desk, told: Receiver, monkeypatch: pytest.MonkeyPatch
) -> None:
    desk.configure("system", notify={"min_severity": "info", "mute_minutes": 5})
    app = await desk.open(notify_urls=url_of(told))
    await hurry_warnings(app, monkeypatch)
    await desk.database.execute(
        """INSERT INTO alarms (code, subject, announced_at, ended_at, seen_at)
           VALUES ('delivery_paused', '', now(), now() - interval '4 minutes 57 seconds', now())"""
    )
    await desk.order(app, "delivery/pause")
    await asyncio.sleep(2.0)
    assert told.received == []
    assert [kind for kind, _, _ in await until_told(told, 1)] == ["info"]


async def test_only_what_is_severe_enough_is_told_and_in_the_language_chosen(
    desk: Desk, told: Receiver
) -> None:
    desk.configure("system", notify={"min_severity": "critical", "language": "pt-BR"})
    app = await desk.open(notify_urls=url_of(told))
    await desk.order(app, "delivery/pause")
    await until_alarm(app, "delivery_paused")
    await desk.database.execute(UNCONFIRMED, "AAPL")
    ((_, title, text),) = await until_told(told, 1)
    assert title == "Trading Signal Processor: alarme crítico (1)"
    assert text.startswith("AAPL: a posição pode estar aberta")


async def test_the_secret_of_a_target_is_nowhere(logged: io.StringIO, desk: Desk, told: Receiver) -> None:
    beat = f"{told.url}&token={SECRET}"
    dead = f"json://127.0.0.1:9/{SECRET}"
    app = await desk.open(notify_urls=f"{url_of(told)} {dead} nonsense://{SECRET}", heartbeat_url=beat)
    await desk.database.execute(UNCONFIRMED, "AAPL")
    await until_alarm(app, "notifications_failing")
    found = await shown.everything(app.http, desk.database, logged.getvalue())
    assert shown.places(found, SECRET) == set()
    assert SECRET not in repr(app.context.settings)
    state = await ask(app, "GET", "/admin/notifications")
    assert [each["name"] for each in state["targets"]] == ["1 (json)", "2 (json)", "3 (nonsense)"]
    assert state["targets"][2]["error"] == "the URL is not one that apprise knows"


async def test_a_test_message_goes_to_every_target(desk: Desk, told: Receiver) -> None:
    app = await desk.open(notify_urls=url_of(told))
    assert await desk.order(app, "notifications/test", 202) == {"queued": 1}
    assert await until_told(told, 1) == [
        ("info", "Trading Signal Processor: test", "Notifications arrive here. Nothing is wrong.")
    ]
    assert (await log_of(app))[-1][2:] == ("notifications.test", "", None, {"queued": 1}, "done")
    assert (await ask(app, "GET", "/admin/notifications"))["targets"][0]["last_sent_at"]


async def test_without_a_target_nobody_can_be_told(app_server: AppServer) -> None:
    refused = await ask(app_server, "POST", "/admin/notifications/test", 409)
    assert refused["detail"] == "there is nobody to notify: set NOTIFY_URLS in .env and deploy again"
    assert await ask(app_server, "GET", "/admin/notifications") == {"targets": [], "heartbeat": False}
    assert (await log_of(app_server))[-1][6].startswith("refused: ")


async def test_the_daily_summary_comes_once_however_many_processes(desk: Desk, told: Receiver) -> None:
    now = await desk.database.fetchval("SELECT now() - interval '1 minute'")
    desk.configure("system", notify={"daily_summary_at": f"{now:%H:%M} UTC"})
    for _ in range(2):
        await desk.open(notify_urls=url_of(told))
    ((kind, title, text),) = await until_told(told, 1)
    assert (kind, title) == ("info", "Trading Signal Processor: the last 24 hours")
    assert text.startswith("Signals: 0. Delivered: 0")


async def test_the_heartbeat_is_asked_while_all_is_well_and_only_then(
    desk: Desk, told: Receiver, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(heartbeat, "EVERY_SECONDS", 0.2)
    monkeypatch.setattr(heartbeat, "FIRST_SECONDS", 0.1)
    app = await desk.open(heartbeat_url=told.url)
    await told.count(3)
    await desk.order(app, "delivery/pause")  # what a person wanted is no trouble
    await told.count(len(told.received) + 2)
    async with app.http.get("/admin/status", headers={"Authorization": "Bearer wrong"}) as refused:
        assert refused.status == 401
    await until_alarm(app, "denied_admin_token")
    await asyncio.sleep(0.5)
    await told.count(len(told.received) + 2)  # anybody can cause this
    await desk.database.execute(UNCONFIRMED, "AAPL")
    await asyncio.sleep(1)
    asked = len(told.received)
    await asyncio.sleep(1)
    assert len(told.received) == asked
    await desk.database.execute(CONFIRMED)
    await told.count(asked + 1)


async def test_e_mail(desk: Desk) -> None:
    mails = list[str]()
    async with mail_server(mails) as port:
        url = f"mailto://127.0.0.1:{port}?from=tsp@desk.example&to=trader@desk.example&mode=insecure"
        await desk.open(notify_urls=url)
        await desk.database.execute(UNCONFIRMED, "AAPL")
        await until(lambda: bool(mails))
    assert "critical alarm" in mails[0]


async def test_that_the_database_is_away_is_told_without_it(
    desk: Desk, told: Receiver, database_url: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    app = await desk.open(notify_urls=url_of(told))
    await hurry_warnings(app, monkeypatch)
    async with away(database_url):
        ((kind, title, text),) = await until_told(told, 1)
    assert (kind, title) == ("failure", BEGUN)
    assert text.startswith("The database does not answer.")
    assert [kind for kind, _, _ in await until_told(told, 2)] == ["failure", "success"]


async def test_that_alarms_cannot_be_found_is_told_all_the_same(
    desk: Desk, told: Receiver, monkeypatch: pytest.MonkeyPatch
) -> None:
    app = await desk.open(notify_urls=url_of(told))
    await hurry_warnings(app, monkeypatch)
    await desk.database.execute("ALTER TABLE swallowed_exits RENAME TO renamed")
    ((kind, title, text),) = await until_told(told, 1)
    assert (kind, title) == ("warning", "Trading Signal Processor: alarm (1)")
    assert text.startswith("Workers fail and are restarted: alarms (UndefinedTableError")
    await desk.database.execute("ALTER TABLE renamed RENAME TO swallowed_exits")
    assert [kind for kind, _, _ in await until_told(told, 2)] == ["warning", "success"]


@asynccontextmanager
async def silent() -> AsyncIterator[int]:
    """A server that takes connections and never answers; its port."""
    writers = list[asyncio.StreamWriter]()
    server = await asyncio.start_server(lambda _, writer: writers.append(writer), "127.0.0.1", 0)
    try:
        yield server.sockets[0].getsockname()[1]
    finally:
        for writer in writers:
            writer.transport.abort()
        server.close()


@asynccontextmanager
async def mail_server(mails: list[str]) -> AsyncIterator[int]:
    """A mail server that keeps what it gets; its port."""

    async def converse(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        writer.write(b"220 desk\r\n")
        async for line in reader:
            word = line[:4].upper()
            if word == b"DATA":
                writer.write(b"354 go on\r\n")
                mails.append((await reader.readuntil(b"\r\n.\r\n")).decode())
            writer.write(b"221 bye\r\n" if word == b"QUIT" else b"250 ok\r\n")
        writer.close()

    server = await asyncio.start_server(converse, "127.0.0.1", 0)
    try:
        yield server.sockets[0].getsockname()[1]
    finally:
        server.close()
