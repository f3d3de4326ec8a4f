"""A machine whose Docker engine is too old: refused first, upgraded on demand, never silently."""

from __future__ import annotations

from typing import TYPE_CHECKING

from tests.hosts.checkout import PROJECT, install
from tests.hosts.host import Host
from tests.hosts.images import bare_image
from tests.hosts.stack import Stack

if TYPE_CHECKING:
    from tests.hosts.engine import Engine

ENGINE = "docker version --format '{{.Server.Version}}'"


def test_the_engine_of_debian_12(engine: Engine, source: bytes) -> None:  # noqa: ARG001 - the host runs on it
    """Exit 3 naming both versions; with --install-docker the new daemon runs, unless it would stop others."""
    with Host(bare_image("bookworm"), "old-engine") as host:
        install(host, source)
        packages = "docker.io iptables ca-certificates"
        host.run(
            "printf '#!/bin/sh\\nexit 101\\n' >/usr/sbin/policy-rc.d && chmod +x /usr/sbin/policy-rc.d"
            " && apt-get update -qq && DEBIAN_FRONTEND=noninteractive"
            f" apt-get install -y -qq --no-install-recommends {packages}",
            timeout=600,
        ).require()
        host.run(f"bash {PROJECT}/roles/docker/files/start-docker.sh 60", timeout=90).require()
        old = host.run(ENGINE).require().stdout.strip()
        assert int(old.partition(".")[0]) < 25

        stack = Stack(host)
        refused = stack.run_py("--quick", timeout=1200)
        assert refused.code == 3
        assert old in refused.output
        assert "25.0 or newer" in refused.output
        assert "--install-docker" in refused.output

        # Another project's container, from an image with one program that sleeps.
        libraries = "$(ldd /usr/bin/sleep | grep -o '/[^ ]*')"
        host.run(f"tar -C / -chf - usr/bin/sleep {libraries} | docker import - sleeper").require()
        host.run("docker run --detach --name neighbour sleeper /usr/bin/sleep 3600").require()
        busy = stack.run_py("--quick", "--install-docker", timeout=1200)
        assert busy.code == 3
        assert "neighbour" in busy.output
        assert old in busy.output
        assert host.run(ENGINE).require().stdout.strip() == old

        host.run("docker rm --force neighbour").require()
        stack.run_py("--quick", "--install-docker", timeout=1200).require()
        assert int(host.run(ENGINE).require().stdout.partition(".")[0]) >= 25
        assert stack.settled_health()["status"] == "healthy"
