"""One run at a time changes a checkout; the run after a dead one reports what it found."""

from __future__ import annotations

import contextlib
import json
import os
import select
import signal
from typing import TYPE_CHECKING, Any

import pytest

from deploy.onhost import journal, leftovers, lock

if TYPE_CHECKING:
    import subprocess
    from collections.abc import Iterator
    from pathlib import Path

    from tests.controller.checkout import Checkout


class Busy:
    """A run in the middle of a step, which ends on command."""

    def __init__(self, checkout: Checkout, folder: Path, *arguments: str) -> None:
        self.started, self.go_on = folder / "started", folder / "go-on"
        for fifo in (self.started, self.go_on):
            os.mkfifo(fifo)
        # Opened for reading and writing, which never waits for the other side: that may have ended.
        self._started, self._go_on = (os.open(fifo, os.O_RDWR) for fifo in (self.started, self.go_on))
        script = f"sh -c 'echo $$ > {self.started}; read line < {self.go_on}'"
        self.process: subprocess.Popen[str] = checkout.start(
            "--quick", "-e", json.dumps({"command": script}), *arguments
        )
        assert select.select([self._started], [], [], 120)[0], "the step did not begin"
        self.step = int(os.read(self._started, 32))

    def finish(self) -> str:
        """Let it finish, and return its output."""
        os.write(self._go_on, b"on\n")
        return self.process.communicate(timeout=180)[0]

    def close(self) -> None:
        """End it and its processes, also after a failed test."""
        for descriptor in (self._started, self._go_on):
            os.close(descriptor)
        self.process.kill()
        self.process.communicate()
        with contextlib.suppress(ProcessLookupError):
            os.kill(self.step, signal.SIGKILL)


@pytest.fixture
def busy(checkout: Checkout, tmp_path: Path) -> Iterator[Busy]:
    """Start a run that works on `here`."""
    with contextlib.closing(Busy(checkout, tmp_path)) as run:
        yield run


def lock_of(checkout: Checkout, folder: str = ".") -> dict[str, Any]:
    return lock.holder_in(checkout.root / folder / ".run") or {}


def journal_of(checkout: Checkout, folder: str = ".") -> list[dict[str, Any]]:
    lines = (checkout.root / folder / ".run" / "journal.jsonl").read_text("utf-8").splitlines()
    return [json.loads(line) for line in lines]


def test_the_second_of_two_runs_ends_at_once_and_names_the_first(checkout: Checkout, busy: Busy) -> None:
    """The second does not wait while the first works. Afterwards it can run."""
    second = checkout.run("--quick", "--json")
    assert busy.process.poll() is None
    assert second.returncode == 7
    document = json.loads(second.stdout)
    assert document["exit_code"] == 7
    assert document["hosts"]["here"]["holder"]["run_id"] == lock_of(checkout)["run_id"]
    said = document["hosts"]["here"]["failure"]["message"]
    for word in ("--quick", str(busy.process.pid), lock_of(checkout)["user"], lock_of(checkout)["since"]):
        assert word in said
    assert "Wait for its end" in said

    reader = checkout.run("--status-only")  # takes no lock
    assert (reader.returncode, "at work: --quick (run " in reader.stdout) == (0, True)
    assert "Quick deploy done" in busy.finish()
    assert checkout.run("--quick").returncode == 0


def test_a_run_that_waits_takes_its_turn(checkout: Checkout, busy: Busy) -> None:
    """With --wait: it names the holder, and continues when that run has ended."""
    waiting = checkout.start("--quick", "--wait", "300")
    assert waiting.stdout is not None
    said = next(line for line in waiting.stdout if "Waiting up to 300 s" in line)
    assert f"--quick (run {lock_of(checkout)['run_id']})" in said
    busy.finish()
    assert busy.process.returncode == 0
    waiting.communicate(timeout=180)
    assert waiting.returncode == 0
    assert [line["exit_code"] for line in journal_of(checkout) if line["line"] == "end"] == [0, 0]


def test_a_wait_that_was_too_short_ends_as_without_it(checkout: Checkout, busy: Busy) -> None:
    """Exit 7, naming the run that holds the lock."""
    done = checkout.run("--quick", "--wait", "2", "--json")
    assert done.returncode == 7
    holder = json.loads(done.stdout)["hosts"]["here"]["holder"]
    assert holder["run_id"] == lock_of(checkout)["run_id"]
    busy.finish()


