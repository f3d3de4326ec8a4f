"""Look at the stack: containers, volume, orphans, health, what compose would change. Changes nothing."""

from __future__ import annotations

from concurrent.futures import ThreadPoolExecutor
from typing import Any

from ansible_collections.signal_processor.stack.plugins.module_utils import stack
from ansible_collections.signal_processor.stack.plugins.module_utils.entry import Module

DOCUMENTATION = """
module: stack_facts
short_description: Containers, volume and health of the stack as they are at this moment
description:
  - C(changed) maps each service that is not in line with its definition to what of it differs, and C(targets)
    each service to what it is to be made from.
  - C(volume_name) is the database's volume. In C(replaced_system) C(place) has the replaced system's
    tables, and C(unread) is a volume that could not be read.
options:
  services: {type: dict, required: true, description: "Service name to {container, ...}."}
  volume: {type: str, required: true, description: "The database's volume, unless .env names another one."}
  checkout: {type: path, description: This checkout; another one's things are listed as C(foreign).}
  settings: {type: path, default: "", description: A folder whose .env counts instead of the checkout's.}
  image: {type: str, default: "", description: The database's image; reads a volume that nobody made here.}
  leaving: {type: list, elements: str, default: [], description: Containers and volumes that count as absent.}
  compare: {type: bool, default: false, description: Compare with the definition, too.}
  project_dir: {type: path, description: "The checkout: folder of .env and of what the definition names."}
  files: {type: list, elements: str, default: [], description: Compose files.}
"""


def answer(params: dict[str, Any]) -> dict[str, Any]:
    """Look, and compare where that was asked for."""
    with ThreadPoolExecutor() as beside:
        looked = beside.submit(
            stack.look,
            params["services"],
            params["volume"],
            params["settings"] or params["project_dir"],
            *(params[name] for name in ("checkout", "image", "leaving")),
        )
        if params["compare"]:
            folder = params["project_dir"]
            targets = stack.wanted(stack.resolved(folder, params["files"]), folder)
    found = looked.result()
    if params["compare"]:
        found |= {"changed": stack.differences(found["containers"], targets), "targets": targets}
    return {"changed": False, "stack": found}


MODULE = Module(
    answer,
    {
        "services": {"type": "dict", "required": True},
        "volume": {"type": "str", "required": True},
        "checkout": {"type": "path"},
        "settings": {"type": "path", "default": ""},
        "image": {"type": "str", "default": ""},
        "leaving": {"type": "list", "elements": "str", "default": []},
        "compare": {"type": "bool", "default": False},
        "project_dir": {"type": "path"},
        "files": {"type": "list", "elements": "str", "default": []},
    },
    required_if=[("compare", True, ("project_dir", "files"))],
    looks=True,
)


if __name__ == "__main__":
    MODULE.run()
