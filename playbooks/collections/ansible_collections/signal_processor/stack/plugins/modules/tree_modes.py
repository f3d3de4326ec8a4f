"""Give the stack's folders their modes and owners, and leave what git tracks as it is."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from ansible_collections.signal_processor.stack.plugins.module_utils.entry import Failure, Module
from ansible_collections.signal_processor.stack.plugins.module_utils.onhost.causes import explain
from ansible_collections.signal_processor.stack.plugins.module_utils.tree import in_line

DOCUMENTATION = """
module: tree_modes
short_description: Modes and owners of whole folders in one pass
options:
  path: {type: path, required: true, description: The checkout.}
  rules:
    type: list
    elements: dict
    required: true
    description: >-
      Entries {path, folders, files, owner, skip}: octal strings; owner a user id, -1 leaves it;
      skip has patterns of folders directly in it that are passed over.
"""


def answer(params: dict[str, Any]) -> dict[str, Any]:
    """Set what is not in line. Raises Failure."""
    try:
        changed = in_line(Path(params["path"]), params["rules"], check=False)
    except OSError as error:
        raise Failure(
            f"A mode or an owner could not be set: {explain(error, Path(params['path']))}."
        ) from error
    return {"changed": bool(changed), "paths": changed[:20]}


MODULE = Module(
    answer,
    {
        "path": {"type": "path", "required": True},
        "rules": {"type": "list", "elements": "dict", "required": True},
    },
    fenced=lambda params: str(params["path"]),  # two profiles would take turns
)


if __name__ == "__main__":
    MODULE.run()
