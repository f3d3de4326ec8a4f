"""The images that everything is built on: which are at hand, and what is missing."""

from __future__ import annotations

import subprocess
from typing import Any

from ansible_collections.signal_processor.stack.plugins.module_utils.entry import Failure, Module

DOCUMENTATION = """
module: base_images
short_description: Which base images are at hand, where from, and what is missing
description:
  - Asks C(images/base-images.sh) of the tree that is built; its settings come from the environment.
  - Returns its C(lines), C(ROLE KIND IMAGE [changed]), and in C(said) why what is missing was not to be had.
options:
  context: {type: path, required: true, description: The tree that is built.}
  look: {type: bool, default: false, description: "Neither name nor pull anything."}
"""


def answer(params: dict[str, Any]) -> dict[str, Any]:
    """Ask."""
    argv = ["images/base-images.sh", "look" if params["look"] else "find"]
    done = subprocess.run(
        argv, cwd=params["context"], capture_output=True, text=True, errors="replace", check=False
    )
    lines, said = done.stdout.splitlines(), done.stderr.splitlines()
    if done.returncode:
        raise Failure(f"{argv[0]} ended with {done.returncode}: {' / '.join(said[-2:])}")
    changed = not params["look"] and any(line.endswith(" changed") for line in lines)
    return {"changed": changed, "lines": lines, "said": said}


MODULE = Module(
    answer, {"context": {"type": "path", "required": True}, "look": {"type": "bool", "default": False}}
)


if __name__ == "__main__":
    MODULE.run()
