"""What-if over generated histories: all of it is reproduced, and what differs is what other rules decide."""

from __future__ import annotations

import asyncio
from functools import partial
from random import Random
from typing import TYPE_CHECKING, Any

import asyncpg
import pytest
import pytest_asyncio

from app.positions import risk_worker
from tests.api.operator import ask
from tests.api.trading.desk import Desk
from tests.api.trading.receiver import always, take
from tests.api.trading.test_what_if import what_if

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Iterator
    from pathlib import Path

    from tests.api.conftest import AppServer
    from tests.hosts.postgres import TestServer

TICKERS = ("AAPL", "NVDA", "TSLA", "MSFT", "AMD", "META")
STRATEGY = "/admin/finviz/strategies/desk"
# The first decision on each signal, unless it was refused on its arrival or ended by an exit, and the next
# one on what was rejected: its reprocessing. Later ones are about orders.
DECISIONS = """
    SELECT status, reason_code, count(*) AS decisions FROM (
        SELECT status, reason_code, lag(status) OVER (PARTITION BY signal_id ORDER BY id) AS before
        FROM signal_events) AS e
    WHERE status IN ('approved', 'rejected', 'expired') AND before IN ('received', 'rejected')
      AND reason_code NOT IN ('unknown_word', 'overtaken')
    GROUP BY status, reason_code"""


def alerts(chance: Random, count: int) -> list[dict[str, Any]]:
    """So many alerts of all kinds."""
    kinds: list[dict[str, Any]] = [
        {"action": "buy", "quantity": 10},
        {"action": "buy", "quantity": 10},
        {"action": "buy", "quantity": 10},
        {"action": "add", "quantity": 5},
        {"action": "sell"},
        {"action": "sell"},
        {"action": "sell", "quantity": 4, "sentiment": "long"},
        {"action": "exit", "quantity": "50%"},
    ]
    return [
        {"ticker": chance.choice(TICKERS), "price": chance.randint(90, 110), **chance.choice(kinds)}
        for _ in range(count)
    ]


async def watch(desk: Desk, app: AppServer, tickers: list[str], **strategy: Any) -> None:
    """Make these tickers the list, and wait until it is stored."""
    url = f"list:{','.join(tickers)}"
    values = (await ask(app, "PUT", STRATEGY, body={"url": url, **strategy}))["strategies"][0]["values"]
    expected = tickers[: values["top_n"]]

    async def is_stored() -> bool:
        query = "SELECT tickers FROM top_n_lists ORDER BY id DESC LIMIT 1"
        return bool(await desk.database.fetchval(query) == expected)

    await desk.wait(app, is_stored, lambda: f"the list is not {expected}")


async def live_through(desk: Desk, app: AppServer, chance: Random) -> None:
    """Send alerts alone and in bursts, while lists, rules, pauses and the destination's answers change."""
    risks: list[dict[str, Any]] = [
        {},
        {"max_open_positions": 2},
        {"max_buys_per_day": 8, "cooldown_seconds": 1},
        {"blocklist": ["NASDAQ:NVDA", "AMD"]},
        {"hours": "00:00-00:01"},
        {"max_open_positions": 3, "cooldown_seconds": 60, "max_buys_per_day": 12},
    ]
    for number, given in enumerate(risks):
        nothing = dict.fromkeys(("max_open_positions", "max_buys_per_day", "cooldown_seconds", "hours"))
        risk = {**nothing, "blocklist": [], **given}
        duplicates, partial = (
            chance.choice(["forward", "add", "reject"]),
            chance.choice(["keep_open", "close"]),
        )
        body = {"risk": risk, "duplicate_buys": duplicates, "partial_exits": partial}
        await ask(app, "PUT", "/admin/system/config", body=body)
        tickers = chance.sample(TICKERS, k=5)
        await watch(desk, app, tickers, top_n=chance.randint(1, 3), reprocess_enabled=number % 2 == 1)
        desk.receiver.answer = always(400) if number == 2 else take
        for alert in [*alerts(chance, 5), {"ticker": "NVDA", "action": "buy"}]:
            await desk.until(app, await desk.post(app, {**alert, "n": chance.random()}))
        if number == 3:
            await desk.order(app, "buys/pause")
        await asyncio.gather(*(desk.post(app, {**each, "n": chance.random()}) for each in alerts(chance, 12)))
        await desk.settled(app)
        if number == 3:
            await desk.order(app, "buys/resume")
    await ask(app, "PUT", "/admin/system/config", body={"risk": {"hours": None, "max_buys_per_day": None}})
    for action in ("sell", "buy"):
        for ticker in TICKERS:
            await desk.post(app, {"ticker": ticker, "action": action, "n": chance.random()})
        await desk.settled(app)
    await watch(desk, app, list(TICKERS), top_n=6, reprocess_enabled=False)
    await desk.order(app, "reprocessing/trigger")
    await desk.settled(app)
    replayable = (await desk.order(app, "dead-letters/replay"))["count"]
    await desk.order(app, "dead-letters/replay", confirm=replayable)
    await desk.settled(app)


