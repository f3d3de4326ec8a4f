"""The application as a process of its own, as the image runs it."""

from __future__ import annotations

import asyncio
import os
import subprocess
import sys
from contextlib import contextmanager
from typing import TYPE_CHECKING

import aiohttp

from tests.hosts.ports import free_port

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

LOG = "process.log"


@contextmanager
def process(
    settings: dict[str, str], folder: Path, port: int | None = None
) -> Iterator[tuple[subprocess.Popen[bytes], str]]:
    """A real process of the application, on a free port unless one is given; its output is in `folder`."""
    port = port or free_port()
    log = (folder / LOG).open("wb")
    running = subprocess.Popen(
        [sys.executable, "-m", "app", "serve"],
        env={
            "PATH": os.environ["PATH"],
            "SERVER_PORT": str(port),
            "ENABLE_PROMETHEUS": "false",
            "PROMETHEUS_PORT": str(free_port()),
            **settings,
        },
        stdout=log,
        stderr=log,
    )
    try:
        yield running, f"http://127.0.0.1:{port}"
    finally:
        running.kill()
        running.wait()
        log.close()


async def answering(http: aiohttp.ClientSession, url: str) -> None:
    """Wait until the process serves."""
    async with asyncio.timeout(30):
        while True:
            try:
                async with http.get(f"{url}/health") as answer:
                    if answer.status == 200:
                        return
            except aiohttp.ClientConnectorError:
                await asyncio.sleep(0.05)  # no event reports when another process listens
