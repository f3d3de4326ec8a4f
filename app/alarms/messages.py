"""What notifications say, in the language of the configuration. Pure."""

from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from datetime import datetime

from app.alarms.alarm import SEVERITIES, Alarm
from app.alarms.repository import Day, Ended
from app.alarms.targets import Message
from app.web.locale import Language, Preferences, current
from app.web.texts import text


@contextmanager
def language(chosen: Language) -> Iterator[None]:
    """Render texts in this block in a language."""
    token = current.set(Preferences(language=chosen))
    try:
        yield
    finally:
        current.reset(token)


def words_of(alarm: Alarm) -> str:
    """Return what is said about one alarm: what happened, and what to do."""
    return f"{alarm.text} {alarm.action}".strip()


def begun(alarms: Sequence[tuple[Alarm, datetime]]) -> Message:
    """Return the message that alarms have begun, each at its time; it is as severe as the worst of them."""
    severity = min((alarm.severity for alarm, _ in alarms), key=SEVERITIES.index)
    lines = [f"{words_of(alarm)} ({text('notify.since', time=clock(at))})" for alarm, at in alarms]
    return Message(severity, text(f"notify.begun.{severity}", count=len(alarms)), "\n".join(lines))


def over(alarms: Sequence[Ended]) -> Message:
    """Return the message that alarms have ended."""
    lines = [
        f"{each.text} ({text('notify.lasted', begin=clock(each.began_at), end=clock(each.ended_at))})"
        for each in alarms
    ]
    return Message("success", text("notify.over", count=len(alarms)), "\n".join(lines))


def summary(day: Day) -> Message:
    """Return the daily summary."""
    return Message("info", text("notify.summary"), text("notify.summary.body", **day._asdict()))


def trial() -> Message:
    """Return the message of the test button."""
    return Message("info", text("notify.test"), text("notify.test.body"))


def clock(moment: datetime) -> str:
    """Return a time in UTC, with its date."""
    return f"{moment:%Y-%m-%d %H:%M:%S} UTC"
