"""The list `destinations` of webhook_config.json: what it may be, and what is said of a wrong one."""

from __future__ import annotations

import json
from typing import Any

import pytest

from app.config.destinations import DestinationUse
from app.config.files import adopt, check_destinations, ignored_in
from app.config.masking import differences
from app.config.model import WEBHOOK_FILE, Config, merge
from app.errors import ConfigFileError
from app.settings import Settings

LIVE = "https://bridge.example/hook/secret-word"
SETTINGS = Settings(database_url="postgresql://x/y")


def configured(*entries: object, **flat: Any) -> Config:  # JSON
    return merge({WEBHOOK_FILE: {**flat, "destinations": list(entries)}}, SETTINGS)


def test_without_a_list_there_is_default_with_the_keys_outside_of_it() -> None:
    config = merge({WEBHOOK_FILE: {"url": LIVE, "timeout": 3, "exit_reserve": {"per_min": 2}}}, SETTINGS)
    (default,) = config.destinations
    assert (default.name, default.url, default.timeout) == ("default", LIVE, 3.0)
    assert (default.exit_reserve.per_min, default.exit_reserve.per_hour) == (2, 50)
    assert default.ticker_gap_seconds == 0  # as before there was a list
    assert default.match.takes("any", "AAPL")


def test_default_is_first_and_others_have_defaults_of_their_own() -> None:
    config = configured({"name": "live", "url": LIVE}, {"name": "paper"}, max_req_per_min=7)
    default, live, paper = config.destinations
    assert (default.name, default.max_req_per_min) == ("default", 7)
    assert (live.max_req_per_min, live.max_req_per_hour, live.timeout) == (60, 500, 5.0)
    assert (live.profile, live.ticker_gap_seconds) == ("traderspost", 10)
    assert (paper.url, paper.ticker_gap_seconds) == (None, 0)
    assert config.destination("live") is live
    assert config.destination("gone") is None


def test_a_raw_destination_has_no_gap_of_its_own() -> None:
    assert configured({"name": "raw", "url": LIVE, "profile": "raw"}).destinations[1].ticker_gap_seconds == 0


def test_an_entry_of_default_adds_to_the_keys_outside_of_the_list() -> None:
    entry = {
        "name": "default",
        "match": {"sources": ["desk"], "tickers": ["nasdaq:brk.b"]},
        "ticker_gap_seconds": 4,
    }
    (default,) = configured(entry, url=LIVE).destinations
    assert (default.url, default.ticker_gap_seconds) == (LIVE, 4)
    assert default.match.takes("desk", "BRK-B")
    assert not default.match.takes("desk", "AAPL")
    assert not default.match.takes("other", "BRK-B")


@pytest.mark.parametrize(
    ("entries", "place", "words"),
    [
        ("x", "destinations", "list"),
        (["x"], "destinations[0]", "object"),
        ([{}], "destinations[0].name", "required"),
        ([{"name": "Live"}], "destinations[0].name", "lower-case"),
        ([{"name": "a/b"}], "destinations[0].name", "lower-case"),
        ([{"name": 5}], "destinations[0].name", "lower-case"),
        ([{"name": "a"}, {"name": "a"}], "destinations[1].name", "unique"),
        ([{"name": "default", "url": LIVE}], "destinations[0].url", "outside of the list"),
        (
            [{"name": "default", "max_req_per_min": 5}],
            "destinations[0].max_req_per_min",
            "outside of the list",
        ),
        ([{"name": "a", "url": "ftp://x"}], "destinations[0].url", "http"),
        ([{"name": "a", "url": 5}], "destinations[0].url", "http"),
        ([{"name": "a", "url": LIVE}, {"name": "b", "url": LIVE}], "destinations[1].url", "unique"),
        ([{"name": "a", "timeout": 0}], "destinations[0].timeout", "0"),
        ([{"name": "a", "profile": "other"}], "destinations[0].profile", "traderspost"),
        ([{"name": "a", "max_req_per_hour": 0}], "destinations[0].max_req_per_hour", "1"),
        ([{"name": "a", "exit_reserve": 5}], "destinations[0].exit_reserve", "object"),
        ([{"name": "a", "retry_unknown": {"buy": 1}}], "destinations[0].retry_unknown.buy", "true"),
        ([{"name": "a", "match": {"tickers": ["A\0"]}}], "destinations[0].match.tickers[0]", "control"),
        ([{"name": "a", "match": {"sources": ["A\n"]}}], "destinations[0].match.sources[0]", "control"),
        ([{"name": "a", "match": {"sources": "desk"}}], "destinations[0].match.sources", "list"),
        ([{"name": "a", "ticker_gap_seconds": 300}], "destinations[0].ticker_gap_seconds", "300"),
    ],
)
def test_a_wrong_entry_is_refused_with_its_place(entries: Any, place: str, words: str) -> None:
    with pytest.raises(ConfigFileError) as caught:
        adopt(WEBHOOK_FILE, {"destinations": entries}, merge({}, SETTINGS), SETTINGS)
    assert caught.value.place == place
    assert words in str(caught.value)
    assert "secret-word" not in str(caught.value)


