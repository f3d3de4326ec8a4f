"""How panels show values: form fields, the changes of an action, time spans and sizes."""

from __future__ import annotations

from decimal import Decimal

import msgspec
import pytest

from app.admin.fields import Limits, fields_of
from app.admin.rendering import NOTHING, decimal, number, seconds, size
from app.admin.routes import configuration
from app.admin.routes.configuration import sources_of
from app.admin.views.actions import Change, changes
from app.config.model import Strategy, SystemConfig, WebhookConfig, merge
from app.config.switches import PAUSES
from app.settings import Settings
from app.web.locale import Preferences, current


def test_a_form_has_every_value_with_its_limits() -> None:
    documents = {"webhook_config.json": {"timeout": 2.50, "retry_unknown": {"buy": True}}}
    config = merge(documents, Settings(database_url="postgresql://x/y", top_n=3))
    values = {name: getattr(config.webhook, name) for name in config.webhook.__struct_fields__} | {
        "exit_reserve": {"per_min": 5, "per_hour": 50},
        "retry_unknown": {"buy": True, "sell": True},
        "max_signal_age_seconds": {"buy": 300, "sell": 3600},
    }
    fields = {field.name: field for field in fields_of(WebhookConfig, values, sources_of(config, "webhook"))}
    assert fields["timeout"].limits == Limits("decimal", low=0, above=True, high=60)
    assert (fields["timeout"].shown, fields["timeout"].source, fields["timeout"].resettable) == (
        "2.5",
        "file",
        True,
    )
    assert (fields["retry_unknown.buy"].source, fields["retry_unknown.sell"].source) == ("file", "default")
    assert fields["exit_reserve.per_min"].limits == Limits("whole", low=0, high=100_000)
    assert fields["retry_seconds"].shown == "1 2 5 10 30 60"
    assert fields["retry_seconds"].limits.kind == "decimals"
    assert fields["url"].shown == ""
    assert set(configuration.WebhookValues.model_fields) == {name.partition(".")[0] for name in fields}


def test_pauses_are_switches_not_form_fields() -> None:
    config = merge({}, Settings(database_url="postgresql://x/y"))
    values = msgspec.to_builtins(config.system)
    fields = fields_of(SystemConfig, values, sources_of(config, "system"))
    assert {field.name.partition(".")[0] for field in fields} == set(values) - set(PAUSES)
    assert fields[0].limits == Limits("choice", choices=("add", "forward", "reject"))


def test_a_required_value_cannot_be_reset() -> None:
    config = merge({}, Settings(database_url="postgresql://x/y"))
    strategy = config.finviz.active_strategy
    values = {name: getattr(strategy, name) for name in strategy.__struct_fields__}
    sources = sources_of(config, f"finviz.strategies.{strategy.name}")
    fields = {field.name: field for field in fields_of(Strategy, values, sources, ("name", "url"))}
    assert fields["url"].source == "file"
    assert not fields["url"].resettable
    assert [fields[name].limits.kind for name in ("name", "url", "top_n", "reprocess_enabled")] == [
        "text",
        "long",
        "whole",
        "switch",
    ]


@pytest.mark.parametrize(
    ("before", "after", "shown"),
    [
        (None, None, []),
        ({}, {"timeout": 3}, [("timeout", None, "3")]),
        ({"a": True, "b": 1}, {"a": False, "b": 1}, [("a", "true", "false")]),
        (
            {"strategies.x": {"top_n": 1, "url": "u"}},
            {"strategies.x": {"top_n": 2, "url": "u"}},
            [("strategies.x.top_n", "1", "2")],
        ),
        ({"strategies.x": {"name": "é"}}, {}, [("strategies.x.name", "é", None)]),
        ({"a": {"b": 1}}, {"a": "c"}, [("a", '{"b": 1}', "c")]),
        ({"list": [1]}, {"list": [1, 2]}, [("list", "[1]", "[1, 2]")]),
    ],
)
def test_an_action_shows_what_differs(
    before: object, after: object, shown: list[tuple[str, str | None, str | None]]
) -> None:
    assert list(changes(before, after)) == [Change(*each) for each in shown]


def test_spans_and_sizes() -> None:
    assert [seconds(value) for value in (None, 0.1204, 1.04, 59.0, 61)] == [
        NOTHING,
        "120 ms",
        "1.0 s",
        "59.0 s",
        "1 min",
    ]
    assert size(12_345_678) == "12 MB"


@pytest.mark.parametrize(
    ("value", "shown"),
    [
        ("0", "0"),
        ("0E-18", "0"),
        ("1E+4", "10,000"),
        ("400.50", "400.5"),
        ("33.33333333333333333333", "33.33333333"),
        ("0.00000012", "0.00000012"),
        ("-0.00000012345678", "-0.000000123457"),
        ("0.000000000000000001", "0.000000000000000001"),
    ],
)
def test_a_small_price_is_not_shown_as_0(value: str, shown: str) -> None:
    assert decimal(Decimal(value)) == shown


def test_figures_use_the_separators_of_the_language() -> None:
    token = current.set(Preferences(language="pt-BR"))
    try:
        assert (number(12_345), seconds(1.04), seconds(0.1204)) == ("12.345", "1,0 s", "120 ms")
        assert decimal(Decimal("1234.00000012")) == "1.234,00000012"
        assert decimal(Decimal("0.00000012")) == "0,00000012"
    finally:
        current.reset(token)
