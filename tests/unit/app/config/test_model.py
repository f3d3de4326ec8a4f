"""Files over environment over defaults, each value with its source; a wrong file stops the start."""

import json
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from app.config.files import load
from app.config.model import FINVIZ_FILE, SYSTEM_FILE, WEBHOOK_FILE, Strategy, merge
from app.errors import ConfigFileError, ConfigurationError
from app.settings import Settings

URL = "postgresql://postgres@localhost/x"


TIME_WRONG = "must be a time such as 08:00, or 08:00 America/New_York"
TICKER_WRONG = "must be a ticker of 1 to 40 printable characters"
HOURS_WRONG = "must be hours such as 09:30-16:00 America/New_York, and end after they begin"


def _settings(**changes: Any) -> Settings:
    return Settings(database_url=URL, **changes)


def test_without_files_the_environment_and_defaults_count(tmp_path: Path) -> None:
    config = load(tmp_path, _settings(top_n=7, dest_webhook_url="https://broker.example/hook"))

    assert config.webhook.url == "https://broker.example/hook"
    assert config.finviz.active_strategy.top_n == 7
    assert config.finviz.active_strategy.max_age_seconds == 60
    assert (config.webhook.max_signal_age_seconds.buy, config.webhook.max_signal_age_seconds.sell) == (
        300,
        3600,
    )
    assert (config.webhook.retry_unknown.buy, config.webhook.retry_unknown.sell) == (False, True)
    assert (config.webhook.exit_reserve.per_min, config.webhook.exit_reserve.per_hour) == (5, 50)
    assert config.system.duplicate_buys == "forward"
    assert config.sources["webhook.url"] == "env"
    assert config.sources["webhook.timeout"] == "default"
    assert config.sources["webhook.retry_unknown.buy"] == "default"


def test_a_file_wins_and_null_falls_back() -> None:
    config = merge(
        {
            FINVIZ_FILE: {
                "active": "b",
                "strategies": [
                    {"name": "a", "url": "list:A"},
                    {"name": "b", "url": "list:B", "top_n": 3, "refresh_interval_sec": 20, "mine": 1},
                ],
            },
            WEBHOOK_FILE: {"timeout": 2, "max_req_per_min": None, "retry_unknown": {"buy": True}},
            SYSTEM_FILE: {"delivery_paused": True, "note": "kept"},
        },
        _settings(dest_webhook_max_req_per_min=30),
    )

    strategy = config.finviz.active_strategy
    assert (strategy.name, strategy.url, strategy.top_n, strategy.max_age_seconds) == ("b", "list:B", 3, 120)
    assert (config.webhook.timeout, config.webhook.max_req_per_min) == (2, 30)
    assert (config.webhook.retry_unknown.buy, config.webhook.retry_unknown.sell) == (True, True)
    assert config.system.delivery_paused
    assert config.sources["finviz.strategies.b.top_n"] == "file"
    assert config.sources["finviz.strategies.a.top_n"] == "default"
    assert [(each.top_n, each.depth) for each in config.finviz.strategies] == [(15, 20), (3, 20)]
    assert config.sources["finviz.strategies.a.depth"] == "default"
    assert config.sources["webhook.max_req_per_min"] == "env"
    assert config.sources["webhook.retry_unknown.buy"] == "file"
    assert config.documents[SYSTEM_FILE]["note"] == "kept"


def test_without_any_url_the_destination_is_paper() -> None:
    assert merge({}, _settings()).webhook.url is None
    assert (
        merge({WEBHOOK_FILE: {"url": ""}}, _settings(dest_webhook_url="https://x.example")).webhook.url
        is None
    )


