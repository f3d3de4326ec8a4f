"""The versions that are compared: this checkout, and a commit (`BASE=`) with an environment of its own."""

from __future__ import annotations

import os
import shutil
import sys
from dataclasses import dataclass
from pathlib import Path

from tests.hosts.docker import call

CHECKOUT = Path(__file__).resolve().parent.parent
# Outside of the checkout: tools that read all of it must not include a base's code.
_CACHE = Path(os.environ.get("XDG_CACHE_HOME") or Path.home() / ".cache")
_BASES = _CACHE / "trading-signal-processor" / "bases"
_STAMP = "environment-is-complete"


@dataclass(frozen=True)
class Version:
    """Code, and the interpreter of an environment with the packages of its locks."""

    name: str
    checkout: Path
    python: str


CURRENT = Version("this checkout", CHECKOUT, sys.executable)


class UnknownCommitError(Exception):
    """BASE= names no commit."""


def prepare(base: str) -> Version:
    """Clone the commit into its own folder, and install the packages of its lock for the application.

    The folder is kept: the next run with the same commit starts at once.

    Raises:
        UnknownCommitError: there is no such commit in this repository.
    """
    found = call(["git", "-C", str(CHECKOUT), "rev-parse", "--verify", "--quiet", f"{base}^{{commit}}"])
    if found.code != 0:
        raise UnknownCommitError(f"BASE={base} is not a commit of this repository: name one that is fetched")
    commit = found.stdout.strip()
    folder = _BASES / commit
    environment = folder / ".venv"
    python = environment / "bin" / "python"
    if not (environment / _STAMP).exists():
        print(f"preparing {commit[:12]} in {folder} …", flush=True)
        shutil.rmtree(folder, ignore_errors=True)
        folder.parent.mkdir(parents=True, exist_ok=True)
        call(["git", "clone", "--quiet", "--no-checkout", str(CHECKOUT), str(folder)]).require()
        call(["git", "-C", str(folder), "checkout", "--quiet", "--detach", commit]).require()
        call([sys.executable, "-m", "venv", str(environment)], timeout=300).require()
        locked = ["-m", "pip", "install", "--quiet", "--require-hashes", "--requirement"]
        call([str(python), *locked, str(folder / "requirements" / "app.txt")], timeout=1200).require()
        (environment / _STAMP).touch()
    return Version(commit[:12], folder, str(python))
