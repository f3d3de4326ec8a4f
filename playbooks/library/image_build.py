"""The application's image, built from a tree and named after its version."""

from __future__ import annotations

import os
import subprocess
from pathlib import Path
from typing import Any

from ansible.module_utils.entry import Module

DOCUMENTATION = """
module: image_build
short_description: Build an image, and say whether it is another one than before
description:
  - Its names are C(repository:version) and C(repository:latest). Nothing that runs is touched.
  - The build is given this machine's certificates and PIP_INDEX_URL as secrets, which stay out of the image.
  - A build that fails is an answer, too, with its last words in C(said).
options:
  checkout: {type: path, required: true, description: The checkout whose lock the run must hold.}
  context: {type: path, required: true, description: The tree that is built.}
  repository: {type: str, required: true, description: Name of the image.}
  version: {type: str, required: true, description: "Its tag, and APP_VERSION in it."}
  project: {type: str, required: true, description: Compose's name of the stack that it belongs to.}
  packages: {type: str, required: true, description: Name of the cache of packages; a new one is empty.}
  no_cache: {type: bool, default: false, description: Build every layer again.}
"""

# Where distributions keep the certificates they trust.
BUNDLES = ("/etc/ssl/certs/ca-certificates.crt", "/etc/pki/tls/certs/ca-bundle.crt", "/etc/ssl/cert.pem")
LAST_WORDS = 6


def identity(image: str) -> str:
    """Return the engine's name for an image; empty if there is none."""
    argv = ["docker", "image", "inspect", "--format", "{{.Id}}", image]
    return subprocess.run(argv, capture_output=True, text=True, check=False).stdout.strip()


def command(params: dict[str, Any]) -> list[str]:
    """Return the build's argv."""
    repository, version = params["repository"], params["version"]
    bundle = next((each for each in BUNDLES if Path(each).exists()), os.devnull)
    argv = ["docker", "build", *(["--no-cache"] if params["no_cache"] else [])]
    argv += ["--tag", f"{repository}:{version}", "--tag", f"{repository}:latest"]
    argv += ["--label", f"com.docker.compose.project={params['project']}"]
    argv += ["--build-arg", f"APP_VERSION={version}", "--build-arg", f"PACKAGE_CACHE={params['packages']}"]
    return [
        *argv,
        "--secret",
        f"id=ca_bundle,src={bundle}",
        "--secret",
        "id=package_index,env=PIP_INDEX_URL",
        ".",
    ]


def answer(params: dict[str, Any]) -> dict[str, Any]:
    """Build."""
    image = f"{params['repository']}:{params['version']}"
    before = identity(image)
    index = os.environ.get("PIP_INDEX_URL", "")  # a secret must be there, be it empty
    built = subprocess.run(
        command(params),
        cwd=params["context"],
        env={**os.environ, "DOCKER_BUILDKIT": "1", "PIP_INDEX_URL": index},
        capture_output=True,
        text=True,
        errors="replace",
        check=False,
    )
    said = [line.strip() for line in built.stderr.splitlines() if line.strip()][-LAST_WORDS:]
    return {"changed": identity(image) != before, "exit_code": built.returncode, "said": said}


MODULE = Module(
    answer,
    {
        "checkout": {"type": "path", "required": True},
        "context": {"type": "path", "required": True},
        "repository": {"type": "str", "required": True},
        "version": {"type": "str", "required": True},
        "project": {"type": "str", "required": True},
        "packages": {"type": "str", "required": True},
        "no_cache": {"type": "bool", "default": False},
    },
    fenced=lambda params: str(params["checkout"]),
)


if __name__ == "__main__":
    MODULE.run()
