"""Messages reach real targets once, over failures, and contain no secret."""

from __future__ import annotations

import asyncio
import json
from contextlib import asynccontextmanager
from typing import TYPE_CHECKING

import pytest
from prometheus_client import REGISTRY

from app.alarms import targets
from tests.api import shown
from tests.api.conftest import serve
from tests.api.operator import BEARER, ask, log_of
from tests.api.trading.notified import SECRET, until, until_alarm, until_begun, until_sent, url_of
from tests.api.trading.receiver import always, take

if TYPE_CHECKING:
    import io
    from collections.abc import AsyncIterator, Callable

    from aiohttp import web

    from app.settings import Settings
    from tests.api.conftest import AppServer
    from tests.api.trading.desk import Desk
    from tests.api.trading.receiver import Received, Receiver

pytestmark = pytest.mark.usefixtures("hurried")
UNCONFIRMED = "INSERT INTO positions (ticker, buys, confirmed) VALUES ($1, 0, false)"
CONFIRMED = "UPDATE positions SET confirmed = true"


async def test_a_message_that_is_always_refused_delays_no_other(desk: Desk, inbox: Receiver) -> None:
    async def answer(received: Received) -> web.StreamResponse:
        return await (always(400) if b"NVDA" in received.body else take)(received)

    inbox.answer = answer
    await desk.open(notify_urls=url_of(inbox))
    for ticker in ("NVDA", "AAPL"):
        await desk.database.execute(UNCONFIRMED, ticker)
        await until_begun(inbox, ticker, 1)


async def test_an_unavailable_target_gets_everything_once(desk: Desk, inbox: Receiver) -> None:
    app = await desk.open(notify_urls=url_of(inbox))
    inbox.answer = always(503)
    await desk.database.execute(UNCONFIRMED, "AAPL")
    alarm = await until_alarm(app, "notifications_failing")
    assert alarm["subject"] == "1 (json)"
    assert SECRET not in json.dumps(alarm)
    await desk.database.execute(CONFIRMED)
    await until_alarm(app, "positions_unconfirmed", is_there=False)
    state = await ask(app, "GET", "/admin/notifications")
    assert state["targets"][0]["error"] == "the target did not accept it"
    oldest = state["messages"][-1]
    assert (oldest["target"], oldest["severity"]) == ("1 (json)", "critical")
    assert oldest["state"] in {"retrying", "sending"}
    assert oldest["title"] == "Trading Signal Processor: critical alarm (1)"
    assert oldest["body"].startswith("AAPL: the position may be open")
    accepted = list[str]()

    async def answer(received: Received) -> web.StreamResponse:
        accepted.extend(json.loads(received.body)["message"].splitlines())
        return await take(received)

    inbox.answer = answer
    await until_alarm(app, "notifications_failing", is_there=False)
    await until(lambda: any("(from" in line for line in accepted))
    await asyncio.sleep(1)
    about = [("(from" in line) for line in accepted if line.startswith("AAPL")]
    assert sorted(about) == [False, True]  # one that failed often is sent after others
    state = await ask(app, "GET", "/admin/notifications")
    assert (state["targets"][0]["waiting"], state["targets"][0]["error"]) == (0, "")
    assert {(each["state"], each["error"], each["due_at"]) for each in state["messages"]} == {
        ("sent", "", None)
    }
    assert REGISTRY.get_sample_value("notifications_total", {"result": "failed"})


async def test_a_message_that_a_process_had_claimed_when_it_died_is_sent_by_another(
    desk: Desk, inbox: Receiver, make_settings: Callable[..., Settings]
) -> None:
    settings = make_settings(notify_urls=url_of(inbox))
    (target,) = targets.targets_of([settings.notify_urls])
    await desk.database.execute(
        """INSERT INTO notifications (target, severity, title, body, attempts, claimed_until)
           VALUES ($1, 'info', 'kept', 'kept', 1, clock_timestamp() + interval '1 second')""",
        target.key,
    )
    async with serve(settings):
        await asyncio.sleep(0.5)
        assert inbox.received == []
        assert [title for _, title, _ in await until_sent(inbox, 1)] == ["kept"]


async def test_a_target_that_never_answers_delays_neither_the_others_nor_an_exit(
    desk: Desk, inbox: Receiver
) -> None:
    async with silent() as port:
        app = await desk.open(notify_urls=f"json://127.0.0.1:{port}/?rto=30 {url_of(inbox)}")
        await desk.database.execute(UNCONFIRMED, "AAPL")
        await until_sent(inbox, 1)
        await desk.until(app, await desk.send(app, "AAPL", "sell"), "forwarded")
        await until_sent(inbox, 2)


async def test_the_secret_of_a_target_is_nowhere(logged: io.StringIO, desk: Desk, inbox: Receiver) -> None:
    beat = f"{inbox.url}&token={SECRET}"
    dead = f"json://127.0.0.1:9/{SECRET}"
    app = await desk.open(notify_urls=f"{url_of(inbox)} {dead} nonsense://{SECRET}", heartbeat_url=beat)
    await desk.database.execute(UNCONFIRMED, "AAPL")
    await until_alarm(app, "notifications_failing")
    found = await shown.everything(app.http, desk.database, logged.getvalue())
    assert shown.places(found, SECRET) == set()
    assert SECRET not in repr(app.context.settings)
    state = await ask(app, "GET", "/admin/notifications")
    assert [each["name"] for each in state["targets"]] == ["1 (json)", "2 (json)", "3 (nonsense)"]
    assert state["targets"][2]["error"] == "the URL is not one that apprise knows"


