"""Run a command that changes something, while this run holds the lock of the checkout.

`ansible.builtin.command` and `community.docker` look at no lock: between a task of ours that does and the
command, another run could take over.
"""

from __future__ import annotations

import subprocess
from typing import Any

from ansible_collections.signal_processor.stack.plugins.module_utils.entry import Failure, Module

DOCUMENTATION = """
module: fenced_command
short_description: Run a command or a shell script only while the run holds the lock
description:
  - Returns C(rc), C(stdout), C(stderr) and their lines. Fails if the command does not end with 0.
  - Fails, and runs nothing, where another run holds the lock of C(checkout).
options:
  checkout: {type: path, required: true, description: The checkout whose lock the run must hold.}
  argv: {type: list, elements: str, default: [], description: The command.}
  script: {type: str, default: "", description: A script for C(/bin/sh) instead.}
  chdir: {type: path, description: Working directory; the folder of the play where it is not given.}
  stdin: {type: str, default: "", description: What the command reads.}
"""


def reason(stderr: list[str], code: int) -> str:
    """Return the line of stderr that says why a command failed, or its exit code. Pure."""
    errors = [line for line in stderr if line.lower().startswith(("error", "fatal", "psql:"))]
    return ([f"exit code {code}"] + [line for line in stderr if line.strip()] + errors)[-1].strip()


def answer(params: dict[str, Any]) -> dict[str, Any]:
    """Run it. Raises Failure."""
    argv = params["argv"] or ["/bin/sh", "-c", params["script"]]
    try:
        done = subprocess.run(
            argv,
            input=params["stdin"],
            cwd=params["chdir"],
            capture_output=True,
            text=True,
            errors="replace",
            check=False,
        )
    except OSError as error:
        raise Failure(f"{argv[0]} could not be started: {error}") from error
    out, err = done.stdout.strip("\n"), done.stderr.strip("\n")
    result = {
        "changed": True,
        "rc": done.returncode,
        "cmd": params["argv"] or params["script"],
        "stdout": out,
        "stdout_lines": out.splitlines(),
        "stderr": err,
        "stderr_lines": err.splitlines(),
    }
    if done.returncode:
        name = " ".join(params["argv"][:2]) or "the script"
        result["msg"] = f"{name} failed: {reason(result['stderr_lines'], done.returncode)}"
        result["failed"] = True
    return result


MODULE = Module(
    answer,
    {
        "checkout": {"type": "path", "required": True},
        "argv": {"type": "list", "elements": "str", "default": []},
        "script": {"type": "str", "default": ""},
        "chdir": {"type": "path"},
        "stdin": {"type": "str", "default": ""},
    },
    fenced=lambda params: str(params["checkout"]),
)


if __name__ == "__main__":
    MODULE.run()
