"""Every alarm by its real cause: in the status, the metrics and the page, and announced once with its end."""

from __future__ import annotations

import asyncio
import json
import time
from contextlib import AsyncExitStack
from dataclasses import dataclass, field
from datetime import datetime, timedelta
from pathlib import Path
from typing import TYPE_CHECKING, Any, NamedTuple

import aiohttp
import pytest
from aiohttp import web
from prometheus_client import REGISTRY

from app.alarms import watch
from app.alarms.alarm import CODES, OF_DENIALS
from app.db import clock
from app.metrics import PREFIX
from app.ops import checks, health
from app.runtime import denials
from tests.api import raising, stepping
from tests.api.operator import BEARER, ask
from tests.api.test_certificate import write as report
from tests.api.trading.finviz import Site, showing
from tests.api.trading.notified import SECRET, announce_warnings_soon, lines, until, url_of
from tests.api.trading.receiver import Received, always, listening, take
from tests.unit.playbooks.modules import load

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable

    from tests.api.conftest import AppServer
    from tests.api.trading.desk import Desk
    from tests.api.trading.receiver import Receiver

pytestmark = pytest.mark.usefixtures("hurried")

OFTEN_SECONDS = 0.1
WEBHOOK_SECRET = "s3cret-of-the-sender"
SOURCE_SECRET = "s3cret-of-another-sender"
URL_SECRET = "s3cret-of-the-destination"
PART = {"quantity": 5, "sentiment": "long"}
# test_notifications.py announces it: no row can be read or written meanwhile.
WITHOUT_THE_DATABASE = {"database_away"}


class Key(NamedTuple):
    """An alarm: its code and what it is about."""

    code: str
    subject: str = ""


@dataclass
class Stage:
    """One application with a target of notifications, and the means to cause alarms.

    `statuses`: what the destination answers, by ticker; 200 for the others.
    """

    desk: Desk
    inbox: Receiver
    monkeypatch: pytest.MonkeyPatch
    stack: AsyncExitStack
    app: AppServer = field(init=False)
    statuses: dict[str, int] = field(default_factory=dict)

    async def open(self, *, seconds: float = 0.2, has_list: bool = True, **settings: Any) -> None:
        """Start the application, which announces warnings after so many seconds."""
        self.desk.configure("system", notify={"min_severity": "info", "mute_minutes": 0})
        self.desk.receiver.answer = self.answer
        if not has_list:
            self.monkeypatch.setattr(watch, "ANNOUNCE_AFTER_SECONDS", seconds)
        urls = f"{url_of(self.inbox)} {settings.pop('notify_urls', '')}"
        self.app = await self.desk.open(**settings, notify_urls=urls)
        if has_list:
            await announce_warnings_soon(self.app, self.monkeypatch, seconds)

    async def answer(self, received: Received) -> web.StreamResponse:
        """Set the destination's answer for a ticker."""
        status = self.statuses.get(received.alert["ticker"], self.statuses.get("*", 200))
        return await (take if status == 200 else always(status))(received)

    async def signal(self, ticker: str, side: str, *statuses: str, **fields: Any) -> Any:
        """Send an alert and wait until its signal is in one of the statuses."""
        sent = await self.desk.send(self.app, ticker, side, **fields)
        await self.desk.until(self.app, sent, *statuses)
        return sent

    async def order(self, path: str, expected: int = 200, **body: Any) -> Any:
        """Post to `/admin/<path>` as a person."""
        return await self.desk.order(self.app, path, expected, **body)

    async def run(self, query: str, *values: Any) -> None:
        """Run a statement in the database."""
        await self.desk.database.execute(query, *values)

    async def find(self) -> dict[Key, dict[str, Any]]:
        """Return the alarms of the status."""
        found = (await ask(self.app, "GET", "/admin/status"))["alarms"]
        return {Key(each["code"], each["subject"]): each for each in found}

    async def open_position(self, ticker: str) -> str:
        """Return the id of the ticker's open position."""
        listed = (await ask(self.app, "GET", "/admin/positions"))["positions"]
        return str(next(each["id"] for each in listed if each["ticker"] == ticker))

    async def until_shown(self, *expected: Key) -> None:
        """Wait until these are the alarms: in the status, in the metrics, and on the page."""
        found = set[Key]()

        async def is_shown() -> bool:
            found.clear()
            found.update(await self.find())
            return found == set(expected) and is_counted(expected)

        await self.desk.wait(self.app, is_shown, lambda: f"the alarms are {sorted(found)}")
        async with self.app.http.get("/admin", headers=BEARER) as answer:
            drawn = (await answer.text()).partition('<ul id="alarms"')[2].partition("</ul>")[0]
        assert {code for code in CODES if f'data-code="{code}"' in drawn} == {each.code for each in expected}
        for each in expected:
            assert each.subject in drawn

    async def until_announced(self, *expected: Key) -> None:
        """Wait until a message has announced each of these."""
        query = "SELECT code, subject FROM alarms WHERE ended_at IS NULL AND announced_at IS NOT NULL"
        found = set[Key]()

        async def is_announced() -> bool:
            found.clear()
            found.update(Key(*row) for row in await self.desk.database.fetch(query))
            return found >= set(expected)

        await self.desk.wait(self.app, is_announced, lambda: f"only {sorted(found)} are announced")

    async def until_over(self) -> None:
        """Wait until no alarm is open and every message is sent: a process that stops may send one twice."""
        query = """SELECT EXISTS (SELECT FROM alarms WHERE ended_at IS NULL)
                       OR EXISTS (SELECT FROM notifications WHERE sent_at IS NULL AND given_up_at IS NULL)"""

        async def is_over() -> bool:
            return not await self.desk.database.fetchval(query)

        await self.desk.wait(self.app, is_over, lambda: "an alarm does not end, or is not announced")

    async def verify_messages(self) -> None:
        """Every announced alarm has one line when it began and one when it ended, and there is no other."""
        await self.until_over()
        rows = await self.desk.database.fetch("SELECT text FROM alarms WHERE announced_at IS NOT NULL")
        texts = sorted(row["text"] for row in rows)
        await until(lambda: len(lines(self.inbox)) >= 2 * len(texts))
        await asyncio.sleep(3 * OFTEN_SECONDS)  # in which a superfluous one would arrive
        for words in ("(since ", "(from "):
            said = [matching(line, texts) for line in lines(self.inbox) if words in line]
            assert sorted(said) == texts
        assert len(lines(self.inbox)) == 2 * len(texts)
        for secret in (SECRET, WEBHOOK_SECRET, SOURCE_SECRET, URL_SECRET, raising.SECRET):
            assert secret not in str(lines(self.inbox))


