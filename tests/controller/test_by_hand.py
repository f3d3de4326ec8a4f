"""Playbooks that are started by `ansible-playbook`: confirmation, lock, journal, summary as with run.py."""

from __future__ import annotations

import json
import os
import shutil
import signal
import subprocess
import sys
import time
from typing import TYPE_CHECKING, Any

import pytest

from deploy.onhost import journal, lock
from tests.controller.checkout import REPOSITORY, Checkout

if TYPE_CHECKING:
    from pathlib import Path

BEGINNING = """\
---
- name: Begin a run without run.py
  ansible.builtin.import_playbook: by_hand.yml
  vars:
    by_hand_playbook: {name}
"""
# ansible-playbook of an Ansible that takes itself for another version.
OTHER_VERSION = (
    "import ansible.release; ansible.release.__version__ = {version!r}; "
    "from ansible.cli.playbook import main; main()"
)
PARTS = ("playbooks/callback_plugins", "group_vars", "deploy")
LINKS = ("roles", "group_vars")


@pytest.fixture
def typed(checkout: Checkout) -> Checkout:
    """The small checkout, with what makes its playbooks safe without run.py."""
    for name in PARTS:
        ignored = shutil.ignore_patterns("__pycache__")
        shutil.copytree(REPOSITORY / name, checkout.root / name, symlinks=True, ignore=ignored)
    for name in LINKS:
        (checkout.root / "playbooks" / name).symlink_to(f"../{name}")
    for name in ("quick", "db", "status"):
        playbook = checkout.root / "playbooks" / f"{name}.yml"
        text = playbook.read_text("utf-8").removeprefix("---\n")
        playbook.write_text(f"{BEGINNING.format(name=name)}\n{text}", "utf-8")
    shutil.copy(REPOSITORY / "playbooks" / "site.yml", checkout.root / "playbooks")  # imports quick.yml
    return checkout


def command(checkout: Checkout, playbook: str, *arguments: str) -> list[str]:
    inventory = checkout.root / "inventory"
    path = checkout.root / "playbooks" / f"{playbook}.yml"
    return [sys.executable, "-m", "ansible", "playbook", "-i", str(inventory), str(path), *arguments]


def play(
    checkout: Checkout,
    playbook: str,
    *arguments: str,
    limit: str = "here",
    environ: dict[str, str] | None = None,
) -> subprocess.CompletedProcess[str]:
    """Type `ansible-playbook` in the root of the file system, where no ansible.cfg is."""
    return subprocess.run(
        command(checkout, playbook, "--limit", limit, *arguments),
        cwd="/",
        env={**os.environ, **(environ or {})},
        stdin=subprocess.DEVNULL,
        capture_output=True,
        text=True,
        timeout=180,
        check=False,
    )


def runs_of(checkout: Checkout, folder: str = ".") -> list[dict[str, Any]]:
    return journal.runs(checkout.root / folder, 9)


def test_destroying_needs_a_confirmation(typed: Checkout) -> None:
    """Without it, or with another word, nothing is touched and no lock is taken."""
    for arguments in ((), ("-e", "confirm=yes")):
        refused = play(typed, "db", *arguments)
        assert refused.returncode == 2
        assert "add: -e confirm=trading-signal-processor" in refused.stdout
        assert not (typed.root / ".run").exists()
        assert not (typed.root / "destroyed-here").exists()

    done = play(typed, "db", "-e", "confirm=trading-signal-processor")
    assert done.returncode == 0, done.stdout
    assert (typed.root / "destroyed-here").exists()
    assert "Fresh database done in " in done.stdout
    assert [(run["flow"], run["exit_code"]) for run in runs_of(typed)] == [("db", 0)]
    assert lock.look(typed.root) is None


@pytest.mark.parametrize(
    "arguments",
    [("-e", "run_id="), ("-e", "run_id=by-hand"), ("--tags", "changes"), ("--start-at-task", "Destroy")],
)
def test_no_option_avoids_confirmation_and_lock(typed: Checkout, arguments: tuple[str, ...]) -> None:
    refused = play(typed, "db", *arguments)
    assert refused.returncode == 2
    assert "Nothing was" in refused.stdout + refused.stderr
    assert not (typed.root / "destroyed-here").exists()


