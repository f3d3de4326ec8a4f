"""People's reading as load, in a process of its own: `python -m benchmarks.readers URL PATH COUNT TOKEN`.

COUNT readers request PATH without a pause, and one for `/health` ten times a second, until the input ends.
Then it writes one line of JSON: how often each status came, for both.
"""

from __future__ import annotations

import asyncio
import json
import subprocess
import sys
from collections import Counter
from typing import TYPE_CHECKING, Self

import aiohttp
import uvloop

from benchmarks.application import ADMIN_TOKEN
from benchmarks.version import CHECKOUT

if TYPE_CHECKING:
    from types import TracebackType

    from benchmarks.application import Application

_PROBE_SECONDS = 0.1


class Readers:
    """Use as a context manager; afterwards `reads` and `probes` count answers by their status."""

    def __init__(self, application: Application, path: str, count: int) -> None:
        self._arguments = [application.url, path, str(count), ADMIN_TOKEN]
        self.reads: Counter[str] = Counter()
        self.probes: Counter[str] = Counter()

    def __enter__(self) -> Self:
        self._process = subprocess.Popen(
            [sys.executable, "-m", "benchmarks.readers", *self._arguments],
            cwd=CHECKOUT,
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            text=True,
        )
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        try:
            output, _ = self._process.communicate(timeout=120)  # closes its input
        finally:
            self._process.kill()
        counted = json.loads(output)
        self.reads, self.probes = Counter(counted["reads"]), Counter(counted["probes"])


async def _read(client: aiohttp.ClientSession, path: str, counts: Counter[str], pause: float) -> None:
    while True:
        try:
            async with client.get(path) as answer:
                await answer.read()
                counts[str(answer.status)] += 1
        except (aiohttp.ClientError, TimeoutError) as error:
            counts[type(error).__name__] += 1
        await asyncio.sleep(pause)


async def _main(url: str, path: str, count: int, token: str) -> None:
    reads: Counter[str] = Counter()
    probes: Counter[str] = Counter()
    limits, headers = aiohttp.TCPConnector(limit=0), {"Authorization": f"Bearer {token}"}
    patience = aiohttp.ClientTimeout(total=60)
    async with aiohttp.ClientSession(url, connector=limits, headers=headers, timeout=patience) as client:
        tasks = [asyncio.create_task(_read(client, path, reads, 0)) for _ in range(count)]
        tasks.append(asyncio.create_task(_read(client, "/health", probes, _PROBE_SECONDS)))
        await asyncio.get_running_loop().run_in_executor(None, sys.stdin.read)
        for task in tasks:
            task.cancel()
        await asyncio.gather(*tasks, return_exceptions=True)
    print(json.dumps({"reads": reads, "probes": probes}), flush=True)


if __name__ == "__main__":
    with asyncio.Runner(loop_factory=uvloop.new_event_loop) as runner:
        runner.run(_main(sys.argv[1], sys.argv[2], int(sys.argv[3]), sys.argv[4]))
