"""Compare the PostgreSQL that made the database's volume with the one that will run on it."""

from __future__ import annotations

import io
import json
import os
import re
import subprocess
import tarfile
from pathlib import Path
from typing import Any

from ansible_collections.signal_processor.stack.plugins.module_utils.entry import Module
from ansible_collections.signal_processor.stack.plugins.module_utils.onhost import leftovers, runs

DOCUMENTATION = """
module: cluster_facts
short_description: Major versions of PostgreSQL, of a volume and of an image
description:
  - Returns C(volume) and C(image), such as C(15); empty where it is not known.
options:
  container: {type: str, required: true, description: The database's container; it may be absent or stopped.}
  volume: {type: str, required: true, description: The database's volume.}
  image: {type: str, required: true, description: The image that is going to run on it.}
  look: {type: bool, default: false, description: Start no container to find out.}
"""

CLUSTER = "/var/lib/postgresql/data"
VERSION_FILE = "PG_VERSION"


def docker(*argv: str) -> bytes:
    """Return stdout; empty of a command that failed."""
    done = subprocess.run(["docker", *argv], capture_output=True, check=False)
    return done.stdout if done.returncode == 0 else b""


def major(text: str) -> str:
    """Return the major version in the text of a PG_VERSION file; empty if there is none. Pure."""
    match = re.match(r"\s*(\d+)", text)
    return match.group(1) if match else ""


def image_major(variables: list[str]) -> str:
    """Return the major version that an image's environment names; empty if it names none. Pure."""
    environment = dict(variable.partition("=")[::2] for variable in variables)
    path = re.search(r"/postgresql/(\d+)/bin", environment.get("PATH", ""))
    return major(environment.get("PG_MAJOR", "")) or (path.group(1) if path else "")


def by_container(container: str, volume: str) -> str:
    """Read the file through the container that has the volume, whether it runs or not."""
    mounts = json.loads(docker("container", "inspect", "--format", "{{json .Mounts}}", container) or b"[]")
    if volume not in {mount.get("Name") for mount in mounts}:
        return ""
    archive = docker("cp", f"{container}:{CLUSTER}/{VERSION_FILE}", "-")
    if not archive:
        return ""
    with tarfile.open(fileobj=io.BytesIO(archive)) as tar:
        member = tar.next()
        file = tar.extractfile(member) if member else None
        return file.read().decode(errors="replace") if file else ""


def by_folder(volume: str) -> str:
    """Read the file where the engine keeps the volume; only root can, and only where that is this machine."""
    folder = docker("volume", "inspect", "--format", "{{.Mountpoint}}", volume).decode().strip()
    try:
        return Path(folder, VERSION_FILE).read_text() if folder else ""
    except OSError:
        return ""


def by_image(image: str, volume: str) -> str:
    """Read the file in a container of its own."""
    mount = f"--volume={volume}:/volume:ro"
    label = f"--label={runs.LABEL}={os.environ.get(leftovers.MARK, '')}"
    argv = ("run", "--rm", label, "--network=none", mount, "--entrypoint=cat", image)
    return docker(*argv, f"/volume/{VERSION_FILE}").decode(errors="replace")


def answer(params: dict[str, Any]) -> dict[str, Any]:
    """Find both out."""
    volume, image = params["volume"], params["image"]
    found = major(by_container(params["container"], volume)) or major(by_folder(volume))
    if not found and not params["look"]:
        found = major(by_image(image, volume))
    variables = json.loads(docker("image", "inspect", "--format", "{{json .Config.Env}}", image) or b"[]")
    return {"changed": False, "volume": found, "image": image_major(variables or [])}


MODULE = Module(
    answer,
    {
        "container": {"type": "str", "required": True},
        "volume": {"type": "str", "required": True},
        "image": {"type": "str", "required": True},
        "look": {"type": "bool", "default": False},
    },
    looks=True,
)


if __name__ == "__main__":
    MODULE.run()
