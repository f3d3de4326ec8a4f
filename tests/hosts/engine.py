"""This machine's Docker engine: installed and started by the roles where there is none, and stopped again.

Parallel test runs, and the workers of one, share it: the last user stops it.
`python -m tests.hosts.engine COMMAND …` runs a program while it is there.
"""

from __future__ import annotations

import contextlib
import os
import secrets
import shutil
import signal
import subprocess
import sys
from pathlib import Path
from typing import TYPE_CHECKING, Self

from tests.hosts.docker import call, docker
from tests.hosts.host import LABEL
from tests.hosts.sharing import SETTING_UP, Shared

if TYPE_CHECKING:
    from collections.abc import Iterator
    from types import TracebackType

PID_FILE = Path("/run/docker.pid")
POSTGRES_IMAGE = "trading-signal-processor/base-postgres:current"


class Engine:
    """A running engine. One that tests started is stopped by the last of them; images stay as a cache."""

    def __init__(self, checkout: Path) -> None:
        self._checkout = checkout
        self._shared = Shared("engine")
        self._use = contextlib.ExitStack()

    def __enter__(self) -> Self:
        with SETTING_UP, contextlib.ExitStack() as use:
            use.enter_context(self._shared.used())
            if not shutil.which("docker") or call(["docker", "version"]).code != 0:
                self._play()
                self._shared.note_start(PID_FILE.read_text())
            _remove_orphans()
            self._use = use.pop_all()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        with SETTING_UP:
            self._use.close()
            if PID_FILE.exists() and self._shared.is_left(PID_FILE.read_text()):
                self._stop()

    @contextlib.contextmanager
    def postgres(self, *settings: str, in_memory: bool = False) -> Iterator[str]:
        """Run a PostgreSQL server from the product's own image; yield its base URL.

        `settings` (`name=value`) are the server's. The address is the container's own: a published port on
        loopback is copied byte by byte by a process of the engine. `in_memory`: its files are not on a disk,
        where a test's database, hundreds of files, takes several times as long.
        """
        with SETTING_UP:
            self._play("--tags", "images")
        password = secrets.token_urlsafe(24)
        container = docker(
            "run", "--detach", "--label", f"{LABEL}={os.getpid()}", "--shm-size", "128m",
            *(["--tmpfs", "/var/lib/postgresql/data"] if in_memory else []),
            "--env", f"POSTGRES_PASSWORD={password}", POSTGRES_IMAGE,
            "postgres", *(part for setting in settings for part in ("-c", setting)),
        )  # fmt: skip
        try:
            ready = "until pg_isready --quiet --host=127.0.0.1 --username=postgres; do sleep 0.1; done"
            docker("exec", container, "timeout", "60", "bash", "-c", ready)
            address = docker(
                "inspect", "--format", "{{range .NetworkSettings.Networks}}{{.IPAddress}}{{end}}", container
            )
            yield f"postgresql://postgres:{password}@{address}:5432"
        finally:
            docker("rm", "--force", "--volumes", container)

    def _play(self, *arguments: str) -> None:
        call(
            [
                sys.executable, "-m", "ansible", "playbook",
                "--inventory", "inventory", "--limit", "local", *arguments, "tests/hosts/engine.yml",
            ],
            timeout=600,
            folder=self._checkout,
        ).require()  # fmt: skip

    def _stop(self) -> None:
        pid = int(PID_FILE.read_text())
        os.kill(pid, signal.SIGTERM)
        call(["tail", f"--pid={pid}", "-f", "/dev/null"], timeout=60)


def _remove_orphans() -> None:
    """Remove what a test run that was killed left behind: containers labelled with a process that is gone."""
    listing = docker(
        "ps", "--all", "--filter", f"label={LABEL}", "--format", f'{{{{.ID}}}} {{{{.Label "{LABEL}"}}}}'
    )
    for line in listing.splitlines():
        container, pid = line.split()
        if not Path("/proc", pid).exists():
            docker("rm", "--force", "--volumes", container)


if __name__ == "__main__":
    with Engine(Path(__file__).resolve().parents[2]):
        sys.exit(subprocess.call(sys.argv[1:]))
