"""The environment of run.py, really created: needs the package index of this machine."""

from __future__ import annotations

import functools
import os
import shutil
import signal
import ssl
import subprocess
import sys
import threading
from http.server import SimpleHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import TYPE_CHECKING

import pytest

from deploy import bootstrap
from deploy.bootstrap import BootstrapError
from deploy.onhost import certificates
from tests.controller.checkout import REPOSITORY

if TYPE_CHECKING:
    from collections.abc import Iterator

# No variable about package indexes or trusted certificates.
PRIVATE = {"PATH": os.environ["PATH"], "HOME": os.environ.get("HOME", "/root"), "PIP_CONFIG_FILE": os.devnull}
AUTHORITY = """\
[req]
distinguished_name = name
[name]
[ca]
basicConstraints = critical, CA:TRUE
keyUsage = critical, keyCertSign
[server]
basicConstraints = CA:FALSE
subjectAltName = IP:127.0.0.1
extendedKeyUsage = serverAuth
"""
# Stands in for a whole lock: small, pure Python, and it brings a script.
SMALL = "markdown-it-py"


@pytest.fixture
def clone(tmp_path: Path) -> Path:
    """A fresh clone whose lock holds one small package (with its hashes) and what it needs."""
    root = tmp_path / "clone"
    shutil.copytree(REPOSITORY / "deploy", root / "deploy", ignore=shutil.ignore_patterns("__pycache__"))
    (root / "requirements").mkdir()
    shutil.copy(REPOSITORY / "requirements" / "uv.txt", root / "requirements")
    lock = (REPOSITORY / "requirements" / "deploy.txt").read_text("utf-8")
    small = [entry(lock, name) for name in (SMALL, "mdurl")]
    (root / "requirements" / "deploy.txt").write_text("\n".join(small) + "\n", "utf-8")
    return root


def entry(lock: str, name: str) -> str:
    """Return the lines of one package of a lock."""
    lines = lock.splitlines()
    start = next(number for number, line in enumerate(lines) if line.startswith(f"{name}=="))
    end = next((n for n in range(start + 1, len(lines)) if not lines[n].startswith(" ")), len(lines))
    return "\n".join(lines[start:end])


def make(root: Path) -> subprocess.Popen[str]:
    """Create the environment as the Makefile does."""
    return subprocess.Popen(
        [sys.executable, "-m", "deploy.bootstrap", "deploy"],
        cwd=root,
        text=True,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        start_new_session=True,
    )


def test_two_start_at_once_and_one_environment_is_made_that_works(clone: Path) -> None:
    (clone / ".venv.new").mkdir()  # left by a run that was killed
    (clone / ".venv.new" / "rubbish").touch()
    first, second = make(clone), make(clone)
    said = first.communicate(timeout=120)[1] + second.communicate(timeout=120)[1]
    assert (first.returncode, second.returncode) == (0, 0), said
    assert said.count("Making .venv") == 1
    assert bootstrap.is_current(clone, "deploy")
    assert sorted(path.name for path in clone.glob(".venv*")) == [".venv"]
    assert not (clone / ".venv" / "rubbish").exists()
    assert not list((clone / ".venv" / "lib").glob("*/site-packages/markdown_it/__pycache__"))
    # After the rename its scripts still start, by name and as modules.
    for argv in (["bin/markdown-it"], ["bin/python", "-m", "markdown_it.cli.parse"]):
        argv[0] = str(clone / ".venv" / argv[0])
        assert subprocess.run([*argv, "--version"], capture_output=True, check=False).returncode == 0

    with (clone / "requirements" / "deploy.txt").open("a", encoding="utf-8") as lock:
        lock.write("# changed\n")
    assert not bootstrap.is_current(clone, "deploy")


def test_an_interrupted_making_leaves_nothing(clone: Path) -> None:
    with make(clone) as process:
        assert process.stderr
        assert "Making .venv" in process.stderr.readline()
        os.killpg(process.pid, signal.SIGINT)
        process.communicate(timeout=60)
    assert process.returncode != 0
    assert not list(clone.glob(".venv*"))


