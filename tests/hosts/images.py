"""The images that throw-away hosts are started from: bare machines with Debian 12 or 13, without Docker.

They are made from the packages of the distribution with this machine's own sources. So no image registry is
needed, and the code contains no address of a mirror.
"""

from __future__ import annotations

import hashlib
import os
import re
import shutil
import tempfile
from pathlib import Path

from tests.hosts.docker import call, docker, has_image
from tests.hosts.sharing import SETTING_UP

SUITE = "bookworm"
KEYRING = "/usr/share/keyrings/debian-archive-keyring.gpg"
REPOSITORY = "trading-signal-processor/test-host"

# Packages of a small Debian server, and those that tests need. Nothing of Docker:
# the product installs that.
PACKAGES = (
    "python3",
    "python3-venv",
    "git",
    "ca-certificates",
    "curl",
    "iproute2",
    "procps",
    "openssh-server",
    "sudo",
)


def bare_image(suite: str = SUITE) -> str:
    """Return the name of the bare image, made now if the engine does not have it (about 30 s)."""
    sources = _debian_sources(suite)
    recipe = hashlib.sha256("\n".join((*PACKAGES, sources)).encode()).hexdigest()[:12]
    name = f"{REPOSITORY}:{suite}-{recipe}"
    with SETTING_UP:
        if not has_image(name):
            _build(name, suite, sources)
    return name


def install_packages(*packages: str) -> None:
    """Install packages on this machine with apt; needs root."""
    environment = {**os.environ, "DEBIAN_FRONTEND": "noninteractive"}
    with SETTING_UP:
        call(["apt-get", "update", "-q"], environment=environment, timeout=300).require()
        call(
            ["apt-get", "install", "-q", "-y", "--no-install-recommends", *packages],
            environment=environment,
            timeout=600,
        ).require()


def _build(name: str, suite: str, sources: str) -> None:
    if not shutil.which("mmdebstrap"):
        install_packages("mmdebstrap")
    with tempfile.TemporaryDirectory(prefix="test-host-") as folder:
        archive = Path(folder, "rootfs.tar")
        call(
            ["mmdebstrap", "--variant=minbase", f"--include={','.join(PACKAGES)}", suite, str(archive), "-"],
            stdin=sources.encode(),
            timeout=600,
        ).require()
        docker("import", "--change", "WORKDIR /root", str(archive), name, timeout=300)


def _debian_sources(wanted: str) -> str:
    """Return this machine's Debian sources of the suite that a host runs, one line each.

    On a machine of another release the same mirror serves the hosts' suite too.
    """
    targets = _package_lists()
    if not targets:  # a machine whose lists were never fetched names none
        call(["apt-get", "update", "-q"], timeout=300).require()
        targets = _package_lists()
    codename = _codename()
    lines = [
        f"deb [signed-by={KEYRING}] {uri} {suite.replace(codename, wanted, 1)} main"
        for suite, component, origin, uri in targets
        if component == "main" and origin == "Debian" and suite.split("-")[0] == codename
    ]
    if not lines:
        raise RuntimeError("this machine's apt sources name no Debian mirror to make a host from")
    return "\n".join(dict.fromkeys(lines)) + "\n"


def _package_lists() -> list[list[str]]:
    listing = call(
        [
            "apt-get", "indextargets",
            "--format", "$(RELEASE) $(COMPONENT) $(ORIGIN) $(REPO_URI)",
            "Created-By: Packages",
        ]
    ).require()  # fmt: skip
    return [line.split() for line in listing.stdout.splitlines()]


def _codename() -> str:
    match = re.search(r"^VERSION_CODENAME=(\w+)$", Path("/etc/os-release").read_text(), re.MULTILINE)
    if match is None:
        raise RuntimeError(
            "/etc/os-release names no VERSION_CODENAME: throw-away hosts need a Debian machine"
        )
    return match[1]
