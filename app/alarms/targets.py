"""The targets of notifications: the URLs of NOTIFY_URLS, and one message to one of them by apprise.

apprise is synchronous. Each target has at most one thread, so that one that hangs delays no other, and
neither orders nor alerts.
"""

import asyncio
import threading
from collections.abc import Callable, Sequence
from contextlib import suppress
from functools import partial
from hashlib import blake2b
from typing import TYPE_CHECKING, NamedTuple

from app.errors import failure
from app.signals.reasons import Reason, ReasonCode
from app.signals.refusals import RefusalCode

if TYPE_CHECKING:
    from apprise import Apprise

SEND_SECONDS = 20.0
_NO_ANSWER = Reason(ReasonCode.NO_ANSWER, seconds=f"{SEND_SECONDS:g}")


class Message(NamedTuple):
    """A message; `severity` is that of an alarm, or `success` where alarms have ended."""

    severity: str
    title: str
    body: str


class Target:
    """One URL. Only `key`, a hash, and `name`, its number and scheme, are ever stored or shown."""

    def __init__(self, number: int, url: str) -> None:
        self.key = blake2b(url.encode(), digest_size=12).hexdigest()
        self.name = f"{number} ({url.partition(':')[0]})"
        self._url = url
        self._service: Apprise | None = None
        self._running: tuple[Message, asyncio.Future[bool]] | None = None

    def __repr__(self) -> str:
        """Return the name: the URL holds a password."""
        return f"<target {self.name}>"

    async def prepare(self) -> None:
        """Load apprise and the service in a thread, so that the first message need not wait for it."""
        await in_thread(self._load)

    async def send(self, message: Message) -> Reason | None:
        """Return why the message was not sent, None if it was.

        Waits for 20 s, another message that is under way included. A thread that takes longer goes on; the
        next call with this message waits for it.
        """
        loop = asyncio.get_running_loop()
        until = loop.time() + SEND_SECONDS
        while (other := self._running) and other[0] != message and not other[1].done():
            await asyncio.wait({other[1]}, timeout=max(0.0, until - loop.time()))
            if not other[1].done():
                return _NO_ANSWER
        if self._running is None or self._running[0] != message:
            self._running = (message, in_thread(partial(self._send, message)))
        mine = self._running
        running = mine[1]
        done, _ = await asyncio.wait({running}, timeout=max(0.0, until - loop.time()))
        if not done:
            return _NO_ANSWER
        if self._running is mine:
            self._running = None
        try:
            return None if running.result() else Reason(RefusalCode.TARGET_NOT_ACCEPTING)
        except UnknownTargetError:
            return Reason(RefusalCode.TARGET_NOT_KNOWN)
        except Exception as error:  # noqa: BLE001  # of any of a hundred services
            return failure(error)

    def _load(self) -> bool:
        with suppress(UnknownTargetError):  # the first message says so
            self._service = load(self._url)
        return True

    def _send(self, message: Message) -> bool:
        self._service = self._service or load(self._url)
        return bool(
            self._service.notify(
                body=message.body,
                title=message.title,
                notify_type=_KINDS.get(message.severity, "info"),
                body_format="text",  # a service that takes markup gets it escaped
            )
        )


_KINDS = {"critical": "failure", "warning": "warning", "success": "success"}


class UnknownTargetError(Exception):
    """A URL that no service of apprise can be made of."""


def targets_of(urls: Sequence[str]) -> list[Target]:
    """Return the targets in the order of the URLs."""
    return [Target(number, url) for number, url in enumerate(urls, 1)]


def load(url: str) -> "Apprise":
    """Return apprise with the service for a URL.

    Raises:
        UnknownTargetError: there is none; the text does not quote the URL.
    """
    # Takes a second and 40 MB, so only an application with targets imports it.
    from apprise import Apprise, AppriseAsset, OverflowMode  # noqa: PLC0415

    asset = AppriseAsset(app_id="Trading Signal Processor", storage_mode="memory")
    service = Apprise.instantiate(url, asset=asset)
    if service is None:
        raise UnknownTargetError
    service.overflow_mode = OverflowMode.SPLIT  # a message may be too long for the service
    notifier = Apprise(asset=asset)  # the service alone does not escape for every markup
    notifier.add(service)
    return notifier


def in_thread(call: Callable[[], bool]) -> asyncio.Future[bool]:
    """Run `call` in a thread that does not hold up the end of the process."""
    loop = asyncio.get_running_loop()
    future: asyncio.Future[bool] = loop.create_future()

    def set_result(result: object) -> None:
        if isinstance(result, Exception):
            future.set_exception(result)
        else:
            future.set_result(bool(result))

    def run() -> None:
        result: object
        try:
            result = call()
        except Exception as error:  # noqa: BLE001  # the waiting side judges it
            result = error
        with suppress(RuntimeError):  # the loop is closed: the process ends
            loop.call_soon_threadsafe(set_result, result)

    threading.Thread(target=run, name="notification", daemon=True).start()
    return future
