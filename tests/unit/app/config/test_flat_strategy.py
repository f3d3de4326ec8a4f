"""A file with one flat strategy, as the replaced system has it, is read or refused, never ignored."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING, Any

import pytest

from app.config import files
from app.errors import ConfigFileError
from app.settings import Settings

if TYPE_CHECKING:
    from pathlib import Path

SETTINGS = Settings(database_url="postgresql://nowhere/none")
FLAT: dict[str, Any] = {
    "finviz_url": "https://finviz.com/screener.ashx?v=111&f=cap_midover",
    "top_n": 20,
    "refresh_interval_sec": 60,
    "reprocess_enabled": True,
    "reprocess_window_seconds": 600,
    "respect_sell_chronology_enabled": False,
    "sell_chronology_window_seconds": 120,
}


def load(folder: Path, document: dict[str, Any]) -> Any:
    (folder / "finviz_config.json").write_text(json.dumps(document))
    return files.load(folder, SETTINGS)


def test_a_flat_strategy_is_the_active_one_with_all_its_values(tmp_path: Path) -> None:
    config = load(tmp_path, {**FLAT, "note": "kept"})
    (strategy,) = config.finviz.strategies
    assert strategy is config.finviz.active_strategy
    for old, value in FLAT.items():
        assert getattr(strategy, "url" if old == "finviz_url" else old) == value
    document = config.documents["finviz_config.json"]
    assert document["note"] == "kept"
    assert "finviz_url" not in document  # what the page writes back is in today's form


def test_keys_that_a_flat_strategy_omits_have_their_defaults(tmp_path: Path) -> None:
    config = load(tmp_path, {"finviz_url": FLAT["finviz_url"], "top_n": None})
    assert config.finviz.active_strategy.url == FLAT["finviz_url"]
    assert config.sources["finviz.strategies.finviz.top_n"] == "default"


@pytest.mark.parametrize(
    ("document", "said"),
    [
        (
            {**FLAT, "strategies": [{"name": "a", "url": "list:A"}]},
            "finviz_url: is of a file with one strategy",
        ),
        ({"finviz_url": None, "strategies": []}, "finviz_url: is of a file with one strategy"),
        ({"top_n": 15}, "has no key that is read: strategies, active, allow_other_hosts, finviz_url"),
        ({"Strategies": [], "url": "list:A"}, "has no key that is read"),
        ({**FLAT, "finviz_url": None}, "url: is required"),
        ({**FLAT, "finviz_url": 7}, "url: must be a text"),
        ({**FLAT, "top_n": 0}, "top_n: must be at least 1"),
        ({**FLAT, "active": "other"}, "is not one of the strategies: finviz"),
    ],
)
def test_what_would_be_replaced_by_defaults_is_refused(
    tmp_path: Path, document: dict[str, Any], said: str
) -> None:
    with pytest.raises(ConfigFileError, match="finviz_config") as refused:
        load(tmp_path, document)
    assert said in str(refused.value)


@pytest.mark.parametrize("document", [{}, {"allow_other_hosts": True}, {"strategies": []}])
def test_a_file_that_names_no_strategy_has_the_built_in_one(tmp_path: Path, document: dict[str, Any]) -> None:
    assert load(tmp_path, document).finviz.active_strategy.name == "top-gainers"