def test_a_playbook_that_imports_another_is_one_run(typed: Checkout) -> None:
    """The lock is held to its end, and the journal has it once."""
    done = play(typed, "site")
    assert done.returncode == 0, done.stdout
    assert done.stdout.count("Full deploy done in ") == 1
    assert [(run["flow"], run["exit_code"]) for run in runs_of(typed)] == [("site", 0)]


def test_a_confirmation_in_an_inventory_does_not_count(typed: Checkout) -> None:
    """It has to be given with the command that destroys."""
    hosts = typed.root / "inventory" / "hosts.yml"
    text = hosts.read_text("utf-8").replace(
        "  vars:\n", "  vars:\n    confirm: trading-signal-processor\n", 1
    )
    hosts.write_text(text, "utf-8")
    assert play(typed, "db").returncode == 2
    assert not (typed.root / "destroyed-here").exists()


def test_a_failure_releases_the_lock_and_is_noted(typed: Checkout) -> None:
    """On each host; the summary says what serves, as the diagnosis of run.py does."""
    failed = play(typed, "quick", "-e", "break_on=a", limit="a,b")
    assert failed.returncode == 2
    assert "Quick deploy FAILED after " in failed.stdout
    assert "the old version" in failed.stdout
    for name in ("a", "b"):
        assert lock.look(typed.root / "hosts" / name) is None
        (run,) = runs_of(typed, f"hosts/{name}")
        assert (run["exit_code"], run["hosts"]) == (5, {"a": "failed", "b": "never tried"})
    history = typed.run("--history", "--limit", "a").stdout
    assert "--quick" in history


def test_a_failed_diagnosis_counts_as_not_serving(typed: Checkout) -> None:
    """Although the flow itself had reported that the app serves, before it failed."""
    failed = play(typed, "quick", "-e", '{"record_fails": true, "daemon_dead": true}')
    assert failed.returncode == 2
    assert "it is NOT KNOWN what serves on here" in failed.stdout
    assert "The Docker daemon does not answer." in failed.stdout
    assert [run["exit_code"] for run in runs_of(typed)] == [6]


def test_the_checkout_that_several_hosts_take_code_from_is_locked(typed: Checkout, tmp_path: Path) -> None:
    """Each host asks for that lock, and the run has it until the playbook ends."""
    go_on = tmp_path / "go-on"
    os.mkfifo(go_on)
    command_of_a = f"{{{{ 'sh -c \"read line < {go_on}\"' if inventory_hostname == 'a' else 'true' }}}}"
    variables = json.dumps({"build_on": "controller", "command": command_of_a})
    by_hand = subprocess.Popen(
        command(typed, "quick", "--limit", "a,b", "-e", variables),
        cwd="/",
        stdout=subprocess.PIPE,
        text=True,
    )
    holder = _holder(typed)
    assert (holder["pid"], holder["flow"]) == (by_hand.pid, "quick")
    assert typed.run("--quick").returncode == 7
    go_on.write_text("on\n", "utf-8")
    assert "Quick deploy done" in by_hand.communicate(timeout=120)[0]
    assert lock.look(typed.root) is None
    assert [[run["exit_code"] for run in runs_of(typed, f"hosts/{name}")] for name in "ab"] == [[0], [0]]


def test_a_run_of_run_py_and_one_without_it_exclude_each_other(typed: Checkout, tmp_path: Path) -> None:
    """Both name the one that is at work."""
    go_on = tmp_path / "go-on"
    os.mkfifo(go_on)
    slow = ("-e", json.dumps({"command": f"sh -c 'read line < {go_on}'"}))
    first = typed.start("--quick", *slow)
    holder = _holder(typed)
    refused = play(typed, "db", "-e", "confirm=trading-signal-processor")
    assert refused.returncode == 2
    assert f"belongs to run {holder['run_id']} of {holder['user']}" in refused.stdout
    assert "another run holds the lock. Nothing was changed." in refused.stdout
    assert not (typed.root / "destroyed-here").exists()
    assert lock.holds(typed.root, holder["run_id"])
    go_on.write_text("on\n", "utf-8")
    assert "Quick deploy done" in first.communicate(timeout=120)[0]

    by_hand = subprocess.Popen(
        command(typed, "quick", "--limit", "here", *slow), cwd="/", stdout=subprocess.DEVNULL
    )
    holder = _holder(typed)
    assert (holder["pid"], holder["flow"]) == (by_hand.pid, "quick")
    assert typed.run("--quick").returncode == 7
    assert f"process {by_hand.pid}" in play(typed, "quick").stdout

    by_hand.send_signal(signal.SIGKILL)  # the next run takes over, as its process is gone
    by_hand.wait()
    go_on.write_text("on\n", "utf-8")  # for the step that it leaves
    after = play(typed, "quick")
    assert after.returncode == 0
    assert f"took over the lock of --quick (run {holder['run_id']})" in after.stdout


