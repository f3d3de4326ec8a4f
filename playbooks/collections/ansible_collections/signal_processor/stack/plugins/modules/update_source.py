"""What an update would bring: fetch, resolve the target, lay its tree out. The work tree stays as it is."""

from __future__ import annotations

import os
import re
import shutil
import subprocess
from pathlib import Path
from typing import Any

from ansible_collections.signal_processor.stack.plugins.module_utils.entry import Failure, Module
from ansible_collections.signal_processor.stack.plugins.module_utils.git_checkout import (
    GitError,
    git,
    hand_to_owner,
    holds,
    names,
    subjects,
    text,
    without_password,
)
from ansible_collections.signal_processor.stack.plugins.module_utils.onhost import causes

DOCUMENTATION = """
module: update_source
short_description: Fetch, resolve and export the commit that an update deploys
description:
  - C(state=clean) fails where the checkout cannot be moved; returns C(commit), C(branch), C(upstream).
  - C(state=fetched) asks the remote that the branch follows; returns the C(commit) it is at.
  - C(state=target) resolves the C(commit) to deploy (the one given, or what was fetched), fails where the
    checkout cannot go there, and names in C(changed_controller) what it changes of the controller itself;
    C(controller_ids) are git's names for the contents of that.
  - C(state=foreseen) does that without fetching, as far as it goes; C(fetch) says whether a fetch would bring
    anything, C(known) whether the commit is here already.
  - C(state=news) says whether the remote has a commit that is not here, in C(commit) and C(upstream); both
    are empty where it has none, does not answer in time, or the checkout follows nothing.
  - C(state=exported) lays the tree of C(commit) out in C(folder), and removes other trees in its place.
  - C(state=controller) does that where the checkout is the controller's, its contents are not those of C(ids)
    and it is behind C(commit), which it fetches; returns the C(tree) if so, and C(changed_controller), which
    is unknown where there is no clone.
options:
  path: {type: path, required: true, description: The checkout.}
  state:
    type: str
    choices: [news, clean, fetched, target, foreseen, exported, controller]
    required: true
    description: What to do.
  configuration: {type: list, elements: str, default: [], description: The operator's files; never edits.}
  controller: {type: list, elements: str, default: [], description: Paths that make up the controller.}
  commit: {type: str, default: "", description: "What to export, or to go to."}
  ids: {type: dict, default: {}, description: What the target has of the controller.}
  folder: {type: path, default: "", description: Where to export it to.}
  seconds: {type: int, default: 120, description: The longest wait for the remote.}
"""

LISTED = 8  # names in one message
ABSENT_REF = "couldn't find remote ref"  # git's words, untranslated


def listing(entries: list[str], join: str = ", ") -> str:
    """Return the first few, and how many more there are."""
    more = f"{join}and {len(entries) - LISTED} more" if len(entries) > LISTED else ""
    return join.join(entries[:LISTED]) + more


def edits(root: Path, configuration: list[str]) -> list[str]:
    """Return the tracked files that differ from HEAD; the operator's configuration may."""
    excluded = [f":(exclude,top,literal){name}" for name in configuration]
    return names(root, "diff", "--name-only", "-z", "--no-ext-diff", "HEAD", "--", ":/", *excluded)


def way_back(root: Path) -> str:
    """Return the advice for a detached HEAD: the branch that it left last, or the list to choose from."""
    branches = set(text(root, "for-each-ref", "--format=%(refname:short)", "refs/heads").splitlines())
    for line in text(root, "log", "--walk-reflogs", "--format=%gs", "HEAD").splitlines():
        move = re.fullmatch(r"checkout: moving from (\S+) to \S+", line)
        if move and move[1] in branches:
            return f"Go back to the one it followed: git -C {root} switch {move[1]}"
    if len(branches) == 1:
        return f"Go back to one: git -C {root} switch {branches.pop()}"
    return f"Go back to one: git -C {root} switch BRANCH (there is: {listing(sorted(branches)) or 'none'})"


def upstream(root: Path) -> tuple[str, str]:
    """Return branch and the remote branch it follows, such as `origin/main`. Raises Failure."""
    try:
        branch = text(root, "symbolic-ref", "--short", "HEAD")
    except GitError:
        raise Failure(f"{root} is on no branch (a detached HEAD). {way_back(root)}") from None
    try:
        return branch, text(root, "rev-parse", "--abbrev-ref", "--symbolic-full-name", "@{upstream}")
    except GitError:
        if holds(root, "config", f"branch.{branch}.merge"):  # pruned here, because the remote has it no more
            remote, name = (text(root, "config", f"branch.{branch}.{key}") for key in ("remote", "merge"))
            raise gone(root, branch, remote, name, "") from None
        raise Failure(
            f"The branch {branch} of {root} follows no remote branch. Name it, for example: "
            f"git -C {root} branch --set-upstream-to=origin/{branch}"
        ) from None