def matching(line: str, texts: list[str]) -> str:
    """Return the longest text that the line begins with."""
    return max((text for text in texts if line.startswith(text)), key=len, default=line)


def is_counted(expected: tuple[Key, ...]) -> bool:
    """Return whether the metric counts these alarms and no others."""
    codes = [each.code for each in expected]
    names = ("alarm", PREFIX + "alarm")
    return all(
        REGISTRY.get_sample_value(name, {"code": code}) == codes.count(code)
        for code in CODES
        for name in names
    )


class Scene(NamedTuple):
    """What happens in one application, and the codes of the alarms that it causes."""

    play: Callable[[Stage], Awaitable[None]]
    codes: set[str]


async def exits_that_did_not_get_through(stage: Stage) -> None:
    stage.desk.watch("list:" + ",".join(f"T{number}" for number in range(12)))
    await stage.open()
    desk, app = stage.desk, stage.app
    for number in (1, 2, 3, 4, 5):
        await stage.signal(f"T{number}", "buy", "forwarded")
    stage.statuses = {"T1": 404, "T7": 500, **dict.fromkeys(("T8", "T9", "T10"), 400)}
    await stage.signal("T1", "sell", "failed")
    for _ in range(2):
        await desk.post(app, {"ticker": "T2", "action": "sell", **PART})
        await desk.settled(app)
    await stage.signal("T3", "get out", "rejected")
    await stage.signal("T6", "sell", "rejected")
    await stage.signal("T6", "buy", "forwarded")
    await stage.signal("T7", "buy", "failed")
    for number in (8, 9, 10):
        await stage.signal(f"T{number}", "buy", "failed")
    await stage.order("delivery/pause")
    expired, waits = (
        await stage.signal("T4", "sell", "approved"),
        await stage.signal("T5", "sell", "approved"),
    )
    await stage.run("UPDATE signals SET expires_at = now() WHERE id = $1", expired)
    await stage.run(
        """UPDATE signals SET received_at = now() - interval '3300 seconds',
                              expires_at = now() + interval '300 seconds' WHERE id = $1""",
        waits,
    )
    begun = [
        *(Key("sells_failed", "T1"), Key("exits_swallowed", "T2"), Key("alerts_unread", "T3")),
        *(Key("sells_expired", "T4"), Key("sells_late", "T5"), Key("exits_waiting", "T5")),
        *(Key("entries_after_exit", "T6"), Key("positions_unconfirmed", "T7")),
        *(Key("orders_refused"), Key("delivery_paused")),
    ]
    await stage.until_shown(*begun)
    await stage.until_announced(*begun)

    stage.statuses = {}
    await stage.order("delivery/resume")  # what waits is delivered, and so the refusals are over, too
    for ticker in ("T1", "T4"):
        await stage.signal(ticker, "sell", "forwarded")
    await stage.signal("T2", "sell", "forwarded", **PART)
    await stage.order("order/mark-closed", position_id=await stage.open_position("T3"), reason="by telephone")
    settled = (await stage.find())[Key("entries_after_exit", "T6")]
    await stage.order("alarms/acknowledge", code=settled["code"], subject="T6", until=settled["settle_until"])
    await stage.order(f"positions/{await stage.open_position('T7')}/confirm")