def test_the_folder_is_private_and_nothing_of_the_lock_stays(checkout: Checkout, busy: Busy) -> None:
    folder = checkout.root / ".run"
    assert oct(folder.stat().st_mode & 0o777) == "0o700"
    assert oct((folder / "lock").stat().st_mode & 0o777) == "0o600"
    busy.finish()
    assert [path.name for path in folder.iterdir()] == ["journal.jsonl"]


def test_after_a_killed_run_the_next_one_takes_over_and_reports_it(checkout: Checkout, busy: Busy) -> None:
    """The processes of the dead run are ended first."""
    dead = lock_of(checkout)["run_id"]
    busy.process.send_signal(signal.SIGKILL)
    busy.process.wait()
    assert leftovers.started(busy.step) is not None
    status = checkout.run("--status-only")
    assert status.returncode == 0
    assert f"CUT OFF: --quick (run {dead}) by " in status.stdout
    assert (
        json.loads(checkout.run("--status-only", "--json").stdout)["hosts"]["here"]["unfinished"]["run_id"]
        == dead
    )

    done = checkout.run("--quick")
    assert done.returncode == 0
    assert leftovers.of_run(dead) == []
    assert f"took over the lock of --quick (run {dead})" in done.stdout
    assert "is gone; what it had left was ended: " in done.stdout

    history = checkout.run("--history").stdout
    assert "interrupted: its end is not known" in history
    assert "CUT OFF" not in checkout.run("--status-only").stdout
    assert history.index("done (0,") < history.index("interrupted")


def test_an_interrupted_run_releases_the_lock(checkout: Checkout, busy: Busy) -> None:
    busy.process.send_signal(signal.SIGTERM)
    busy.process.communicate(timeout=180)
    assert busy.process.returncode == 130
    assert lock_of(checkout) == {}
    assert leftovers.started(busy.step) is None
    assert journal_of(checkout)[-1]["exit_code"] == 130


def test_all_hosts_or_none(checkout: Checkout, tmp_path: Path) -> None:
    """`b` is locked: the lock of `a` is released again, and neither was changed."""
    with contextlib.closing(Busy(checkout, tmp_path, "--limit", "b")) as held:
        done = checkout.run("--quick", "--limit", "web")
        assert done.returncode == 7
        assert "a: never tried" in done.stdout
        assert "b: failed" in done.stdout
        assert (lock_of(checkout, "hosts/a"), journal_of(checkout, "hosts/a")[-1]["exit_code"]) == ({}, 7)
        assert "Quick deploy done" in held.finish()


@pytest.mark.parametrize(
    "arguments",
    [
        ["--update"],
        pytest.param(["--quick", "-e", "build_on=controller"], marks=pytest.mark.exhaustive),
    ],
)
def test_a_checkout_that_provides_code_is_locked_for_its_users(
    checkout: Checkout, busy: Busy, arguments: list[str]
) -> None:
    """Otherwise two runs would build or export in it at once. Other runs are not affected."""
    started = journal_of(checkout)
    done = checkout.run(*arguments, "--limit", "dead")
    assert done.returncode == 7
    assert f"at work on {checkout.root}, the checkout that this run takes code from, process" in done.stdout
    assert checkout.run("--quick", "--limit", "dead").returncode == 4
    assert journal_of(checkout) == started
    busy.finish()

    assert checkout.run(*arguments, "--limit", "dead").returncode == 4
    assert (lock_of(checkout), journal_of(checkout)[0]) == ({}, started[0])
    assert len(journal_of(checkout)) == 2


def test_a_failed_run_releases_the_lock_and_the_journal_has_the_reason(checkout: Checkout) -> None:
    (checkout.root / ".env").write_text("ADMIN_TOKEN=already-allocated-token\n", "utf-8")
    command = {"command": "sh -c 'echo already-allocated-token >&2; exit 1'"}
    done = checkout.run("--quick", "-e", json.dumps(command))
    assert (done.returncode, lock_of(checkout)) == (5, {})
    start, end = journal_of(checkout)
    assert (start["line"], start["flow"], end["line"], end["exit_code"]) == ("start", "quick", "end", 5)
    assert (start["run_id"], end["hosts"]) == (end["run_id"], {"here": "failed"})
    assert "Build the image: " in end["failure"]
    assert "already-allocated-token" not in (checkout.root / ".run" / "journal.jsonl").read_text("utf-8")


