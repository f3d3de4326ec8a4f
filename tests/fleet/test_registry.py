"""Base images from a registry, which is Debian's package, on the loopback of a host."""

from __future__ import annotations

import contextlib
from typing import TYPE_CHECKING

import pytest

from tests.hosts.checkout import install
from tests.hosts.ready import start_fresh
from tests.hosts.stack import DATABASE, Stack

if TYPE_CHECKING:
    from collections.abc import Iterator

REGISTRY = "127.0.0.1:5000"
EXTRA_VARIABLES = " ".join(
    f"-e {name}={value}"
    for name, value in {
        "images_from": "registry",
        "images_python": f"{REGISTRY}/python:3.13-slim",
        "images_postgres": f"{REGISTRY}/postgres:15-alpine",
        "images_debian": f"{REGISTRY}/debian:trixie-slim",
    }.items()
)
CONFIGURATION = """\
version: 0.1
storage:
  filesystem:
    rootdirectory: /var/lib/docker-registry
http:
  addr: {address}
"""
SERVE = "setsid docker-registry serve /root/registry.yml >/var/log/registry.log 2>&1 </dev/null &"
ANSWERS = f"timeout 30 bash -c 'until curl --silent --fail http://{REGISTRY}/v2/; do sleep 0.2; done'"
FILL = f"""\
set -e
for role in python:3.13-slim postgres:15-alpine; do
    docker tag trading-signal-processor/base-${{role%%:*}}:current {REGISTRY}/$role
    docker push --quiet {REGISTRY}/$role
done
apt-get install -y -qq --no-install-recommends mmdebstrap
mirror=$(apt-get indextargets --format '$(REPO_URI)' 'Created-By: Packages' | head -n 1)
mmdebstrap --quiet --variant=apt trixie /root/debian.tar \
    "deb [signed-by=/usr/share/keyrings/debian-archive-keyring.gpg] $mirror trixie main"
docker import /root/debian.tar {REGISTRY}/debian:trixie-slim
docker push --quiet {REGISTRY}/debian:trixie-slim
docker image prune --all --force
"""


@pytest.fixture(scope="module")
def stack(ready_image: str, source: bytes) -> Iterator[Stack]:
    """Start a host whose only source of base images is a registry on its loopback."""
    with start_fresh(ready_image, source, "registry") as host:
        host.run(
            "apt-get update -qq && apt-get install -y -qq --no-install-recommends docker-registry",
            timeout=300,
        ).require()
        host.write("/root/registry.yml", CONFIGURATION.format(address=REGISTRY))
        host.run(f"{SERVE} {ANSWERS}").require()
        host.run(FILL, timeout=600).require()
        install(host, source)
        yield Stack(host)


@contextlib.contextmanager
def _registry_away(stack: Stack) -> Iterator[None]:
    stack.host.run("pkill docker-registry").require()
    try:
        yield
    finally:
        stack.host.run(f"{SERVE} {ANSWERS}").require()


def test_without_the_registry_nothing_is_done(stack: Stack) -> None:
    """Not even with Debian's packages: the setting names the registry as the source."""
    with _registry_away(stack):
        result = stack.run_py("--quick", EXTRA_VARIABLES)
    assert result.code == 3, result.output
    assert "no registry answered" in result.output
    assert stack.containers() == {}


def test_base_images_come_from_the_registry(stack: Stack) -> None:
    """All are pulled, that of the edge is built on Debian's; the volume records what kind fills it."""
    stack.run_py("--quick", EXTRA_VARIABLES).require()
    assert stack.settled_health()["status"] == "healthy"
    assert DATABASE in stack.containers()
    label = '{{index .Labels "trading-signal-processor.kind"}}'
    inspect = f"docker volume inspect --format '{label}' trading-signal-processor_postgres_data"
    assert stack.host.run(inspect).stdout.strip() == "registry"


def test_a_volume_of_one_kind_is_not_given_to_the_other(stack: Stack) -> None:
    """Debian's PostgreSQL has another user id and collation: refused, with the remedy."""
    before = stack.containers()
    result = stack.run_py("--quick", "-e images_from=distribution")
    assert (result.code, "set images_from to registry" in result.output) == (3, True), result.output
    assert stack.containers() == before
