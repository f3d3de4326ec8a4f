"""The environment run.py makes for itself, made for real: needs the package index of this machine."""

from __future__ import annotations

import os
import shutil
import signal
import subprocess
import sys
from typing import TYPE_CHECKING

import pytest

from deploy import bootstrap
from deploy.bootstrap import BootstrapError
from tests.controller.checkout import REPOSITORY

if TYPE_CHECKING:
    from pathlib import Path

# Stands in for a whole lock: small, pure Python, and it brings a script.
SMALL = "markdown-it-py"


@pytest.fixture
def clone(tmp_path: Path) -> Path:
    """A fresh clone whose lock holds one small package (with its hashes) and what it needs."""
    root = tmp_path / "clone"
    shutil.copytree(REPOSITORY / "deploy", root / "deploy", ignore=shutil.ignore_patterns("__pycache__"))
    (root / "requirements").mkdir()
    shutil.copy(REPOSITORY / "requirements" / "uv.txt", root / "requirements")
    lock = (REPOSITORY / "requirements" / "deploy.txt").read_text("utf-8")
    small = [entry(lock, name) for name in (SMALL, "mdurl")]
    (root / "requirements" / "deploy.txt").write_text("\n".join(small) + "\n", "utf-8")
    return root


def entry(lock: str, name: str) -> str:
    """The lines of one package of a lock."""
    lines = lock.splitlines()
    start = next(number for number, line in enumerate(lines) if line.startswith(f"{name}=="))
    end = next((n for n in range(start + 1, len(lines)) if not lines[n].startswith(" ")), len(lines))
    return "\n".join(lines[start:end])


def make(root: Path) -> subprocess.Popen[str]:
    """The way the Makefile calls it."""
    return subprocess.Popen(
        [sys.executable, "-m", "deploy.bootstrap", "deploy"],
        cwd=root,
        text=True,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        start_new_session=True,
    )


def test_two_start_at_once_and_one_environment_is_made_that_works(clone: Path) -> None:
    (clone / ".venv.new").mkdir()  # left by a run that was killed
    (clone / ".venv.new" / "rubbish").touch()
    first, second = make(clone), make(clone)
    said = first.communicate(timeout=120)[1] + second.communicate(timeout=120)[1]
    assert (first.returncode, second.returncode) == (0, 0), said
    assert said.count("Making .venv") == 1
    assert bootstrap.is_current(clone, "deploy")
    assert sorted(path.name for path in clone.glob(".venv*")) == [".venv"]
    assert not (clone / ".venv" / "rubbish").exists()
    assert not list((clone / ".venv" / "lib").glob("*/site-packages/markdown_it/__pycache__"))
    # After the rename its scripts still start, by name and as modules.
    for argv in (["bin/markdown-it"], ["bin/python", "-m", "markdown_it.cli.parse"]):
        argv[0] = str(clone / ".venv" / argv[0])
        assert subprocess.run([*argv, "--version"], capture_output=True, check=False).returncode == 0

    with (clone / "requirements" / "deploy.txt").open("a", encoding="utf-8") as lock:
        lock.write("# changed\n")
    assert not bootstrap.is_current(clone, "deploy")


def test_an_interrupted_making_leaves_nothing(clone: Path) -> None:
    with make(clone) as process:
        assert process.stderr
        assert "Making .venv" in process.stderr.readline()
        os.killpg(process.pid, signal.SIGINT)
        process.communicate(timeout=60)
    assert process.returncode != 0
    assert not list(clone.glob(".venv*"))


def test_without_a_network_the_reason_is_shown(clone: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    for name in [name for name in os.environ if name.startswith(("PIP_", "UV_"))]:
        monkeypatch.delenv(name)
    monkeypatch.setenv("PIP_CONFIG_FILE", os.devnull)
    monkeypatch.setenv("PIP_INDEX_URL", "http://127.0.0.1:1/simple")
    monkeypatch.setenv("PIP_RETRIES", "0")
    with pytest.raises(BootstrapError) as failure:
        bootstrap.ensure(clone, "deploy")
    assert failure.value.exit_code == 1
    assert "installing uv failed" in str(failure.value)
    assert "    ERROR: " in str(failure.value)
    assert "Is a package index reachable from here" in str(failure.value)
    assert not list(clone.glob(".venv*"))
