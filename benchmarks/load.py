"""Posts alerts by wrk, which needs a tenth of what the application does: at full speed, or at a rate."""

from __future__ import annotations

import json
import shutil
import uuid
from dataclasses import dataclass
from pathlib import Path
from typing import Protocol

from benchmarks.application import WEBHOOK_SECRET
from tests.hosts.docker import call
from tests.hosts.images import install_packages

CONNECTIONS = 64
_SCRIPT = Path(__file__).parent / "distinct.lua"


class Receiver(Protocol):
    """A server with the route `<url>/webhook/in`: an application, or an edge in front of one."""

    @property
    def url(self) -> str: ...


@dataclass(frozen=True)
class Load:
    """The result of a run: accepted posts, its duration, and the latencies in milliseconds."""

    requests: int
    seconds: float
    p50_ms: float
    p95_ms: float
    p99_ms: float
    max_ms: float

    @property
    def rate(self) -> float:
        """Return the accepted posts a second."""
        return self.requests / self.seconds


def post_alerts(
    receiver: Receiver, *, seconds: float, rate: float = 0, tickers: int = 100, threads: int = 1
) -> Load:
    """Post distinct alerts over 64 connections for so long; `rate` a second, or as fast as they are accepted.

    Tickers are `T0` to `T<tickers - 1>`, all alerts are buys.

    Raises:
        RuntimeError: a post was not answered 202.
    """
    done = call(
        [
            _wrk(), f"--threads={threads}", f"--connections={CONNECTIONS}",
            f"--duration={max(1, round(seconds))}s", "--timeout=10s", f"--script={_SCRIPT}",
            f"{receiver.url}/webhook/in",
            "--", WEBHOOK_SECRET, uuid.uuid4().hex, str(tickers), f"{rate / threads:g}",
        ],
        timeout=seconds + 60,
    ).require()  # fmt: skip
    said = json.loads(done.stdout.strip().splitlines()[-1])
    if said.pop("failed"):
        raise RuntimeError(f"not every post was answered 202:\n{done.stdout}")
    return Load(**said)


def _wrk() -> str:
    found = shutil.which("wrk")
    if found is None:
        install_packages("wrk")
        found = shutil.which("wrk")
    if found is None:
        raise RuntimeError("the package wrk brought no program of that name")
    return found