def test_history_shows_several_hosts_and_has_a_json_form(checkout: Checkout) -> None:
    checkout.run("--quick", "--limit", "web")
    checkout.run("--quick", "-e", "refuse=true")
    shown = checkout.run("--history", "--limit", "here,a")
    assert shown.returncode == 0
    assert shown.stdout.startswith("The last runs, newest first.\n")
    assert "a precondition failed, nothing changed (3, " in shown.stdout
    assert "Nothing is in the way: Port 80 is held by nginx (pid 12)." in shown.stdout
    document = json.loads(checkout.run("--history", "--json", "--limit", "b").stdout)
    (run,) = document["hosts"]["b"]["history"]
    assert (run["flow"], run["exit_code"], run["running"]) == ("quick", 0, False)


def test_unlock_releases_the_lock_of_a_dead_run(checkout: Checkout, busy: Busy) -> None:
    assert "nobody holds the lock" in checkout.run("--unlock", "--limit", "a").stdout
    refused = checkout.run("--unlock")
    assert refused.returncode == 7
    assert "Unlock refused: the run that holds the lock is at work." in refused.stdout
    assert "at work" in checkout.run("--history").stdout

    busy.process.kill()
    busy.process.wait()
    dead = lock_of(checkout)["run_id"]
    done = checkout.run("--unlock")
    assert done.returncode == 0
    assert f"released the lock of --quick (run {dead})" in done.stdout
    assert "what it had left was ended: " in done.stdout
    assert (lock_of(checkout), leftovers.of_run(dead)) == ({}, [])


def test_unlock_of_a_working_run_needs_yes(checkout: Checkout, busy: Busy) -> None:
    """With --yes; the run reports it at its end."""
    done = checkout.run("--unlock", "--yes")
    assert done.returncode == 0
    assert "it is at work, and --yes was given" in done.stdout
    assert "somebody released the lock of this run while it was at work" in busy.finish()


