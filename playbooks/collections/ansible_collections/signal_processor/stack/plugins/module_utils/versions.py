"""The record of the versions that ran here, `.run/versions.json`: for the modules in the collection."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING, Any

from ansible_collections.signal_processor.stack.plugins.module_utils.stack import docker

if TYPE_CHECKING:
    from pathlib import Path

RECORD = ".run/versions.json"
REMEMBERED = 50  # entries, whose images are mostly gone
KEPT = ("good", "withdrawn")

Entry = dict[str, Any]


def load(root: Path) -> dict[str, Any]:
    """Return the record; an empty one where none was written yet. Raises ValueError."""
    path = root / RECORD
    if not path.exists():
        return {"current": "", "versions": []}
    record = json.loads(path.read_text())
    if not isinstance(record, dict) or not isinstance(record.get("versions"), list):
        raise ValueError("it is no record of versions")  # noqa: TRY004  # wrong content, not a wrong call
    return record


def save(root: Path, record: dict[str, Any]) -> None:
    """Write the record so that it is whole at any moment."""
    path = root / RECORD
    path.parent.mkdir(mode=0o700, exist_ok=True)
    fresh = path.with_suffix(".partial")
    fresh.touch(mode=0o600)
    fresh.write_text(json.dumps(record, indent=2) + "\n")
    fresh.replace(path)


def noted(record: dict[str, Any], entry: Entry, *, live: bool, withdraw: bool) -> dict[str, Any]:
    """Return the record with one more version in front; `live` makes it the current one. Pure."""
    others = [dict(one) for one in record["versions"] if one["version"] != entry["version"]]
    for one in others:
        if live and withdraw and one["version"] == record["current"] and one["state"] == "good":
            one["state"] = "withdrawn"
    current = entry["version"] if live else record["current"]
    return {"current": current, "versions": [entry, *others][:REMEMBERED]}


def to_remove(record: dict[str, Any], keep: int) -> list[str]:
    """Name the versions whose images may go: all but the newest `keep` that passed their gate. Pure."""
    kept = [one["version"] for one in record["versions"] if one["state"] in KEPT][:keep]
    return [one["version"] for one in record["versions"] if one["version"] not in {*kept, record["current"]}]


def settled(record: dict[str, Any], entry: Entry) -> bool:
    """Whether the record says all of this already: the version is live and nothing of it is new. Pure."""
    before = next((one for one in record["versions"] if one["version"] == entry["version"]), {})
    same = ("state", "image_id", "commit")
    return record["current"] == entry["version"] and all(before.get(key) == entry[key] for key in same)


def images_of(repository: str) -> dict[str, str]:
    """Return tag → id of every image with this name."""
    lines = docker("images", "--no-trunc", "--format", "{{.Tag}} {{.ID}}", repository).splitlines()
    return dict(line.split() for line in lines)
