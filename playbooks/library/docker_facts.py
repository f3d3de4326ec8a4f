"""Look at a machine's Docker: what is installed, and does the engine answer. Changes nothing."""

from __future__ import annotations

import os
import shutil
import subprocess
from pathlib import Path

from ansible.module_utils.basic import AnsibleModule

DOCUMENTATION = """
module: docker_facts
short_description: Versions of client, engine and compose, and what the machine is
description:
  - Leaves the fact C(docker). An empty version means "not there"; C(error) then says why.
  - Answers even if the engine hangs.
options:
  timeout: {type: int, default: 15, description: Seconds one docker command may take.}
"""

ENGINE_FORMAT = "{{.ServerVersion}}\t{{.NCPU}}\t{{.MemTotal}}"


def ask(argv: list[str], timeout: int) -> tuple[str, str]:
    """Return (stdout, error); the error is the command's last line, or why it could not be run."""
    if shutil.which(argv[0]) is None:
        return "", f"{argv[0]} is not installed"
    try:
        done = subprocess.run(argv, capture_output=True, text=True, timeout=timeout, check=False)
    except subprocess.TimeoutExpired:
        return "", f"'{' '.join(argv[:2])}' did not answer within {timeout} s"
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


def main() -> None:
    """Run the module."""
    module = AnsibleModule(
        argument_spec={"timeout": {"type": "int", "default": 15}}, supports_check_mode=True
    )
    timeout = module.params["timeout"]
    client, client_error = ask(["docker", "--version"], timeout)
    engine, engine_error = (
        ask(["docker", "info", "--format", ENGINE_FORMAT], timeout) if client else ("", client_error)
    )
    compose, compose_error = (
        ask(["docker", "compose", "version", "--short"], timeout) if client else ("", client_error)
    )
    version, cpus, memory = [*engine.split("\t"), "", ""][:3] if not engine_error else ("", "", "")
    if client and not version and not engine_error:
        # Without an engine `docker info` ends 0 and fills in blanks; `docker version` says what is wrong.
        _, engine_error = ask(["docker", "version"], timeout)
    release = os_release()
    module.exit_json(
        changed=False,
        ansible_facts={
            "docker": {
                "client": client.partition("version ")[2].partition(",")[0] if client else "",
                "engine": version,
                "compose": "" if compose_error else compose.lstrip("v"),
                "error": engine_error or compose_error,
                "installed_engine": shutil.which("dockerd") is not None,
                "cpus": int(cpus or 0),
                "memory_bytes": int(memory or 0),
                "root": os.geteuid() == 0,
                "systemd": Path("/run/systemd/system").exists(),
                "os": release.get("ID", os.uname().sysname.lower()),
                "os_version": release.get("VERSION_ID", ""),
                "codename": release.get("VERSION_CODENAME", ""),
            }
        },
    )


if __name__ == "__main__":
    main()