async def test_the_outbox_is_listed_with_states_newest_first(desk: Desk, inbox: Receiver) -> None:
    inbox.answer = always(400)
    (target,) = targets.targets_of([url_of(inbox)])
    minute = "interval '1 minute'"
    rows = {  # by state: error, attempts, sent_at, created_at, claimed_until, due_at
        "given_up": f"'', 0, NULL, now() - interval '25 hours', NULL, now() - {minute}",
        "sent": f"'', 1, now(), now(), NULL, now() - {minute}",
        "sending": f"'', 1, NULL, now(), now() + {minute}, now() - {minute}",
        "retrying": f"'refused', 4, NULL, now(), NULL, now() + {minute}",
        "waiting": f"'', 0, NULL, now(), NULL, now() + {minute}",
    }
    for state, values in rows.items():
        await desk.database.execute(
            f"""INSERT INTO notifications (target, severity, title, body,
                                           error, attempts, sent_at, created_at, claimed_until, due_at)
                VALUES ($1, 'info', $2, 'said', {values})""",  # noqa: S608 - values of this test
            target.key,
            state,
        )
    await desk.database.execute(
        "INSERT INTO notifications (target, severity, title, body) VALUES ('removed', 'info', 'waiting', '')"
    )
    app = await desk.open(notify_urls=url_of(inbox))

    async def list_states(**query: int) -> tuple[list[tuple[str, str, str | None]], int | None]:
        listed = await ask(app, "GET", "/admin/notifications", **query)
        found = [(each["title"], each["state"], each["target"]) for each in listed["messages"]]
        return found, listed["next_cursor"]

    async def is_given_up() -> bool:
        return (await list_states())[0][-1][1] == "given_up"

    await desk.wait(app, is_given_up, lambda: "a message of yesterday is not given up")
    expected = [("waiting", "waiting", None), *((state, state, "1 (json)") for state in reversed(rows))]
    assert await list_states() == (expected, None)
    first, cursor = await list_states(limit=4)
    assert cursor
    assert (first, await list_states(cursor=cursor)) == (expected[:4], (expected[4:], None))
    async with app.http.get("/admin/page/configuration", headers=BEARER) as answer:
        page = await answer.text()
    for words in ("Given up", "Being sent", "Retrying", "no longer in NOTIFY_URLS", "<pre", "said"):
        assert words in page


async def test_a_critical_message_is_retried_without_limit(desk: Desk, inbox: Receiver) -> None:
    inbox.answer = always(503)
    (target,) = targets.targets_of([url_of(inbox)])
    await desk.database.execute(
        """INSERT INTO notifications (target, severity, title, body, created_at)
           SELECT $1, severity, severity, 'x' || repeat('y', 5000), now() - interval '3 days'
           FROM unnest(ARRAY['critical', 'warning']) AS severity""",
        target.key,
    )
    app = await desk.open(notify_urls=url_of(inbox))

    async def has_given_up() -> bool:
        listed = await ask(app, "GET", "/admin/notifications")
        assert {len(each["body"]) for each in listed["messages"]} == {2000}
        return bool(listed["targets"][0]["given_up"] == 1)

    await desk.wait(app, has_given_up, lambda: "the warning of three days ago is not given up")
    inbox.answer = take
    expected = {("critical", None), ("warning", "given_up")}

    async def is_sent() -> bool:
        rows = (await ask(app, "GET", "/admin/notifications"))["messages"]
        return {(row["title"], None if row["state"] == "sent" else row["state"]) for row in rows} == expected

    await desk.wait(app, is_sent, lambda: "the critical message is not sent")


async def test_a_test_message_goes_to_every_target(desk: Desk, inbox: Receiver) -> None:
    app = await desk.open(notify_urls=url_of(inbox))
    assert await desk.order(app, "notifications/test", 202) == {"queued": 1}
    assert await until_sent(inbox, 1) == [
        ("info", "Trading Signal Processor: test", "Notifications arrive here. Nothing is wrong.")
    ]
    assert (await log_of(app))[-1][2:] == ("notifications.test", "", None, {"queued": 1}, "done")
    assert (await ask(app, "GET", "/admin/notifications"))["targets"][0]["last_sent_at"]


async def test_without_a_target_a_test_message_is_refused(app_server: AppServer) -> None:
    refused = await ask(app_server, "POST", "/admin/notifications/test", 409)
    assert refused["detail"] == "there is nobody to notify: set NOTIFY_URLS in .env and deploy again"
    nothing = {"targets": [], "heartbeat": False, "messages": [], "next_cursor": None}
    assert await ask(app_server, "GET", "/admin/notifications") == nothing
    assert (await log_of(app_server))[-1][6].startswith("refused: ")


async def test_e_mail(desk: Desk) -> None:
    mails = list[str]()
    async with mail_server(mails) as port:
        url = f"mailto://127.0.0.1:{port}?from=tsp@desk.example&to=trader@desk.example&mode=insecure"
        await desk.open(notify_urls=url)
        await desk.database.execute(UNCONFIRMED, "AAPL")
        await until(lambda: bool(mails))
    assert "critical alarm" in mails[0]


@asynccontextmanager
async def silent() -> AsyncIterator[int]:
    """Run a server that accepts connections and never answers; yield its port."""
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
    """Run a mail server that stores messages; yield its port."""

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
