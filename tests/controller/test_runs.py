"""Whole runs of the controller over real, tiny playbooks: output, exit code and files."""

from __future__ import annotations

import json
import os
import signal
from typing import TYPE_CHECKING

import pytest

from deploy import runner
from deploy.onhost import leftovers

if TYPE_CHECKING:
    from pathlib import Path

    from tests.controller.checkout import Checkout


def first_line(text: str) -> str:
    """Return the summary's first line: the one after the steps."""
    return next(line for line in text.splitlines() if line.startswith("Quick deploy "))


def test_a_deployment_that_works(checkout: Checkout) -> None:
    done = checkout.run("--quick", "--install-docker", "--adopt")
    assert done.returncode == 0
    assert done.stderr == ""
    assert "here  changed    Build the image" in done.stdout
    assert "Report" not in done.stdout  # bookkeeping
    assert "Replace the container" not in done.stdout  # skipped
    assert "\x1b" not in done.stdout  # no terminal: plain lines
    assert "here: done · version new · healthy · gap in service 640 ms" in done.stdout
    assert "http://127.0.0.1/admin" in done.stdout
    assert "sign in with ADMIN_TOKEN from .env" in done.stdout
    assert "warning: quick True True" in done.stdout


def test_a_failed_precondition_changes_nothing_and_names_the_remedy(checkout: Checkout) -> None:
    done = checkout.run("--quick", "--logs", "-e", "refuse=true")
    assert done.returncode == 3
    assert "Nothing was changed" in first_line(done.stdout)
    assert "Port 80 is held by nginx (pid 12)." in done.stdout
    assert "Stop it, or set SERVER_PORT in .env." in done.stdout
    assert "python3 run.py --quick -e refuse=true" in done.stdout
    assert "Looking at what serves" not in done.stdout
    assert "last of 100" not in done.stdout  # no log of what was not deployed


def test_check_shows_the_plan_of_every_host_and_changes_nothing(checkout: Checkout) -> None:
    before = sorted(path for path in checkout.root.rglob("*"))
    done = checkout.run("--quick", "--logs", "--check", "--limit", "web")
    assert done.returncode == 0
    lines = done.stdout.splitlines()
    assert lines[0] == "Quick deploy would do this; nothing was touched."
    assert [line for line in lines if line in {"  a:", "  b:"}] == ["  a:", "  b:"]
    assert lines.count("    Image               yes      version new was not built here yet") == 2
    assert "    warning: somebody looks ahead" in lines
    assert lines[-1] == "Next: python3 run.py --quick --limit web --logs  carries it out"
    assert sorted(path for path in checkout.root.rglob("*")) == before  # no lock, no journal either


def test_check_of_a_destruction_needs_no_confirmation(checkout: Checkout) -> None:
    done = checkout.run("--db", "--check", "--json")
    assert done.returncode == 0
    assert "destroys there" not in done.stderr
    found = json.loads(done.stdout)
    assert found["check"] is True
    steps = {step["step"]: step["changes"] for step in found["hosts"]["here"]["plan"]}
    assert (steps["Destruction"], steps["Copy of the database"]) == ("yes", "yes")
    assert not list(checkout.root.glob("destroyed-*"))


def test_check_fails_as_the_flow_would(checkout: Checkout) -> None:
    done = checkout.run("--quick", "--check", "-e", "refuse=true")
    assert done.returncode == 3
    assert "Port 80 is held by nginx (pid 12)." in done.stdout


def test_a_failure_reports_first_that_nothing_serves(checkout: Checkout) -> None:
    done = checkout.run("--quick", "-e", "break_on=here", "-e", "serve=false")
    assert done.returncode == 6
    assert "NOTHING SERVES on here" in first_line(done.stdout)
    assert "failed: Replace the container" in done.stdout
    assert "ended with exit code 125" in done.stdout
    assert "| port is already allocated" in done.stdout
    assert "last of 30" in done.stdout  # the log lines of diagnose.yml
    assert "    diagnosis: logs/diagnosis.txt\n    == health\n    absent" in done.stdout
    assert "Next: python3 run.py --logs" in done.stdout


def test_a_failed_diagnosis_counts_as_not_serving(checkout: Checkout) -> None:
    """Although the flow itself had reported that the app serves, before it failed."""
    done = checkout.run("--quick", "-e", "record_fails=true", "-e", "daemon_dead=true")
    assert done.returncode == 6
    assert "it is NOT KNOWN what serves on here" in first_line(done.stdout)
    assert "failed: Record the version" in done.stdout
    assert "diagnose.yml found no answer" in done.stdout


