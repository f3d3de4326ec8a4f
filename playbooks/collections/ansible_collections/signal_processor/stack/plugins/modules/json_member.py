"""Set one member of a JSON file that is the operator's: the rest of it, its mode and its owner stay."""

from __future__ import annotations

import contextlib
import errno
import json
import math
import os
from pathlib import Path
from typing import Any

from ansible_collections.signal_processor.stack.plugins.module_utils.entry import Failure, Module
from ansible_collections.signal_processor.stack.plugins.module_utils.onhost.causes import explain

DOCUMENTATION = """
module: json_member
short_description: One member of a JSON object in a file
description:
  - Returns C(before), the member's value until now; C(null) where it had none.
  - A link that leads to a file in the same folder, or below it, is followed and stays; any other is refused.
options:
  checkout: {type: path, required: true, description: The checkout whose lock the run must hold.}
  path: {type: path, required: true, description: The file; made 0600 where it is missing.}
  name: {type: str, required: true, description: The member.}
  value: {type: raw, required: true, description: "Its new value; C(null) removes it."}
  look: {type: bool, default: false, description: "Say whether that would change it, and leave it."}
"""

LINKS = 8  # that are followed, one to the next


class LinkError(Exception):
    """A link in the file's place leads where it may not; the text says where to."""


def target_of(folder: int, path: Path) -> Path:
    """Return where the file lies below its folder, links followed. Raises LinkError and OSError.

    Links that lead out of the folder are refused: the application could not read the file.
    """
    name, places = Path(path.name), (path.parent, path.parent.resolve())
    for _ in range(LINKS):
        try:
            link = os.readlink(name, dir_fd=folder)
        except FileNotFoundError:
            return name
        except OSError as error:
            if error.errno == errno.EINVAL:  # a file, no link
                return name
            raise
        whole = Path(os.path.normpath(path.parent / name.parent / link))
        place = next((one for one in places if one in whole.parents), None)
        if place is None:
            raise LinkError(f"it leads out of {path.parent}, to {link}")
        name = whole.relative_to(place)
    raise LinkError("it leads back to itself")


def open_below(folder: int, path: Path) -> int:
    """Open a folder below an open one, part by part. Raises LinkError at a link, and OSError."""
    found = os.dup(folder)
    for part in path.parts:
        try:
            below = os.open(part, os.O_RDONLY | os.O_DIRECTORY | os.O_NOFOLLOW, dir_fd=found)
        except OSError as error:
            if error.errno in (errno.ELOOP, errno.ENOTDIR):
                raise LinkError(f"it leads through {path}, which is not a folder itself") from error
            raise
        finally:
            os.close(found)
        found = below
    return found


def read(folder: int, name: str) -> bytes | None:
    """Return the file's content, never through a link; None where there is no such file."""
    try:
        descriptor = os.open(name, os.O_RDONLY | os.O_NOFOLLOW | os.O_NONBLOCK, dir_fd=folder)
    except FileNotFoundError:
        return None
    with os.fdopen(descriptor, "rb") as file:
        return file.read()


def replace(folder: int, name: str, document: dict[str, Any]) -> None:
    """Write beside and rename: a reader sees the old file or the new one.

    The application's user can write to this folder, and this runs as root: no link in it is followed.
    """
    beside = f".{name}.new"
    with contextlib.suppress(FileNotFoundError):
        os.unlink(beside, dir_fd=folder)  # what a killed run left
    descriptor = os.open(beside, os.O_CREAT | os.O_EXCL | os.O_WRONLY | os.O_NOFOLLOW, 0o600, dir_fd=folder)
    with os.fdopen(descriptor, "w", encoding="utf-8") as file:
        file.write(json.dumps(document, indent=2, ensure_ascii=False) + "\n")
        with contextlib.suppress(FileNotFoundError):
            now = os.stat(name, dir_fd=folder, follow_symlinks=False)
            os.fchown(file.fileno(), now.st_uid, now.st_gid)
            os.fchmod(file.fileno(), now.st_mode & 0o7777)
        file.flush()
        os.fsync(file.fileno())
    os.rename(beside, name, src_dir_fd=folder, dst_dir_fd=folder)


def refuse_number(digits: str) -> float:
    """Refuse a number that JSON has no word for. Raises ValueError."""
    raise ValueError(f"{digits} is not a number that can be stored")


def finite(digits: str) -> float:
    """Return the number. Refuse one that would be written as Infinity, which the application cannot read."""
    number = float(digits)
    return number if math.isfinite(number) else refuse_number(digits)


def answer(params: dict[str, Any]) -> dict[str, Any]:
    """Set the member, or take it out. Raises Failure."""
    path, name, value = Path(params["path"]), params["name"], params["value"]
    try:
        # The folder itself is the operator's, who may link it; who can write in it cannot replace it.
        top = os.open(path.parent, os.O_RDONLY | os.O_DIRECTORY)
    except OSError as error:
        raise Failure(f"{explain(error, path.parent)}.") from error
    try:
        target = target_of(top, path)
        folder = open_below(top, target.parent)
    except LinkError as refusal:
        raise Failure(
            f"{path} is a link, and {refusal}. Put the file itself there, then run this again."
        ) from refusal
    except OSError as error:
        raise Failure(f"{explain(error, path)}.") from error
    finally:
        os.close(top)
    try:
        document = json.loads(
            read(folder, target.name) or b"{}", parse_constant=refuse_number, parse_float=finite
        )
        before = document.get(name)
        if before == value:
            return {"changed": False, "before": before}
        after = {**document, name: value}
        if value is None:
            del after[name]
        if not params["look"]:
            replace(folder, target.name, after)
    except (ValueError, AttributeError) as error:
        raise Failure(f"{path} is not a JSON object ({error}). Correct it, then run this again.") from error
    except OSError as error:
        raise Failure(f"{explain(error, path)}.") from error
    finally:
        os.close(folder)
    return {"changed": True, "before": before}


MODULE = Module(
    answer,
    {
        "checkout": {"type": "path", "required": True},
        "path": {"type": "path", "required": True},
        "name": {"type": "str", "required": True},
        "value": {"type": "raw", "required": True},
        "look": {"type": "bool", "default": False},
    },
    fenced=lambda params: "" if params["look"] else str(params["checkout"]),
)


if __name__ == "__main__":
    MODULE.run()
