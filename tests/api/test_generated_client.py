"""A client generated from the OpenAPI document: all operations, and all their documented responses.

The generator is `openapi-python-client`; a warning of it fails, an answer that is not parsed fails too.
"""

from __future__ import annotations

import asyncio
import importlib
import io
from datetime import UTC, datetime, timedelta
from typing import TYPE_CHECKING, Any
from uuid import UUID, uuid4

import pytest
import pytest_asyncio

from tests.api.generated import GeneratedClient, Generator
from tests.api.operator import BEARER
from tests.api.outage import away
from tests.api.test_admin_signals import add

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable, Iterator
    from pathlib import Path

    from tests.api.conftest import AppServer

SECRET = "secret-of-the-tests"
DEADLINE_SECONDS = 60
REUSE_SECONDS = 1.5  # a probe of /health is reused for a second
LISTED = '{"strategies": [{"name": "mine", "url": "list:AAPL,NVDA"}]}'
FOREIGN = {**BEARER, "Origin": "https://elsewhere.example"}


@pytest_asyncio.fixture
async def app(start_app: Callable[..., Awaitable[AppServer]], tmp_path: Path) -> AppServer:
    """Start an application with a secret for the webhook, paper as its destination, and a list."""
    (tmp_path / "finviz_config.json").write_text(LISTED)
    return await start_app(webhook_secret=SECRET, notify_urls="json://127.0.0.1:9/nobody")


@pytest.fixture(scope="module")
def generator(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Generator]:
    """Return what generates clients."""
    made = Generator(tmp_path_factory.mktemp("client"))
    with made.importable():
        yield made


@pytest_asyncio.fixture
async def api(app: AppServer, generator: Generator) -> GeneratedClient:
    """Return a client generated from the served document."""
    return await generator.client(app)


async def open_position(app: AppServer, ticker: str) -> UUID:
    """Open a position as a delivered buy would."""
    made: UUID = await app.context.pool.fetchval(
        "INSERT INTO positions (ticker) VALUES ($1) RETURNING id", ticker
    )
    return made


async def settled(app: AppServer) -> None:
    """Wait until no signal is unfinished."""
    unfinished = "SELECT count(*) FROM signals WHERE status IN ('received', 'approved', 'forwarding')"
    async with asyncio.timeout(DEADLINE_SECONDS):
        while True:
            if await app.context.pool.fetchval(unfinished) == 0:
                return
            await asyncio.sleep(0.05)  # workers poll at once, and every second or two


async def call_health_and_webhook(api: GeneratedClient, app: AppServer) -> None:
    """Request the health, and post alerts."""
    health = await api.call("health")
    assert "database" in health.checks.additional_keys
    await api.call("health_detailed")
    alert = api.models.Alert(ticker="NVDA", action="sell", price=1.5)
    key = str(uuid4())  # the sell is rejected, and so its body alone would make a new alert
    accepted = await api.call("webhook_in", body=alert, x_webhook_secret=SECRET, idempotency_key=key)
    assert (accepted.queued, accepted.ticker, accepted.duplicate) == (True, "NVDA", False)
    again = await api.call("webhook_in_secret", secret_path=SECRET, body=alert, idempotency_key=key)
    assert (again.signal_id, again.duplicate) == (accepted.signal_id, True)
    await settled(app)
    story = await api.call("signal_story", signal_id=accepted.signal_id)
    assert story.signal.ticker == "NVDA"
    assert story.events[0].status == "received"
    page = await api.call("signals", limit=5, ticker="nvda")
    assert [signal.id for signal in page.signals] == [accepted.signal_id]


