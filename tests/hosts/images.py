"""The image that throw-away hosts are started from: a bare Debian 12 machine, without Docker.

It is made from the packages of the distribution with this machine's own sources, so that no image registry is
needed and no address of a mirror is written down here.
"""

from __future__ import annotations

import hashlib
import os
import re
import shutil
import tempfile
from pathlib import Path

from tests.hosts.docker import call, docker, has_image

SUITE = "bookworm"
REPOSITORY = "trading-signal-processor/test-host"

# What a person finds on a small Debian server, and what lets tests look around. Nothing of Docker:
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


def bare_image() -> str:
    """The name of the bare image, made now if the engine does not have it (about 30 s)."""
    sources = _debian_sources()
    recipe = hashlib.sha256("\n".join((*PACKAGES, sources)).encode()).hexdigest()[:12]
    name = f"{REPOSITORY}:{SUITE}-{recipe}"
    if not has_image(name):
        _build(name, sources)
    return name


def install_packages(*packages: str) -> None:
    """Install packages on this machine with apt; needs root."""
    environment = {**os.environ, "DEBIAN_FRONTEND": "noninteractive"}
    call(["apt-get", "update", "-q"], environment=environment, timeout=300).require()
    call(
        ["apt-get", "install", "-q", "-y", "--no-install-recommends", *packages],
        environment=environment,
        timeout=600,
    ).require()


def _build(name: str, sources: str) -> None:
    if not shutil.which("mmdebstrap"):
        install_packages("mmdebstrap")
    with tempfile.TemporaryDirectory(prefix="test-host-") as folder:
        archive = Path(folder, "rootfs.tar")
        call(
            ["mmdebstrap", "--variant=minbase", f"--include={','.join(PACKAGES)}", SUITE, str(archive), "-"],
            stdin=sources.encode(),
            timeout=600,
        ).require()
        docker("import", "--change", "WORKDIR /root", str(archive), name, timeout=300)


def _debian_sources() -> str:
    """This machine's own Debian sources, one line each, for the suite that hosts run.

    Only entries of the machine's own release are taken (others are third parties' or another suite), and the
    release's name is replaced where the machine runs a newer one than its hosts.
    """
    codename = _codename()
    entries = [entry for path in _source_files() for entry in _entries(path.read_text())]
    own = [
        f"deb {options}{uri} {suite.replace(codename, SUITE, 1)} {components}"
        for options, uri, suite, components in entries
        if re.fullmatch(rf"{codename}(-updates|-security)?", suite)
    ]
    if not own:
        raise RuntimeError(
            f"no apt source of {codename} found in /etc/apt: nothing to make a Debian host from"
        )
    return "\n".join(dict.fromkeys(own)) + "\n"


def _codename() -> str:
    match = re.search(r"^VERSION_CODENAME=(\w+)$", Path("/etc/os-release").read_text(), re.MULTILINE)
    if match is None:
        raise RuntimeError(
            "/etc/os-release names no VERSION_CODENAME: throw-away hosts need a Debian machine"
        )
    return match[1]


def _source_files() -> list[Path]:
    apt = Path("/etc/apt")
    listed = [
        *apt.glob("sources.list.d/*.sources"),
        *apt.glob("sources.list"),
        *apt.glob("sources.list.d/*.list"),
    ]
    return sorted(listed)


def _entries(text: str) -> list[tuple[str, str, str, str]]:
    """(options, address, suite, components) of every binary source, in either of apt's two formats."""
    found = [
        (match["options"] or "", match["uri"], match["suite"], match["components"])
        for match in re.finditer(
            r"^deb\s+(?P<options>\[[^]]*\]\s+)?(?P<uri>\S+)\s+(?P<suite>\S+)\s+(?P<components>.+)$",
            text,
            re.MULTILINE,
        )
    ]
    for stanza in re.split(r"\n\s*\n", text):
        fields = dict(re.findall(r"^([A-Za-z-]+):[ \t]*(.+)$", stanza, re.MULTILINE))
        if "deb" not in fields.get("Types", "").split():
            continue
        signed = f"[signed-by={fields['Signed-By']}] " if "Signed-By" in fields else ""
        found += [
            (signed, uri, suite, fields.get("Components", "main"))
            for uri in fields.get("URIs", "").split()
            for suite in fields.get("Suites", "").split()
        ]
    return found