def refusal(root: Path, said: str) -> str:
    """Return why git does not work in a folder, and what to do, from what it said."""
    if "dubious ownership" in said:
        who = causes.owner(root)
        return (
            f"git refuses it, because it belongs to {who}: run this as {who}, or allow it by "
            f"git config --global --add safe.directory {root.resolve()}"
        )
    if "ermission denied" in said:
        who = causes.owner(root / ".git")
        return f"its .git is closed to this user and belongs to {who}: run this as {who}, or with sudo"
    if "not a git repository" in said:
        return "it is not a git checkout, and only a clone can"
    return f"git says: {said}"


def clean(root: Path, configuration: list[str]) -> dict[str, Any]:
    """Whether the checkout can be moved at all. Raises Failure."""
    try:
        text(root, "rev-parse", "HEAD")
        top = text(root, "rev-parse", "--show-toplevel")
    except GitError as error:
        raise Failure(f"{root} cannot move from version to version: {refusal(root, str(error))}") from error
    if Path(top) != root.resolve():
        raise Failure(
            f"{root} is not a git checkout itself, and only a clone can move from version to version"
        )
    branch, follows = upstream(root)
    if changed := edits(root, configuration):
        raise Failure(
            f"Tracked files were edited in {root}: {listing(changed)}. Nothing was touched. Commit and push "
            f"them, or put them aside: git -C {root} stash (and later: git -C {root} stash pop)"
        )
    return {"commit": text(root, "rev-parse", "HEAD"), "branch": branch, "upstream": follows}


def ask(root: Path, remote: str, seconds: int, *argv: str) -> str:
    """Run a git command that talks to the remote. Raises Failure where it does not answer."""
    try:
        return git(root, *argv, timeout=seconds).decode()
    except GitError as error:
        raise Failure(
            f"The remote {remote} did not answer: {without_password(str(error))}. The app was not touched. "
            f"Try it by hand: git -C {root} fetch {remote}"
        ) from error


def remote_refs(root: Path, remote: str, seconds: int) -> tuple[dict[str, str], str]:
    """Ask the remote for its refs and their commits, and its default branch's name (or '')."""
    lines = ask(root, remote, seconds, "ls-remote", "--symref", remote).splitlines()
    pairs = [line.split("\t") for line in lines]
    default = next(
        (ref.removeprefix("ref: ") for ref, name in pairs if ref.startswith("ref: ") and name == "HEAD"), ""
    )
    refs = {name: commit for commit, name in pairs if not commit.startswith("ref: ")}
    return refs, default.removeprefix("refs/heads/")


def gone(root: Path, branch: str, remote: str, name: str, default: str) -> Failure:
    """Return the failure of a branch that the remote no longer has, with the way out; nothing was changed."""
    lost, other = name.removeprefix("refs/heads/"), default or "BRANCH"
    known = f"Its default branch is {default}. " if default else ""
    return Failure(
        f"The remote {remote} has no branch {lost} any more, which {branch} of {root} follows. {known}"
        f"Follow another one: git -C {root} remote set-branches --add {remote} {other} && "
        f"git -C {root} fetch {remote} && git -C {root} branch --set-upstream-to={remote}/{other}",
        {"host_report": {"unchanged": True}},
    )


def fetch(root: Path, seconds: int) -> dict[str, Any]:
    """Fetch the branch by its name: what the remote has it at, and whether that is news.

    A fetch of everything would pass over a branch that is not there any more. Raises Failure.
    """
    branch, follows = upstream(root)
    before = text(root, "rev-parse", follows)
    remote, name = (text(root, "config", f"branch.{branch}.{key}") for key in ("remote", "merge"))
    tracking = text(root, "rev-parse", "--symbolic-full-name", "@{upstream}")
    refspec = [f"+{name}:{tracking}"] if tracking.startswith("refs/remotes/") else []
    try:
        ask(root, remote, seconds, "fetch", "--quiet", remote, *refspec)
    except Failure as failure:
        if ABSENT_REF not in str(failure):
            raise
        raise gone(root, branch, remote, name, remote_refs(root, remote, seconds)[1]) from failure
    hand_to_owner(root, [])
    there = text(root, "rev-parse", follows)
    return {"changed": there != before, "commit": there}


