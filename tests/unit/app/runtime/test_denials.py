"""Denials are counted in bounded memory, and logged once a minute and kind."""

from __future__ import annotations

import pytest
import structlog
from hypothesis import given
from hypothesis import strategies as st

from app.db.clock import machine_clock
from app.runtime import denials
from app.runtime.denials import ADDRESSES, LINE_SECONDS, QUIET_SECONDS, UNKNOWN_ADDRESS, Denials, shown


class Clock:
    """A monotonic clock that a test sets."""

    now = 1000.0

    def __call__(self) -> float:
        return self.now


def test_a_flood_is_logged_once_and_summarised_after_a_minute() -> None:
    clock = Clock()
    found = Denials(machine_clock, clock)
    with structlog.testing.capture_logs() as lines:
        for _ in range(120):
            found.count("webhook_secret", "192.0.2.7")
        for _ in range(5):
            found.write_lines()
        found.count("webhook_secret", "192.0.2.8")
        found.write_lines()
        assert [(line["count"], line["client"]) for line in lines] == [(120, "192.0.2.7")]
        clock.now += LINE_SECONDS
        found.write_lines()
        assert (lines[1]["count"], lines[1]["client"], lines[1]["most_from"]) == (1, "192.0.2.8", "192.0.2.7")
        assert lines[1]["total"] == 121
        found.count("sign_in", "192.0.2.9")
        found.count("webhook_secret", "192.0.2.7")
        found.write_lines(at_once=True)
    assert [line["kind"] for line in lines[2:]] == ["sign_in", "webhook_secret"]


def test_an_episode_ends_after_a_quiet_while_and_the_next_counts_anew() -> None:
    clock = Clock()
    found = Denials(machine_clock, clock)
    for _ in range(3):
        clock.now += QUIET_SECONDS
        found.count("admin_token", "192.0.2.7")
    assert found.episodes()["admin_token"].count == 3
    clock.now += QUIET_SECONDS + 1
    assert found.episodes() == {}
    found.count("admin_token", "192.0.2.8")
    episode = found.episodes()["admin_token"]
    assert (episode.count, episode.last_address) == (1, "192.0.2.8")


def test_many_addresses_neither_fill_the_memory_nor_hide_the_most_active_one() -> None:
    found = Denials(machine_clock, Clock())
    for number in range(10_000):
        found.count("webhook_secret", f"10.{number >> 8 & 255}.{number & 255}.1")
        if number % 10 == 0:
            found.count("webhook_secret", "192.0.2.7")
    episode = found.episodes()["webhook_secret"]
    assert episode.count == 11_000
    assert len(episode.seen) == ADDRESSES
    assert episode.top_address == "192.0.2.7"


@given(st.text(max_size=300))
def test_an_address_is_shown_only_if_it_is_one(text: str) -> None:
    assert shown(text) == UNKNOWN_ADDRESS or len(shown(text)) <= 60


@pytest.mark.parametrize("address", ["192.0.2.7", "2001:db8::1", "::ffff:192.0.2.7"])
def test_addresses_of_both_families_are_shown(address: str) -> None:
    assert shown(address) != UNKNOWN_ADDRESS


def test_every_kind_has_a_line() -> None:
    found = Denials(machine_clock, Clock())
    with structlog.testing.capture_logs() as lines:
        for kind in denials.KINDS:
            found.count(kind, "192.0.2.7")
        found.write_lines()
    assert {line["kind"] for line in lines} == set(denials.KINDS)
