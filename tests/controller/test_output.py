"""A run whose terminal closes: it continues to its verdict, and reports where it still can."""

from __future__ import annotations

import contextlib
import json
import os
import pty
import signal
import subprocess
import sys
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest

from deploy.onhost import leftovers
from tests.controller.checkout import CONTROLLER, REPOSITORY
from tests.controller.test_lock import Busy, journal_of, lock_of

if TYPE_CHECKING:
    from tests.controller.checkout import Checkout

CLOSED = {"stdout": ">&-", "stderr": "2>&-", "both": ">&- 2>&-", "all three": "<&- >&- 2>&-"}


def ended(checkout: Checkout) -> tuple[Any, Any]:
    """Return the journal's entry of the last run, and assert that the lock is released."""
    return journal_of(checkout)[-1]["exit_code"], lock_of(checkout)


@pytest.mark.parametrize("closed", CLOSED)
@pytest.mark.parametrize("flags", ["--quick", "--quick --json -vv"])
def test_a_stream_that_was_closed_before_the_start(checkout: Checkout, closed: str, flags: str) -> None:
    command = f'exec "$0" -c "$1" "$2" {flags} {CLOSED[closed]}'
    argv = ["sh", "-c", command, sys.executable, CONTROLLER, str(checkout.root)]
    done = subprocess.run(argv, cwd=REPOSITORY, capture_output=True, text=True, timeout=180, check=False)
    assert (done.returncode, "Traceback" in done.stderr) == (0, False), done.stderr
    assert ended(checkout) == (0, {})


def test_a_disk_that_is_full_under_the_log_file(checkout: Checkout) -> None:
    with Path("/dev/full").open("w", encoding="utf-8") as full, checkout.start("--quick", stdout=full) as run:
        _, said = run.communicate(timeout=180)
    assert (run.returncode, said) == (0, "")
    assert ended(checkout) == (0, {})


def test_a_failure_keeps_its_exit_code_without_a_reader(checkout: Checkout) -> None:
    reader, writer = os.pipe()
    os.close(reader)
    with os.fdopen(writer, "w") as pipe, checkout.start("--quick", "-e", "refuse=true", stdout=pipe) as run:
        run.communicate(timeout=180)
    assert run.returncode == 3
    assert ended(checkout) == (3, {})


@pytest.mark.parametrize("then", ["goes on", "fails"])
def test_a_terminal_that_closes_ends_no_run(checkout: Checkout, tmp_path: Path, then: str) -> None:
    """The kernel sends HUP to the run, and every later write is an error."""
    terminal, inside = pty.openpty()

    class OnTheTerminal(type(checkout)):  # type: ignore[misc]  # the class of a value
        def start(self, *arguments: str, **_: object) -> subprocess.Popen[str]:
            return subprocess.Popen(
                ["setsid", "--ctty", sys.executable, "-c", CONTROLLER, str(self.root), *arguments],
                cwd=REPOSITORY,
                text=True,
                stdin=inside,
                stdout=inside,
                stderr=inside,
            )

    break_on = ["-e", "break_on=here"] if then == "fails" else []
    with contextlib.closing(Busy(OnTheTerminal(checkout.root), tmp_path, *break_on)) as busy:
        os.close(inside)
        os.close(terminal)
        busy.finish()
        code = 0 if then == "goes on" else 5
        assert busy.process.returncode == code
        assert ended(checkout) == (code, {})


def test_a_hangup_alone_ends_no_run(checkout: Checkout, tmp_path: Path) -> None:
    with contextlib.closing(Busy(checkout, tmp_path)) as busy:
        busy.process.send_signal(signal.SIGHUP)
        assert "Quick deploy done" in busy.finish()
        assert leftovers.started(busy.step) is None
    assert ended(checkout) == (0, {})


def test_a_terminal_that_closes_at_the_confirmation_destroys_nothing(checkout: Checkout) -> None:
    terminal, inside = pty.openpty()
    with checkout.start("--db", stdin=os.fdopen(inside, "r")) as run:
        assert run.stderr
        said = ""
        while not said.endswith("to go on: "):
            said += run.stderr.read(1) or pytest.fail(said)
        os.close(terminal)
        run.communicate(timeout=60)
    assert run.returncode == 8
    assert not list(checkout.root.glob("destroyed-*"))


def test_the_document_is_complete_where_only_stderr_is_closed(checkout: Checkout) -> None:
    argv = ["sh", "-c", 'exec "$0" -c "$1" "$2" --quick --json 2>&-', sys.executable, CONTROLLER]
    done = subprocess.run(
        [*argv, str(checkout.root)], cwd=REPOSITORY, capture_output=True, text=True, timeout=180, check=False
    )
    assert json.loads(done.stdout)["exit_code"] == done.returncode == 0