def test_a_failure_stops_the_other_hosts_and_names_the_rest(checkout: Checkout) -> None:
    done = checkout.run("--quick", "--limit", "web", "-e", "break_on=b", "--json")
    document = json.loads(done.stdout)
    assert done.returncode == document["exit_code"] == 5
    assert "the old version still serves" in document["summary"]
    assert document["hosts"]["a"]["outcome"] == "done"
    assert document["hosts"]["b"]["outcome"] == "failed"
    assert document["hosts"]["b"]["version"] == "old"
    assert document["next"].endswith("python3 run.py --quick --limit b -e break_on=b")
    assert document["hosts"]["b"]["failure"]["detail"] == ["port is already allocated"]


def test_an_unreachable_host(checkout: Checkout) -> None:
    done = checkout.run("--quick", "--limit", "a,dead")
    assert done.returncode == 4
    assert "could not be reached" in first_line(done.stdout)
    assert "Connection refused" in done.stdout
    assert "a: never tried" in done.stdout
    assert not (checkout.root / "hosts" / "a" / ".run" / "lock").exists()


def test_a_playbook_that_cannot_be_read_shows_what_ansible_says(checkout: Checkout) -> None:
    (checkout.root / "playbooks" / "quick.yml").write_text("- hosts: [", "utf-8")
    done = checkout.run("--quick")
    assert done.returncode == 1
    assert "nothing was changed" in first_line(done.stdout)
    assert "YAML parsing failed" in done.stdout


def test_status_and_its_exit_code_report_what_serves(checkout: Checkout) -> None:
    done = checkout.run("--status-only")
    assert done.returncode == 0
    assert done.stdout.startswith("Serving.")
    assert "trading-db: running, healthy, postgres" in done.stdout
    down = checkout.run("--status-only", "--json", "-e", "serve=false")
    assert down.returncode == 6
    assert json.loads(down.stdout)["summary"] == "Not serving: here."


def test_a_default_group_without_hosts_is_no_success(checkout: Checkout) -> None:
    (checkout.root / "inventory" / "hosts.yml").write_text("local: {hosts: {}}\n", "utf-8")
    done = checkout.run("--status-only")
    assert done.returncode == 2
    assert "the group 'local' has no hosts yet" in done.stderr


def test_the_log_of_several_hosts_names_the_host_of_each_line(checkout: Checkout) -> None:
    assert checkout.run("--logs", "--limit", "web").stdout == (
        "a | first\na | last of 100\nb | first\nb | last of 100\n"
    )


def test_one_document_on_stdout_and_everything_else_on_stderr(checkout: Checkout) -> None:
    done = checkout.run("--quick", "--logs", "--json")
    document = json.loads(done.stdout)
    assert document["exit_code"] == done.returncode == 0
    assert document["flow"] == "quick"
    assert document["hosts"]["here"]["gap_ms"] == 640
    assert document["hosts"]["here"]["log"] == "first\nlast of 100"
    build = next(step for step in document["steps"] if step["name"] == "Build the image")
    assert (build["host"], build["play"], build["status"]) == ("here", "Deploy", "changed")
    assert "Build the image" in done.stderr


@pytest.mark.parametrize("arguments", [["--limit", "nowhere"], ["-e", "nonsense"]])
def test_usage_that_only_ansible_can_judge(checkout: Checkout, arguments: list[str]) -> None:
    done = checkout.run("--quick", *arguments)
    assert done.returncode == 2
    assert done.stdout == ""
    assert done.stderr.startswith("run.py: ")


def test_an_inventory_that_cannot_be_read_is_refused_not_skipped(checkout: Checkout, tmp_path: Path) -> None:
    broken = tmp_path / "broken.yml"
    broken.write_text("all: [this, is, no, inventory\n", "utf-8")
    done = checkout.run("--status-only", "-i", str(broken), "--limit", "here", "-e", "a=b")
    assert done.returncode == 2
    assert "cannot read the inventory" in done.stderr
    assert "broken.yml" in done.stderr


