"""A log that cannot be written loses log lines and nothing else."""

from __future__ import annotations

import asyncio
import io
import json
import os
from contextlib import contextmanager, redirect_stdout, suppress
from typing import TYPE_CHECKING, TextIO

import pytest

from app import logging

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable, Iterator
    from pathlib import Path

    from tests.api.conftest import AppServer


def without_reader() -> TextIO:
    """Return a pipe whose other end is closed, as after `docker logs | head`."""
    reading, writing = os.pipe()
    os.close(reading)
    return os.fdopen(writing, "w", buffering=1)


def closed() -> TextIO:
    """Return a stream that was closed."""
    stream = io.StringIO()
    stream.close()
    return stream


def full() -> TextIO:
    """Return a file on a full device."""
    return open("/dev/full", "w", buffering=1)  # noqa: PTH123 - the test closes it


def absent() -> None:
    """Use None, Python's stdout of a process that was started without one."""


@contextmanager
def logging_to(stream: TextIO | None) -> Iterator[None]:
    """Log to the stream meanwhile."""
    try:
        with redirect_stdout(stream):
            logging.configure("DEBUG")
            yield
    finally:
        logging.configure("INFO")
        if stream is not None:
            with suppress(OSError):
                stream.close()


@pytest.mark.parametrize("make", [without_reader, closed, full, absent])
async def test_a_log_that_cannot_be_written_ends_no_worker(
    start_app: Callable[..., Awaitable[AppServer]], tmp_path: Path, make: Callable[[], TextIO | None]
) -> None:
    (tmp_path / "finviz_config.json").write_text('{"strategies": [{"name": "mine", "url": "list:AAPL"}]}')
    with logging_to(make()):
        app = await start_app()
        for side in ("buy", "sell"):
            async with app.http.post(
                "/webhook/in", data=json.dumps({"ticker": "AAPL", "side": side})
            ) as answer:
                assert answer.status == 202
                signal_id = (await answer.json())["signal_id"]
            query = "SELECT status FROM signals WHERE id = $1"
            async with asyncio.timeout(10):
                while await app.context.pool.fetchval(query, signal_id) != "forwarded":
                    await app.context.wakeups.wait("changed", 0.1)
        states = app.context.supervisor.states()
        assert {
            name: state.error for name, state in states.items() if state.restarts or not state.alive
        } == {}