def test_a_run_that_was_taken_over_stops_and_reports_what_serves(
    checkout: Checkout, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Another run is the holder: the current step is ended, none follows, and the holder keeps the lock."""
    monkeypatch.setenv("PYTHONPATH", str(_hasty(tmp_path)))
    with contextlib.closing(Busy(checkout, tmp_path)) as run:
        theirs = {**lock.claim("b" * 12, "update"), "machine": "ops7", "machine_id": "7" * 32, "user": "bob"}
        ours = lock_of(checkout)["run_id"]
        assert lock.take(checkout.root, theirs, dead=[ours])["taken"]
        said = run.process.communicate(timeout=180)[0]
        assert run.process.returncode == 5, said
        assert leftovers.started(run.step) is None
    assert "the lock of this run was taken over by --update (run bbbbbbbbbbbb) by bob on ops7" in said
    assert "the old version still serves" in said
    assert "version new" not in said
    assert lock_of(checkout)["run_id"] == "b" * 12
    (end,) = (line for line in journal_of(checkout) if line["line"] == "end")
    assert (end["run_id"], end["exit_code"]) == (ours, 5)


def test_a_run_that_resumes_after_the_next_one_ended_names_that_one(
    checkout: Checkout, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The lock is free by then, and was not released by hand."""
    monkeypatch.setenv("PYTHONPATH", str(_hasty(tmp_path)))
    with contextlib.closing(Busy(checkout, tmp_path)) as run:
        started = {"run_id": "b" * 12, "flow": "update", "user": "bob", "machine": "ops7"}
        journal.append(checkout.root, {"line": "start", **started, "started": "2026-01-01T00:00:00Z"})
        assert lock.release(checkout.root, lock_of(checkout)["run_id"])
        said = run.process.communicate(timeout=180)[0]
        assert run.process.returncode == 5, said
    assert "the lock of this run was taken over by --update (run bbbbbbbbbbbb) by bob on ops7" in said
    assert "--unlock" not in said


def test_a_run_whose_lock_was_released_stops_too(
    checkout: Checkout, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("PYTHONPATH", str(_hasty(tmp_path)))
    with contextlib.closing(Busy(checkout, tmp_path)) as run:
        assert checkout.run("--unlock", "--yes").returncode == 0
        said = run.process.communicate(timeout=180)[0]
        assert run.process.returncode == 5, said
    assert "somebody released the lock of this run (--unlock)" in said


def _hasty(folder: Path) -> Path:
    """Return a folder for PYTHONPATH with which a run sends five heartbeats a second."""
    place = folder / "hasty"
    place.mkdir()
    (place / "sitecustomize.py").write_text(
        "import sys\nsys.path.insert(0, '.')\nfrom deploy.onhost import lock\nlock.BEAT_SECONDS = 0.2\n",
        "utf-8",
    )
    return place


def test_an_unreadable_lock(checkout: Checkout) -> None:
    (checkout.root / ".run").mkdir()
    (checkout.root / ".run" / "lock").write_text("{", "utf-8")
    done = checkout.run("--quick")
    assert done.returncode == 7
    assert "python3 run.py --unlock --limit here" in done.stdout
    assert "somebody unknown: it cannot be read" in checkout.run("--unlock").stdout
    assert checkout.run("--quick").returncode == 0


def test_a_folder_that_cannot_be_written_is_a_precondition(checkout: Checkout) -> None:
    (checkout.root / ".run").write_text("in the way", "utf-8")
    done = checkout.run("--quick")
    assert done.returncode == 3
    assert "cannot be locked" in done.stdout


@pytest.fixture
def asked(checkout: Checkout, tmp_path: Path) -> list[str]:
    """Return arguments for a host that run.py reaches as another user."""
    inventory = tmp_path / "asked.yml"
    place = checkout.root / "hosts" / "asked"
    variables = {"ansible_connection": "local", "ansible_become": True, "project_dir": str(place)}
    inventory.write_text(json.dumps({"far": {"hosts": {"asked": variables}}}), "utf-8")
    return ["-i", str(inventory), "--limit", "here,asked"]


def test_hosts_reached_through_ansible_are_locked_by_the_same_code(
    checkout: Checkout, asked: list[str]
) -> None:
    """First a run on another machine works there; then its lease has expired."""
    folder = checkout.root / "hosts" / "asked"
    theirs = {**lock.claim("b" * 12, "update"), "machine": "ops7", "machine_id": "7" * 32, "user": "bob"}
    lock.take(folder, theirs)
    done = checkout.run("--quick", *asked)
    assert done.returncode == 7
    assert "--update (run bbbbbbbbbbbb) by bob on ops7" in done.stdout
    assert "here: never tried" in done.stdout
    assert (lock_of(checkout), journal_of(checkout)[-1]["exit_code"]) == ({}, 7)
    assert not (folder / ".run" / "journal.jsonl").exists()

    held = json.loads((folder / ".run" / "lock").read_text("utf-8"))
    held["seen"]["at"] -= lock.SILENT_SECONDS
    (folder / ".run" / "lock").write_text(json.dumps(held), "utf-8")
    done = checkout.run("--quick", *asked)
    assert done.returncode == 0
    assert "took over the lock of --update (run bbbbbbbbbbbb) by bob on ops7" in done.stdout
    assert lock_of(checkout, "hosts/asked") == {}
    assert [line["line"] for line in journal_of(checkout, "hosts/asked")] == ["start", "end"]
    assert journal_of(checkout, "hosts/asked")[-1]["hosts"] == {"here": "done", "asked": "done"}


def test_a_run_that_lost_the_lock_of_a_remote_host_stops_too(
    checkout: Checkout, asked: list[str], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The heartbeat that Ansible sends there returns the name of the new holder."""
    monkeypatch.setenv("PYTHONPATH", str(_hasty(tmp_path)))
    folder = checkout.root / "hosts" / "asked"
    with contextlib.closing(Busy(checkout, tmp_path, *asked)) as run:
        theirs = {**lock.claim("b" * 12, "update"), "machine": "ops7", "machine_id": "7" * 32, "user": "bob"}
        ours = lock_of(checkout, "hosts/asked")["run_id"]
        assert lock.take(folder, theirs, dead=[ours])["taken"]
        said = run.process.communicate(timeout=180)[0]
        assert run.process.returncode == 5, said
        assert leftovers.started(run.step) is None
    assert "the lock of this run was taken over by --update (run bbbbbbbbbbbb) by bob on ops7" in said
    assert (lock_of(checkout), lock_of(checkout, "hosts/asked")["run_id"]) == ({}, "b" * 12)
