"""Measure the room where Docker keeps its images, and how much of it the database takes. Changes nothing."""

from __future__ import annotations

import shutil
import subprocess
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

from ansible.module_utils.entry import Module

DOCUMENTATION = """
module: space_facts
short_description: Free space beside Docker's images, and the size of the database, in bytes
description: [Returns C(free) and C(database); 0 for a database that does not run.]
options:
  otherwise: {type: path, required: true, description: "A folder to ask where Docker's own lies elsewhere."}
  database: {type: str, required: true, description: Name of the database's container.}
"""

CLUSTER = "/var/lib/postgresql/data"


def docker(*argv: str) -> str:
    """Return stdout, whatever the exit code: `du` complains of files that have just gone."""
    return subprocess.run(["docker", *argv], capture_output=True, text=True, check=False).stdout.strip()


def answer(params: dict[str, Any]) -> dict[str, Any]:
    """Measure both."""
    with ThreadPoolExecutor() as beside:
        taken = beside.submit(docker, "exec", params["database"], "du", "-sk", CLUSTER)
        folder = docker("info", "--format", "{{.DockerRootDir}}")
    # With Docker Desktop it lies in a virtual machine.
    free = shutil.disk_usage(folder if folder and Path(folder).is_dir() else params["otherwise"]).free
    kilobytes = taken.result().partition("\t")[0]
    return {"changed": False, "free": free, "database": int(kilobytes) * 1024 if kilobytes.isdigit() else 0}


MODULE = Module(
    answer,
    {"otherwise": {"type": "path", "required": True}, "database": {"type": "str", "required": True}},
    looks=True,
)


if __name__ == "__main__":
    MODULE.run()
