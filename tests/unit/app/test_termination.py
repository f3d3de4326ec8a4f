"""TERM and INT from the first moment of a process: while it imports, opens, migrates or waits."""

from __future__ import annotations

import os
import re
import signal
import socket
import subprocess
import sys
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING

import pytest
from ansible.parsing.dataloader import DataLoader

if TYPE_CHECKING:
    from collections.abc import Iterator

CHECKOUT = Path(__file__).resolve().parents[3]
DEADLINE_SECONDS = 60  # generous: the machine may be busy
BOTH = [signal.SIGTERM, signal.SIGINT]

# Replaces a library that the application imports: it reports the import, and never returns.
ENDLESS_IMPORT = """
import os, signal
os.write(1, b"importing\\n")
while True:
    signal.pause()
"""


def caught(pid: int) -> set[int]:
    """Return the signals that a process handles; process 1 of a container gets no others."""
    status = Path(f"/proc/{pid}/status").read_text(encoding="utf-8")
    found = re.search(r"^SigCgt:\s*([0-9a-f]+)$", status, re.MULTILINE)
    assert found is not None
    mask = int(found[1], 16)
    return {number for number in range(1, 65) if mask >> (number - 1) & 1}


@contextmanager
def command(name: str, *, database_url: str, folder: Path) -> Iterator[subprocess.Popen[bytes]]:
    """Run one of the image's commands; it has ended when the block ends."""
    environment = {
        "PATH": os.environ["PATH"],
        "PYTHONPATH": f"{folder}:{CHECKOUT}",
        "DATABASE_URL": database_url,
        "CONFIG_DIR": str(folder / "config"),
        "ENABLE_PROMETHEUS": "false",
        "SERVER_PORT": "1",
    }
    with subprocess.Popen(
        [sys.executable, "-m", "app", name], env=environment, stdout=subprocess.PIPE, stderr=subprocess.PIPE
    ) as process:
        try:
            yield process
        finally:
            process.kill()


@pytest.fixture
def silent_server() -> Iterator[socket.socket]:
    """Listen on a port that accepts connections and never answers, like a database that hangs."""
    with socket.create_server(("127.0.0.1", 0)) as listener:
        listener.settimeout(DEADLINE_SECONDS)
        yield listener


def url_of(listener: socket.socket) -> str:
    """Return the address as DATABASE_URL."""
    return f"postgresql://postgres:x@127.0.0.1:{listener.getsockname()[1]}/x"


def ended_by(process: subprocess.Popen[bytes], number: signal.Signals) -> bool:
    """Return whether the signal ends the process with the usual status."""
    assert {signal.SIGTERM, signal.SIGINT} <= caught(process.pid)
    process.send_signal(number)
    return process.wait(DEADLINE_SECONDS) == -number


@pytest.mark.parametrize("number", BOTH)
@pytest.mark.parametrize("name", ["serve", "migrate", "check"])
def test_while_it_imports(tmp_path: Path, name: str, number: signal.Signals) -> None:
    (tmp_path / "pydantic_settings.py").write_text(ENDLESS_IMPORT, encoding="utf-8")
    with command(name, database_url="postgresql://x@127.0.0.1/x", folder=tmp_path) as process:
        assert process.stdout is not None
        assert process.stdout.readline() == b"importing\n"
        assert ended_by(process, number)


@pytest.mark.parametrize("number", BOTH)
@pytest.mark.parametrize(
    ("name", "configuration"),
    [("migrate", "{}"), ("serve", "{}"), ("serve", "broken")],  # reads the last good revision first
)
def test_while_the_database_does_not_answer(
    tmp_path: Path, silent_server: socket.socket, name: str, configuration: str, number: signal.Signals
) -> None:
    (tmp_path / "config").mkdir()
    (tmp_path / "config" / "system_config.json").write_text(configuration, encoding="utf-8")
    with command(name, database_url=url_of(silent_server), folder=tmp_path) as process:
        connection, _ = silent_server.accept()
        with connection:  # if the process gave up on the database, the exit code would differ
            assert ended_by(process, number)


def test_process_1_of_the_container_is_an_init() -> None:
    read = DataLoader().load_from_file
    name = "trading-signal-processor"
    assert read(f"{CHECKOUT}/docker-compose.yml")["services"][name]["init"] is True
    for profile in ("maximum", "hardened"):
        assert "init" not in read(f"{CHECKOUT}/docker-compose.{profile}.yml")["services"][name]
