"""The application's image, built from a tree and named after its version."""

from __future__ import annotations

import os
import subprocess
import tempfile
from pathlib import Path
from typing import Any

from ansible_collections.signal_processor.stack.plugins.module_utils import build_context
from ansible_collections.signal_processor.stack.plugins.module_utils.entry import Failure, Module
from ansible_collections.signal_processor.stack.plugins.module_utils.git_checkout import GitError
from ansible_collections.signal_processor.stack.plugins.module_utils.onhost import certificates
from ansible_collections.signal_processor.stack.plugins.module_utils.onhost.causes import explain
from ansible_collections.signal_processor.stack.plugins.module_utils.onhost.edge import APP
from ansible_collections.signal_processor.stack.plugins.module_utils.stack import PROJECT, docker

DOCUMENTATION = """
module: image_build
short_description: Build an image, and say whether it is another one than before
description:
  - The tree is built as git stores it; modes and line endings of the checkout have no say.
  - Its names are C(trading-signal-processor:VERSION) and C(:latest). Nothing that runs is touched.
  - The build is given this machine's certificates and PIP_INDEX_URL as secrets, which stay out of the image.
  - A build that fails is an answer, too, with its last log lines in C(said).
options:
  checkout: {type: path, required: true, description: The checkout whose lock the run must hold.}
  context: {type: path, required: true, description: The tree that is built.}
  version: {type: str, required: true, description: "Its tag, and APP_VERSION in it."}
  packages: {type: str, required: true, description: Name of the cache of packages; a new one is empty.}
  no_cache: {type: bool, default: false, description: Build every layer again.}
"""

LAST_WORDS = 6


def identity(image: str) -> str:
    """Return the engine's name for an image; empty if there is none."""
    return docker("image", "inspect", "--format", "{{.Id}}", image).strip()


def command(params: dict[str, Any]) -> list[str]:
    """Return the build's argv."""
    version = params["version"]
    bundle = certificates.bundle() or os.devnull
    argv = ["docker", "build", *(["--no-cache"] if params["no_cache"] else [])]
    argv += ["--tag", f"{APP}:{version}", "--tag", f"{APP}:latest"]
    argv += ["--label", f"com.docker.compose.project={PROJECT}"]
    argv += ["--build-arg", f"APP_VERSION={version}", "--build-arg", f"PACKAGE_CACHE={params['packages']}"]
    return [
        *argv,
        "--secret",
        f"id=ca_bundle,src={bundle}",
        "--secret",
        "id=package_index,env=PIP_INDEX_URL",
        ".",
    ]


def build(params: dict[str, Any], folder: str) -> subprocess.CompletedProcess[str]:
    """Run the build in a folder with its context."""
    index = os.environ.get("PIP_INDEX_URL", "")  # a secret must be there, be it empty
    return subprocess.run(
        command(params),
        cwd=folder,
        env={**os.environ, "DOCKER_BUILDKIT": "1", "PIP_INDEX_URL": index},
        capture_output=True,
        text=True,
        errors="replace",
        check=False,
    )


def answer(params: dict[str, Any]) -> dict[str, Any]:
    """Build. Raises Failure where what it is built from cannot be laid out."""
    image = f"{APP}:{params['version']}"
    before = identity(image)
    try:
        with tempfile.TemporaryDirectory() as folder:
            build_context.lay_out(Path(params["context"]), Path(folder))
            built = build(params, folder)
    except (OSError, GitError) as error:
        why = explain(error, Path(tempfile.gettempdir())) if isinstance(error, OSError) else error
        raise Failure(
            f"What the image of version {params['version']} is built from could not be laid out: {why}."
        ) from error
    said = [line.strip() for line in built.stderr.splitlines() if line.strip()][-LAST_WORDS:]
    return {"changed": identity(image) != before, "exit_code": built.returncode, "said": said}


MODULE = Module(
    answer,
    {
        "checkout": {"type": "path", "required": True},
        "context": {"type": "path", "required": True},
        "version": {"type": "str", "required": True},
        "packages": {"type": "str", "required": True},
        "no_cache": {"type": "bool", "default": False},
    },
    fenced=lambda params: str(params["checkout"]),
)


if __name__ == "__main__":
    MODULE.run()
