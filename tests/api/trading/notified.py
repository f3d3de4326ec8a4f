"""A target of notifications: its messages, and waiting for the alarms on the page."""

from __future__ import annotations

import asyncio
import json
from typing import TYPE_CHECKING, Any

from app.alarms import watch
from tests.api.operator import ask

if TYPE_CHECKING:
    from collections.abc import Callable

    import pytest

    from tests.api.conftest import AppServer
    from tests.api.trading.receiver import Receiver

SECRET = "s3cret-of-the-target"
WAIT_SECONDS = 60.0


def url_of(receiver: Receiver) -> str:
    """Return the URL by which apprise posts JSON to it, with a secret in it."""
    return receiver.url.replace("http://", "json://").partition("?")[0] + f"/{SECRET}"


def messages(receiver: Receiver) -> list[tuple[str, str, str]]:
    """Return type, title and text of each message to the target."""
    found = [json.loads(each.body) for each in receiver.received]
    return [(each["type"], each["title"], each["message"]) for each in found]


def lines(receiver: Receiver) -> list[str]:
    """Return the lines of all messages: one for the begin of an alarm, one for its end."""
    return [line for _, _, text in messages(receiver) for line in text.splitlines()]


async def until(is_so: Callable[[], bool]) -> None:
    """Poll until the condition holds."""
    async with asyncio.timeout(WAIT_SECONDS):
        while True:
            if is_so():
                return
            await asyncio.sleep(0.05)


async def until_sent(receiver: Receiver, count: int) -> list[tuple[str, str, str]]:
    """Wait for so many messages, and a little longer for one too many."""
    await receiver.count(count)
    await asyncio.sleep(0.5)
    return messages(receiver)


async def until_begun(receiver: Receiver, ticker: str, count: int) -> None:
    """Wait until the inbox has at least so many begins of alarms of a ticker."""

    def is_announced() -> bool:
        begun = [text for kind, _, text in messages(receiver) if kind == "failure"]
        return sum(text.startswith(f"{ticker}:") for text in begun) >= count

    await until(is_announced)


async def until_alarm(app: AppServer, code: str, *, is_there: bool = True) -> dict[str, Any]:
    """Wait until the page shows the alarm, or no longer shows it."""
    async with asyncio.timeout(WAIT_SECONDS):
        while True:
            shown = (await ask(app, "GET", "/admin/status"))["alarms"]
            found = [alarm for alarm in shown if alarm["code"] == code]
            if bool(found) is is_there:
                return found[0] if found else {}
            await asyncio.sleep(0.1)


async def announce_warnings_soon(
    app: AppServer, monkeypatch: pytest.MonkeyPatch, seconds: float = 1.0
) -> None:
    """Announce warnings, too, once the alarm of every start is over: there is no list yet."""
    await until_alarm(app, "top_n_missing", is_there=False)
    monkeypatch.setattr(watch, "ANNOUNCE_AFTER_SECONDS", seconds)