async def call_positions(api: GeneratedClient, app: AppServer) -> None:
    """Sell, close and mark positions; each order leaves on paper."""
    m = api.models
    ids = {ticker: await open_position(app, ticker) for ticker in ("AAPL", "NVDA", "TSLA", "MSFT", "AMD")}
    found = await api.call("positions")
    assert {each.id for each in found.positions} == set(ids.values())
    placed = await api.call("sell_individual", body=m.SellIndividual(ticker="AAPL"))
    assert [order.ticker for order in placed.orders] == ["AAPL"]
    await api.call("close_position", body=m.ClosePosition(position_id=ids["NVDA"]))
    closed = await api.call("mark_closed", body=m.MarkClosed(position_id=ids["TSLA"], reason="at the broker"))
    assert closed.ticker == "TSLA"
    assert (await api.call("confirm_position", position_id=ids["MSFT"])).confirmed
    await app.context.pool.execute("UPDATE positions SET confirmed = false WHERE id = $1", ids["AMD"])
    assert (await api.call("dismiss_position", position_id=ids["AMD"])).ticker == "AMD"
    adopted = m.AdoptedPosition(ticker="NASDAQ:AMD", destination="default", quantity=2.5, price="10.1")
    position = await api.call("adopt_position", body=adopted)
    assert (position.ticker, position.quantity, position.confirmed) == ("AMD", "2.5", False)
    assert {"AMD", "TSLA"} <= {trade.ticker for trade in (await api.call("trades", limit=5)).trades}
    assert (await api.call("trade_sums", source="default")).trades == 0
    assert "TSLA" in await api.call("export_trades", ticker="tsla")
    assert "MSFT" in {order.ticker for order in (await api.call("sell_all")).orders}
    await settled(app)


async def call_records(api: GeneratedClient, app: AppServer) -> None:
    """Read every list; send a dead letter again."""
    dead = await add(app, "AAPL", "failed")
    for name in ("status", "top_n_tickers", "orders", "audit_trail", "actions_log", "refused", "contents"):
        await api.call(name)
    for name in ("order_stats", "signals_history"):
        assert await api.call(name, hours=2)
    assert "order.sell-all" in await api.call("export_actions_log")
    page = await api.call("dead_letters", limit=5)
    assert [letter.id for letter in page.dead_letters] == [dead]
    wish = api.models.Wish(ids=[dead], confirm=1)
    assert (await api.call("replay_dead_letters", body=wish)).replayed == 1
    await api.call("trigger", body=api.models.Trigger(tickers=["AAPL"], dry_run=True))
    week = api.models.WhatIfRequest(
        from_=datetime.now(UTC) - timedelta(days=7), to=datetime.now(UTC), top_n=3
    )
    assert '"decisions":' in await api.call("what_if", body=week)
    await settled(app)


async def call_strategies(api: GeneratedClient) -> None:
    """Add, change, activate and delete a strategy."""
    m = api.models
    assert (await api.call("strategies")).active == "mine"
    made = await api.call("create_strategy", body=m.NewStrategy(name="other", url="list:NVDA", top_n=5))
    assert [each.values.top_n for each in made.strategies][1] == 5
    change = m.StrategyValuesInput(top_n=7)
    changed = await api.call("change_strategy", name="other", body=change)
    assert changed.strategies[1].values.top_n == 7
    assert (await api.call("activate_strategy", name="other")).active == "other"
    await api.call("activate_strategy", name="mine")
    assert len((await api.call("delete_strategy", name="other")).strategies) == 1
    assert (await api.call("manual_refresh")).strategy == "mine"


async def call_sources(api: GeneratedClient) -> None:
    """Add, change, rotate and delete a source of alerts."""
    m = api.models
    made = await api.call("create_source", body=m.NewSource(name="desk", allow_from=["tradingview"]))
    assert len(made.secret) >= 32
    assert (
        await api.call("change_source", name="desk", body=m.SourceValuesInput(per_minute=9))
    ).name == "desk"
    assert (await api.call("rotate_secret", name="desk")).secret != made.secret
    listed = (await api.call("sources")).sources
    assert [(each.values.name, each.values.per_minute) for each in listed] == [("default", None), ("desk", 9)]
    await api.call("delete_source", name="desk")


