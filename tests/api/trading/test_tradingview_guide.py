"""The templates of docs/tradingview.md, filled in as TradingView does, lead to what the guide promises."""

from __future__ import annotations

import re
from pathlib import Path
from typing import TYPE_CHECKING, NamedTuple
from uuid import UUID

import pytest

from tests.api.trading.test_intents import attach
from tests.broker import Account, Broker

if TYPE_CHECKING:
    from tests.api.conftest import AppServer
    from tests.api.trading.desk import Desk

SECRET = "secret/of the-guide"
GUIDES = sorted((Path(__file__).resolve().parents[3] / "docs").rglob("tradingview.md"))


class Fill(NamedTuple):
    """The values that TradingView fills in for one order of a strategy."""

    action: str
    position_after: str
    contracts: str


def templates(guide: Path) -> list[str]:
    """Return the alert messages of a guide: for strategies, for an indicator's entries, for its exits."""
    return re.findall(r"^```json\n(.*?)^```$", guide.read_text("utf-8"), re.MULTILINE | re.DOTALL)


def filled(template: str, fill: Fill, second: int) -> str:
    """Return the message with every placeholder replaced."""
    values = {
        "ticker": "NASDAQ:AAPL",
        "close": "101.5",
        "timenow": f"2026-01-02T15:04:{second:02}Z",
        "strategy.order.action": fill.action,
        "strategy.market_position": fill.position_after,
        "strategy.order.contracts": fill.contracts,
        "strategy.order.price": "101.5",
    }
    return re.sub(r"\{\{([\w.]+)\}\}", lambda name: values[name[1]], template)


async def deliver(desk: Desk, app: AppServer, body: str) -> None:
    """Post as TradingView does, with the secret in the path, and wait for the delivery."""
    path = "/webhook/in/" + SECRET.replace("/", "%2F").replace(" ", "%20")
    async with app.http.post(path, data=body, headers={"Content-Type": "text/plain"}) as answer:
        answered = await answer.json()
    assert answer.status == 202, answered
    row = await desk.until(app, UUID(answered["signal_id"]))
    assert row["status"] == "forwarded", row["reason"]


@pytest.mark.parametrize("guide", GUIDES, ids=lambda guide: guide.parent.name)
async def test_the_templates_trade_what_the_guide_says(desk: Desk, guide: Path) -> None:
    broker = Broker(Account())
    attach(desk, broker)
    app = await desk.open(webhook_secret=SECRET)
    strategy, entry, exit_ = templates(guide)
    held = []
    fills = [Fill("buy", "long", "10"), Fill("sell", "long", "4"), Fill("sell", "flat", "6")]
    for second, fill in enumerate(fills):
        await deliver(desk, app, filled(strategy, fill, second))
        held.append(broker.held("AAPL"))
    assert held == [10, 6, 0]
    assert await desk.open_positions() == {}

    for second, template in enumerate((entry, exit_), start=30):
        await deliver(desk, app, filled(template, Fill("", "", ""), second))
        assert (broker.held("AAPL") > 0) == (template is entry)
    assert await desk.open_positions() == {}


def test_the_guides_have_the_same_templates() -> None:
    assert len(GUIDES) == 2
    one, other = map(templates, GUIDES)
    assert one == other
    assert len(one) == 3