async def a_destination_in_trouble(stage: Stage) -> None:
    tickers = [f"T{number}" for number in range(8)]
    stage.desk.watch("list:" + ",".join(tickers))
    stage.desk.configure("webhook", retry_seconds=[0.05], max_req_per_min=4, exit_reserve={"per_min": 2})
    await raising.install(stage.desk.database)
    for ticker in ("X1", "X2"):
        await stage.run("INSERT INTO positions (ticker) VALUES ($1)", ticker)
    await stage.open(dest_webhook_rate_limiting_enabled=True)
    for ticker in tickers[:4]:
        await stage.desk.send(stage.app, ticker, "buy")
    await stage.until_shown(Key("entry_limit_exhausted"))
    await stage.until_announced(Key("entry_limit_exhausted"))
    for ticker in ("X1", "X2"):
        await stage.signal(ticker, "sell", "forwarded")
    await stage.until_shown(Key("limit_exhausted"))
    await stage.until_announced(Key("limit_exhausted"))
    text = (await stage.find())[Key("limit_exhausted")]["text"]
    assert text.startswith("The rate limit is used up: 2 orders wait until ")
    await ask(stage.app, "PUT", "/admin/webhook/config", body={"rate_limiting_enabled": False})
    await stage.desk.settled(stage.app)
    await stage.until_shown()

    await raising.start(stage.desk.database, "outcome", "53100")
    buy = await stage.desk.send(stage.app, "T7", "buy")
    await stage.until_shown(Key("outcomes_unwritten"))
    await stage.until_announced(Key("outcomes_unwritten"))
    await raising.stop(stage.desk.database, "outcome")
    await stage.desk.until(stage.app, buy, "forwarded")

    stage.statuses = {"*": 503}
    for ticker in tickers[4:7]:
        await stage.desk.send(stage.app, ticker, "buy")
    await stage.until_shown(Key("destination_failing"))
    await stage.until_announced(Key("destination_failing"))
    stage.statuses = {}
    await stage.run("UPDATE destinations SET probe_at = now() WHERE probe_at IS NOT NULL")
    await stage.desk.settled(stage.app)

    await raising.start(stage.desk.database, "store", "53100")
    async with stage.app.http.post("/webhook/in", json={"ticker": "T7", "side": "buy"}) as refused:
        assert refused.status == 503
    await stage.until_shown(Key("intake_failing"))
    await stage.until_announced(Key("intake_failing"))
    await raising.stop(stage.desk.database, "store")


async def a_list_that_does_not_come(stage: Stage) -> None:
    site: Site = await stage.stack.enter_async_context(showing("AAPL", "NVDA"))
    site.spoil = lambda _: web.Response(status=500)
    stage.desk.watch(f"{site.url}/screener.ashx?v=111", refresh_interval_sec=1)
    await stage.open(has_list=False)
    begun = (Key("top_n_missing"), Key("top_n_failing"))
    await stage.until_shown(*begun)
    assert "HTTP 500" in (await stage.find())[Key("top_n_failing")]["text"]
    await stage.until_announced(*begun)
    site.spoil = lambda _: None
    await stage.until_shown()
    site.spoil = lambda _: web.Response(status=500)
    await stage.until_shown(Key("top_n_failing"))  # so that no refresh renews the list after it has aged
    await stage.run("UPDATE top_n_lists SET fetched_at = fetched_at - interval '1 day'")
    begun = (Key("top_n_stale"), Key("top_n_failing"))
    await stage.until_shown(*begun)
    await stage.until_announced(*begun)
    site.spoil = lambda _: None
    await stage.until_shown()
    await stage.order("engine/pause")
    await stage.until_shown(Key("engine_paused"))
    await stage.until_announced(Key("engine_paused"))
    await stage.order("engine/resume")