def foresee(root: Path, configuration: list[str], seconds: int) -> dict[str, Any]:
    """Say what fetching would come to, and leave it. Raises Failure where the update would be refused."""
    branch, follows = upstream(root)
    remote, name = (text(root, "config", f"branch.{branch}.{key}") for key in ("remote", "merge"))
    listed, default = remote_refs(root, remote, seconds)
    if name not in listed:
        raise gone(root, branch, remote, name, default)
    commit, new = listed[name], listed[name] != text(root, "rev-parse", follows)
    if holds(root, "cat-file", "-e", f"{commit}^{{commit}}"):
        return {**target(root, configuration, commit), "fetch": new, "known": True}
    head, own = text(root, "rev-parse", "HEAD"), subjects(root, f"{follows}..HEAD")
    return {"commit": commit, "from": head, "fetch": new, "known": False, "own_commits": own}


def news(root: Path, seconds: int) -> dict[str, Any]:
    """Ask the remote, without any question to a person, whether it has a commit that is not here."""
    nothing = {"commit": "", "upstream": ""}
    silent = {"GIT_ASKPASS": "true", "SSH_ASKPASS_REQUIRE": "never"}
    try:
        branch, follows = upstream(root)
        remote, name = (text(root, "config", f"branch.{branch}.{key}") for key in ("remote", "merge"))
        said = git(root, "ls-remote", remote, name, timeout=seconds, environment=silent).decode()
        commit = said.partition("\t")[0]
    except (GitError, Failure):
        return nothing
    if not commit or holds(root, "merge-base", "--is-ancestor", commit, "HEAD"):
        return nothing
    return {"commit": commit, "upstream": follows}


def target(root: Path, configuration: list[str], there: str = "") -> dict[str, Any]:
    """Resolve what to deploy: the remote's commit, as fetched or as given. Raises Failure if it cannot be."""
    branch, follows = upstream(root)
    head, there = text(root, "rev-parse", "HEAD"), there or text(root, "rev-parse", follows)
    if not holds(root, "cat-file", "-e", there):
        raise Failure(
            f"{follows} of {root} does not have the commit {there[:12]} that the other hosts get: do they "
            "all follow the same repository and branch?"
        )
    if holds(root, "merge-base", "--is-ancestor", there, head):
        return {"commit": head, "from": head}  # nothing new, or local commits on top of it
    if not holds(root, "merge-base", "--is-ancestor", head, there):
        own = subjects(root, f"{there}..{head}")
        raise Failure(
            f"{branch} of {root} and {follows} have diverged. Local commits: {listing(own, '; ')}. "
            f"Nothing was touched. Put them on top: git -C {root} rebase {follows}. Or keep them elsewhere: "
            f"git -C {root} branch mine && git -C {root} reset --keep {follows}"
        )
    added = names(root, "diff", "--name-only", "-z", "--no-renames", "--diff-filter=A", head, there)
    in_the_way = [name for name in added if name not in configuration and os.path.lexists(root / name)]
    if in_the_way:
        raise Failure(
            f"{follows} brings files that exist in {root} already, unknown to git: {listing(in_the_way)}. "
            "Nothing was touched. Move them to another place, then run this again."
        )
    return {"commit": there, "from": head}


def export(root: Path, commit: str, folder: Path) -> None:
    """Lay the tree of a commit out as `folder`, alone in the folder above. Raises Failure."""
    try:
        # As git stores it: the operator's core.autocrlf has no say in what is built.
        archive = git(
            root, "-c", "core.autocrlf=false", "-c", "core.eol=lf", "archive", "--format=tar", commit
        )
    except GitError as error:
        raise Failure(f"{root} has no commit {commit[:12]}: {error}. Try: git -C {root} fetch") from error
    if folder.parent.exists():
        shutil.rmtree(folder.parent)
    unfinished = folder.with_name(f"{folder.name}.partial")
    unfinished.mkdir(parents=True)
    # The folder above keeps others out; inside are the modes that git knows, because images inherit them.
    folder.parent.chmod(0o700)
    unfinished.chmod(0o755)
    subprocess.run(["tar", "--extract", "--directory", unfinished], input=archive, check=True)
    unfinished.rename(folder)


def ids(root: Path, commit: str, paths: list[str]) -> dict[str, str]:
    """Return git's names for the contents of paths in a commit: equal ones are the same everywhere."""
    entries = names(root, "ls-tree", "-z", "--full-tree", commit, "--", *paths)
    return {path: about.split()[2] for about, _, path in (entry.partition("\t") for entry in entries)}


