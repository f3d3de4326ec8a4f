"""Hosts with a deployed stack: made from a bare one, stored as an image, started in seconds."""

from __future__ import annotations

import hashlib
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from tests.hosts.checkout import PROJECT, SOURCE, install
from tests.hosts.docker import Result, call, docker, has_image
from tests.hosts.host import Host
from tests.hosts.images import SUITE, bare_image
from tests.hosts.stack import Stack

if TYPE_CHECKING:
    from pathlib import Path

REPOSITORY = "trading-signal-processor/test-host-ready"

# The slow parts of a host come from these. Every other change reaches a host with the flow that starts
# it, as it reaches a real one.
_INGREDIENTS = ("requirements/app.txt", "requirements/deploy.txt", "images")


@dataclass(frozen=True)
class FirstDeployment:
    """The state of a bare machine right after `python3 run.py --install-docker` in a fresh clone."""

    result: Result
    health: dict[str, Any]
    containers: set[str]
    tables: set[str]


def image_name(checkout: Path, suite: str = SUITE) -> str:
    """Return the name of the image of this checkout's ready host."""
    digest = hashlib.sha256(bare_image(suite).encode())
    for ingredient in _INGREDIENTS:
        top = checkout / ingredient
        for path in sorted(p for p in (top, *top.rglob("*")) if p.is_file()):
            digest.update(path.read_bytes())
    return f"{REPOSITORY}:{suite}-{digest.hexdigest()[:12]}"


def deploy_from_nothing(archive: bytes, image: str, suite: str = SUITE) -> FirstDeployment:
    """Deploy on a bare machine, record its state, and store it as `image` unless that exists."""
    with Host(bare_image(suite), "bare") as host:
        install(host, archive)
        stack = Stack(host)
        result = stack.run_py("--install-docker", timeout=1200)
        if result.code != 0:
            return FirstDeployment(result, {}, set(), set())
        tables = stack.sql("SELECT tablename FROM pg_tables WHERE schemaname = 'public'")
        seen = FirstDeployment(
            result, stack.settled_health(), set(stack.containers()), {table for (table,) in tables}
        )
        if not has_image(image):
            stack.run_py("--stop").require()
            _forget_others(image)
            host.snapshot(image)
    return seen


def start_ready(image: str, archive: bytes, purpose: str) -> Host:
    """Start a host with the running stack of this checkout, from the image of a ready one."""
    host = Host(image, purpose)
    try:
        install(host, archive)
        # Its engine was stopped for the snapshot; --install-docker is what starts one that is installed.
        Stack(host).run_py("--quick", "--install-docker").require()
    except BaseException:  # the container must not outlive a Ctrl-C here either
        host.remove()
        raise
    return host


def start_fresh(image: str, archive: bytes, purpose: str, *, owner: int | None = None) -> Host:
    """Start a host with a running engine and base images, and nothing of ours: no checkout, no volume."""
    host = Host(image, purpose, owner=owner)
    try:
        install(host, archive)
        host.run(f"bash {PROJECT}/roles/docker/files/start-docker.sh 60", timeout=90).require()
        volumes = "docker ps -aq | xargs -r docker rm -f; docker volume ls -q | xargs -r docker volume rm"
        host.run(f"{volumes}; rm -rf {PROJECT} {SOURCE}").require()
    except BaseException:  # the container must not outlive a Ctrl-C here either
        host.remove()
        raise
    return host


def _forget_others(image: str) -> None:
    names = docker("images", "--format", "{{.Repository}}:{{.Tag}}", REPOSITORY).split()
    for name in names:
        if name != image and has_image(name) and _suite(name) == _suite(image):
            call(["docker", "rmi", name])


def _suite(image: str) -> str:
    return image.rpartition(":")[2].partition("-")[0]
