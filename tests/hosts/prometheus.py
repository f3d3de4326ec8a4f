"""Prometheus' own tool and server, from Debian's package, and queries to a server."""

from __future__ import annotations

import asyncio
import shutil
from asyncio.subprocess import STDOUT, Process
from contextlib import asynccontextmanager, suppress
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import aiohttp

from tests.hosts.docker import call
from tests.hosts.sharing import SETTING_UP

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Callable
    from pathlib import Path

DEADLINE_SECONDS = 60.0  # generous: a scrape a second, on a busy machine
_CONFIGURATION = """
global:
  scrape_interval: 1s
  evaluation_interval: 1s
rule_files: [{rules}]
scrape_configs:
  - job_name: {job}
    static_configs:
      - targets: ["{target}"]
"""


@dataclass(frozen=True, slots=True)
class Programs:
    """The paths of the server and its tool."""

    server: str
    tool: str


def find_programs(folder: Path) -> Programs:
    """Return the system's programs, or Debian's package unpacked into `folder`.

    It is not installed: that would start a server on port 9090, now and after each boot.
    """
    server, tool = shutil.which("prometheus"), shutil.which("promtool")
    if server and tool:
        return Programs(server, tool)
    with SETTING_UP:
        call(["apt-get", "update", "-q"], timeout=300).require()
        call(["apt-get", "download", "-q", "prometheus"], timeout=300, folder=folder).require()
    (package,) = folder.glob("prometheus_*.deb")
    call(["dpkg-deb", "--extract", str(package), str(folder)]).require()
    return Programs(str(folder / "usr/bin/prometheus"), str(folder / "usr/bin/promtool"))


@dataclass(frozen=True, slots=True)
class Prometheus:
    """A running server: its address, and a client session for queries."""

    url: str
    http: aiohttp.ClientSession

    async def ask(self, query: str) -> list[float]:
        """Return the current values of the query's series; an absent metric has none.

        Raises:
            AssertionError: the server refuses the query.
        """
        async with self.http.get(f"{self.url}/api/v1/query", params={"query": query}) as answer:
            found: dict[str, Any] = await answer.json()
        assert found["status"] == "success", found
        return [float(series["value"][1]) for series in found["data"]["result"]]

    async def read_rules(self) -> dict[str, str]:
        """Return the state of each evaluated rule, by name; `ok` unless its query failed."""
        async with asyncio.timeout(DEADLINE_SECONDS):
            while True:
                async with self.http.get(f"{self.url}/api/v1/rules") as answer:
                    found: dict[str, Any] = await answer.json()
                rules = [rule for group in found["data"]["groups"] for rule in group["rules"]]
                states = {rule["name"]: f"{rule['health']} {rule.get('lastError', '')}" for rule in rules}
                if rules and not any(state.startswith("unknown") for state in states.values()):
                    return {name: state.strip() for name, state in states.items()}
                await asyncio.sleep(0.2)

    async def until(self, query: str, is_so: Callable[[list[float]], bool]) -> list[float]:
        """Query until the values are as expected, and return them.

        Raises:
            AssertionError: they are not within a minute.
        """
        found: list[float] = []
        try:
            async with asyncio.timeout(DEADLINE_SECONDS):
                while True:
                    found = await self.ask(query)
                    if is_so(found):
                        return found
                    await asyncio.sleep(0.2)  # it scrapes once a second
        except TimeoutError:
            raise AssertionError(f"{query} is {found}") from None


JOB = "trading-signal-processor"


@asynccontextmanager
async def scraping(
    programs: Programs, target: str, port: int, folder: Path, http: aiohttp.ClientSession, *, rules: Path
) -> AsyncIterator[Prometheus]:
    """Run a server on a loopback port until the block ends; it scrapes `target` (host:port) once a second.

    It evaluates the `rules` as often.
    """
    configuration, log = folder / "prometheus.yml", folder / "prometheus.log"
    configuration.write_text(_CONFIGURATION.format(target=target, rules=rules, job=JOB))
    call([programs.tool, "check", "config", str(configuration)]).require()
    with log.open("wb") as output:
        running = await asyncio.create_subprocess_exec(
            programs.server,
            f"--config.file={configuration}",
            f"--storage.tsdb.path={folder / 'series'}",
            f"--web.listen-address=127.0.0.1:{port}",
            stdout=output,
            stderr=STDOUT,
            cwd=folder,
        )
    server = Prometheus(f"http://127.0.0.1:{port}", http)
    try:
        assert await _is_ready(server, running), _text(log)
        yield server
    finally:
        if running.returncode is None:
            running.terminate()
        async with asyncio.timeout(DEADLINE_SECONDS):
            await running.wait()


async def _is_ready(server: Prometheus, running: Process) -> bool:
    """Wait until the server answers queries; False if it ends before."""
    async with asyncio.timeout(DEADLINE_SECONDS):
        while running.returncode is None:
            with suppress(aiohttp.ClientConnectorError):
                async with server.http.get(f"{server.url}/-/ready") as answer:
                    if answer.status == 200:
                        return True
            await asyncio.sleep(0.1)
    return False


def _text(log: Path) -> str:
    return log.read_text()


def check_rules(programs: Programs, tests: Path) -> list[str]:
    """Return the failures that `promtool test rules` reports for a file of tests; empty if there is none."""
    checked = call([programs.tool, "test", "rules", str(tests)])
    return [] if checked.code == 0 else checked.output.splitlines()


def lint(programs: Programs, exposition: bytes) -> list[str]:
    """Return the errors that `promtool check metrics` reports for served metrics."""
    checked = call([programs.tool, "check", "metrics"], stdin=exposition)
    complaints = checked.output.splitlines()
    assert checked.code == 0 or complaints, "promtool failed without saying why"
    return complaints
