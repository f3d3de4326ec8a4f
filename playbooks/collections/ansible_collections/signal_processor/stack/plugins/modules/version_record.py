"""The versions that ran here: which is live, which failed, whose images are still kept.

The record is `.run/versions.json`: `current`, and `versions`, the one that went live last first. Only images
in it are ever removed, by their exact names: nothing else on the machine is ours to prune.
"""

from __future__ import annotations

from pathlib import Path
from typing import Any

from ansible_collections.signal_processor.stack.plugins.module_utils.entry import Failure, Module
from ansible_collections.signal_processor.stack.plugins.module_utils.onhost.edge import APP
from ansible_collections.signal_processor.stack.plugins.module_utils.onhost.lock import utc_now
from ansible_collections.signal_processor.stack.plugins.module_utils.versions import (
    RECORD,
    Entry,
    docker,
    images_of,
    load,
    noted,
    save,
    settled,
    to_remove,
)

DOCUMENTATION = """
module: version_record
short_description: Read and write the record of versions, and prune their images
description:
  - C(state=good) notes that C(version) passed its gate, and removes the images of all but the last C(keep).
  - C(state=bad) notes that it failed, and C(why).
  - C(state=chosen) returns in C(choice) the entry to roll back to; fails with the list of what there is.
options:
  path: {type: path, required: true, description: The checkout.}
  state: {type: str, choices: [good, bad, chosen], required: true, description: What to do.}
  version: {type: str, default: "", description: "The version in question; with C(chosen) the one that runs."}
  wanted: {type: str, default: "", description: What to roll back to; empty for the last good.}
  commit: {type: str, default: "", description: Its commit.}
  flow: {type: str, default: "", description: Name of the flow.}
  run: {type: str, default: "", description: Id of the run.}
  backup: {type: str, default: "", description: "Folder of the configuration's backup that this flow made."}
  why: {type: str, default: "", description: Why it failed.}
  withdraw: {type: bool, default: false, description: The version before was left on purpose.}
  keep: {type: int, default: 5, description: Versions whose images are kept.}
"""


def obstacle(entry: Entry, running: str, current: str, images: set[str]) -> str:
    """Say why a version cannot be rolled back to; empty if it can. Pure.

    One that runs and is not the `current` one of the record is what a rollback that broke off went to.
    """
    if entry["version"] == running == current:
        return "runs now"
    if entry["state"] == "bad":
        return f"failed ({entry.get('why') or 'no reason kept'})"
    if entry["version"] not in images:
        return "its image is no longer kept"
    if "-" in entry["version"]:
        return "was built from files that no commit holds"
    return ""


def choose(record: dict[str, Any], wanted: str, running: str, images: set[str]) -> Entry:
    """Return the entry to roll back to. Raises LookupError with the list of what there is. Pure."""
    versions: list[Entry] = record["versions"]
    current = record["current"]
    reasons = {one["version"]: obstacle(one, running, current, images) for one in versions}
    listing = "; ".join(
        f"{one['version']} of {one['since']}: {reasons[one['version']] or one['state']}" for one in versions
    )
    there_is = f"There is: {listing or 'no other version yet'}."
    if wanted:
        found = [one for one in versions if wanted in (one["version"], one["commit"])] or [
            one for one in versions if len(wanted) >= 4 and one["commit"].startswith(wanted)
        ]
        if len(found) != 1:
            raise LookupError(f"No version '{wanted}' was deployed here. {there_is}")
        if reasons[found[0]["version"]]:
            raise LookupError(f"Version {wanted} {reasons[found[0]['version']]}. {there_is}")
        return found[0]
    names = [one["version"] for one in versions]
    unfinished = running != current and current in names
    start = names.index(running) + (not unfinished) if running in names else 0
    after = versions[start:]
    for one in after:
        if one["state"] == "good" and not reasons[one["version"]]:
            return one
    raise LookupError(f"There is no good version before the one that runs. {there_is}")


def note(root: Path, record: dict[str, Any], params: dict[str, Any]) -> tuple[bool, list[str]]:
    """Write one version down; whether that changed anything, and the versions whose images went."""
    images, live = images_of(APP), params["state"] == "good"
    before = next((one for one in record["versions"] if one["version"] == params["version"]), {})
    entry = {
        "version": params["version"],
        "commit": params["commit"] or before.get("commit", ""),
        "image_id": images.get(params["version"], ""),
        "state": params["state"],
        **({} if live else {"why": params["why"]}),
        "since": utc_now(),
        "pruned": False,
        **{key: params[key] for key in ("flow", "run", "backup")},
    }
    if live and settled(record, entry):
        return False, []
    record = noted(record, entry, live=live, withdraw=params["withdraw"])
    removed = [version for version in to_remove(record, params["keep"]) if live and version in images]
    for one in record["versions"]:
        one["pruned"] = one["pruned"] or one["version"] in removed
    save(root, record)
    for version in removed:
        docker("image", "rm", f"{APP}:{version}")
    old = before.get("image_id", "")
    if live and old and old != entry["image_id"]:  # the same version, built anew: nothing names the old one
        docker("image", "rm", old)
    return True, removed


def answer(params: dict[str, Any]) -> dict[str, Any]:
    """Do it. Raises Failure."""
    root = Path(params["path"])
    try:
        record = load(root)
        if params["state"] == "chosen":
            images = set(images_of(APP))
            return {"changed": False, "choice": choose(record, params["wanted"], params["version"], images)}
        changed, removed = note(root, record, params)
    except LookupError as refusal:
        raise Failure(str(refusal)) from refusal
    except (OSError, ValueError) as error:
        raise Failure(
            f"{root / RECORD} cannot be read or written: {error}. Move it away; the record starts anew."
        ) from error
    return {"changed": changed, "removed": removed}


TEXTS = ("version", "wanted", "commit", "flow", "run", "backup", "why")

MODULE = Module(
    answer,
    {
        "path": {"type": "path", "required": True},
        "state": {"type": "str", "choices": ["good", "bad", "chosen"], "required": True},
        **{name: {"type": "str", "default": ""} for name in TEXTS},
        "withdraw": {"type": "bool", "default": False},
        "keep": {"type": "int", "default": 5},
    },
    fenced=lambda params: "" if params["state"] == "chosen" else str(params["path"]),
)


if __name__ == "__main__":
    MODULE.run()
