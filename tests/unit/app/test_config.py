"""SPEC §7: files over environment over defaults, each value with its source; a wrong file stops the start."""

import json
from pathlib import Path
from typing import Any

import pytest

from app.config import FINVIZ_FILE, SYSTEM_FILE, WEBHOOK_FILE, merge
from app.config_files import load
from app.errors import ConfigurationError
from app.settings import Settings

URL = "postgresql://postgres@localhost/x"


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
    assert config.sources["webhook.max_req_per_min"] == "env"
    assert config.sources["webhook.retry_unknown.buy"] == "file"
    assert config.documents[SYSTEM_FILE]["note"] == "kept"


def test_no_url_anywhere_is_paper() -> None:
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
        (FINVIZ_FILE, {"strategies": [{"name": "a", "url": "list:A"}] * 2}, "each name stands once"),
        (FINVIZ_FILE, {"strategies": {}}, "strategies: allowed is a list"),
        (FINVIZ_FILE, {"strategies": ["a"]}, "strategies[0]: allowed is an object"),
        (WEBHOOK_FILE, {"timeout": "soon"}, "timeout: Expected `float`"),
        (WEBHOOK_FILE, {"retry_seconds": []}, "retry_seconds: Expected `array` of length >= 1"),
        (WEBHOOK_FILE, {"retry_unknown": True}, "retry_unknown: allowed is an object"),
        (WEBHOOK_FILE, {"url": "broker.example"}, "url: must be an http:// or https:// URL"),
        (WEBHOOK_FILE, {"url": 5}, "url: must be an http:// or https:// URL"),
        (SYSTEM_FILE, {"duplicate_buys": "perhaps"}, "duplicate_buys: Invalid enum value"),
        (SYSTEM_FILE, ["x"], "allowed is an object"),
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


def test_a_file_that_is_no_json_is_named_with_its_line(tmp_path: Path) -> None:
    (tmp_path / SYSTEM_FILE).write_text('{\n "engine_paused": tru\n}')
    with pytest.raises(ConfigurationError, match=rf"{SYSTEM_FILE}: line 2: "):
        load(tmp_path, _settings())
