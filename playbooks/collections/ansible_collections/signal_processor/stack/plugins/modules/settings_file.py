"""Make .env with fresh secrets where there is none; one that is there is never written."""

from __future__ import annotations

import contextlib
import os
import secrets
from pathlib import Path
from typing import Any

from ansible_collections.signal_processor.stack.plugins.module_utils.entry import Failure, Module
from ansible_collections.signal_processor.stack.plugins.module_utils.onhost.causes import explain
from ansible_collections.signal_processor.stack.plugins.module_utils.onhost.ownership import hand_over
from ansible_collections.signal_processor.stack.plugins.module_utils.settings import filled

DOCUMENTATION = """
module: settings_file
short_description: The file .env, made from its template with fresh secrets
description:
  - A secret that is empty in the template gets a value of its own; where that cannot be, no file is made.
options:
  path: {type: path, required: true, description: The checkout.}
  template: {type: str, required: true, description: "The text of .env.example, with any line endings."}
"""

NAME = ".env"
SECRET_BYTES = 32


def make(target: Path, text: str) -> bool:
    """Write a whole file or none, 0600, and only where there is none; return whether it was made."""
    beside = target.with_name(f"{NAME}.partial")
    beside.unlink(missing_ok=True)
    try:
        descriptor = os.open(beside, os.O_CREAT | os.O_EXCL | os.O_WRONLY, 0o600)
        with os.fdopen(descriptor, "w", encoding="utf-8", newline="\n") as file:
            file.write(text)
            file.flush()
            os.fsync(file.fileno())
        os.link(beside, target)
    except FileExistsError:
        return False
    finally:
        with contextlib.suppress(FileNotFoundError):
            beside.unlink()
    return True


def answer(params: dict[str, Any]) -> dict[str, Any]:
    """Make the file. Raises Failure."""
    root = Path(params["path"])
    try:
        text = filled(params["template"], lambda: secrets.token_urlsafe(SECRET_BYTES))
    except ValueError as error:
        raise Failure(
            f"{root / NAME} was not made: its secrets cannot be filled in from .env.example, {error}. "
            f"Bring that file back: git -C {root} restore .env.example"
        ) from error
    try:
        made = make(root / NAME, text)
        hand_over(root, root / NAME)
    except OSError as error:
        raise Failure(f"{root / NAME} could not be made: {explain(error, root / NAME)}.") from error
    return {"changed": made}


MODULE = Module(
    answer,
    {
        "path": {"type": "path", "required": True},
        "template": {"type": "str", "required": True},
    },
    fenced=lambda params: str(params["path"]),
)


if __name__ == "__main__":
    MODULE.run()
