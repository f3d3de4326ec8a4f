"""Look at a machine's Docker: what is installed, and does the engine answer. Changes nothing."""

from __future__ import annotations

import json
import os
import shutil
import subprocess
from pathlib import Path
from typing import TYPE_CHECKING, Any

from ansible_collections.signal_processor.stack.plugins.module_utils.entry import Module

if TYPE_CHECKING:
    from collections.abc import Mapping

DOCUMENTATION = """
module: docker_facts
short_description: Versions of client, engine and compose, and what the machine is
description:
  - Returns what it found. An empty version means "not there"; C(error) then says why.
  - C(elsewhere) names an engine that is not this machine's default, and what chose it.
  - Answers even if the engine hangs.
"""

LOCAL = "unix:///var/run/docker.sock"
TIMEOUT = 15  # seconds one docker command may take


def ask(argv: list[str]) -> tuple[str, str]:
    """Return (stdout, error); the error is the command's last line, or why it could not be run."""
    if shutil.which(argv[0]) is None:
        return "", f"{argv[0]} is not installed"
    try:
        done = subprocess.run(argv, capture_output=True, text=True, timeout=TIMEOUT, check=False)
    except subprocess.TimeoutExpired:
        return "", f"'{' '.join(argv[:2])}' did not answer within {TIMEOUT} s"
    lines = done.stderr.strip().splitlines()
    return done.stdout.strip("\n"), "" if done.returncode == 0 else (
        lines[-1] if lines else f"exit {done.returncode}"
    )


def os_release() -> dict[str, str]:
    """Read /etc/os-release; empty where there is none (macOS)."""
    file = Path("/etc/os-release")
    if not file.exists():
        return {}
    pairs = (line.split("=", 1) for line in file.read_text(encoding="utf-8").splitlines() if "=" in line)
    return {key: value.strip("\"'") for key, value in pairs}


def resources() -> tuple[int, int]:
    """Return processors and bytes of memory that containers can have.

    On Linux those of the machine. Elsewhere the engine lives in a smaller virtual machine: `docker info` has
    to be asked, which takes six times as long as any other question.
    """
    if os.uname().sysname == "Linux":
        return len(os.sched_getaffinity(0)), os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES")
    answer, _ = ask(["docker", "info", "--format", "{{.NCPU}} {{.MemTotal}}"])
    cpus, memory = answer.split()
    return int(cpus), int(memory)


def elsewhere(environ: Mapping[str, str], context: str) -> str:
    """Name the engine that the client talks to, and what chose it; empty for the local default. Pure."""
    if (host := environ.get("DOCKER_HOST", "")) and host != LOCAL:
        return f"{host} (DOCKER_HOST)"
    if context in ("", "default"):
        return ""
    return (
        f"context {context} ({'DOCKER_CONTEXT' if environ.get('DOCKER_CONTEXT') else 'docker context use'})"
    )


def answer(_: dict[str, Any]) -> dict[str, Any]:
    """Ask client, engine and compose; that they are not there is an answer, too."""
    versions, error = ask(["docker", "version", "--format", "{{json .}}"])
    known = json.loads(versions) if versions else {}
    engine = (known.get("Server") or {}).get("Version", "")
    compose, compose_error = ask(["docker", "compose", "version", "--short"]) if known else ("", "")
    cpus, memory = resources() if engine else (0, 0)
    release = os_release()
    found = {
        "installed": shutil.which("docker") is not None,
        "client": known.get("Client", {}).get("Version", ""),
        "elsewhere": elsewhere(os.environ, known.get("Client", {}).get("Context", "")),
        "engine": engine,
        "compose": "" if compose_error else compose.lstrip("v"),
        "error": error or compose_error,
        "installed_engine": shutil.which("dockerd") is not None,
        "cpus": cpus,
        "memory_bytes": memory,
        "root": os.geteuid() == 0,
        "systemd": Path("/run/systemd/system").exists(),
        "os": release.get("ID", os.uname().sysname.lower()),
        "os_version": release.get("VERSION_ID", ""),
        "codename": release.get("VERSION_CODENAME", ""),
    }
    return {"changed": False, **found}


MODULE = Module(answer, {}, looks=True)


if __name__ == "__main__":
    MODULE.run()