SPELLINGS = [
    LIVE,
    LIVE.replace("https", "HTTPS"),
    LIVE.replace("bridge.example", "Bridge.Example."),
    LIVE.replace("bridge.example", "bridge.example:443"),
    f"{LIVE}/",
    f"{LIVE}#part",
]


@pytest.mark.parametrize("url", SPELLINGS)
def test_the_same_url_as_default_is_refused_in_every_spelling(url: str) -> None:
    document = {"url": LIVE, "destinations": [{"name": "a", "url": url}]}
    with pytest.raises(ConfigFileError, match="unique") as caught:
        adopt(WEBHOOK_FILE, document, configured(), SETTINGS)
    assert caught.value.place == "destinations[0].url"


@pytest.mark.parametrize("part", ["/other", "?x=1", "%2F"])
def test_another_path_or_query_is_another_destination(part: str) -> None:
    document = {"url": LIVE, "destinations": [{"name": "a", "url": LIVE + part}]}
    assert len(adopt(WEBHOOK_FILE, document, configured(), SETTINGS).destinations) == 2


def test_a_value_outside_of_the_list_must_suit_the_list() -> None:
    entry = {"name": "a", "url": LIVE, "ticker_gap_seconds": 50}
    before = configured(entry)
    for flat, place in (
        ({"url": LIVE}, "destinations[0].url"),
        ({"max_signal_age_seconds": {"buy": 50}}, "destinations[0].ticker_gap_seconds"),
    ):
        with pytest.raises(ConfigFileError) as caught:
            adopt(WEBHOOK_FILE, {**flat, "destinations": [entry]}, before, SETTINGS)
        assert caught.value.place == place


WRONG_ENTRIES = [
    {"name": "a", "url": LIVE, "match": {"ticker": ["AAPL"]}},
    {"name": "a", "url": LIVE, "macth": {"tickers": ["AAPL"]}},
    {"name": "a", "url": LIVE, "exit_reserve": {"per_minute": 1}},
    {"name": "a", "url": LIVE, "retry_unknown": {"buys": True}},
    {"name": "a", "url": LIVE, "ticker_gap_seconds": 300},
]


@pytest.mark.parametrize("entry", WRONG_ENTRIES)
def test_a_destination_with_a_fault_is_refused_and_takes_exits_alone_where_it_is_current(entry: Any) -> None:
    document = {"destinations": [entry]}
    with pytest.raises(ConfigFileError, match=r"destinations\[0\]"):
        adopt(WEBHOOK_FILE, document, configured(), SETTINGS)
    current = configured(entry)
    default, wrong = current.destinations
    assert (wrong.name, wrong.url) == ("a", LIVE)
    assert not wrong.match.takes("any", "AAPL")
    assert wrong.match.takes_exit("any", "AAPL")
    assert default.match.takes("any", "AAPL")
    assert adopt(WEBHOOK_FILE, {**document, "timeout": 3}, current, SETTINGS).webhook.timeout == 3
    problem = ignored_in(WEBHOOK_FILE, document, SETTINGS, json.dumps(document).encode())
    assert problem is not None
    assert problem.place.startswith("destinations[0].")


