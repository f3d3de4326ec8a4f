"""Move the checkout to a commit; the operator's configuration comes through byte for byte.

`git merge --ff-only` silently replaces an ignored file that the new commit tracks. So the operator's files
that either commit tracks are moved aside, and put back in this same step.
"""

from __future__ import annotations

import signal
import time
from pathlib import Path
from typing import Any

from ansible_collections.signal_processor.stack.plugins.module_utils.entry import Failure, Module
from ansible_collections.signal_processor.stack.plugins.module_utils.git_checkout import (
    GitError,
    git,
    hand_to_owner,
    holds,
    names,
    text,
)

DOCUMENTATION = """
module: checkout_move
short_description: Fast-forward a checkout, or take it back, without touching the operator's files
description:
  - Without C(commit) it only puts back what a move that was killed half-way had moved aside.
  - C(kept) is the branch that holds local commits which a move back leaves behind; else empty.
options:
  path: {type: path, required: true, description: The checkout.}
  commit: {type: str, default: "", description: Where to move to.}
  configuration: {type: list, elements: str, required: true, description: The operator's files.}
  back: {type: bool, default: false, description: Go to an older commit, keeping edits or refusing.}
"""

ASIDE = ".run/aside"


def tracked(root: Path, commit: str, paths: list[str]) -> set[str]:
    """Return those of the paths that the commit tracks."""
    return set(names(root, "ls-tree", "-r", "-z", "--name-only", "--full-tree", commit, "--", *paths))


def move_aside(root: Path, paths: list[str]) -> None:
    """Rename the files away: the same file comes back, with its mode, owner and times."""
    for name in paths:
        if (root / name).exists():
            target = root / ASIDE / name
            target.parent.mkdir(mode=0o700, parents=True, exist_ok=True)
            (root / name).rename(target)


def put_back(root: Path) -> bool:
    """Rename back whatever lies aside, over what the move left there; whether there was anything."""
    aside = root / ASIDE
    if not aside.is_dir():
        return False
    for source in [entry for entry in aside.rglob("*") if entry.is_file()]:
        target = root / source.relative_to(aside)
        target.parent.mkdir(mode=0o700, parents=True, exist_ok=True)
        source.replace(target)
    for folder in sorted((entry for entry in aside.rglob("*") if entry.is_dir()), reverse=True):
        folder.rmdir()
    aside.rmdir()
    return True


def keep_name(root: Path, commit: str) -> str:
    """Give commits that no remote has a branch of their own before ours leaves them; its name, or ''."""
    head = text(root, "rev-parse", "HEAD")
    if holds(root, "merge-base", "--is-ancestor", head, commit) or text(
        root, "branch", "--remotes", "--contains", head
    ):
        return ""
    name = f"before-rollback-{time.strftime('%Y%m%dT%H%M%SZ', time.gmtime())}"
    git(root, "branch", name, head)
    return name


def move(root: Path, commit: str, configuration: list[str], *, back: bool) -> str:
    """Move HEAD and the work tree; the branch that keeps local commits, or ''. Raises GitError."""
    head = text(root, "rev-parse", "HEAD")
    before = tracked(root, head, configuration)
    concerned = [name for name in configuration if name in before | tracked(root, commit, configuration)]
    kept = keep_name(root, commit) if back else ""
    # Between moving aside and putting back nobody interrupts: who ends a step asks first, and waits a while.
    let_in = signal.pthread_sigmask(signal.SIG_BLOCK, {signal.SIGINT, signal.SIGTERM, signal.SIGHUP})
    try:
        move_aside(root, concerned)
        if before:  # git moves a clean tree only
            git(root, "checkout", "--quiet", head, "--", *sorted(before))
        git(root, *(["reset", "--quiet", "--keep"] if back else ["merge", "--quiet", "--ff-only"]), commit)
    finally:
        put_back(root)
        signal.pthread_sigmask(signal.SIG_SETMASK, let_in)
    changed = names(root, "diff", "--name-only", "-z", "--no-renames", head, commit)
    hand_to_owner(root, [name for name in changed if name not in configuration])
    return kept


def answer(params: dict[str, Any]) -> dict[str, Any]:
    """Put back what lies aside, then move. Raises Failure."""
    root = Path(params["path"])
    try:
        changed, kept = put_back(root), ""
        if params["commit"] and text(root, "rev-parse", "HEAD") != params["commit"]:
            kept = move(root, params["commit"], params["configuration"], back=params["back"])
            changed = True
    except (GitError, OSError) as error:
        by_hand = "reset --keep" if params["back"] else "merge --ff-only"
        raise Failure(
            f"The checkout {root} could not be moved to {params['commit'][:12]}: {error}. That version "
            f"serves already; put this right, then: git -C {root} {by_hand} {params['commit'][:12]}"
        ) from error
    return {"changed": changed, "kept": kept}


MODULE = Module(
    answer,
    {
        "path": {"type": "path", "required": True},
        "commit": {"type": "str", "default": ""},
        "configuration": {"type": "list", "elements": "str", "required": True},
        "back": {"type": "bool", "default": False},
    },
    fenced=lambda params: str(params["path"]),
)


if __name__ == "__main__":
    MODULE.run()