def test_no_secret_is_shown_listed_or_kept(
    checkout: Checkout, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Not on the screen with -vvv, not in the process list, and no environment in a file during the run."""
    monkeypatch.setenv("TMPDIR", str(tmp_path))
    monkeypatch.setenv("OPERATORS_OWN", "environment-of-the-operator")
    (checkout.root / ".env").write_text("ADMIN_TOKEN=token-of-the-admin\n", "utf-8")
    script = tmp_path / "look.sh"
    script.write_text(
        f"""ps -ww -A -o args > {tmp_path}/processes
        grep -rl environment-of-the-operator {tmp_path}/trading-* > {tmp_path}/files
        stat -c %a {tmp_path}/trading-* > {tmp_path}/mode
        echo token-of-the-admin password-typed >&2
        exit 1""",
        "utf-8",
    )
    variables = {"command": f"sh {script}", "db_password": "password-typed"}
    done = checkout.run("--quick", "-vvv", "-e", json.dumps(variables))
    assert done.returncode == 5
    assert "********" in done.stdout
    assert "token-of-the-admin" not in done.stdout + done.stderr
    assert "password-typed" not in done.stdout + done.stderr
    processes = (tmp_path / "processes").read_text("utf-8").splitlines()
    playbook = [line for line in processes if " -m ansible playbook " in line and str(checkout.root) in line]
    assert playbook
    assert "password-typed" not in "".join(playbook)
    assert (tmp_path / "files").read_text("utf-8") == ""
    assert (tmp_path / "mode").read_text("utf-8") == "700\n"
    assert not list(tmp_path.glob("trading-*"))


def test_ctrl_c_ends_the_step_and_reports_what_serves(checkout: Checkout, tmp_path: Path) -> None:
    fifo = tmp_path / "started"
    os.mkfifo(fifo)
    script = f"sh -c 'echo $$ > {fifo}; exec sleep 60'"
    with checkout.start("--quick", "-e", json.dumps({"command": script})) as process:
        step = int(fifo.read_text("utf-8"))  # returns when the step runs
        process.send_signal(signal.SIGINT)
        out, _ = process.communicate(timeout=30)
    assert process.returncode == 130
    assert "interrupted" in first_line(out)
    assert "The stack still serves." in first_line(out)
    assert "here: stopped half-way" in out
    assert leftovers.started(step) is None


def test_a_killed_ansible_is_a_failure_and_leaves_no_process(checkout: Checkout, tmp_path: Path) -> None:
    """As the kernel does without free memory; at times also Ctrl-C, which Ansible does not always catch."""
    fifo = tmp_path / "started"
    os.mkfifo(fifo)
    script = f"sh -c 'echo $$ > {fifo}; exec sleep 60'"
    with checkout.start("--quick", "-e", json.dumps({"command": script})) as process:
        step = int(fifo.read_text("utf-8"))
        ansible, *_ = runner.descendants(process.pid)
        os.kill(ansible, signal.SIGKILL)
        out, error = process.communicate(timeout=30)
    assert error == ""
    assert process.returncode == 5
    assert "Ansible was killed" in out
    assert "the old version still serves" in first_line(out)
    assert leftovers.started(step) is None


def test_a_term_before_the_first_change_is_reported_as_such(checkout: Checkout) -> None:
    with checkout.start("--quick") as process:
        assert process.stdout
        assert next(process.stdout) == "Quick deploy: here\n"
        process.send_signal(signal.SIGTERM)
        out, _ = process.communicate(timeout=30)
    assert process.returncode == 130
    assert "Nothing was changed." in out


def test_the_live_view_of_a_terminal(checkout: Checkout, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("TERM", "xterm")
    monkeypatch.delenv("NO_COLOR", raising=False)
    ours, theirs = os.openpty()
    with os.fdopen(theirs, "w") as terminal, checkout.start("--quick", stdout=terminal) as process:
        terminal.close()
        shown = b""
        while chunk := _read(ours):
            shown += chunk
    os.close(ours)
    assert process.returncode == 0
    assert b"\x1b[?25l" in shown  # the cursor is hidden while the view is live …
    assert shown.rindex(b"\x1b[?25h") > shown.rindex(b"\x1b[?25l")  # … and shown again
    assert b"Quick deploy done" in shown


def _read(descriptor: int) -> bytes:
    try:
        return os.read(descriptor, 65536)
    except OSError:  # Linux reports a closed terminal as an input/output error
        return b""


def test_options_of_ansible_reach_its_playbooks(checkout: Checkout, tmp_path: Path) -> None:
    """An encrypted variable of an inventory of one's own, and the file with its password."""
    from ansible.parsing.vault import VaultLib, VaultSecret

    written, password, mine = (tmp_path / name for name in ("written", "password", "mine.yml"))
    password.write_text("opensesame\n", "utf-8")
    lib = VaultLib([("default", VaultSecret(b"opensesame"))])
    secret = lib.encrypt(f"sh -c 'echo opened > {written}'").decode()
    lines = "".join(f"        {line}\n" for line in secret.splitlines())
    mine.write_text(f"web:\n  hosts:\n    a:\n      command: !vault |\n{lines}", "utf-8")
    arguments = ("--quick", "--limit", "a", "-i", str(mine))
    done = checkout.run(*arguments, "--vault-password-file", str(password))
    assert done.returncode == 0, done.stdout
    assert written.read_text("utf-8") == "opened\n"
    refused = checkout.run(*arguments, "--vault-password-file", str(tmp_path / "nowhere"))
    assert (refused.returncode, "no such file" in refused.stderr) == (2, True)
