"""Changes of destinations lose no exit: what is in use stays, and a fault is named and stops nothing."""

from __future__ import annotations

import json
import re
from typing import TYPE_CHECKING, Any

import pytest

from tests.api.operator import BEARER, alarms, ask, health
from tests.api.trading.receiver import always, take
from tests.api.trading.test_destinations import held, live, opened, orders_of

if TYPE_CHECKING:
    from tests.api.conftest import AppServer
    from tests.api.trading.desk import Desk
    from tests.api.trading.receiver import Receiver

__all__ = ["live"]  # the fixture

PATH = "/admin/destinations"


async def adopted(app: AppServer, ticker: str, *destinations: str) -> None:
    """Record an open position at each destination."""
    for name in destinations:
        await ask(app, "POST", "/admin/positions/adopt", 201, {"ticker": ticker, "destination": name})


async def refused(desk: Desk, app: AppServer) -> str:
    """Wait until the file is refused, with an alarm; return why."""
    problem: list[str | None] = []

    async def is_refused() -> bool:
        problem[:] = [(await ask(app, "GET", PATH))["problem"]]
        return problem[0] is not None

    await desk.wait(app, is_refused, lambda: "the file was not refused")
    assert "config_wrong" in await alarms(app)
    return str(problem[0])


@pytest.mark.parametrize(
    ("path", "name", "url"),
    [
        (f"{PATH}/live", "live", None),
        (f"{PATH}/live", "live", ""),
        ("/admin/webhook/config", "default", ""),
    ],
)
async def test_a_destination_in_use_does_not_become_paper(
    desk: Desk, live: Receiver, path: str, name: str, url: str | None
) -> None:
    """Its exit would be delivered to nobody."""
    app = await opened(desk, live)
    await adopted(app, "AAPL", name)
    why = (await ask(app, "PUT", path, 409, {"url": url}))["detail"]
    assert why == (
        f"'{name}' has open positions and cannot be removed or become paper: close AAPL there, "
        "or mark them closed, first"
    )
    sell = await desk.send(app, "AAPL", "sell")
    assert (await desk.until(app, sell))["status"] == "forwarded"
    assert await orders_of(desk, sell) == {name: "delivered"}
    assert len((live if name == "live" else desk.receiver).received) == 1
    await ask(app, "PUT", path, 200, {"url": url})
    changed = app.context.config.destination(name)
    assert changed is not None
    assert changed.url is None


@pytest.mark.parametrize(
    ("entry", "words"),
    [({}, "cannot be removed or become paper"), ({"ulr": "https://bridge.example"}, "destinations[0].ulr")],
)
async def test_a_file_that_loses_the_url_of_a_destination_in_use_does_not_count(
    desk: Desk, live: Receiver, entry: dict[str, Any], words: str
) -> None:
    app = await opened(desk, live)
    await adopted(app, "AAPL", "live")
    desk.configure("webhook", timeout=3, destinations=[{"name": "live", "ticker_gap_seconds": 0, **entry}])
    assert words in await refused(desk, app)
    for again in (False, True):
        app = await desk.open() if again else app
        sell = await desk.send(app, "AAPL", "sell", quantity=1)
        assert (await desk.until(app, sell))["status"] == "forwarded"
    assert len(live.received) == 2


async def test_a_file_that_clears_the_url_of_default_counts_once_nothing_is_open_there(desk: Desk) -> None:
    desk.configure("webhook", url=desk.receiver.url)
    app = await desk.open(live=False)
    await adopted(app, "AAPL", "default")
    desk.configure("webhook", url="", timeout=3)
    assert "close AAPL there" in await refused(desk, app)
    await desk.until(app, await desk.send(app, "AAPL", "sell"), "forwarded")
    assert len(desk.receiver.received) == 1

    async def is_applied() -> bool:
        return app.context.config.webhook.url is None

    await desk.wait(app, is_applied, lambda: "the file was not applied")


async def test_an_unknown_key_of_a_filter_is_named_and_widens_nothing(desk: Desk, live: Receiver) -> None:
    app = await opened(desk, live, match={"tickers": ["AAPL"]})
    entry = {"name": "live", "url": live.url, "ticker_gap_seconds": 0, "match": {"ticker": ["AAPL"]}}
    desk.configure("webhook", retry_seconds=[0.1], destinations=[entry])
    assert "destinations[0].match.ticker: " in await refused(desk, app)
    buy = await desk.send(app, "NVDA", "buy")
    await desk.until(app, buy, "forwarded")
    assert await orders_of(desk, buy) == {"default": "delivered"}


async def test_a_filter_that_was_never_right_takes_no_entries(desk: Desk, live: Receiver) -> None:
    """The exits of `live` are sent."""
    app = await opened(desk, live, match={"ticker": ["AAPL"]})
    assert "destinations[0].match.ticker: " in await refused(desk, app)
    buy = await desk.send(app, "AAPL", "buy")
    await desk.until(app, buy, "forwarded")
    assert await orders_of(desk, buy) == {"default": "delivered"}
    await adopted(app, "NVDA", "live")
    sell = await desk.send(app, "NVDA", "sell")
    await desk.until(app, sell, "forwarded")
    assert len(live.received) == 1