@pytest.fixture
def only_decisions_end_entries(monkeypatch: pytest.MonkeyPatch) -> None:
    """Leave the entries that arrive in a pause to the decisions; the worker may end any of them before."""

    async def never(*_: object) -> None:
        await asyncio.Event().wait()

    monkeypatch.setattr(risk_worker, "run_pause", never)


@pytest.mark.usefixtures("only_decisions_end_entries")
@pytest.mark.parametrize("seed", [1, pytest.param(2, marks=pytest.mark.exhaustive)])
async def test_every_decision_of_a_changing_history_is_reproduced(desk: Desk, seed: int) -> None:
    app = await desk.open()
    await live_through(desk, app, Random(seed))
    decided = await desk.database.fetch(DECISIONS)
    codes = {row["reason_code"] for row in decided}
    assert {"rank", "not_listed", "blocklisted", "buys_paused", "reprocessed", "nothing_open"} <= codes
    assert codes & {"max_positions", "cooldown", "max_buys"}
    found = await what_if(app)
    assert (found["differences"], found["removed"]) == ([], 0)
    assert found["reproduced"] == found["decisions"] == sum(row["decisions"] for row in decided) > 100
    assert found["then"] == found["now"]
    for status in ("approved", "rejected", "expired"):
        assert found["then"][status] == sum(row["decisions"] for row in decided if row["status"] == status)


@pytest.fixture
def other_url(database_server: TestServer) -> Iterator[str]:
    """The address of a second database."""
    name = database_server.create()
    yield database_server.url(name)
    database_server.drop(name)


@pytest_asyncio.fixture
async def other(desk: Desk, other_url: str, tmp_path: Path) -> AsyncIterator[Desk]:
    """A second desk with a database and a configuration of its own."""
    folder = tmp_path / "other"
    folder.mkdir()
    async with asyncpg.create_pool(other_url, min_size=0, max_size=2) as database:
        yield Desk(desk.start_app, desk.receiver, folder, database)


async def decide_each(desk: Desk, app: AppServer, seed: int, **rules: Any) -> list[tuple[str, str, str]]:
    """Send alerts one after another under these rules; return id, status and reason of each decision."""
    chance, decisions = Random(seed), []
    await ask(app, "PUT", "/admin/system/config", body={"risk": rules["risk"]})
    for _ in range(5):
        await watch(desk, app, chance.sample(TICKERS, k=6), top_n=rules.get("top_n", 2))
        for number, alert in enumerate(alerts(chance, 9)):
            signal = await desk.post(app, {**alert, "n": f"{chance.random()}-{number}"})
            await desk.until(app, signal)
            event = await desk.database.fetchrow(
                """SELECT status, reason FROM signal_events
                   WHERE signal_id = $1 AND status IN ('approved', 'rejected') ORDER BY id LIMIT 1""",
                signal,
            )
            assert event is not None
            decisions.append((str(signal), event["status"], event["reason"]))
    return decisions


exhaustive = partial(pytest.param, marks=pytest.mark.exhaustive)
COOLDOWN = {"cooldown_seconds": 3600}
LIMITS = {"max_open_positions": 2, "max_buys_per_day": 14}


@pytest.mark.parametrize(
    ("before", "rules"),
    [
        pytest.param({}, {"top_n": 4}, id="longer"),
        exhaustive({}, {"top_n": 1}, id="shorter"),
        exhaustive({}, {"risk": {"max_open_positions": 1, "max_buys_per_day": 12}}, id="limits"),
        pytest.param({}, {"risk": {**COOLDOWN, "blocklist": ["TSLA"]}}, id="cooldown"),
        exhaustive(COOLDOWN, {"top_n": 4}, id="longer-c"),
        pytest.param(COOLDOWN, {"top_n": 1}, id="shorter-c"),
        exhaustive(LIMITS, {"top_n": 4}, id="longer-l"),
        exhaustive(
            {"max_open_positions": 1},
            {"risk": {"max_open_positions": 2, "max_buys_per_day": 14}},
            id="other-limits",
        ),
    ],
)
async def test_what_differs_is_what_an_application_with_those_rules_decides(
    desk: Desk, other: Desk, other_url: str, before: dict[str, Any], rules: dict[str, Any]
) -> None:
    """The same alerts at two installations: what-if at one gives the decisions of the other."""
    desk.watch("list:NONE")
    other.watch("list:NONE")
    app = await desk.open()
    recorded = await decide_each(desk, app, 11, risk=before)
    elsewhere = await other.open(
        database_url=other_url, config_dir=other.folder, data_dir=other.folder / "data"
    )
    decided = await decide_each(other, elsewhere, 11, **{"risk": before, **rules})
    expected = {
        signal: ((status, reason), (status_there, reason_there))
        for (signal, status, reason), (_, status_there, reason_there) in zip(recorded, decided, strict=True)
        if status != status_there
    }
    found = await what_if(app, **rules)
    differences = {
        each["signal_id"]: tuple((each[way]["status"], each[way]["reason"]) for way in ("then", "now"))
        for each in found["differences"]
        if each["then"]["status"] != each["now"]["status"]  # an open that is an add is listed, too
    }
    assert differences == expected
    assert len(expected) > 2
    assert found["reproduced"] == found["decisions"] == len(recorded)
    assert found["now"]["approved"] == sum(status == "approved" for _, status, _ in decided)
