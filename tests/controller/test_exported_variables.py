"""Runs of run.py as typed, in environments that would end or mislead the programs it starts."""

from __future__ import annotations

import json
import os
import tempfile
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest

from deploy import bootstrap
from tests.controller import exported

if TYPE_CHECKING:
    import subprocess

    from tests.controller.checkout import Checkout

PLAIN = {"PATH": os.environ["PATH"], "HOME": "/root" if os.geteuid() == 0 else os.environ["HOME"]}


@pytest.fixture
def installed(checkout: Checkout) -> Checkout:
    """A checkout with run.py in it, whose own environment is ready."""
    checkout.install()
    return checkout


def outcome(done: subprocess.CompletedProcess[str]) -> dict[str, Any]:
    """Return the document of --json without members that differ from run to run."""
    assert done.returncode == 0, done.stderr
    found: dict[str, Any] = json.loads(done.stdout)
    for name in ("run_id", "seconds", "summary"):
        del found[name]
    for one in (*found["steps"], *found["hosts"].values()):
        del one["seconds"]
    return found


@pytest.mark.parametrize("flag", ["--status-only", "--quick"])
def test_variables_exported_for_other_programs_change_nothing(
    installed: Checkout, tmp_path: Path, flag: str
) -> None:
    """All of Ansible's settings, and those of Python, git, compose and the C library, at once."""
    exported.make_packages(tmp_path / "theirs")
    hostile = {**exported.ansible_settings(), **exported.of_python(tmp_path / "theirs"), **exported.OF_OTHERS}
    assert len(hostile) > 40
    plain = outcome(installed.run_py(flag, "--json", environ=PLAIN))
    assert outcome(installed.run_py(flag, "--json", environ={**hostile, **PLAIN})) == plain


@pytest.mark.parametrize("arguments", [["--quick"], ["--quick", "--check"]])
def test_an_exported_setting_of_the_stack_is_named_and_has_no_effect(
    installed: Checkout, arguments: list[str]
) -> None:
    (installed.root / ".env").write_text("SERVER_PORT=80\nLOG_LEVEL=INFO\n", "utf-8")
    (installed.root / "docker-compose.yml").write_text("x: ${STACK_CPUS:-2} $${NO_NAME}\n", "utf-8")
    environ = {**PLAIN, "SERVER_PORT": "8099", "LOG_LEVEL": "INFO", "STACK_CPUS": "7", "NO_NAME": "x"}
    done = installed.run_py(*arguments, environ=environ)
    assert done.returncode == 0, done.stderr
    assert "exported here, and without effect: SERVER_PORT, STACK_CPUS (" in done.stdout
    assert "without effect" not in installed.run_py(*arguments, environ=PLAIN).stdout


@pytest.mark.parametrize("home", [None, "/proc"])
def test_a_home_that_cannot_be_used_is_replaced_by_a_private_one(
    installed: Checkout, tmp_path: Path, home: str | None
) -> None:
    show = 'sh -c \'test -w "$HOME" && stat -c "%a %n" "$HOME" >"$PWD"/home\''
    environ = {"PATH": PLAIN["PATH"], "TMPDIR": str(tmp_path)}
    if home is not None:
        environ["HOME"] = home
    done = installed.run_py("--quick", "-e", json.dumps({"command": show}), environ=environ)
    assert done.returncode == 0, done.stdout + done.stderr
    said = next(installed.root.rglob("home")).read_text("utf-8").split()
    assert said[0] == "700"
    assert Path(said[1]).parent == tmp_path
    assert not Path(said[1]).exists()


def test_without_any_variable_a_run_works(installed: Checkout) -> None:
    before = set(Path(tempfile.gettempdir()).glob("trading-signal-processor-home-*"))
    assert installed.run_py("--status-only", environ={}).returncode == 0
    assert set(Path(tempfile.gettempdir()).glob("trading-signal-processor-home-*")) <= before


def moved_to(checkout: Checkout, name: str) -> Checkout:
    """Move the checkout to another name, with an environment for that place."""
    moved = type(checkout)(checkout.root.rename(checkout.root.with_name(name)))
    (moved.root / ".venv" / bootstrap.STAMP).write_text(bootstrap.fingerprint(moved.root, "deploy"), "utf-8")
    return moved


@pytest.mark.parametrize("arguments", [["--status-only"], ["--quick", "--check"], ["--quick"]])
@pytest.mark.parametrize(
    "name", [pytest.param("a b", marks=pytest.mark.exhaustive), "São Paulo, (2) 'x' & \"y\"; #1 100%"]
)
def test_a_path_with_spaces_and_the_like_works(installed: Checkout, name: str, arguments: list[str]) -> None:
    done = moved_to(installed, name).run_py(*arguments, environ=PLAIN)
    assert done.returncode == 0, done.stdout + done.stderr


def test_a_flow_that_reads_is_not_refused_for_the_path(installed: Checkout) -> None:
    done = moved_to(installed, "a$UNSET").run_py("--status-only", environ=PLAIN)
    assert done.returncode == 0, done.stdout + done.stderr


@pytest.mark.parametrize("name", ["a:b", "a {{b}}", "a{%b", "a{#b", "a$HOME", "a${HOME}", "a\nb"])
def test_a_path_that_programs_misread_is_refused(installed: Checkout, name: str) -> None:
    installed.root.rename(moved := installed.root.with_name(name))
    done = type(installed)(moved).run_py("--quick", "--json", environ=PLAIN)
    assert done.returncode == 3
    assert f"this checkout lies at {moved}" in done.stderr
    assert "Move it to a path of letters, digits" in done.stderr
    assert json.loads(done.stdout)["exit_code"] == 3
    assert not (moved / ".run").exists()