async def strangers(stage: Stage) -> None:
    elsewhere = {"name": "elsewhere", "secret": SOURCE_SECRET, "allow_from": ["192.0.2.0/24"]}
    stage.desk.configure("webhook", sources=[elsewhere])
    await stage.open(webhook_secret=WEBHOOK_SECRET)
    http, wrong = stage.app.http, {"Authorization": "Bearer wrong"}
    async with http.post("/webhook/in/wrong", json={"ticker": "AAPL"}) as answer:
        assert answer.status == 401
    async with http.post(f"/webhook/in/{SOURCE_SECRET}", json={"ticker": "AAPL"}) as answer:
        assert answer.status == 403
    async with http.post(f"/hook/{WEBHOOK_SECRET}", json={"ticker": "AAPL"}) as answer:
        assert answer.status == 404
    async with http.put("/webhook/in", json={"ticker": "AAPL"}) as answer:
        assert answer.status == 405
    async with http.post("/webhook/in", data=b"x" * 70_000) as answer:
        assert answer.status == 413
    async with http.get("/admin/status", headers=wrong) as answer:
        assert answer.status == 401
    async with http.post("/admin/sign-in", data={"token": "wrong"}) as answer:
        assert answer.status == 401
    with pytest.raises(aiohttp.WSServerHandshakeError):
        await http.ws_connect("/ws/admin-updates", headers=wrong)
    host, _, port = stage.app.url.removeprefix("http://").partition(":")
    reader, writer = await asyncio.open_connection(host, int(port))
    writer.write(b"POST /webhook/in HTTP/1.1\r\nX Source: tv\r\n\r\n")
    assert (await reader.readline()).startswith(b"HTTP/1.1 400 ")
    writer.close()
    begun = [Key(code) for code in OF_DENIALS]
    await stage.until_shown(*begun)
    await stage.until_announced(*begun)
    stage.monkeypatch.setattr(denials, "QUIET_SECONDS", 0.0)


async def a_process_and_its_machine(stage: Stage) -> None:
    dead = await stage.stack.enter_async_context(listening())
    await stage.open(
        dest_webhook_url=f"http://bridge_{URL_SECRET}..example/{URL_SECRET}",
        notify_urls=url_of(dead),
        live=False,
    )
    dead.answer = always(503)
    folder = Path(stage.app.context.settings.config_dir)
    (folder / "finviz_config.json").write_text(f'{{"strategies": "{URL_SECRET}"}}')
    stage.monkeypatch.setattr(checks, "LOW_DISK_BYTES", 1 << 62)
    stage.monkeypatch.setattr(health, "BLOCKED_AFTER_SECONDS", 0.3)
    await stage.run("ALTER TABLE ended_sessions RENAME TO renamed")
    async with stage.desk.database.acquire() as other, other.transaction():
        await other.execute("SELECT pg_advisory_xact_lock(hashtextextended('approvals', 0))")
        await stage.desk.send(stage.app, "AAPL", "sell")
        await stage.order("intake/pause")
        begun = [
            *(Key("destination_wrong"), Key("config_wrong", "finviz_config.json"), Key("disk_low")),
            *(Key("workers_blocked"), Key("workers_failing"), Key("intake_paused")),
            Key("notifications_failing", "2 (json)"),
        ]
        await stage.until_shown(*begun)
        await stage.until_announced(*begun)
    dead.answer = take
    stage.desk.watch("list:AAPL")
    stage.monkeypatch.setattr(checks, "LOW_DISK_BYTES", 1)
    await stage.run("ALTER TABLE renamed RENAME TO ended_sessions")
    await stage.order("intake/resume")
    await ask(stage.app, "PUT", "/admin/webhook/config", body={"url": stage.desk.receiver.url})


