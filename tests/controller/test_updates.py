"""The controller before and during an update: fetch first, and hand over where necessary."""

from __future__ import annotations

import json
import subprocess
import sys
from typing import TYPE_CHECKING

from tests.controller.checkout import CONTROLLER, REPOSITORY

if TYPE_CHECKING:
    from pathlib import Path

    import pytest

    from tests.controller.checkout import Checkout

# A controller that only prints its arguments.
SUCCESSOR = """\
import json, os, sys
print(json.dumps([sys.argv, os.environ["TRADING_SIGNAL_PROCESSOR_HANDOVER"]]))
"""

# What `handover.give` does: this very process becomes the target's controller.
PREDECESSOR = f"""\
import json, os, sys
from deploy.onhost import leftovers
settled = json.loads(sys.argv[1]) | {{"process": [os.getpid(), leftovers.started(os.getpid())]}}
os.environ["TRADING_SIGNAL_PROCESSOR_HANDOVER"] = json.dumps(settled)
os.execv(sys.executable, [sys.executable, "-c", {CONTROLLER!r}, *sys.argv[2:]])
"""


def test_the_fetched_commit_is_deployed(checkout: Checkout) -> None:
    done = checkout.run("--update", "--no-rollback")
    assert done.returncode == 0
    assert "version 0123456789ab" in done.stdout
    assert f"{checkout.root} True" in done.stdout


def test_an_unreachable_remote_fails_the_update_and_the_old_version_serves(checkout: Checkout) -> None:
    done = checkout.run("--update", "-e", "away=true")
    assert done.returncode == 5
    assert "the old version still serves" in done.stdout
    assert "The remote origin did not answer." in done.stdout
    assert "state:  nothing was changed" in done.stdout
    assert "Docker answers" not in done.stdout


def test_a_diverged_branch_is_a_failed_precondition_without_diagnosis(checkout: Checkout) -> None:
    done = checkout.run("--update", "-e", "diverged=true")
    assert done.returncode == 3
    assert "Nothing was changed." in done.stdout
    assert "Looking at what serves now" not in done.stdout


def test_a_target_with_another_controller_continues_with_it(checkout: Checkout, tmp_path: Path) -> None:
    tree = tmp_path / "tree"
    tree.mkdir()
    (tree / "run.py").write_text(SUCCESSOR, "utf-8")
    done = checkout.run("--update", "-e", f"tree={tree}")
    assert done.returncode == 0
    assert "Docker answers" not in done.stdout
    argv, given = json.loads(done.stdout.splitlines()[-1])
    assert argv == [str(tree / "run.py"), str(checkout.root), "--update", "-e", f"tree={tree}"]
    settled = json.loads(given)
    assert (settled["checkout"], settled["commit"]) == (str(checkout.root), "0123456789ab")
    assert len(settled["run_id"]) == 12
    assert settled["process"][1] is not None


def test_the_successor_does_not_fetch_again(checkout: Checkout) -> None:
    settled = {"run_id": "abcdefabcdef", "checkout": str(checkout.root), "commit": "fedcba987654"}
    done = subprocess.run(
        [
            *(sys.executable, "-c", PREDECESSOR, json.dumps(settled), str(checkout.root)),
            *("--update", "-e", "away=true", "--json"),
        ],
        cwd=REPOSITORY,
        capture_output=True,
        text=True,
        timeout=180,
        check=False,
    )
    assert done.returncode == 0, done.stderr
    found = json.loads(done.stdout)
    assert found["run_id"] == "abcdefabcdef"
    assert found["hosts"]["here"]["version"] == "fedcba987654"
    assert found["hosts"]["here"]["warnings"] == [f"update abcdefabcdef {checkout.root} False"]


def test_an_exported_variable_causes_no_handover(checkout: Checkout, monkeypatch: pytest.MonkeyPatch) -> None:
    """The run fetches as any other, under its own id."""
    settled = {"run_id": "abcdefabcdef", "checkout": "/srv/other", "commit": "fedcba987654"}
    monkeypatch.setenv("TRADING_SIGNAL_PROCESSOR_HANDOVER", json.dumps({**settled, "process": [1, 1]}))
    found = json.loads(checkout.run("--update", "--json").stdout)
    assert (found["exit_code"], found["hosts"]["here"]["version"]) == (0, "0123456789ab")
    assert found["run_id"] != "abcdefabcdef"


def test_an_update_plays_from_a_copy_that_it_does_not_move(checkout: Checkout) -> None:
    """The target commit lacks today's playbooks, roles and plugins."""
    gone = ("playbooks", "roles", "ansible.cfg", "inventory")
    command = f"sh -c 'cd {checkout.root} && rm -r {' '.join(gone)}'"
    done = checkout.run("--update", "-e", json.dumps({"move": command}))
    assert done.returncode == 5, done.stdout + done.stderr
    assert "after the move" in done.stdout
    assert "version old serves" not in done.stdout.partition("state:")[0]
    assert not [name for name in gone if (checkout.root / name).exists()]
    assert [path.name for path in (checkout.root / ".run").iterdir()] == ["journal.jsonl"]


def test_check_copies_nothing(checkout: Checkout) -> None:
    checkout.run("--update", "--check")
    assert not (checkout.root / ".run").exists()
