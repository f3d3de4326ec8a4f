"""Connections to destinations: one for each request, until a destination has shown that reuse is safe."""

import select

import aiohttp
from aiohttp.client_proto import ResponseHandler
from aiohttp.client_reqrep import ConnectionKey
from aiohttp.connector import Connection
from aiohttp.tracing import Trace

_SILENT_SECONDS = 1.0  # how long an idle connection has to stay open and silent
_REUSE_SECONDS = 0.25  # after the last answer: a quarter of what an idle connection was seen to last
_REFUSED_SECONDS = 600.0  # without reuse after anything but a clean end


class EarnedReuseConnector(aiohttp.TCPConnector):
    """A connector that reuses a connection only at a destination that has earned it.

    On a reused connection, a second answer to the previous order would count for this order, and a close by
    the destination would make the outcome unknown. Neither can be distinguished from an answer or a close
    that belongs to this order. A connection of its own costs each order a TCP and a TLS handshake instead.

    A destination earns reuse by keeping one idle connection open and silent for a second. From then on, a
    connection is reused within 250 ms of its last answer, the latest one first. Any other end stops
    reuse for ten minutes: bytes or a close on an idle connection, a broken request, an announced close.

    It overrides private methods of aiohttp, which checks a pooled connection for a close, but not for bytes.
    """

    def __init__(self) -> None:
        super().__init__(limit=0, keepalive_timeout=_REUSE_SECONDS)
        self._earned: set[ConnectionKey] = set()
        self._observed: set[ConnectionKey] = set()
        self._refused_until: dict[ConnectionKey, float] = {}

    async def _get(self, key: ConnectionKey, traces: list[Trace]) -> Connection | None:
        if idle := self._conns.get(key):
            latest, _ = idle[-1]
            if _is_silent(latest):
                idle.rotate()  # it is taken first, so that few stay open
            else:
                self._refuse(key)
        return await super()._get(key, traces)

    def _release(self, key: ConnectionKey, protocol: ResponseHandler, *, should_close: bool = False) -> None:
        if should_close or protocol.should_close:
            self._refuse(key)
        elif key not in self._earned:
            if key not in self._observed and not self._is_refused(key):
                self._observed.add(key)
                _keep_bytes(protocol)
                self._loop.call_later(_SILENT_SECONDS, self._end_observation, key, protocol)
                return  # the connection counts as in use until the observation ends
            should_close = True
        else:
            _keep_bytes(protocol)
        super()._release(key, protocol, should_close=should_close)

    def _cleanup(self) -> None:
        for key, idle in list(self._conns.items()):
            if not all(_is_silent(protocol) for protocol, _ in idle):
                self._refuse(key)
        super()._cleanup()

    def _end_observation(self, key: ConnectionKey, protocol: ResponseHandler) -> None:
        self._observed.discard(key)
        if not _is_silent(protocol):
            self._refuse(key)
        elif not self._is_refused(key):
            self._earned.add(key)
        super()._release(key, protocol, should_close=True)

    def _refuse(self, key: ConnectionKey) -> None:
        self._earned.discard(key)
        self._refused_until[key] = self._loop.time() + _REFUSED_SECONDS
        for protocol, _ in self._conns.pop(key, ()):
            protocol.close()

    def _is_refused(self, key: ConnectionKey) -> bool:
        return self._loop.time() < self._refused_until.get(key, 0.0)


def _keep_bytes(protocol: ResponseHandler) -> None:
    """Keep bytes that arrive from now on as they are: a parser would wait for the rest of an answer."""
    protocol._parser = None  # noqa: SLF001 - as the methods above; the next request sets its own


def _is_silent(protocol: ResponseHandler) -> bool:
    """Return whether an idle connection is open, with nothing arrived, not even unread by the event loop."""
    if protocol.transport is None or protocol.transport.is_closing() or protocol.should_close:
        return False
    poll = select.poll()
    poll.register(protocol.transport.get_extra_info("socket").fileno(), select.POLLIN)
    return not poll.poll(0)
