"""Wait until PostgreSQL answers, or have it take the password of .env."""

from __future__ import annotations

import subprocess
import time
from typing import Any

from ansible_collections.signal_processor.stack.plugins.module_utils.entry import Failure, Module

DOCUMENTATION = """
module: database_access
short_description: The database answers, and takes the password that its container was given
description:
  - C(state=answers) waits; C(problem) is empty, or what the server and its log said last.
  - C(state=aligned) runs C(script) inside the container; C(aligned) if the password was another one.
options:
  checkout: {type: path, required: true, description: The checkout whose lock the run must hold.}
  state: {type: str, choices: [answers, aligned], required: true, description: What has to be so.}
  container: {type: str, required: true, description: Name of the database's container.}
  seconds: {type: int, default: 60, description: The longest wait.}
  script: {type: str, default: "", description: "Says C(same) or C(aligned)."}
"""

PAUSE = 0.2
LOG_LINES = 5
READY = ("pg_isready", "-h", "127.0.0.1", "-U", "postgres", "-d", "trading_signals")


def docker(*argv: str, stdin: str = "") -> tuple[int, str]:
    """Return exit code and what was said, on both streams."""
    done = subprocess.run(
        ["docker", *argv],
        input=stdin,
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
        errors="replace",
        check=False,
    )
    return done.returncode, done.stdout.strip()


def waited(container: str, seconds: float) -> str:
    """Wait for an answer; return an empty string, or what was said instead."""
    end = time.monotonic() + seconds
    while True:
        code, said = docker("exec", container, *READY)
        if code == 0:
            return ""
        if time.monotonic() >= end:
            _, log = docker("logs", "--tail", str(LOG_LINES), container)
            return " / ".join([said, *log.splitlines()][-3:])
        time.sleep(PAUSE)


def aligned(container: str, script: str) -> bool:
    """Run the script inside; return whether it changed the password. Raises Failure."""
    code, said = docker("exec", "--interactive", container, "sh", "-s", stdin=script)
    if code:
        raise Failure(f"The database would not take the password of .env: {said or 'no reason given'}")
    return said == "aligned"


def answer(params: dict[str, Any]) -> dict[str, Any]:
    """Wait, or align. Raises Failure."""
    if params["state"] == "answers":
        return {"changed": False, "problem": waited(params["container"], params["seconds"])}
    changed = aligned(params["container"], params["script"])
    return {"changed": changed, "aligned": changed}


MODULE = Module(
    answer,
    {
        "checkout": {"type": "path", "required": True},
        "state": {"type": "str", "choices": ["answers", "aligned"], "required": True},
        "container": {"type": "str", "required": True},
        "seconds": {"type": "int", "default": 60},
        "script": {"type": "str", "default": ""},
    },
    required_if=[("state", "aligned", ("script",))],
    fenced=lambda params: str(params["checkout"]) if params["state"] == "aligned" else "",
)


if __name__ == "__main__":
    MODULE.run()
