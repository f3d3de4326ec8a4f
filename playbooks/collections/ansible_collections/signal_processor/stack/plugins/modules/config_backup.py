"""Copy the operator's configuration to a dated folder, with a manifest; old folders go."""

from __future__ import annotations

import hashlib
import json
import os
import shutil
import time
from pathlib import Path
from typing import Any

from ansible_collections.signal_processor.stack.plugins.module_utils.config_files import (
    MANIFEST,
    OURS,
    open_file,
)
from ansible_collections.signal_processor.stack.plugins.module_utils.entry import Failure, Module
from ansible_collections.signal_processor.stack.plugins.module_utils.onhost.causes import explain
from ansible_collections.signal_processor.stack.plugins.module_utils.onhost.lock import utc_now

DOCUMENTATION = """
module: config_backup
short_description: A dated copy of the operator's configuration
description:
  - C(folder) is the new backup's name below backups/, C(pruned) the names of those removed.
options:
  path: {type: path, required: true, description: The checkout.}
  files: {type: list, elements: str, required: true, description: The operator's files below the checkout.}
  flow: {type: str, required: true, description: Name of the flow; becomes part of the folder's name.}
  run: {type: str, required: true, description: Id of the run, for the manifest.}
  commit: {type: str, default: "", description: What the checkout is at, for the manifest.}
  image: {type: str, default: "", description: Id of the image that runs, for the manifest.}
  keep: {type: int, default: 10, description: How many are kept.}
  spare: {type: list, elements: str, default: [], description: Names of backups that stay in any case.}
"""

RECORD = ".run/versions.json"  # written by version_record


def fresh_folder(backups: Path, flow: str) -> Path:
    """Make and return `backups/<UTC>-<flow>`, 0700; two within a second get names a second apart."""
    backups.mkdir(mode=0o700, exist_ok=True)
    while True:
        folder = backups / f"{time.strftime('%Y%m%dT%H%M%SZ', time.gmtime())}-{flow}"
        try:
            folder.mkdir(mode=0o700)
        except FileExistsError:
            time.sleep(0.1)
        else:
            return folder


def keep_copy(root: Path, name: str, target: Path) -> dict[str, Any]:
    """Copy one file with its mode, owner and times, onto the disk; return its line of the manifest.

    A link is followed to a file in the checkout. Fails open: any other link is kept as the link that it is,
    so that no update or rollback is refused for it.
    """
    target.parent.mkdir(mode=0o700, parents=True, exist_ok=True)
    source = open_file(root, name)
    if source is None:
        link = (root / name).readlink()
        target.symlink_to(link)
        return {"link": str(link)}
    with os.fdopen(source, "rb") as original, target.open("xb") as copy:
        found, content = os.fstat(original.fileno()), original.read()
        copy.write(content)
        copy.flush()
        if os.geteuid() == 0:
            os.fchown(copy.fileno(), found.st_uid, found.st_gid)
        os.fchmod(copy.fileno(), found.st_mode & 0o7777)
        os.utime(copy.fileno(), ns=(found.st_atime_ns, found.st_mtime_ns))
        os.fsync(copy.fileno())
    return {
        "sha256": hashlib.sha256(content).hexdigest(),
        "mode": f"{found.st_mode & 0o7777:04o}",
        "owner": found.st_uid,
        "group": found.st_gid,
    }


def referred(root: Path) -> set[str]:
    """Return the folders that versions which can be gone back to refer to, by the record of versions."""
    record = root / RECORD
    if not record.is_file():
        return set()
    versions = json.loads(record.read_text())["versions"]
    return {one["backup"] for one in versions if one["state"] in ("good", "withdrawn") and not one["pruned"]}


def prune(backups: Path, keep: int, referred: set[str]) -> list[str]:
    """Remove all but the newest folders and those referred to; what we did not make is left alone."""
    ours = sorted(
        (entry for entry in backups.iterdir() if OURS.fullmatch(entry.name) and (entry / MANIFEST).is_file()),
        key=lambda entry: entry.name,
        reverse=True,
    )
    old = [entry for entry in ours[keep:] if entry.name not in referred]
    for entry in old:
        shutil.rmtree(entry)
    return [entry.name for entry in old]


def answer(params: dict[str, Any]) -> dict[str, Any]:
    """Copy, write the manifest, prune. Raises Failure."""
    root = Path(params["path"])
    backups = root / "backups"
    try:
        folder = fresh_folder(backups, params["flow"])
        manifest = {
            "made": utc_now(),
            **{key: params[key] for key in ("flow", "run", "commit", "image")},
            "files": {
                name: keep_copy(root, name, folder / name)
                for name in params["files"]
                if os.path.lexists(root / name)
            },
        }
        # Written last: a folder without it is not a whole backup.
        document = folder / MANIFEST
        document.write_text(json.dumps(manifest, indent=2) + "\n")
        document.chmod(0o600)
        # This one stays whatever its name says: the clock may have gone back.
        pruned = prune(backups, params["keep"], referred(root) | {folder.name, *params["spare"]})
    except OSError as error:
        raise Failure(
            f"The configuration could not be backed up to {backups}: {explain(error, backups)}. "
            "Then run this again."
        ) from error
    except ValueError as error:
        raise Failure(
            f"{root / RECORD} is not valid JSON: {error}. Correct it, then run this again."
        ) from error
    return {"changed": True, "folder": folder.name, "pruned": pruned}


MODULE = Module(
    answer,
    {
        "path": {"type": "path", "required": True},
        "files": {"type": "list", "elements": "str", "required": True},
        "flow": {"type": "str", "required": True},
        "run": {"type": "str", "required": True},
        "commit": {"type": "str", "default": ""},
        "image": {"type": "str", "default": ""},
        "keep": {"type": "int", "default": 10},
        "spare": {"type": "list", "elements": "str", "default": []},
    },
    fenced=lambda params: str(params["path"]),  # it removes old backups
)


if __name__ == "__main__":
    MODULE.run()
