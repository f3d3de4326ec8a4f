"""Measure the room of every place that a flow writes to, in bytes and inodes. Changes nothing."""

from __future__ import annotations

import os
import tempfile
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

from ansible_collections.signal_processor.stack.plugins.module_utils.entry import Module
from ansible_collections.signal_processor.stack.plugins.module_utils.onhost.causes import nearest
from ansible_collections.signal_processor.stack.plugins.module_utils.stack import docker

DOCUMENTATION = """
module: space_facts
short_description: Places with too little room, and the size of the database
description:
  - Returns C(short), a sentence for each place with too little room, and C(database), the bytes that it
    takes; 0 for a database that does not run.
  - It also measures the folders for temporary files and the one where Docker keeps its images.
options:
  places: {type: list, elements: path, required: true, description: Folders that are written to.}
  otherwise: {type: path, required: true, description: "A folder to ask where Docker's own lies elsewhere."}
  database: {type: str, required: true, description: Name of the database's container.}
  bytes: {type: int, required: true, description: Bytes that each place needs.}
  inodes: {type: int, required: true, description: Inodes that each place needs.}
  image_bytes: {type: int, required: true, description: Bytes that an image needs where Docker keeps them.}
  database_share: {type: float, default: 0, description: "Sizes of the database needed there, too."}
"""

CLUSTER = "/var/lib/postgresql/data"
UNITS = ((1 << 30, "GB"), (1 << 20, "MB"), (1 << 10, "KB"))


def size(number: int) -> str:
    """Return a number of bytes as people read it. Pure."""
    for unit, name in UNITS:
        if number >= unit:
            return f"{number / unit:.1f} {name}"
    return f"{number} bytes"


def shortage(path: Path, needed_bytes: int, needed_inodes: int) -> str:
    """Say what a place has too little of; empty if it has enough. A file system may not count inodes."""
    folder = nearest(path)
    found = os.statvfs(folder)
    free = found.f_bavail * found.f_frsize
    if free < needed_bytes:
        return f"{path} has {size(free)} free and {size(needed_bytes)} are needed (df -h {folder})"
    if found.f_files and found.f_favail < needed_inodes:
        return f"{path} has {found.f_favail} inodes left and {needed_inodes} are needed (df -i {folder})"
    return ""


def answer(params: dict[str, Any]) -> dict[str, Any]:
    """Measure everything."""
    with ThreadPoolExecutor() as beside:
        # `du` complains of files that have just gone.
        taken = beside.submit(docker, "exec", params["database"], "du", "-sk", CLUSTER)
        folder = docker("info", "--format", "{{.DockerRootDir}}").strip()
    kilobytes = taken.result().partition("\t")[0]
    database = int(kilobytes) * 1024 if kilobytes.isdigit() else 0
    # With Docker Desktop it lies in a virtual machine.
    images = folder if folder and Path(folder).is_dir() else params["otherwise"]
    needed = dict.fromkeys((*params["places"], tempfile.gettempdir(), "/tmp"), params["bytes"])  # noqa: S108  # only measured
    needed[images] = max(params["image_bytes"], int(database * params["database_share"]))
    found = (shortage(Path(place), number, params["inodes"]) for place, number in needed.items())
    return {"changed": False, "short": [one for one in found if one], "database": database}


MODULE = Module(
    answer,
    {
        "places": {"type": "list", "elements": "path", "required": True},
        "otherwise": {"type": "path", "required": True},
        "database": {"type": "str", "required": True},
        "bytes": {"type": "int", "required": True},
        "inodes": {"type": "int", "required": True},
        "image_bytes": {"type": "int", "required": True},
        "database_share": {"type": "float", "default": 0},
    },
    looks=True,
)


if __name__ == "__main__":
    MODULE.run()