async def call_destinations(api: GeneratedClient) -> None:
    """Add, change and delete a destination, which is paper."""
    m = api.models
    made = m.NewDestination.from_dict({"name": "trial"})
    assert (await api.call("create_destination", body=made)).name == "trial"
    changed = m.DestinationValuesInput.from_dict({"timeout": 7.5})
    assert (await api.call("change_destination", name="trial", body=changed)).name == "trial"
    listed = (await api.call("destinations")).destinations
    assert [(each.values.name, each.values.timeout) for each in listed] == [("default", 5), ("trial", 7.5)]
    await api.call("delete_destination", name="trial")


async def call_tokens(api: GeneratedClient) -> None:
    """Make, change and delete a token."""
    m = api.models
    read = m.NewToken.from_dict({"name": "ana", "scope": "read"})
    assert len((await api.call("create_token", body=read)).token) >= 32
    changed = await api.call("change_token", name="ana", body=m.TokenScope.from_dict({"scope": "operate"}))
    assert [token.name for token in changed.tokens] == ["admin", "ana"]
    assert (await api.call("tokens")).tokens == changed.tokens
    assert len((await api.call("delete_token", name="ana")).tokens) == 1


async def call_configuration(api: GeneratedClient) -> None:
    """Change each file, sending back what was read; press each switch."""
    m = api.models
    read = await api.call("webhook_config")
    sent = m.WebhookValuesInput.from_dict({**read.values.to_dict(), "timeout": 7.5})
    changed = await api.call("change_webhook_config", body=sent)
    assert changed.values == m.WebhookValuesOutput.from_dict({**read.values.to_dict(), "timeout": 7.5})
    await api.call("system_config")
    sent = m.SystemValuesInput.from_dict({"duplicate_buys": "reject"})
    assert (await api.call("change_system_config", body=sent)).values.duplicate_buys == "reject"
    for part in ("engine", "buys", "delivery", "intake"):
        for word, is_paused in (("pause", True), ("resume", False)):
            switches = await api.call(f"{part}_{word}")
            assert getattr(switches, f"{part}_paused") is is_paused


async def call_alarms(api: GeneratedClient) -> None:
    """Settle an alarm, and notify of nothing."""
    settlement = api.models.Settlement.from_dict(
        {"code": "sells_failed", "subject": "NVDA", "until": "2026-11-29T10:00:00Z"}
    )
    assert (await api.call("acknowledge_alarm", body=settlement)).subject == "NVDA"
    assert isinstance((await api.call("alarms", limit=5)).alarms, list)
    assert (await api.call("send_test_notification")).queued == 1
    assert [target.name for target in (await api.call("notifications")).targets] == ["1 (json)"]


async def call_first_steps(api: GeneratedClient, app: AppServer) -> None:
    """Show the secret, send a test signal, and export a list that has it."""
    assert (await api.call("reveal_webhook_secret")).secret == SECRET
    assert (await api.call("send_test_signal")).ticker == "AAPL"
    await settled(app)
    assert "AAPL" in await api.call("export_signal_list", q="aapl")


async def call_database(api: GeneratedClient) -> None:
    """Export, import what was exported, clear."""
    exported = await api.call("export_signals")
    file = importlib.import_module(f"{api.package}.types").File
    imported = await api.call("import_signals", body=file(payload=io.BytesIO(exported.encode())))
    assert (imported.imported, imported.bad) == (0, 0)
    assert imported.present > 0
    cleared = await api.call("clear_signals", body=api.models.ClearOrder(confirm="clear"))
    assert cleared.deleted + cleared.kept == imported.present


async def call_everything(api: GeneratedClient, app: AppServer) -> None:
    """Call every operation with valid arguments; one that is not called fails by its name."""
    await call_health_and_webhook(api, app)
    await call_positions(api, app)
    await call_records(api, app)
    await call_strategies(api)
    await call_sources(api)
    await call_destinations(api)
    await call_tokens(api)
    await call_configuration(api)
    await call_alarms(api)
    await call_first_steps(api, app)
    await call_database(api)
    assert api.operations.keys() - api.calls.keys() == set()


