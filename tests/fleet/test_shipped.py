"""`build_on: controller`: built once, shipped to hosts that reach no other server."""

from __future__ import annotations

import contextlib
from typing import TYPE_CHECKING

import pytest

from tests.hosts.checkout import PROJECT
from tests.hosts.fleet import Fleet, outcomes
from tests.hosts.ready import start_fresh, start_ready
from tests.hosts.stack import APP
from tests.hosts.upstream import Upstream

if TYPE_CHECKING:
    from collections.abc import Iterator

    from tests.hosts.host import Host

NAMES = ("one", "two")

# Only answers to incoming connections may leave, from the host and from its containers.
CUT_OFF = """\
for chain in OUTPUT DOCKER-USER; do
    iptables -I $chain -o eth0 -j REJECT
    iptables -I $chain -o eth0 -m conntrack --ctstate ESTABLISHED,RELATED -j ACCEPT
done
"""


def _cut_off(host: Host, outside: str) -> None:
    """Start a host with an engine and nothing else: no image, no git, no outgoing connections."""
    host.run(
        "docker image prune --all --force && docker builder prune --all --force && rm /usr/bin/git"
    ).require()
    host.run(CUT_OFF).require()
    assert host.run("docker images --quiet").stdout == ""
    assert host.run(f"curl --silent --max-time 5 http://{outside}/health").code != 0


@pytest.fixture(scope="module")
def fleet(ready_image: str, source: bytes) -> Iterator[Fleet]:
    """Prepare two isolated hosts, and the controller, on which the stack runs, too."""
    with contextlib.ExitStack() as all_hosts:
        controller = all_hosts.enter_context(start_ready(ready_image, source, "controller"))
        hosts = {name: all_hosts.enter_context(start_fresh(ready_image, source, name)) for name in NAMES}
        fleet = Fleet(controller, hosts, source, build_on="controller")
        for host in hosts.values():
            _cut_off(host, controller.address)
        yield fleet


@pytest.fixture(scope="module")
def upstream(fleet: Fleet) -> Upstream:
    """Return the remote that the controller's checkout follows."""
    return Upstream(fleet.controller)


def _same_image(fleet: Fleet) -> bool:
    """Return whether the app runs from the same image on all hosts, and the controller has it."""
    inspect = f"docker inspect --format '{{{{.Image}}}}' {APP}"
    running = {host.run(inspect).require().stdout.strip() for host in fleet.hosts.values()}
    known = fleet.controller.run("docker images --quiet --no-trunc trading-signal-processor").stdout.split()
    return len(running) == 1 and running <= set(known)


def test_hosts_without_registry_git_and_packages_are_deployed(fleet: Fleet) -> None:
    """One build; the hosts hold definition, configuration and nothing of the code."""
    result = fleet.run_py("--limit", "prod").require()
    here = fleet.controller.run("git rev-parse HEAD", folder=PROJECT).stdout.strip()
    assert fleet.versions() == dict.fromkeys(NAMES, here[:12])
    assert result.output.count("images: Build the application's image") == 1
    assert _same_image(fleet)
    for host in fleet.hosts.values():
        assert host.run(f"ls -A {PROJECT}").stdout.split() == [
            *(".env", ".run", "backups", "config", "data"),
            *("docker-compose.hardened.yml", "docker-compose.maximum.yml", "docker-compose.tls.yml"),
            *("docker-compose.yml", "logs"),
        ]


def test_with_nothing_changed_nothing_is_shipped(fleet: Fleet) -> None:
    """The same images are there already."""
    before = fleet.fingerprint()
    result = fleet.run_py("--quick", "--limit", "prod").require()
    assert fleet.fingerprint() == before
    assert "changed    images: Load them" not in result.output


def test_an_update_is_fetched_built_and_shipped_from_here(fleet: Fleet, upstream: Upstream) -> None:
    """The controller's checkout follows, and a rollback to the previous version is possible."""
    old = fleet.versions()["one"]
    commit = upstream.push({"app/news.txt": "shipped\n"})
    result = fleet.run_py("--update", "--limit", "prod").require()
    assert fleet.versions() == dict.fromkeys(NAMES, commit[:12])
    assert result.output.count("images: Build the application's image") == 1
    assert _same_image(fleet)
    assert fleet.controller.run("git rev-parse HEAD", folder=PROJECT).stdout.strip() == commit

    result = fleet.run_py("--rollback", "--limit", "prod").require()
    assert fleet.versions() == dict.fromkeys(NAMES, old)
    assert outcomes(result.output) == dict.fromkeys(NAMES, "done")


def test_a_build_that_fails_here_changes_no_host(fleet: Fleet, upstream: Upstream) -> None:
    """The old version serves on all of them (5)."""
    before = fleet.fingerprint()
    broken = upstream.read("Dockerfile") + "RUN echo this build breaks here && exit 9\n"
    with upstream.offering({"Dockerfile": broken}):
        result = fleet.run_py("--quickupdate", "--limit", "prod")
    assert result.code == 5, result.output
    assert "this build breaks here" in result.output
    assert fleet.fingerprint() == before
