"""A command in a one-off container of a service, next to the one that serves."""

from __future__ import annotations

import os
import subprocess
from pathlib import Path
from typing import Any

from ansible_collections.signal_processor.stack.plugins.module_utils.entry import Module
from ansible_collections.signal_processor.stack.plugins.module_utils.onhost import leftovers, runs

DOCUMENTATION = """
module: one_off
short_description: Run a command in a service's image once, without a port, on the stack's own networks
description:
  - C(exit_code) is that of the command; 124 if it took longer than C(seconds). C(said) is its stderr, and
    C(printed) its stdout.
  - What could not be run is an answer, too; under another name than C(rc) Ansible takes it for no failure.
options:
  checkout: {type: path, required: true, description: The checkout whose lock the run must hold.}
  compose: {type: list, elements: str, required: true, description: "C(docker compose) with its files."}
  service: {type: str, required: true, description: Name of the service.}
  command: {type: list, elements: str, required: true, description: What to run instead of the service's own.}
  input: {type: path, default: "", description: A file that the command reads on its stdin.}
  environment: {type: dict, default: {}, description: Variables of the container, none of them secret.}
  seconds: {type: int, default: 0, description: "The longest it may take; 0: without limit."}
"""


def answer(params: dict[str, Any]) -> dict[str, Any]:
    """Run it to its end."""
    label = f"{runs.LABEL}={os.environ.get(leftovers.MARK, '')}"
    # Compose ends the container on TERM.
    limit = ["timeout", str(params["seconds"])] if params["seconds"] else []
    run = ["run", "--no-deps", "-T", "--label", label, "--rm"]
    run += [f"--env={name}={value}" for name, value in params["environment"].items()]
    argv = [*limit, *params["compose"], *run, params["service"], *params["command"]]
    with Path(params["input"] or os.devnull).open("rb") as file:
        done = subprocess.run(argv, stdin=file, capture_output=True, text=True, errors="replace", check=False)
    said, printed = (
        [line for line in text.splitlines() if line.strip()] for text in (done.stderr, done.stdout)
    )
    return {"changed": False, "exit_code": done.returncode, "said": said, "printed": printed}


MODULE = Module(
    answer,
    {
        "checkout": {"type": "path", "required": True},
        "compose": {"type": "list", "elements": "str", "required": True},
        "service": {"type": "str", "required": True},
        "command": {"type": "list", "elements": "str", "required": True},
        "input": {"type": "path", "default": ""},
        "environment": {"type": "dict", "default": {}},
        "seconds": {"type": "int", "default": 0},
    },
    fenced=lambda params: str(params["checkout"]),
)


if __name__ == "__main__":
    MODULE.run()