async def test_every_operation_answers_as_documented(api: GeneratedClient, app: AppServer) -> None:
    await call_everything(api, app)
    kinds = importlib.import_module(f"{api.package}.client")
    for name, operation in api.operations.items():
        if operation.is_public:
            continue
        assert operation.client_kind is kinds.AuthenticatedClient, name
        refused = await api.ask(name, 401, {}, **api.calls[name])
        assert "ADMIN_TOKEN" in refused.detail
        if operation.method != "get":
            await api.ask(name, 403, FOREIGN, **api.calls[name])
    assert kinds.Client in api.operations["health"].client_kind.__args__


async def test_without_the_database_every_operation_still_answers_as_documented(
    api: GeneratedClient, app: AppServer, database_url: str
) -> None:
    await call_everything(api, app)
    refused = set()
    app.context.reading.forget()  # a figure that took long to read is reused for up to 30 s
    async with away(database_url):
        await asyncio.sleep(REUSE_SECONDS)
        for name, arguments in api.calls.items():
            answer = await api.send(name, api.client(**BEARER), **arguments)
            assert answer.parsed is not None, name
            if answer.status_code == 503:
                refused.add(name)
    own = {
        "signals",
        "positions",
        "sell_all",
        "sell_individual",
        "replay_dead_letters",
        "export_signals",
        "export_signal_list",
        "export_actions_log",
        "send_test_signal",
        "trades",
        "trade_sums",
        "export_trades",
        "what_if",
    }
    assert own | {"health", "webhook_in", "webhook_in_secret"} <= refused


async def test_the_webhook_accepts_the_secret_where_the_document_says(
    api: GeneratedClient, app: AppServer
) -> None:
    def alert(**fields: Any) -> Any:
        made = api.models.Alert(ticker="NVDA", action="sell", **fields)
        made["number"] = str(uuid4())  # of its own, so that none is a duplicate
        return made

    taken = [
        await api.ask("webhook_in", 202, {}, body=alert(), x_webhook_secret=SECRET),
        await api.ask("webhook_in", 202, {}, body=alert(), secret=SECRET),
        await api.ask("webhook_in", 202, {}, body=alert(secret=SECRET)),
        await api.ask("webhook_in_secret", 202, {}, secret_path=SECRET, body=alert()),
    ]
    assert not any(each.duplicate for each in taken)
    kinds = importlib.import_module(f"{api.package}.client")
    signed_in = kinds.AuthenticatedClient(
        api.url, token=SECRET, prefix="", auth_header_name="X-Webhook-Secret"
    )
    assert (await api.send("webhook_in", signed_in, body=alert())).status_code == 202

    await api.ask("webhook_in", 401, {}, body=alert())
    await api.ask("webhook_in", 401, {}, body=alert(), secret="wrong")
    await api.ask("webhook_in_secret", 401, {}, secret_path="wrong", body=alert())
    wrong = api.models.Alert(ticker="{{ticker}}")
    refused = await api.ask("webhook_in", 422, {}, body=wrong, secret=SECRET)
    assert "ticker" in refused.detail
    long = alert(signal_id="x" * 70_000)
    await api.ask("webhook_in", 413, {}, body=long, secret=SECRET)
    await api.call("intake_pause")
    await api.ask("webhook_in", 503, {}, body=alert(), secret=SECRET)
    await api.call("intake_resume")
    await settled(app)


async def test_a_value_beyond_its_limits_is_refused_as_documented(api: GeneratedClient) -> None:
    m = api.models
    beyond: list[tuple[str, Any, dict[str, str]]] = [
        ("change_webhook_config", m.WebhookValuesInput(timeout=61), {}),
        (
            "change_webhook_config",
            m.WebhookValuesInput.from_dict({"max_signal_age_seconds": {"sell": 0}}),
            {},
        ),
        ("change_system_config", m.SystemValuesInput(retention_days=0), {}),
        ("change_strategy", m.StrategyValuesInput(top_n=501), {"name": "mine"}),
    ]
    for name, values, arguments in beyond:
        refused = await api.ask(name, 422, BEARER, body=values, **arguments)
        assert refused.place
