"""No secret in an answer or in the actions log; the mask sent back changes nothing."""

from __future__ import annotations

from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from app.config.masking import (
    MASK,
    differences,
    masked_destination,
    masked_source,
    masked_stored,
    unmasked_destination,
    unmasked_source,
)
from app.config.model import FINVIZ_FILE, SYSTEM_FILE, WEBHOOK_FILE


@pytest.mark.parametrize(
    ("url", "shown"),
    [
        ("https://bridge.example/trading/webhook/id/password", "https://bridge.example/***"),
        ("https://user:pw@bridge.example:8443", "https://bridge.example:8443/***"),
        ("https://bridge.example/?key=secret", "https://bridge.example/***"),
        ("https://bridge.example#secret", "https://bridge.example/***"),
        ("https://bridge.example/", "https://bridge.example/"),
        ("http://host.docker.internal:9", "http://host.docker.internal:9"),
    ],
)
def test_a_masked_destination_shows_its_host(url: str, shown: str) -> None:
    assert masked_destination(url) == shown
    assert unmasked_destination(shown, url) == url


def test_a_mask_of_another_destination_is_refused() -> None:
    assert unmasked_destination("https://new.example/x", "https://old.example/y") == "https://new.example/x"
    for current in ("https://old.example/y", None):
        with pytest.raises(ValueError, match="write the whole URL"):
            unmasked_destination("https://new.example/***", current)


def test_only_the_token_of_a_strategy_url_is_masked() -> None:
    url = "https://elite.finviz.com/export.ashx?v=111&auth=token&o=-change"
    shown = "https://elite.finviz.com/export.ashx?v=111&auth=***&o=-change"
    assert masked_source(url) == shown
    assert unmasked_source(shown, url) == url
    assert unmasked_source(shown.replace("111", "152"), url) == url.replace("111", "152")
    assert unmasked_source("list:AAPL", url) == "list:AAPL"
    assert masked_source("list:AAPL") == "list:AAPL"


SPELLED = [
    "https://elite.finviz.com/export.ashx?AUTH=s3cret",
    "https://elite.finviz.com/export.ashx?v=1&%61uth=s3cret&o=2",
    "https://elite.finviz.com/export.ashx?v=1&a%75%54h=s3cret",
    "https://elite.finviz.com/export.ashx?+auth+=s3cret",
    "https://elite.finviz.com/export.ashx?v=1;auth=s3cret",
    "https://elite.finviz.com/export.ashx?auth=a;s3cret",
    "https://elite.finviz.com/export.ashx?auth=a#s3cret",
    "https://elite.finviz.com/export.ashx?auth=a=s3cret?b",
    "https://elite.finviz.com/export.ashx#auth=s3cret",
    "https://elite.finviz.com/export.ashx?auth=one-s3cret&auth=two-s3cret",
    "https://me:s3cret@elite.finviz.com/export.ashx?v=1",
    "https://s3cret@elite.finviz.com/export.ashx?auth=other-s3cret",
]


@pytest.mark.parametrize("url", SPELLED)
def test_every_spelling_of_a_token_is_masked_and_restored(url: str) -> None:
    shown = masked_source(url)
    assert "s3cret" not in shown
    assert unmasked_source(shown, url) == url
    assert masked_source(shown) == shown
    for other in (None, "https://finviz.com/screener.ashx?v=1"):
        with pytest.raises(ValueError, match="hides no known token"):
            unmasked_source(shown, other)


@given(
    st.lists(
        st.sampled_from(["auth", "AUTH", "v", "=", "&", ";", "#", "?", "@", "://", "%61uth", "x", "***"])
    )
)
def test_a_mask_sent_back_changes_nothing(parts: list[str]) -> None:
    url = "https://finviz.com/" + "".join(parts)
    if MASK not in url:
        assert unmasked_source(masked_source(url), url) == url


@pytest.mark.parametrize("current", [None, "https://finviz.com/screener.ashx?v=111"])
def test_a_mask_without_a_stored_token_is_refused(current: str | None) -> None:
    with pytest.raises(ValueError, match="FINVIZ_ELITE_AUTH"):
        unmasked_source("https://elite.finviz.com/export.ashx?AUTH=***", current)


def test_differences_are_masked_and_name_only_what_differs() -> None:
    kept = {"name": "kept", "url": "https://x/?auth=secret"}
    before: dict[str, Any] = {
        WEBHOOK_FILE: {"url": "https://a.example/secret", "timeout": 5},
        SYSTEM_FILE: {"delivery_paused": False},
        FINVIZ_FILE: {"strategies": [kept, {"name": "gone", "url": "list:A"}]},
    }
    changed = {"name": "new", "url": "https://x/?auth=secret"}
    after: dict[str, Any] = {
        WEBHOOK_FILE: {"url": "https://b.example/secret", "timeout": 5, "dedupe_window_seconds": 0},
        SYSTEM_FILE: {"delivery_paused": False},
        FINVIZ_FILE: {"strategies": [kept, changed], "active": "new"},
    }
    old, new = differences(before, after)
    assert old == {"url": "https://a.example/***", "strategies.gone": {"name": "gone", "url": "list:A"}}
    assert new == {
        "url": "https://b.example/***",
        "dedupe_window_seconds": 0,
        "strategies.new": {"name": "new", "url": "https://x/?auth=***"},
        "active": "new",
    }
    assert differences(after, after) == ({}, {})


def test_known_fields_of_sources_and_tokens_are_shown_and_all_others_masked() -> None:
    entry: dict[str, Any] = {
        "name": "desk", "secret": "s3cret-1", "previous_secrets": ["s3cret-2"], "Secret": "s3cret-3",
        "per_minute": 5, "max_source_age_seconds": {"buy": 60, "key": "s3cret-4"},
    }  # fmt: skip
    shown = {
        "name": "desk", "secret": MASK, "previous_secrets": MASK, "Secret": MASK,
        "per_minute": 5, "max_source_age_seconds": {"buy": 60, "key": MASK},
    }  # fmt: skip
    token = {"name": "t", "sha256": "s3cret", "scope": "read"}
    after: dict[str, Any] = {WEBHOOK_FILE: {"sources": [entry]}, SYSTEM_FILE: {"tokens": [token]}}
    old, new = differences({}, after)
    assert (old, new) == ({}, {"sources.desk": shown, "tokens.t": {**token, "sha256": MASK}})
    listed: Any
    for listed in ({"a": "s3cret"}, ["s3cret"], "s3cret"):
        assert differences({}, {WEBHOOK_FILE: {"sources": listed}})[1] == {"sources": MASK}
    changed: dict[str, Any] = {WEBHOOK_FILE: {"sources": [{**entry, "secret": "s3cret-5"}]}}
    _, new = differences(after, changed)
    assert new == {"sources.desk": {**shown, "secret": f"{MASK} (new)"}}
    assert masked_stored(new) == new
    assert masked_stored({"sources": [entry], "sources.desk": entry, "timeout": 5}) == {
        "sources": MASK, "sources.desk": shown, "timeout": 5,
    }  # fmt: skip