@pytest.mark.parametrize(
    ("file", "content", "message"),
    [
        (
            FINVIZ_FILE,
            {"active": "x", "strategies": [{"name": "a", "url": "list:A"}]},
            "active: 'x' is not one",
        ),
        (FINVIZ_FILE, {"strategies": [{"name": "a"}]}, "strategies[0].url: "),
        (FINVIZ_FILE, {"strategies": [{"name": "a", "url": "list:A", "top_n": 0}]}, "strategies[0].top_n: "),
        (FINVIZ_FILE, {"strategies": [{"name": "a", "url": "list:A"}] * 2}, "names must be unique"),
        (FINVIZ_FILE, {"strategies": {}}, "strategies: must be a list"),
        (FINVIZ_FILE, {"strategies": ["a"]}, "strategies[0]: must be an object"),
        (WEBHOOK_FILE, {"timeout": "soon"}, "timeout: must be a number, not a text"),
        (WEBHOOK_FILE, {"retry_seconds": []}, "retry_seconds: must not be empty"),
        (WEBHOOK_FILE, {"retry_unknown": True}, "retry_unknown: must be an object"),
        (WEBHOOK_FILE, {"exit_reserve": 5}, "exit_reserve: must be an object"),
        (WEBHOOK_FILE, {"exit_reserve": {"per_min": -1}}, "exit_reserve.per_min: must be at least 0"),
        (WEBHOOK_FILE, {"url": "broker.example"}, "url: must be an http:// or https:// URL"),
        (WEBHOOK_FILE, {"url": 5}, "url: must be an http:// or https:// URL"),
        (SYSTEM_FILE, {"duplicate_buys": "perhaps"}, "duplicate_buys: must be one of: forward, add, reject"),
        (SYSTEM_FILE, {"close_on_partial": "no"}, "close_on_partial: must be true or false, not a text"),
        (SYSTEM_FILE, ["x"], "must be an object"),
    ],
)
def test_a_wrong_file_is_named_with_place_and_reason(
    tmp_path: Path, file: str, content: object, message: str
) -> None:
    (tmp_path / file).write_text(json.dumps(content))
    with pytest.raises(ConfigurationError) as error:
        load(tmp_path, _settings())
    assert file in str(error.value)
    assert message in str(error.value)


@pytest.mark.parametrize(
    ("file", "content", "reason"),
    [
        (FINVIZ_FILE, {"name": "a\nb"}, "must be one line without control characters"),
        (FINVIZ_FILE, {"url": "https://finviz.com/\tx"}, "must be one line without control characters"),
        (FINVIZ_FILE, {"url": " \n"}, "must not be empty"),
        (FINVIZ_FILE, {"name": ""}, "must not be empty"),
        (FINVIZ_FILE, {"name": "x" * 101}, "must have at most 100 characters"),
        (FINVIZ_FILE, {"url": None}, "is required"),
        (FINVIZ_FILE, {"url": 5}, "must be a text, not a whole number"),
        (FINVIZ_FILE, {"url": ["x"]}, "must be a text, not a list"),
        (FINVIZ_FILE, {"top_n": 501}, "must be at most 500"),
        (FINVIZ_FILE, {"top_n": 1.5}, "must be a whole number, not a number"),
        (FINVIZ_FILE, {"top_n": "10"}, "must be a whole number, not a text"),
        (FINVIZ_FILE, {"reprocess_enabled": "yes"}, "must be true or false, not a text"),
        (FINVIZ_FILE, {"description": {}}, "must be a text, not an object"),
        (WEBHOOK_FILE, {"timeout": 0}, "must be more than 0"),
        (WEBHOOK_FILE, {"timeout": 60.5}, "must be at most 60"),
        (WEBHOOK_FILE, {"retry_seconds": [1] * 51}, "must have at most 50 entries"),
        (WEBHOOK_FILE, {"retry_seconds": [1, "x"]}, "must be a number, not a text"),
        (WEBHOOK_FILE, {"retry_seconds": 5}, "must be a list, not a whole number"),
        (WEBHOOK_FILE, {"max_signal_age_seconds": {"buy": 0}}, "must be at least 1"),
        (WEBHOOK_FILE, {"retry_unknown": {"buy": 1}}, "must be true or false, not a whole number"),
        (WEBHOOK_FILE, {"exit_reserve": {"per_hour": 1.5}}, "must be a whole number, not a number"),
        (SYSTEM_FILE, {"duplicate_buys": 5}, "must be a text, not a whole number"),
        (SYSTEM_FILE, {"notify": 5}, "must be an object"),
        (SYSTEM_FILE, {"notify": {"min_severity": "high"}}, "must be one of: critical, warning, info"),
        (SYSTEM_FILE, {"notify": {"mute_minutes": -1}}, "must be at least 0"),
        (SYSTEM_FILE, {"notify": {"daily_summary_at": "8 o'clock"}}, TIME_WRONG),
        (SYSTEM_FILE, {"notify": {"daily_summary_at": 8}}, "must be a text, not a whole number"),
        (SYSTEM_FILE, {"notify": {"daily_summary_at": []}}, "must be a text, not a list"),
        (SYSTEM_FILE, {"risk": "none"}, "must be an object"),
        (SYSTEM_FILE, {"risk": {"buys": "never"}}, "must be one of: on, off"),
        (SYSTEM_FILE, {"risk": {"buys": False}}, "must be a text, not true or false"),
        *(
            (SYSTEM_FILE, {"risk": {"hours": hours}}, HOURS_WRONG)
            for hours in (
                *(
                    "always",
                    "9:30-16:00",
                    "09:30-16:00 Wall/Street",
                    "16:00-09:30",
                    "09:30-09:30",
                    "09:30-24:00",
                ),
                *("09:30-16:00\0", " 09:30-16:00", "09:30\N{EN DASH}16:00", "09:30-16:00 ../etc/passwd"),
            )
        ),
        (SYSTEM_FILE, {"risk": {"hours": 930}}, "must be a text, not a whole number"),
        (SYSTEM_FILE, {"risk": {"hours": False}}, "must be a text, not true or false"),
        (SYSTEM_FILE, {"risk": {"flatten_at": "15:55 Mars"}}, TIME_WRONG),
        (SYSTEM_FILE, {"risk": {"flatten_at": "3:55 pm"}}, TIME_WRONG),
        (SYSTEM_FILE, {"risk": {"max_open_positions": 0}}, "must be at least 1"),
        (SYSTEM_FILE, {"risk": {"max_buys_per_day": 1.5}}, "must be a whole number, not a number"),
        (SYSTEM_FILE, {"risk": {"cooldown_seconds": -1}}, "must be at least 0"),
        (SYSTEM_FILE, {"risk": {"blocklist": "NVDA"}}, "must be a list, not a text"),
        (SYSTEM_FILE, {"risk": {"blocklist": ["A"] * 1001}}, "must have at most 1000 entries"),
        (SYSTEM_FILE, {"risk": {"blocklist": [5]}}, "must be a text, not a whole number"),
        *(
            (
                SYSTEM_FILE,
                {"risk": {"blocklist": ["NVDA", ticker]}},
                "must be a ticker of 1 to 40 printable characters",
            )
            for ticker in ("", " ", "NASDAQ:", "A\0", "A\nB", "x" * 41)
        ),
    ],
)
def test_an_invalid_value_is_explained_in_plain_words(
    file: str, content: dict[str, Any], reason: str
) -> None:
    document = {"strategies": [{"name": "a", "url": "list:A", **content}]} if file == FINVIZ_FILE else content
    with pytest.raises(ConfigFileError) as refused:
        merge({file: document}, _settings())
    assert str(refused.value.fault) == reason
    assert refused.value.place