async def a_database_that_is_not_backed_up(stage: Stage) -> None:
    backup = load("database_backup")
    await stage.open()
    await stage.run("ALTER TABLE database_backups RENAME TO renamed")
    await stage.run(backup.RECORD)  # the schema of a version before has no such table
    await stage.run("ALTER TABLE renamed RENAME TO database_backups")
    await ask(stage.app, "PUT", "/admin/system/config", body={"notify": {"backup_max_age_days": 2}})
    await stage.until_shown(Key("backup_missing"))
    await stage.until_announced(Key("backup_missing"))
    await stage.run(backup.RECORD)
    await stage.until_shown()
    await stage.run("UPDATE database_backups SET made_at = now() - interval '47 hours'")
    await stage.run(
        "INSERT INTO database_backups VALUES (now() + interval '1 day')"
    )  # the clock stepped back
    await asyncio.sleep(5 * OFTEN_SECONDS)
    await stage.until_shown()
    await stage.run("UPDATE database_backups SET made_at = now() - interval '49 hours'")
    await stage.run("INSERT INTO database_backups VALUES ('infinity'), ('-infinity')")  # by another program
    await stage.until_shown(Key("backup_old"))
    at = await stage.desk.database.fetchval(
        "SELECT min(made_at) FROM database_backups WHERE isfinite(made_at)"
    )
    alarm = (await stage.find())[Key("backup_old")]
    assert f"{at:%Y-%m-%d %H:%M} UTC" in alarm["text"]
    assert datetime.fromisoformat(alarm["since"]) == at + timedelta(days=2)
    await stage.until_announced(Key("backup_old"))
    await stage.run(backup.RECORD)


async def a_certificate_near_its_end(stage: Stage) -> None:
    file = Path(stage.desk.folder) / "state.json"
    day, now = 86_400, int(time.time())
    report(file, not_after=None, problem="urn: refused")
    await stage.open(tls_domain="alerts.example.com", certificate_file=file)
    for code, not_after in (
        ("certificate_missing", None),
        ("certificate_ending", now + 3 * day),
        ("certificate_ended", now - day),
        ("certificate_failing", now + 20 * day),
    ):
        report(file, not_after=not_after, problem="urn: refused", failing_since=now - 7200)
        await stage.until_shown(Key(code))
        await stage.until_announced(Key(code))
        assert "urn: refused" in (await stage.find())[Key(code)]["text"]
    report(file)


async def a_source_that_sends_nothing(stage: Stage) -> None:
    indicator = {"name": "indicator", "secret": SOURCE_SECRET, "expect_within_minutes": 30}
    stage.desk.configure("webhook", sources=[indicator])
    await stage.open(webhook_secret=WEBHOOK_SECRET)

    async def is_expected() -> bool:
        return bool(await stage.desk.database.fetchval("SELECT count(*) FROM expected_sources"))

    await stage.desk.wait(stage.app, is_expected, lambda: "the source is not expected")
    await stage.run("UPDATE expected_sources SET silent_since = now() - interval '10 days'")
    await stage.until_shown(Key("source_silent", "indicator"))
    await stage.until_announced(Key("source_silent", "indicator"))
    path = f"/webhook/in/{SOURCE_SECRET}"
    async with stage.app.http.post(path, json={"ticker": "AAPL", "side": "sell"}) as answer:
        assert answer.status == 202


async def a_clock_that_steps(stage: Stage) -> None:
    await stepping.install(stage.desk.database, 0)
    stage.monkeypatch.setattr(clock, "EVERY_SECONDS", OFTEN_SECONDS)
    await stage.open()
    await stage.signal("AAPL", "buy", "forwarded")  # the clock is read with each claim
    await stepping.set_ahead(stage.desk.database, 30)
    begun = [Key("clock_stepped"), Key("clock_differs")]
    await stage.until_shown(*begun)
    await stage.until_announced(*begun)
    await stepping.set_ahead(stage.desk.database, 0)
    stage.monkeypatch.setattr(checks, "CLOCK_STEP_SHOWN_SECONDS", 0.0)


async def a_sell_all_that_was_missed(stage: Stage) -> None:
    await stage.open()
    await stage.signal("AAPL", "buy", "forwarded")
    far = stage.app.context.clock.now() + timedelta(hours=12)
    await ask(stage.app, "PUT", "/admin/system/config", body={"risk": {"flatten_at": f"{far:%H:%M}"}})

    async def is_scheduled() -> bool:
        return bool(await stage.desk.database.fetchval("SELECT count(*) FROM flatten_schedule"))

    await stage.desk.wait(stage.app, is_scheduled, lambda: "nothing is scheduled")
    await stage.run("UPDATE positions SET opened_at = opened_at - interval '2 hours'")
    await stage.run("UPDATE flatten_schedule SET due_at = clock_timestamp() - interval '61 minutes'")
    await stage.order("buys/pause")
    begun = [Key("flatten_missed"), Key("buys_paused")]
    await stage.until_shown(*begun)
    await stage.until_announced(*begun)
    await stage.order("buys/resume")
    await stage.order("order/sell-all", 202)


