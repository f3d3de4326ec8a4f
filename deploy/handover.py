"""Which code plays a flow that moves the checkout: a copy, or the target's own controller.

A flow that moves the checkout plays from a copy of the controller, made before anything else: the commit
that it moves to may lack modules, roles and plugins of today. An update that changes the controller goes on
with the target's own one: same request, same run.
The first controller fetches, resolves the target and has its tree laid out; then it replaces itself by the
`run.py` of that tree, which gets the command line as it was typed and, in one variable of the environment,
what is settled already.
"""

from __future__ import annotations

import importlib
import json
import os
import pkgutil
import shutil
import sys
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING, Any, NoReturn

from deploy import environment
from deploy.bootstrap import ENVIRONMENTS
from deploy.onhost import leftovers

if TYPE_CHECKING:
    from collections.abc import Iterable

    from deploy.request import Request

# What a controller is made of, with the templates that its roles read; `.run` is left in place by git.
CONTROLLER = ("ansible.cfg", "deploy", "group_vars", "inventory", "playbooks", "roles", "run.py")
TEMPLATES = (".env.example", "config/*.example")
VARIABLE = "TRADING_SIGNAL_PROCESSOR_HANDOVER"


class Due(Exception):  # noqa: N818 - no error: the way out of everything that is open
    """The controller in `tree` has to go on with `request`."""

    def __init__(self, request: Request, tree: Path) -> None:
        super().__init__(f"{tree} goes on")
        self.request = request
        self.tree = tree


def play_from_copy(root: Path, run_id: str) -> Path:
    """Copy the controller in `root` to where no flow moves it, and return the copy. Raises OSError.

    The controller's own modules are imported first, as none may come from another commit later.
    """
    from deploy.onhost import runs  # noqa: PLC0415 - cannot be imported on Windows, which is refused later

    for module in pkgutil.walk_packages([str(root / "deploy")], "deploy."):
        importlib.import_module(module.name)
    copy = runs.controller(root, run_id)
    copy.mkdir(mode=0o700, parents=True)
    found = [root / name for name in CONTROLLER]
    for source in [*found, *(path for pattern in TEMPLATES for path in root.glob(pattern))]:
        target = copy / source.relative_to(root)
        target.parent.mkdir(exist_ok=True)
        if source.is_dir():
            shutil.copytree(source, target, symlinks=True, ignore=shutil.ignore_patterns("__pycache__"))
        elif source.exists():
            shutil.copy2(source, target)
    return copy


def tree_to_follow(found: Iterable[dict[str, Any]]) -> Path | None:
    """The tree on this machine whose controller has to go on; None if the present one has done all.

    `found` are the hosts' reports of what the remote has, `host_report.source`.
    """
    trees = [Path(one["successor"]) for one in found if "successor" in one]
    return trees[0] if trees else None


def is_behind(found: Iterable[dict[str, Any]]) -> bool:
    """Whether the target has another controller that cannot go on: run.py is in a copy without git."""
    return any(one["changed_controller"] and not one["on_this_machine"] for one in found)


def give(due: Due, checkout: Path) -> NoReturn:
    """Replace this process by the controller in `due.tree`, which goes on for the checkout."""
    request = due.request
    settled = {
        "run_id": request.run_id,
        "checkout": str(checkout),
        "commit": request.commit,
        "process": _this_process(),
        "passwords": request.passwords,
    }
    environment.leave()  # the controller that goes on has its own list
    os.environ[VARIABLE] = json.dumps(settled)
    argv = [sys.executable, str(due.tree / "run.py"), *sys.argv[1:]]
    os.execv(sys.executable, argv)  # noqa: S606 - the same command, by the target's own code


def tidy(request: Request, tree: Path) -> None:
    """Remove what only this run needed: its copy of the controller, or the environment in its tree."""
    from deploy.onhost import runs  # noqa: PLC0415 - cannot be imported on Windows, which is refused later

    if request.checkout:
        shutil.rmtree(tree / ENVIRONMENTS["deploy"], ignore_errors=True)
    else:
        shutil.rmtree(runs.controller(tree, request.run_id), ignore_errors=True)


def give_up(checkout: str, run_id: str, code: int, why: str) -> None:
    """Close what the first controller left open on this machine: the successor cannot go on."""
    from deploy.onhost import lock, runs  # noqa: PLC0415 - cannot be imported on Windows, which is refused later

    place = Path(checkout)
    if lock.holds(place, run_id):
        runs.end(place, run_id, {"exit_code": code, "failure": why, "hosts": {}}, failed=True)


def give_up_unread(code: int, why: str, root: Path) -> None:
    """The same where this run ends before it took anything over; nothing if it began here."""
    if settled := _settled(root):
        give_up(settled["checkout"], settled["run_id"], code, why)


def take(request: Request, root: Path) -> Request:
    """The request with what another controller has settled; as it is, if this run began here.

    `root` is where the code of this process lies.
    """
    settled = _settled(root)
    if settled is None:
        return request
    return replace(
        request,
        run_id=settled["run_id"],
        checkout=settled["checkout"],
        commit=settled["commit"],
        passwords=settled["passwords"],
    )


def _settled(root: Path) -> dict[str, str] | None:
    """Take the variable out of the environment, and return what it settles for this process.

    None where it is not set, or was not set by the controller that this process was before: somebody's shell
    may have exported it.
    """
    try:
        found = json.loads(os.environ.pop(VARIABLE, ""))
        texts = {name: str(found[name]) for name in ("run_id", "checkout", "commit")}
        texts["passwords"] = str(found.get("passwords") or "")
    except (ValueError, KeyError, TypeError):
        return None
    if "process" in found:
        return texts if found["process"] == _this_process() else None
    # A controller of an earlier version names no process. Its successor lies where only an update puts it.
    releases = Path(texts["checkout"], ".run", "releases")
    return texts if root.resolve().parent == releases.resolve() else None


def _this_process() -> list[int | None]:
    """Return the number of this process and its start, which another program in it keeps."""
    return [os.getpid(), leftovers.started(os.getpid())]