async def test_a_replay_sends_no_entry_where_none_is_taken(desk: Desk) -> None:
    """It expired undecided, so no order says where it goes. An exit is replayed."""
    desk.watch("file:nothing.csv")  # there is no list, so buys wait for their decision
    desk.configure(
        "webhook", max_signal_age_seconds={"buy": 1, "sell": 60}, destinations=[{"name": "default", "x": 1}]
    )
    app = await desk.open()
    buy = await desk.send(app, "AAPL", "buy")
    assert (await desk.until(app, buy, "expired"))["reason_code"] == "expired_undecided"
    for given in ({}, {"confirm": 1}, {"ids": [str(buy)]}):
        why = (await ask(app, "POST", "/admin/dead-letters/replay", 409, given))["detail"]
        assert why.startswith("no destination takes these entries: correct the entry of default")
    desk.receiver.answer = always(400)
    await adopted(app, "NVDA", "default")
    sell = await desk.send(app, "NVDA", "sell")
    await desk.until(app, sell, "failed")
    desk.receiver.answer = take
    found = await ask(app, "POST", "/admin/dead-letters/replay", 200, {"confirm": 1})
    assert (found["replayed"], found["blocked"]) == (1, [str(buy)])
    await desk.until(app, sell, "forwarded")
    assert {got.alert["ticker"] for got in desk.receiver.received} == {"NVDA"}


async def test_the_url_of_an_entry_in_env_stops_neither_start_nor_exit(desk: Desk, live: Receiver) -> None:
    """No entry is sent twice to the same URL."""
    app = await opened(desk, live)
    await adopted(app, "NVDA", "live")
    app.stop()
    app = await desk.open(live=False, dest_webhook_url=live.url.replace("/hook", "/hook/"))
    assert "destinations[0].url: must be unique" in await refused(desk, app)
    sell = await desk.send(app, "NVDA", "sell")
    await desk.until(app, sell, "forwarded")
    assert await orders_of(desk, sell) == {"live": "delivered"}
    buy = await desk.send(app, "AAPL", "buy")
    await desk.until(app, buy, "forwarded")
    assert await orders_of(desk, buy) == {"default": "delivered"}
    assert len(live.received) == 2


@pytest.mark.parametrize("listed", ["x", {"name": "live"}, [5], [{"name": "live", "profile": "other"}]])
async def test_a_list_that_an_earlier_version_did_not_read_stops_nothing(desk: Desk, listed: object) -> None:
    app = await desk.open()
    await adopted(app, "AAPL", "default")
    app.stop()
    desk.configure("webhook", destinations=listed)
    await desk.database.execute(
        """UPDATE configuration SET documents = jsonb_set(
               documents::jsonb, '{webhook_config.json}', jsonb_build_object('destinations', $1::jsonb))""",
        json.dumps(listed),
    )
    app = await desk.open()
    assert "destinations" in await refused(desk, app)
    await desk.until(app, await desk.send(app, "AAPL", "sell"), "forwarded")
    assert len(desk.receiver.received) == 1
    async with app.http.get("/admin/page/destinations", headers=BEARER) as page:
        assert page.status == 200
    await ask(app, "POST", PATH, 409, {"name": "other"})


async def test_each_destination_is_shown_with_its_limits_and_its_state(desk: Desk, live: Receiver) -> None:
    """Of one destination the name is not shown."""
    live.answer = always(429, **{"Retry-After": "600"})
    app = await opened(desk, live, rate_limiting_enabled=True, max_req_per_min=7)
    await desk.send(app, "AAPL", "buy")
    await live.count(1)

    async def is_held() -> bool:
        states = (await ask(app, "GET", "/admin/status"))["status"]["destinations"]
        assert [each["name"] for each in states] == ["default", "live"]
        return [each["state"] for each in states] == ["open", "held"]

    await desk.wait(app, is_held, lambda: "`live` is not held")
    assert (await health(app))[1]["destination"]["reason"] == "live: deliveries wait: held"
    shown = await overview(app)
    assert re.findall(r"/ (\d+) live<", shown) == ["7", "500"]  # that of `default` is off
    assert re.findall(r'id="fact-destination-(\w+)" data-state="(\w+)"', shown) == [
        ("default", "open"),
        ("live", "held"),
    ]
    assert "Destination <bdi>live</bdi>" in shown
    await ask(app, "PUT", "/admin/webhook/config", 200, {"rate_limiting_enabled": True})
    limits = re.findall(r"/ (\d+) (\w+)<", await overview(app))
    assert limits == [("60", "default"), ("7", "live"), ("500", "default"), ("500", "live")]


async def overview(app: AppServer) -> str:
    """Return the page of the overview, without line breaks."""
    async with app.http.get("/admin", headers=BEARER) as page:
        assert page.status == 200
        return " ".join((await page.text()).split())


async def test_a_wrong_request_is_refused_without_its_secrets(desk: Desk, live: Receiver) -> None:
    app = await opened(desk, live)
    known = await ask(app, "POST", PATH, 422, {"name": "default", "match": {"tickers": ["AAPL"]}})
    assert (known["place"], known["detail"].rpartition(": ")[2]) == ("name", "names must be unique")
    for key in ("sources", "tickers"):
        given = {"match": {key: ["AAPL\0"]}}
        assert (await ask(app, "PUT", f"{PATH}/live", 422, given))[
            "place"
        ] == f"destinations[0].match.{key}[0]"
    for path in (f"{PATH}/live", "/admin/webhook/config"):
        wrong = await ask(app, "PUT", path, 422, {"url": {"x": "secret-word"}})
        assert "secret-word" not in str(wrong)
        assert wrong["detail"][0]["loc"] == ["body", "url"]
    assert await held(app) == {}
