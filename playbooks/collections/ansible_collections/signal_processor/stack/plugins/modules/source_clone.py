"""Clone the project where a host has no checkout yet, at the commit that every other host gets."""

from __future__ import annotations

import shutil
from pathlib import Path
from typing import Any

from ansible_collections.signal_processor.stack.plugins.module_utils.entry import Failure, Module
from ansible_collections.signal_processor.stack.plugins.module_utils.git_checkout import (
    GitError,
    git,
    holds,
    text,
    without_password,
)

DOCUMENTATION = """
module: source_clone
short_description: Clone the project where there is nothing yet
description:
  - A folder with anything in it is left as it is, checkout or not; a run's own C(.run) does not count.
  - The clone follows C(branch) and is at C(commit); it has its name only when it is whole.
options:
  path: {type: path, required: true, description: The checkout.}
  repository: {type: str, required: true, description: "What C(git clone) takes."}
  branch: {type: str, default: "", description: "The branch to be on; empty for the remote's own."}
  commit: {type: str, default: "", description: "The commit, in full; empty for the newest."}
  seconds: {type: int, default: 120, description: The longest wait for the remote.}
"""


KEPT = {".run"}


def clone(repository: str, path: Path, branch: str, commit: str, seconds: int) -> None:
    """Make the checkout at `path`. Raises Failure."""
    if not repository:
        raise Failure(
            f"There is no checkout at {path}, and nothing says where to clone it from: set source_repo in "
            "group_vars/prod.yml"
        )
    unfinished = path.with_name(f"{path.name}.partial")
    shutil.rmtree(unfinished, ignore_errors=True)
    path.parent.mkdir(parents=True, exist_ok=True)
    try:
        on = ["--branch", branch] if branch else []
        argv = ["clone", "--quiet", "--no-checkout", *on, "--", repository, str(unfinished)]
        git(path.parent, *argv, timeout=seconds)
    except GitError as error:
        raise Failure(
            f"{without_password(repository)} (source_repo) cannot be cloned: {without_password(str(error))}. "
            "Name one that this host can read (source_repo in group_vars/prod.yml), or have the image built "
            "on the machine that run.py runs on (build_on: controller)"
        ) from error
    target = commit or text(unfinished, "rev-parse", "HEAD")
    if not holds(unfinished, "cat-file", "-e", f"{target}^{{commit}}"):
        raise Failure(
            f"{without_password(repository)} (source_repo) does not have the commit {target[:12]} of the "
            "checkout that run.py is in. Push it: git push"
        )
    git(unfinished, "reset", "--quiet", "--hard", target)  # nobody's work yet
    if path.exists():  # this run's lock is in it
        for kept in KEPT:
            if (path / kept).exists():
                (path / kept).rename(unfinished / kept)
        path.rmdir()
    unfinished.rename(path)


def answer(params: dict[str, Any]) -> dict[str, Any]:
    """Clone where there is nothing yet. Raises Failure."""
    path = Path(params["path"])
    if path.exists() and (not path.is_dir() or {entry.name for entry in path.iterdir()} - KEPT):
        return {"changed": False}
    try:
        clone(params["repository"], path, params["branch"], params["commit"], params["seconds"])
    except (GitError, OSError) as error:
        raise Failure(f"The project could not be cloned to {path}: {error}") from error
    return {"changed": True}


MODULE = Module(
    answer,
    {
        "path": {"type": "path", "required": True},
        "repository": {"type": "str", "required": True},
        "branch": {"type": "str", "default": ""},
        "commit": {"type": "str", "default": ""},
        "seconds": {"type": "int", "default": 120},
    },
    fenced=lambda params: str(params["path"]),
)


if __name__ == "__main__":
    MODULE.run()
