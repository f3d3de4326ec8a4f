"""The connected pages, and the unsent messages of each."""

import asyncio
from collections import deque
from typing import Any, Literal, NamedTuple

from app import metrics

LiveMessageType = Literal[
    "snapshot",
    "alarm",
    "signals_changed",
    "metrics_update",
    "positions_changed",
    "top_n_tickers_update",
    "status_update",
]
MESSAGES, PER_SECONDS = 4, 1.05  # the margin keeps a page's own clock from seeing a fifth within its second


class LiveMessage(NamedTuple):
    """A live message, sent as `{"type": …, "data": …}`."""

    type: LiveMessageType
    data: Any


class Mailbox:
    """One page's unsent messages: the newest of each type, so at most seven for a page that reads slowly."""

    def __init__(self) -> None:
        self._unsent: dict[LiveMessageType, Any] = {}
        self._arrived = asyncio.Event()
        self._sent_at: deque[float] = deque(maxlen=MESSAGES)

    def put(self, message: LiveMessage) -> None:
        """Store the message until it is sent; a newer one of its type replaces it."""
        self._unsent[message.type] = message.data
        self._arrived.set()

    def put_first(self, message: LiveMessage) -> None:
        """Put the message first: a snapshot is older than the changes that arrived meanwhile."""
        self._unsent = {message.type: message.data, **self._unsent}
        self._arrived.set()

    async def next(self) -> LiveMessage:
        """Wait until a message may be sent, at most four a second; return the oldest."""
        await self._arrived.wait()
        now = asyncio.get_running_loop().time
        if len(self._sent_at) == MESSAGES and (wait := self._sent_at[0] + PER_SECONDS - now()) > 0:
            await asyncio.sleep(wait)
        message_type = next(iter(self._unsent))
        data = self._unsent.pop(message_type)
        if not self._unsent:
            self._arrived.clear()
        self._sent_at.append(now())
        return LiveMessage(message_type, data)


class Hub:
    """Every connected page's mailbox, and the last message of each type."""

    def __init__(self) -> None:
        self._mailboxes: set[Mailbox] = set()
        self._occupied = asyncio.Event()
        self._last: dict[LiveMessageType, Any] = {}

    def join(self) -> Mailbox:
        """Open a mailbox; everything published from now on is put into it."""
        mailbox = Mailbox()
        self._mailboxes.add(mailbox)
        self._occupied.set()
        metrics.CLIENTS.set(len(self._mailboxes))
        return mailbox

    def leave(self, mailbox: Mailbox) -> None:
        """Close a mailbox. Without pages nothing is remembered: the next page gets a snapshot of its own."""
        self._mailboxes.discard(mailbox)
        if not self._mailboxes:
            self._occupied.clear()
            self._last.clear()
        metrics.CLIENTS.set(len(self._mailboxes))

    async def occupied(self, timeout: float) -> bool:  # noqa: ASYNC109  # the caller's heartbeat interval, in seconds
        """Wait until a page is connected; False after `timeout` seconds without one."""
        try:
            async with asyncio.timeout(timeout):
                await self._occupied.wait()
        except TimeoutError:
            return False
        return True

    def publish(self, message: LiveMessage, *, always: bool = False) -> None:
        """Send to every page, unless it equals the last message of its type; `always` repeats it."""
        if not always and message.type in self._last and self._last[message.type] == message.data:
            return
        self._last[message.type] = message.data
        for mailbox in self._mailboxes:
            mailbox.put(message)
