"""When all positions are sold: once each trading day, and never at once after a change."""

from __future__ import annotations

from datetime import UTC, datetime

import pytest

from app.positions.repository import FlattenSchedule
from app.positions.risk_worker import first_due


def moment(text: str | None) -> datetime | None:
    return None if text is None else datetime.fromisoformat(text).replace(tzinfo=UTC)


# Wednesday, 10 June 2026: 15:55 in New York is 19:55 in UTC.
@pytest.mark.parametrize(
    ("seen", "now", "handled", "due"),
    [
        ("2026-06-10T10:00", "2026-06-10T19:54:59", None, "2026-06-10T19:55"),
        # it has just come, and another process had scheduled another time
        ("2026-06-10T10:00", "2026-06-10T19:55:03", None, "2026-06-10T19:55"),
        ("2026-06-10T19:54:59", "2026-06-10T19:55:01", None, "2026-06-10T19:55"),
        ("2026-06-10T10:00", "2026-06-10T19:55:03", "2026-06-10T19:55", "2026-06-11T19:55"),
        ("2026-06-10T10:00", "2026-06-10T19:55:30", None, "2026-06-11T19:55"),
        # configured in that minute, or just after it
        ("2026-06-10T19:55", "2026-06-10T19:55", None, "2026-06-11T19:55"),
        ("2026-06-10T19:55:02", "2026-06-10T19:55:03", None, "2026-06-11T19:55"),
        # the clock is put back: by three seconds, and by days
        ("2026-06-10T10:00", "2026-06-10T19:54:58", "2026-06-10T19:55", "2026-06-11T19:55"),
        ("2026-06-10T10:00", "2026-06-10T12:00", "2026-06-16T19:55", "2026-06-10T19:55"),
        # over a weekend on which the clocks change, and over Thanksgiving
        ("2026-10-30T10:00", "2026-10-30T19:55:06", None, "2026-11-02T20:55"),
        ("2026-11-25T10:00", "2026-11-25T21:00", "2026-11-25T20:55", "2026-11-27T17:55"),
        ("2026-11-28T10:00", "2026-11-28T20:55:01", None, "2026-11-30T20:55"),
    ],
)
def test_the_first_time_that_is_due(seen: str, now: str, handled: str | None, due: str) -> None:
    at, since = moment(now), moment(seen)
    assert at is not None
    assert since is not None
    schedule = FlattenSchedule(at, None, None, moment(handled))
    assert first_due("15:55 America/New_York", schedule, seen_at=since) == moment(due)