def _holder(checkout: Checkout) -> dict[str, Any]:
    end_at = time.monotonic() + 60
    while not (found := lock.look(checkout.root)):
        assert time.monotonic() < end_at, "nobody took the lock"
        time.sleep(0.05)
    return found


def test_a_look_ahead_changes_nothing(typed: Checkout) -> None:
    """`--check --diff` of Ansible is the --check of run.py: the plan, without lock and confirmation."""
    for playbook in ("quick", "db"):
        looked = play(typed, playbook, "--check", "--diff")
        assert looked.returncode == 0, looked.stdout
        assert "would do this; nothing was touched." in looked.stdout
    assert not (typed.root / ".run").exists()
    assert not (typed.root / "destroyed-here").exists()


def test_a_playbook_that_only_reads_shows_its_result(typed: Checkout) -> None:
    """It takes no lock."""
    status = play(typed, "status")
    assert (status.returncode, "Serving." in status.stdout) == (0, True)
    assert not (typed.root / ".run").exists()


def test_programs_get_the_environment_that_run_py_gives(typed: Checkout, tmp_path: Path) -> None:
    """What configures compose, git or Python stays out; what the allow-list names passes."""
    seen = tmp_path / "seen"
    exported = {"COMPOSE_FILE": "other.yml", "GIT_DIR": "/", "POSTGRES_PASSWORD": "x", "PIP_RETRIES": "7"}
    program = {"command": f"sh -c 'env > {seen}'"}
    done = play(typed, "quick", "-e", json.dumps(program), environ=exported)
    assert done.returncode == 0, done.stdout
    names = {line.partition("=")[0] for line in seen.read_text("utf-8").splitlines()}
    assert names & set(exported) == {"PIP_RETRIES"}


def test_what_an_inventory_says_wins_in_every_folder(typed: Checkout) -> None:
    """A variable of a group in the inventory counts more than group_vars/ next to the playbooks."""
    place = typed.root / "elsewhere"
    hosts = typed.root / "own.yml"
    known = {
        "hosts": {"one": {"ansible_connection": "local", "ansible_python_interpreter": sys.executable}},
        "vars": {"project_dir": str(place)},
    }
    hosts.write_text(json.dumps({"web": known}), "utf-8")
    argv = [part if part != str(typed.root / "inventory") else str(hosts) for part in command(typed, "quick")]
    subprocess.run(argv, cwd="/", check=True, stdout=subprocess.DEVNULL)
    assert [run["exit_code"] for run in journal.runs(place, 9)] == [0]


def test_without_its_callback_plugin_nothing_begins(typed: Checkout) -> None:
    """Nothing would release the lock then."""
    shutil.rmtree(typed.root / "playbooks" / "callback_plugins")
    refused = play(typed, "quick")
    assert refused.returncode == 2
    assert "callback_plugins/by_hand.py does not work here" in refused.stdout
    assert not (typed.root / ".run").exists()


@pytest.mark.parametrize(("version", "code"), [("2.18.9", 2), ("2.19.0", 0)])
def test_an_ansible_before_2_19_is_refused(typed: Checkout, version: str, code: int) -> None:
    """The callback plugin needs 2.19: without the plugin nothing would release the lock."""
    argv = command(typed, "quick", "--limit", "here")
    argv[1:4] = ["-c", OTHER_VERSION.format(version=version)]
    done = subprocess.run(argv, cwd="/", capture_output=True, text=True, timeout=180, check=False)
    assert done.returncode == code, done.stdout
    message = f"It needs ansible-core 2.19 or newer (here {version})"
    assert (message in " ".join(done.stdout.split())) is bool(code)
    assert (typed.root / ".run" / "journal.jsonl").exists() is not bool(code)
