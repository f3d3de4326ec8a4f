"""A one-off container of a service, beside the one that serves: for a command, or on trial."""

from __future__ import annotations

import os
import subprocess
from typing import Any

from ansible.module_utils.entry import Module
from ansible.module_utils.onhost import leftovers, runs

DOCUMENTATION = """
module: one_off
short_description: Run a service's image once, without a port, on the stack's own networks
description:
  - C(state=done) runs C(command) to its end; C(exit_code) is 124 if that took longer than C(seconds).
  - C(state=started) leaves the service's own command running under C(name), in the place of an earlier one.
  - C(state=ended) ends that in order and removes it; C(output) is the end of its log.
  - What could not be run is an answer, too; under another name than C(rc) Ansible takes it for no failure.
options:
  checkout: {type: path, required: true, description: The checkout whose lock the run must hold.}
  state: {type: str, choices: [done, started, ended], required: true, description: What to do.}
  compose: {type: list, elements: str, default: [], description: "C(docker compose) with its files."}
  service: {type: str, default: "", description: Name of the service.}
  command: {type: list, elements: str, default: [], description: What to run instead of the service's own.}
  name: {type: str, default: "", description: Name of the container that is tried out.}
  seconds: {type: int, default: 0, description: "The longest it may take; 0: for ever."}
  log_lines: {type: int, default: 0, description: How many of its last log lines to return.}
"""


def docker(*argv: str) -> str:
    """Return what docker says, on both streams."""
    return subprocess.run(
        ["docker", *argv],
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
        errors="replace",
        check=False,
    ).stdout


def end(name: str, log_lines: int) -> str:
    """End the container as the engine's `stop` does, remove it, and return the end of its log."""
    output = docker("logs", "--tail", str(log_lines), name)
    docker("stop", name)
    docker("rm", "--force", name)
    return output


def answer(params: dict[str, Any]) -> dict[str, Any]:
    """Do it."""
    name, run_id = params["name"], os.environ.get(leftovers.MARK, "")
    run = [*params["compose"], "run", "--no-deps", "-T", "--label", f"{runs.LABEL}={run_id}"]
    if params["state"] == "ended":
        return {"changed": False, "output": end(name, params["log_lines"])}
    if params["state"] == "started":
        docker("rm", "--force", name)
        argv = [*run, "--detach", "--name", name, params["service"]]
    else:
        # Compose ends the container when it is told to end.
        limit = ["timeout", str(params["seconds"])] if params["seconds"] else []
        argv = [*limit, *run, "--rm", params["service"], *params["command"]]
    done = subprocess.run(argv, capture_output=True, text=True, errors="replace", check=False)
    said = [line for line in done.stderr.splitlines() if line.strip()]
    return {"changed": False, "exit_code": done.returncode, "said": said}


MODULE = Module(
    answer,
    {
        "checkout": {"type": "path", "required": True},
        "state": {"type": "str", "choices": ["done", "started", "ended"], "required": True},
        "compose": {"type": "list", "elements": "str", "default": []},
        "service": {"type": "str", "default": ""},
        "command": {"type": "list", "elements": "str", "default": []},
        "name": {"type": "str", "default": ""},
        "seconds": {"type": "int", "default": 0},
        "log_lines": {"type": "int", "default": 0},
    },
    required_if=[
        ("state", "done", ("compose", "service", "command")),
        ("state", "started", ("compose", "service", "name")),
        ("state", "ended", ("name",)),
    ],
    fenced=lambda params: str(params["checkout"]),
)


if __name__ == "__main__":
    MODULE.run()
