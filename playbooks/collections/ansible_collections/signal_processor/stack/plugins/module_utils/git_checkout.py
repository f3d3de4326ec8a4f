"""Git in the checkout that is deployed, for the modules in the collection."""

from __future__ import annotations

import os
import shlex
import subprocess
from pathlib import Path
from typing import TYPE_CHECKING

from ansible_collections.signal_processor.stack.plugins.module_utils.onhost.ownership import hand_over

if TYPE_CHECKING:
    from collections.abc import Mapping

# Nobody sits at the other end: a question for a password would wait for ever. Looking refreshes no index.
UNATTENDED = {"GIT_TERMINAL_PROMPT": "0", "LC_ALL": "C", "GIT_OPTIONAL_LOCKS": "0"}
BATCH_MODE = "-o BatchMode=yes -o ConnectTimeout=15"
REMOTE = ("clone", "fetch", "ls-remote")  # commands that may start ssh


class GitError(Exception):
    """A git command failed; the text is git's own last words."""


def git(
    root: Path, *argv: str, timeout: float | None = None, environment: Mapping[str, str] | None = None
) -> bytes:
    """Return stdout of git run in the checkout, whoever owns it. Raises GitError."""
    # Signatures and hooks are the developer's: a deployment neither signs nor runs what a clone brought.
    settings = ("-c", "safe.directory=*", "-c", "core.hooksPath=/dev/null", "-c", "tar.umask=0022")
    variables = {**os.environ, **UNATTENDED, **(environment or {})}
    if argv[0] in REMOTE and (command := ssh_command(configured(root, "core.sshCommand"))):
        variables["GIT_SSH_COMMAND"] = command
    try:
        done = subprocess.run(
            ["git", *settings, "-C", str(root), *argv],
            capture_output=True,
            check=False,
            env=variables,
            timeout=timeout,
            start_new_session=True,  # no terminal: what still wants to ask somebody fails at once
        )
    except FileNotFoundError as error:
        raise GitError("git is not installed") from error
    except subprocess.TimeoutExpired as error:
        raise GitError(f"no answer within {timeout:.0f} s") from error
    if done.returncode:
        said = done.stderr.decode(errors="replace").strip().splitlines()
        raise GitError(" / ".join(line.strip() for line in said[:6] if line.strip()) or "no reason given")
    return done.stdout


def configured(root: Path, key: str) -> str:
    """Return a value of git's configuration as it holds in this folder; empty if it is not set."""
    argv = ["git", "-c", "safe.directory=*", "-C", str(root), "config", "--get", key]
    try:
        return subprocess.run(argv, capture_output=True, text=True, check=False).stdout.strip()
    except FileNotFoundError:
        return ""


def ssh_command(own: str) -> str:
    """Return how git starts ssh without a question, from `core.sshCommand`; empty to leave it to git. Pure.

    Git prefers the variable GIT_SSH_COMMAND to the setting, so the variable repeats it: it may name the key.
    """
    try:
        program = shlex.split(own or "ssh")[0]
    except (ValueError, IndexError):  # the shell that runs it will say what is wrong
        return ""
    if Path(program).name != "ssh":
        return ""  # a program of the operator's: it may know no options of OpenSSH
    return f"{own or 'ssh'} {BATCH_MODE}"


def text(root: Path, *argv: str) -> str:
    """Return the stripped stdout of git as text. Raises GitError."""
    return git(root, *argv).decode().strip()


def names(root: Path, *argv: str) -> list[str]:
    """Return the paths of a git command that ends each with NUL (`-z`). Raises GitError."""
    return git(root, *argv).decode(errors="surrogateescape").split("\0")[:-1]


def subjects(root: Path, *revisions: str) -> list[str]:
    """Return `HASH SUBJECT` of each commit, newest first; the hash has 12 digits, as in every message."""
    return text(root, "log", "--abbrev=12", "--format=%h %s", *revisions).splitlines()


def holds(root: Path, *argv: str) -> bool:
    """Whether a git command that answers by its exit code says yes."""
    try:
        git(root, *argv)
    except GitError:
        return False
    return True


def hand_to_owner(root: Path, changed: list[str]) -> None:
    """Give what git wrote as root to the owner of the checkout, who could not use the clone any more."""
    parents = [parent for name in changed for parent in (root / name).parents if root in parent.parents]
    folders = [parent for parent in dict.fromkeys(parents) if parent.is_dir()]
    store = root / text(root, "rev-parse", "--git-common-dir")
    hand_over(root, store)
    hand_over(root, *(root / name for name in changed), *folders, deep=False)


def without_password(said: str) -> str:
    """Cut user and password out of the first address in what git says."""
    scheme, separator, rest = said.partition("://")
    credentials, at, host = rest.partition("@")
    if separator and at and "/" not in credentials:
        return f"{scheme}://…@{host}"
    return said