def test_the_url_of_the_environment_may_become_that_of_an_entry() -> None:
    """As at a restart with another .env: each order is sent once, and exits go to both."""
    document = {"destinations": [{"name": "a", "url": LIVE}]}
    settings = SETTINGS.model_copy(update={"dest_webhook_url": f"{LIVE}/"})
    config = merge({WEBHOOK_FILE: document}, settings)
    assert [each.match.takes("any", "AAPL") for each in config.destinations] == [True, False]
    assert [each.match.takes_exit("any", "AAPL") for each in config.destinations] == [True, True]
    assert adopt(WEBHOOK_FILE, document, config, settings) == config
    with pytest.raises(ConfigFileError, match="unique"):  # what a deployment is refused for
        check_destinations(config, settings)
    check_destinations(merge({WEBHOOK_FILE: document}, SETTINGS), SETTINGS)


@pytest.mark.parametrize("entries", ["x", 5, {}, [5], [{}], [{"name": "a", "url": 5}], [{"name": "a/b"}]])
def test_what_cannot_be_read_does_not_count(entries: Any) -> None:
    """As of a version that did not read the list."""
    config = merge({WEBHOOK_FILE: {"destinations": entries}}, SETTINGS)
    (default,) = config.destinations
    assert default.match.takes("any", "AAPL")


@pytest.mark.parametrize(
    "entry", [{"match": {"ticker": ["A"]}}, {"match": 5}, {"url": LIVE}, {"profile": "x"}]
)
def test_default_with_a_wrong_entry_takes_exits_alone(entry: Any) -> None:
    (default,) = configured({"name": "default", **entry}, url=LIVE).destinations
    assert default.url == LIVE
    assert not default.match.takes("any", "AAPL")
    assert default.match.takes_exit("any", "AAPL")


def test_a_new_url_must_be_one_that_can_be_asked_and_a_current_one_stays() -> None:
    odd = "https://bridge .example/x"
    before = configured({"name": "a", "url": odd})
    document = {"destinations": [{"name": "a", "url": odd, "timeout": 3}]}
    assert adopt(WEBHOOK_FILE, document, before, SETTINGS).destinations[1].timeout == 3
    with pytest.raises(ConfigFileError) as caught:
        adopt(WEBHOOK_FILE, document, configured(), SETTINGS)
    assert caught.value.place == "destinations[0].url"


def test_changes_are_shown_by_entry_without_the_secrets_in_urls() -> None:
    before = {WEBHOOK_FILE: {"destinations": [{"name": "a", "url": LIVE}, {"name": "b"}]}}
    after = {
        WEBHOOK_FILE: {"destinations": [{"name": "a", "url": f"{LIVE}/2", "x": "secret-word"}, {"name": "b"}]}
    }
    old, new = differences(before, after)
    assert old == {"destinations.a": {"name": "a", "url": "https://bridge.example/***"}}
    assert new == {"destinations.a": {"name": "a", "url": "https://bridge.example/***", "x": "***"}}
    assert "secret-word" not in json.dumps([old, new])
    assert "secret-word" not in repr(configured({"name": "a", "url": LIVE}).destinations)


def test_the_refusal_to_remove_a_destination_names_what_is_there() -> None:
    both = DestinationUse("live", open=["AAPL"], pending=["NVDA"])
    assert str(both.refusal).startswith("'live' has open positions and cannot be removed or become paper: ")
    assert "close AAPL there" in str(both.refusal)
    pending = DestinationUse("live", open=[], pending=["NVDA", "TSLA"])
    assert str(pending.refusal).endswith("try again once those of NVDA, TSLA have ended")
    many = DestinationUse("live", open=[f"T{number}" for number in range(30)], pending=[])
    assert "T8, T9, … there" in str(many.refusal)
    assert "T10" not in str(many.refusal)
