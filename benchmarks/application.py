"""The application as a process of its own, started the way the image starts it."""

from __future__ import annotations

import contextlib
import json
import os
import re
import signal
import subprocess
import tempfile
import time
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Self

import requests

from benchmarks.version import CURRENT
from tests.hosts.ports import free_port

if TYPE_CHECKING:
    from types import TracebackType

    from benchmarks.version import Version

WEBHOOK_SECRET = "secret-of-the-bench"  # noqa: S105  # of a throw-away process
ADMIN_TOKEN = "token-of-the-bench"  # noqa: S105  # of a throw-away process
_START_SECONDS = 180.0
_STOP_SECONDS = 30.0
_POLL_SECONDS = 0.005

# A source without result: without a list buys wait, so nothing of a run is decided.
NO_LIST = "file:none.csv"


@dataclass
class Application:
    """Use as a context manager; it runs on a free loopback port with a configuration folder of its own.

    `tickers` are approved; without any, buys are never decided. `environment` overrides the defaults.
    `destinations` are entries of the list, in addition to `default`.
    """

    database_url: str
    tickers: tuple[str, ...] = ()
    environment: dict[str, str] = field(default_factory=dict)
    destinations: tuple[dict[str, object], ...] = ()
    module: str = "app"
    version: Version = CURRENT
    start_seconds: float = 0.0  # from the start of the process to the first good `/health`
    stop_seconds: float = 0.0  # from TERM to its end

    def __enter__(self) -> Self:
        self._folder = tempfile.TemporaryDirectory(prefix="bench-app-")
        folder = Path(self._folder.name)
        url = f"list:{','.join(self.tickers)}" if self.tickers else NO_LIST
        strategy = {"name": "bench", "url": url, "top_n": max(1, len(self.tickers))}
        (folder / "finviz_config.json").write_text(json.dumps({"active": "bench", "strategies": [strategy]}))
        if self.destinations:
            (folder / "webhook_config.json").write_text(json.dumps({"destinations": self.destinations}))
        self._port = free_port()
        self._log = (folder / "log").open("wb")
        started = time.monotonic()
        self._process = subprocess.Popen(
            [self.version.python, "-m", self.module, "serve"],
            cwd=self.version.checkout,
            env={
                "PATH": os.environ["PATH"],
                "DATABASE_URL": self.database_url,
                "ADMIN_TOKEN": ADMIN_TOKEN,
                "WEBHOOK_SECRET": WEBHOOK_SECRET,
                "CONFIG_DIR": str(folder),
                "DATA_DIR": str(folder / "data"),
                "SERVER_PORT": str(self._port),
                "ENABLE_PROMETHEUS": "false",
                "QUEUE_MAX_SIZE": "10000000",
                **self.environment,
            },
            stdout=self._log,
            stderr=subprocess.STDOUT,
        )
        try:
            self._wait_until_healthy(started)
        except BaseException:
            self._process.kill()
            raise
        self.start_seconds = time.monotonic() - started
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        started = time.monotonic()
        self._process.send_signal(signal.SIGTERM)
        try:
            self._process.wait(_STOP_SECONDS)
        finally:
            self._process.kill()
            self._log.close()
            self._folder.cleanup()
        self.stop_seconds = time.monotonic() - started

    @property
    def url(self) -> str:
        """Return its base URL."""
        return f"http://127.0.0.1:{self._port}"

    @property
    def pid(self) -> int:
        """Return its process id."""
        return self._process.pid

    def memory(self) -> float:
        """Return the current resident memory, in MB."""
        return self._status("VmRSS")

    def peak_memory(self) -> float:
        """Return the peak resident memory since its start, or since `forget_peak`, in MB."""
        return self._status("VmHWM")

    def forget_peak(self) -> None:
        """Restart the measurement of `peak_memory`."""
        Path(f"/proc/{self.pid}/clear_refs").write_text("5")

    def session(self) -> requests.Session:
        """Return an authenticated client of the API."""
        session = requests.Session()
        session.headers["Authorization"] = f"Bearer {ADMIN_TOKEN}"
        return session

    def _status(self, name: str) -> float:
        text = Path(f"/proc/{self.pid}/status").read_text()
        (kilobytes,) = re.findall(rf"^{name}:\s+(\d+) kB$", text, re.MULTILINE)
        return int(kilobytes) / 1024

    def _wait_until_healthy(self, started: float) -> None:
        with requests.Session() as session:
            while time.monotonic() - started < _START_SECONDS:
                with contextlib.suppress(requests.ConnectionError):
                    if session.get(f"{self.url}/health", timeout=5).status_code == 200:
                        return
                if self._process.poll() is not None:
                    break
                time.sleep(_POLL_SECONDS)
        log = Path(self._folder.name, "log").read_text()
        raise RuntimeError(f"the application did not become healthy in {_START_SECONDS:g} s:\n{log[-3000:]}")
