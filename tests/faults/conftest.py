"""The bench that all rows share, and the file that is written when they have run."""

from __future__ import annotations

import os
import platform
from pathlib import Path
from typing import TYPE_CHECKING, Any, cast

import pytest

from tests.faults import results
from tests.faults.bench import Bench
from tests.faults.table import ROWS
from tests.hosts.docker import call
from tests.hosts.ready import start_ready
from tests.hosts.stack import Stack
from tests.hosts.upstream import Upstream

if TYPE_CHECKING:
    from collections.abc import Iterator

CHECKOUT = Path(__file__).resolve().parents[2]


_found: list[results.Outcome] = []
_lines: list[results.Line] = []


def pytest_runtest_logreport(report: pytest.TestReport) -> None:
    """Read a row's result from its report, which reaches the process that writes the table."""
    if report.when == "call":
        lines = [cast("dict[str, Any]", line) for key, line in report.user_properties if key == "line"]
        _lines.extend(results.Line(**line) for line in lines)
        rows = [cast("dict[str, Any]", row) for key, row in report.user_properties if key == "row"]
        _found.extend(results.Outcome(**row) for row in rows)


def pytest_sessionfinish(session: pytest.Session) -> None:
    """Write docs/faults.md, or $FAULTS_TABLE."""
    if not (_found or _lines) or hasattr(session.config, "workerinput"):
        return
    names = [row.name for row in ROWS]
    described = call(["git", "describe", "--always", "--abbrev=12", "--dirty"], folder=CHECKOUT)
    text = results.document(
        sorted(_found, key=lambda outcome: names.index(outcome.name)),
        commit=described.stdout.strip(),
        lines=_lines,
        machine=f"{platform.system()} {platform.release().partition('-')[0]}, {os.cpu_count()} cores",
    )
    Path(os.environ.get("FAULTS_TABLE", CHECKOUT / "docs" / "faults.md")).write_text(text, "utf-8")


@pytest.fixture(scope="module")
def bench(ready_image: str, source: bytes) -> Iterator[Bench]:
    """Prepare a host with the stack, a remote, the operator's configuration, and a local commit."""
    with start_ready(ready_image, source, "faults") as host:
        stack = Stack(host)
        stack.approve("AAPL", "NVDA")
        host.write(f"{stack.project}/config/webhook_config.json", '{"timeout": 7.50}\r\n', mode=0o600)
        identity = "-c user.name=Operator -c user.email=operator@localhost"
        host.run(
            f"tree=$(git write-tree) && commit=$(git {identity} commit-tree -p HEAD -m 'Our own' $tree)"
            " && git branch ours $commit",
            folder=stack.project,
        ).require()
        made = Bench(stack, Upstream(host))
        # A good version to go back to, and the one that every row starts from.
        made.upstream.push({"app/news.txt": "first\n"})
        stack.run_py("--quickupdate").require()
        yield made
