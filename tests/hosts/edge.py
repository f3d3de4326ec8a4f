"""The edge as a process on loopback: HAProxy from Debian 13's packages, under the image's own script."""

from __future__ import annotations

import contextlib
import os
import signal
import subprocess
import time
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

from tests.hosts.docker import Result, call
from tests.hosts.ports import free_port
from tests.hosts.sharing import SETTING_UP

if TYPE_CHECKING:
    from collections.abc import Iterator

IMAGE = Path(__file__).resolve().parents[2] / "images" / "edge"
SCRIPT = IMAGE / "edge.sh"
LOG = "edge.log"
START_SECONDS = 30.0  # generous: a machine that is busy
# HAProxy, its socket client, the ACME client, a server for that, and their libraries. These include the C
# library, so the programs run on any older Debian.
_PACKAGES = (
    *("haproxy", "socat", "uacme", "pebble"),
    *("libbrotli1", "libc6", "libcom-err2", "libcrypt1", "libcurl3t64-gnutls", "libev4t64", "libffi8"),
    *("libgcc-s1", "libgmp10", "libgnutls30t64", "libgssapi-krb5-2", "libhogweed6t64", "libidn2-0"),
    *("libjemalloc2", "libk5crypto3", "libkeyutils1", "libkrb5-3", "libkrb5support0", "libldap2"),
    *("liblua5.4-0", "libnettle8t64", "libnghttp2-14", "libnghttp3-9", "libngtcp2-16"),
    *("libngtcp2-crypto-gnutls8", "libopentracing-c-wrapper0t64", "libopentracing1", "libp11-kit0"),
    *("libpcre2-8-0", "libpsl5t64", "librtmp1", "libsasl2-2", "libssh2-1t64", "libssl3t64"),
    *("libstdc++6", "libtasn1-6", "libunistring5", "libwrap0", "libzstd1", "zlib1g"),
)
_LINKED = ("sbin/haproxy", "bin/socat", "bin/uacme")
_STATIC = ("bin/pebble", "bin/pebble-challtestsrv")


def unpack_haproxy(folder: Path) -> Path:
    """Unpack the packages into `folder`; return a folder for PATH with programs that run from there.

    Nothing is installed: that would start a proxy on this machine, now and after each boot. The image's
    commands `edge` and `acme` are there too.

    Raises:
        CommandFailedError: apt does not know Debian 13's packages.
    """
    with SETTING_UP:
        call(["apt-get", "download", "-q", "-t", "trixie", *_PACKAGES], timeout=300, folder=folder).require()
    for package in folder.glob("*.deb"):
        call(["dpkg-deb", "--extract", str(package), str(folder)]).require()
    (libraries,) = folder.glob("usr/lib/*-linux-gnu")
    (loader,) = libraries.glob("ld-linux*.so.*")
    programs = folder / "bin"
    programs.mkdir()
    for path in _LINKED:
        program = programs / Path(path).name
        # HAProxy starts itself again by its first argument, with each reload.
        program.write_text(
            f'#!/bin/sh\nexec {loader} --argv0 "$0" --library-path {libraries} {folder}/usr/{path} "$@"\n'
        )
        program.chmod(0o755)
    for path in _STATIC:
        (programs / Path(path).name).symlink_to(folder / "usr" / path)
    for name in ("edge", "acme"):
        (programs / name).symlink_to(IMAGE / f"{name}.sh")
    return programs


@dataclass(frozen=True)
class Edge:
    """A running edge: its addresses, and its folder `state`."""

    url: str
    tls_url: str
    port: int
    state: Path
    environment: dict[str, str]

    def run(self, *words: str, stdin: bytes | None = None) -> Result:
        """Run a command of the image's script, as `docker exec trading-edge edge …` does."""
        return call([str(SCRIPT), *words], environment=self.environment, stdin=stdin)

    def shown(self) -> dict[str, str]:
        """Return the output of `edge show`."""
        return dict(word.split("=") for word in self.run("show").require().stdout.split())

    @property
    def log(self) -> str:
        """Return its log."""
        return (self.state.parent / LOG).read_text()


def make_edge(programs: Path, folder: Path, *, app: str, standin: str, **variables: str) -> Edge:
    """Return an edge for two servers (`host:port`), not started; `variables` go into its environment."""
    port, tls_port, master, hold = (free_port() for _ in range(4))
    state = folder / "edge-state"
    state.mkdir(exist_ok=True)
    environment = {
        "PATH": f"{programs}:{os.environ['PATH']}",
        "EDGE_FOLDER": str(IMAGE),
        "EDGE_STATE": str(state),
        "EDGE_HTTP": f"127.0.0.1:{port}",
        "EDGE_HTTPS": f"127.0.0.1:{tls_port}",
        "EDGE_CONTROL": str(folder / "control"),  # a socket's address has at most 107 bytes
        "EDGE_MASTER_PORT": str(master),
        "EDGE_HOLD_PORT": str(hold),
        "EDGE_APP": app,
        "EDGE_STANDIN": standin,
        **variables,
    }
    return Edge(f"http://127.0.0.1:{port}", f"https://127.0.0.1:{tls_port}", port, state, environment)


@contextlib.contextmanager
def running(edge: Edge) -> Iterator[subprocess.Popen[bytes]]:
    """Run it until the block ends; yields its process, which answers by then."""
    with (edge.state.parent / LOG).open("ab") as log:
        process = subprocess.Popen(
            [str(SCRIPT), "start"], env=edge.environment, stdout=log, stderr=log, start_new_session=True
        )
    try:
        end = time.monotonic() + START_SECONDS
        while edge.run("show").code != 0:
            assert process.poll() is None, edge.log
            assert time.monotonic() < end, edge.log
            time.sleep(0.02)
        yield process
    finally:
        # Master and workers; what the test killed is gone already.
        with contextlib.suppress(ProcessLookupError):
            os.killpg(process.pid, signal.SIGKILL)
        process.wait()