WRONG = st.none() | st.booleans() | st.integers() | st.floats() | st.text(max_size=120) | st.lists(st.text())


@given(st.sampled_from(Strategy.__struct_fields__), WRONG)
def test_no_refusal_quotes_a_library(field: str, value: object) -> None:
    try:
        merge({FINVIZ_FILE: {"strategies": [{"name": "a", "url": "list:A", field: value}]}}, _settings())
    except ConfigFileError as error:
        reason = str(error.fault)
    else:
        return
    assert reason.startswith(("must ", "is required"))
    assert not any(mark in reason for mark in ("`", "regex", "^", "\\"))


@pytest.mark.parametrize(
    "around", [" {}", "{} ", "\n{}\r\n", "\t{}", "\u00a0{}\u200b", "\ufeff{}\n", "\u2028{}"]
)
@pytest.mark.parametrize(
    "url", ["https://finviz.com/screener.ashx?v=111", "list:AAPL, NVDA", "file:my top.csv"]
)
def test_whitespace_around_a_pasted_url_is_trimmed(around: str, url: str) -> None:
    config = merge({FINVIZ_FILE: {"strategies": [{"name": "a", "url": around.format(url)}]}}, _settings())
    assert config.finviz.active_strategy.url == url


def test_a_wrong_ticker_of_the_blocklist_is_named_by_its_place() -> None:
    with pytest.raises(ConfigFileError) as refused:
        merge({SYSTEM_FILE: {"risk": {"blocklist": ["NVDA", "\0"]}}}, _settings())
    assert refused.value.place == "risk.blocklist[1]"


def test_emptied_texts_of_the_risk_rules_set_no_rule() -> None:
    risk = merge(
        {SYSTEM_FILE: {"risk": {"hours": "", "flatten_at": "", "blocklist": []}}}, _settings()
    ).system.risk
    assert risk == merge({}, _settings()).system.risk
    assert (risk.buys, risk.hours, risk.flatten_at) == ("on", None, None)


def test_a_file_that_is_not_valid_json_is_named_with_its_line(tmp_path: Path) -> None:
    (tmp_path / SYSTEM_FILE).write_text('{\n "engine_paused": tru\n}')
    with pytest.raises(ConfigurationError, match=rf"{SYSTEM_FILE}: line 2: "):
        load(tmp_path, _settings())
