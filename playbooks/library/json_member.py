"""Set one member of a JSON file that is the operator's: the rest of it, its mode and its owner stay."""

from __future__ import annotations

import json
import os
from pathlib import Path
from typing import Any

from ansible.module_utils.entry import Failure, Module

DOCUMENTATION = """
module: json_member
short_description: One member of a JSON object in a file
description: [Returns C(before), the member's value until now; C(null) where it had none.]
options:
  path: {type: path, required: true, description: The file; made 0600 where it is missing.}
  name: {type: str, required: true, description: The member.}
  value: {type: raw, required: true, description: "Its new value; C(null) removes it."}
  look: {type: bool, default: false, description: "Say whether that would change it, and leave it."}
"""


def replace(path: Path, document: dict[str, Any]) -> None:
    """Write beside and rename: whoever reads it sees the old file or the new one."""
    beside = path.with_name(f".{path.name}.new")
    descriptor = os.open(beside, os.O_CREAT | os.O_WRONLY | os.O_TRUNC, 0o600)
    with os.fdopen(descriptor, "w", encoding="utf-8") as file:
        file.write(json.dumps(document, indent=2, ensure_ascii=False) + "\n")
        if path.exists():
            now = path.stat()
            os.fchmod(file.fileno(), now.st_mode & 0o7777)
            os.fchown(file.fileno(), now.st_uid, now.st_gid)
        file.flush()
        os.fsync(file.fileno())
    beside.rename(path)


def answer(params: dict[str, Any]) -> dict[str, Any]:
    """Set the member, or take it out. Raises Failure."""
    path, name, value = Path(params["path"]), params["name"], params["value"]
    try:
        document = json.loads(path.read_bytes()) if path.exists() else {}
        before = document.get(name)
        if before == value:
            return {"changed": False, "before": before}
        after = {**document, name: value}
        if value is None:
            del after[name]
        if not params["look"]:
            replace(path, after)
    except (ValueError, AttributeError) as error:
        raise Failure(f"{path} is no JSON object ({error}). Correct it, then run this again.") from error
    except OSError as error:
        raise Failure(f"{path} cannot be written: {error.strerror}.") from error
    return {"changed": True, "before": before}


MODULE = Module(
    answer,
    {
        "path": {"type": "path", "required": True},
        "name": {"type": "str", "required": True},
        "value": {"type": "raw", "required": True},
        "look": {"type": "bool", "default": False},
    },
)


if __name__ == "__main__":
    MODULE.run()