@pytest.fixture
def authority(tmp_path: Path) -> Path:
    """Create a private CA's certificate, and a certificate for 127.0.0.1 signed by it, with its key."""
    (tmp_path / "openssl.cnf").write_text(AUTHORITY, "utf-8")
    new_key = "openssl req -x509 -newkey ec -pkeyopt ec_paramgen_curve:prime256v1 -nodes -days 2"
    for name, signed in (("ca", ""), ("server", "-CA ca.pem -CAkey ca.key")):
        options = f"-config openssl.cnf -extensions {name} -subj /CN={name} {signed}"
        command = f"{new_key} {options} -keyout {name}.key -out {name}.pem"
        subprocess.run(command.split(), cwd=tmp_path, check=True, capture_output=True)
    return tmp_path / "ca.pem"


@pytest.fixture
def private_index(clone: Path, authority: Path) -> Iterator[str]:
    """Serve a package index over TLS with the packages of the clone's locks; yield the address for pip."""
    pages = authority.parent / "pages"
    for lock in ("uv", "deploy"):
        download = [sys.executable, "-m", "pip", "download", "--quiet", "--no-deps", "--require-hashes"]
        subprocess.run([*download, "-r", clone / f"requirements/{lock}.txt", "-d", pages], check=True)
    for file in list(pages.iterdir()):
        name = file.name.partition("-")[0].replace("_", "-")
        (pages / "simple" / name).mkdir(parents=True, exist_ok=True)
        file.rename(pages / "simple" / name / file.name)
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.load_cert_chain(authority.with_name("server.pem"), authority.with_name("server.key"))
    handler = functools.partial(SimpleHTTPRequestHandler, directory=str(pages))
    with ThreadingHTTPServer(("127.0.0.1", 0), handler) as server:
        server.socket = context.wrap_socket(server.socket, server_side=True)
        threading.Thread(target=server.serve_forever, daemon=True).start()
        yield f"https://127.0.0.1:{server.server_port}/simple"
        server.shutdown()


def test_a_ca_that_only_the_system_knows_is_enough(
    clone: Path, authority: Path, private_index: str, tmp_path: Path
) -> None:
    """For pip and for uv, without any variable that names it. Without the CA nothing is installed.

    Only the second run has the CA in the system's store: a file mounted over it in its own namespace.
    """
    assert not {"SSL_CERT_FILE", "SSL_CERT_DIR", "PIP_CERT"} & PRIVATE.keys()
    environ = {
        **PRIVATE,
        "PIP_INDEX_URL": private_index,
        "PIP_NO_CACHE_DIR": "1",
        "UV_CACHE_DIR": str(tmp_path / "cache"),
    }
    command = [sys.executable, "-m", "deploy.bootstrap", "deploy"]
    refused = subprocess.run(command, cwd=clone, env=environ, capture_output=True, text=True, check=False)
    assert refused.returncode == 1
    assert "certificate" in refused.stderr.lower()

    store = tmp_path / "store.crt"
    store.write_bytes(Path(certificates.bundle()).read_bytes() + b"\n" + authority.read_bytes())
    mounted = 'mount --bind "$1" "$2" && shift 2 && exec "$@"'
    within = ["unshare", "--mount", "sh", "-c", mounted, "sh", str(store), certificates.bundle(), *command]
    done = subprocess.run(within, cwd=clone, env=environ, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
    assert bootstrap.is_current(clone, "deploy")
    assert list((clone / ".venv" / "lib").glob("*/site-packages/markdown_it"))


def test_without_a_network_the_reason_is_shown(clone: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    for name in [name for name in os.environ if name.startswith(("PIP_", "UV_"))]:
        monkeypatch.delenv(name)
    monkeypatch.setenv("PIP_CONFIG_FILE", os.devnull)
    monkeypatch.setenv("PIP_INDEX_URL", "http://127.0.0.1:1/simple")
    monkeypatch.setenv("PIP_RETRIES", "0")
    with pytest.raises(BootstrapError) as failure:
        bootstrap.ensure(clone, "deploy")
    assert failure.value.exit_code == 1
    assert "installing uv failed" in str(failure.value)
    assert "    ERROR: " in str(failure.value)
    assert "Is a package index reachable from here" in str(failure.value)
    assert not list(clone.glob(".venv*"))