def controller(root: Path, params: dict[str, Any]) -> dict[str, Any]:
    """Lay out the controller that the update of other hosts goes on with, if the one in `root` is behind.

    Raises Failure where that would pass over something, or cannot be.
    """
    commit, folder = params["commit"], Path(params["folder"])
    if not holds(root, "rev-parse", "HEAD"):
        return {"changed": False, "tree": ""}
    as_good = {"changed": False, "tree": "", "changed_controller": []}
    if params["ids"] == ids(root, "HEAD", params["controller"]):
        return as_good
    if not holds(root, "cat-file", "-e", f"{commit}^{{commit}}"):
        ask(root, "origin", params["seconds"], "fetch", "--quiet")
        hand_to_owner(root, [])
    if not holds(root, "cat-file", "-e", f"{commit}^{{commit}}"):
        raise Failure(
            f"The hosts get the commit {commit[:12]}, and the remote of {root} does not have it: run.py "
            "cannot go on with the controller of that version. Bring it from where they clone: "
            f"git -C {root} fetch URL"
        )
    if holds(root, "merge-base", "--is-ancestor", commit, "HEAD"):
        return as_good
    own = [f":(top){path}" for path in params["controller"]]
    changed = names(root, "diff", "--name-only", "-z", "--no-ext-diff", "HEAD", commit, "--", *own)
    edited = names(root, "diff", "--name-only", "-z", "--no-ext-diff", "HEAD", "--", *own)
    if not holds(root, "merge-base", "--is-ancestor", "HEAD", commit):
        edited = edited or subjects(root, f"{commit}..HEAD")
    if edited:
        raise Failure(
            f"The update brings another controller, and the one in {root} has changes of its own: "
            f"{listing(edited)}. Nothing was touched. Join them: git -C {root} pull --rebase --autostash. "
            "Then run this again."
        )
    export(root, commit, folder)
    return {"changed": True, "tree": str(folder), "changed_controller": changed}


def done(params: dict[str, Any]) -> dict[str, Any]:
    """Do what `state` asks for. Raises Failure."""
    root, state = Path(params["path"]), params["state"]
    if state == "clean":
        return {"changed": False, **clean(root, params["configuration"])}
    if state == "news":
        return {"changed": False, **news(root, params["seconds"])}
    if state == "fetched":
        return fetch(root, params["seconds"])
    if state == "exported":
        export(root, params["commit"], Path(params["folder"]))
        return {"changed": True}
    if state == "controller":
        return controller(root, params)
    if state == "foreseen":
        found = foresee(root, params["configuration"], params["seconds"])
    else:
        found = {**target(root, params["configuration"], params["commit"]), "known": True}
        found["controller_ids"] = ids(root, found["commit"], params["controller"])
    own = [f":(top){path}" for path in params["controller"]]
    ends = (found["from"], found["commit"] if found["known"] else found["from"])
    changed = names(root, "diff", "--name-only", "-z", "--no-ext-diff", *ends, "--", *own)
    return {"changed": False, **found, "changed_controller": changed}


def answer(params: dict[str, Any]) -> dict[str, Any]:
    """Do it. Raises Failure."""
    try:
        return done(params)
    except GitError as error:
        raise Failure(str(error)) from error
    except OSError as error:
        place = Path(params["folder"] or params["path"])
        raise Failure(f"The update cannot be prepared: {causes.explain(error, place)}.") from error
    except subprocess.CalledProcessError as error:
        raise Failure(
            f"The tree of {params['commit'][:12]} could not be laid out in {params['folder']}: "
            f"tar ended with {error.returncode}. Check the free space (df -h, df -i), then run this again."
        ) from error


NAMES: dict[str, Any] = {"type": "list", "elements": "str", "default": []}

MODULE = Module(
    answer,
    {
        "path": {"type": "path", "required": True},
        "state": {
            "type": "str",
            "choices": ["news", "clean", "fetched", "target", "foreseen", "exported", "controller"],
            "required": True,
        },
        "configuration": NAMES,
        "controller": NAMES,
        "commit": {"type": "str", "default": ""},
        "ids": {"type": "dict", "default": {}},
        "folder": {"type": "path", "default": ""},
        "seconds": {"type": "int", "default": 120},
    },
    required_if=[("state", state, ("commit", "folder")) for state in ("exported", "controller")],
    fenced=lambda params: str(params["path"]) if params["state"] in {"exported", "controller"} else "",
)


if __name__ == "__main__":
    MODULE.run()