async def positions_without_a_destination(stage: Stage) -> None:
    stage.desk.configure("webhook", destinations=[{"name": "default", "match": {"tickers": ["AAPL"]}}])
    await stage.open()
    await stage.signal("NVDA", "sell", "rejected")
    # as in a restored database: what is known at the exit is sent it
    await stage.run("INSERT INTO positions (ticker, opened_at) VALUES ('NVDA', now() - interval '1 minute')")
    await stage.run("INSERT INTO positions (ticker, destination, status) VALUES ('AAPL', 'gone', 'held')")
    begun = Key("exits_without_destination", "NVDA"), Key("destination_missing", "gone")
    await stage.until_shown(*begun)
    await stage.until_announced(*begun)
    for ticker in ("NVDA", "AAPL"):
        position = await stage.open_position(ticker)
        await stage.order("order/mark-closed", position_id=position, reason="closed elsewhere")


async def a_destination_that_is_live_and_on_paper_in_turn(stage: Stage) -> None:
    for is_live, ticker, begun in (
        (True, "AAPL", None),
        (False, "NVDA", Key("destination_now_paper", "default")),
        (True, None, Key("destination_now_live", "default")),
    ):
        await stage.open(live=is_live)
        if begun:
            await stage.until_shown(begun)
            await stage.until_announced(begun)
            held = "AAPL" if ticker else "NVDA"
            assert f"1 ({held})" in (await stage.find())[begun]["text"]
            position = await stage.open_position(held)
            await stage.order("order/mark-closed", position_id=position, reason="closed elsewhere")
        if ticker:
            await stage.signal(ticker, "buy", "forwarded")
            await stage.until_over()
            stage.app.stop()


SCENES = (
    Scene(
        exits_that_did_not_get_through,
        {
            *("sells_failed", "exits_swallowed", "alerts_unread", "sells_expired", "sells_late"),
            *("exits_waiting", "entries_after_exit", "positions_unconfirmed", "orders_refused"),
            "delivery_paused",
        },
    ),
    Scene(
        a_destination_in_trouble,
        {
            *("entry_limit_exhausted", "limit_exhausted", "outcomes_unwritten", "destination_failing"),
            "intake_failing",
        },
    ),
    Scene(positions_without_a_destination, {"exits_without_destination", "destination_missing"}),
    Scene(a_destination_that_is_live_and_on_paper_in_turn, {"destination_now_paper", "destination_now_live"}),
    Scene(a_list_that_does_not_come, {"top_n_missing", "top_n_failing", "top_n_stale", "engine_paused"}),
    Scene(strangers, set(OF_DENIALS)),
    Scene(
        a_process_and_its_machine,
        {
            *("destination_wrong", "config_wrong", "disk_low", "workers_blocked"),
            *("workers_failing", "intake_paused", "notifications_failing"),
        },
    ),
    Scene(a_database_that_is_not_backed_up, {"backup_missing", "backup_old"}),
    Scene(
        a_certificate_near_its_end,
        {"certificate_missing", "certificate_ending", "certificate_ended", "certificate_failing"},
    ),
    Scene(a_source_that_sends_nothing, {"source_silent"}),
    Scene(a_clock_that_steps, {"clock_stepped", "clock_differs"}),
    Scene(a_sell_all_that_was_missed, {"flatten_missed", "buys_paused"}),
)


@pytest.mark.parametrize("scene", SCENES, ids=lambda scene: scene.play.__name__)
async def test_each_alarm_is_shown_and_announced_once(
    desk: Desk, inbox: Receiver, monkeypatch: pytest.MonkeyPatch, scene: Scene
) -> None:
    async with AsyncExitStack() as stack:
        stage = Stage(desk, inbox, monkeypatch, stack)
        await scene.play(stage)
        await stage.until_shown()
        await stage.verify_messages()
        ended = (await ask(stage.app, "GET", "/admin/alarms"))["ended"]
        assert {each["code"] for each in ended} >= scene.codes
        listed = await ask(stage.app, "GET", "/admin/notifications", limit=500)
        assert {each["state"] for each in listed["messages"]} == {"sent"}
        assert URL_SECRET not in json.dumps(listed)


def test_every_alarm_has_a_scene() -> None:
    played = [code for scene in SCENES for code in scene.codes]
    assert sorted([*played, *WITHOUT_THE_DATABASE]) == sorted(CODES)
