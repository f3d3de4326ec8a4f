"""Writes within one turn of the event loop leave as one, in order; nothing is held back longer."""

from __future__ import annotations

import asyncio

import pytest

from app.web.server import CoalescingTransport


class Recorded(asyncio.Transport):
    """A transport that records each write."""

    def __init__(self) -> None:
        super().__init__()
        self.writes: list[bytes] = []
        self.closed = False

    def write(self, data: bytes | bytearray | memoryview) -> None:
        """Record the data."""
        self.writes.append(bytes(data))

    def close(self) -> None:
        """Refuse further writes."""
        self.closed = True

    def is_closing(self) -> bool:
        """Return whether it was closed."""
        return self.closed


@pytest.fixture
async def inner() -> Recorded:
    """Return the transport that a coalescing transport writes to."""
    return Recorded()


@pytest.fixture
async def transport(inner: Recorded) -> CoalescingTransport:
    """Return a coalescing transport on this event loop."""
    return CoalescingTransport(inner, asyncio.get_running_loop())


async def test_a_head_and_its_body_are_one_write(transport: CoalescingTransport, inner: Recorded) -> None:
    transport.write(b"head ")
    transport.write(bytearray(b"body"))
    assert not inner.writes
    await asyncio.sleep(0)
    assert inner.writes == [b"head body"]
    await asyncio.sleep(0)
    transport.write(b"next")
    await asyncio.sleep(0)
    assert inner.writes == [b"head body", b"next"]


async def test_large_writes_are_not_held(transport: CoalescingTransport, inner: Recorded) -> None:
    """A streaming response is held back by the inner transport, so memory stays bounded."""
    transport.write(b"head ")
    transport.write(b"x" * 70_000)
    assert [len(data) for data in inner.writes] == [70_005]
    transport.write(b"end")
    await asyncio.sleep(0)
    assert inner.writes[1:] == [b"end"]


async def test_held_data_is_written_before_the_close(transport: CoalescingTransport, inner: Recorded) -> None:
    transport.write(b"last words")
    transport.close()
    assert inner.writes == [b"last words"]
    assert transport.is_closing()


async def test_a_disconnected_client_gets_nothing(transport: CoalescingTransport, inner: Recorded) -> None:
    transport.write(b"too late")
    inner.close()
    await asyncio.sleep(0)
    assert not inner.writes
