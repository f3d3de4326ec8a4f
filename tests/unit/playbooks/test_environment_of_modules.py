"""The environment of programs that modules start: git's ssh, and no exported variable of a login."""

from __future__ import annotations

import os
import subprocess
from pathlib import Path
from typing import Any

import pytest

from tests.unit.playbooks.modules import load

BATCH = "-o BatchMode=yes -o ConnectTimeout=15"


@pytest.mark.parametrize(
    ("own", "expected"),
    [
        ("", f"ssh {BATCH}"),
        ("ssh -i ~/.ssh/deploy -F none", f"ssh -i ~/.ssh/deploy -F none {BATCH}"),
        ('/usr/bin/ssh -i "a key"', f'/usr/bin/ssh -i "a key" {BATCH}'),
        ("/opt/wrapper -x", ""),
        ("plink -batch", ""),
        ("ssh -i 'unfinished", ""),
        ("   ", ""),
    ],
)
def test_the_ssh_of_a_checkout_never_prompts(own: str, expected: str) -> None:
    assert load("module_utils.git_checkout").ssh_command(own) == expected


@pytest.fixture
def checkout(tmp_path: Path) -> Path:
    """Create a clone whose ssh program records its arguments and environment, and fails."""
    root = tmp_path / "clone"
    subprocess.run(["git", "init", "--quiet", str(root)], check=True)
    for pair in (("remote.origin.url", "ssh://git@example.invalid/x.git"), ("ssh.variant", "ssh")):
        subprocess.run(["git", "-C", str(root), "config", *pair], check=True)
    return root


def recorder(folder: Path, name: str) -> tuple[Path, Path]:
    """Create a program, and return it with the file that it writes its arguments and environment to."""
    folder.mkdir()
    program, record = folder / name, folder / "record"
    program.write_text(f'#!/bin/sh\necho "$@" >{record}\nenv >>{record}\nexit 1\n', "utf-8")
    program.chmod(0o755)
    return program, record


@pytest.mark.parametrize(("name", "batch"), [("ssh", True), ("wrapper", False)])
def test_a_deploy_key_of_the_checkout_is_used(
    checkout: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, name: str, *, batch: bool
) -> None:
    utils: Any = load("module_utils.git_checkout")
    program, record = recorder(tmp_path / "own", name)
    subprocess.run(["git", "-C", str(checkout), "config", "core.sshCommand", f"{program} -i key"], check=True)
    monkeypatch.delenv("GIT_SSH_COMMAND", raising=False)
    with pytest.raises(utils.GitError):
        utils.git(checkout, "fetch", "origin")
    arguments = record.read_text("utf-8").splitlines()[0]
    assert arguments.startswith("-i key")
    assert (BATCH in arguments) is batch


def test_a_module_that_is_a_program_starts_others_without_what_its_login_exports(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """As over SSH: the program gets what the step sets, and not what the login sets."""
    from ansible.module_utils.testing import patch_module_args

    _, record = recorder(tmp_path / "bin", "docker")
    monkeypatch.setenv("PATH", f"{tmp_path / 'bin'}:{os.environ['PATH']}")
    foreign = {
        "SERVER_PORT": "8099",
        "COMPOSE_FILE": "/nowhere",
        "GIT_DIR": "/nowhere",
        "http_proxy": "http://p",
    }
    own = {"APP_VERSION": "1", "TRADING_SIGNAL_PROCESSOR_RUN": "abc", "DOCKER_HOST": "tcp://127.0.0.1:1"}
    for name, value in {**foreign, **own}.items():
        monkeypatch.setenv(name, value)
    before = dict(os.environ)
    with patch_module_args({}), pytest.raises(SystemExit):
        load("docker_facts").MODULE.run()
    seen = dict(line.partition("=")[::2] for line in record.read_text("utf-8").splitlines()[1:])
    assert own.items() <= seen.items()
    assert not {"SERVER_PORT", "COMPOSE_FILE", "GIT_DIR"} & seen.keys()
    assert seen["no_proxy"] == "localhost,127.0.0.1,::1"
    assert dict(os.environ) == before


@pytest.mark.parametrize(
    ("environ", "context", "expected"),
    [
        ({}, "default", ""),
        ({}, "", ""),
        ({"DOCKER_HOST": "unix:///var/run/docker.sock"}, "default", ""),
        ({"DOCKER_HOST": "tcp://10.0.0.1:2376"}, "default", "tcp://10.0.0.1:2376 (DOCKER_HOST)"),
        ({"DOCKER_HOST": "ssh://x", "DOCKER_CONTEXT": "y"}, "default", "ssh://x (DOCKER_HOST)"),
        (
            {"DOCKER_CONTEXT": "away"},
            "away",
            "context away (DOCKER_CONTEXT)",
        ),
        ({}, "desktop-linux", "context desktop-linux (docker context use)"),
    ],
)
def test_an_engine_that_is_not_the_local_default_is_named(
    environ: dict[str, str], context: str, expected: str
) -> None:
    assert load("docker_facts").elsewhere(environ, context) == expected


def test_a_docker_context_that_does_not_exist_is_no_missing_docker(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The role's message for the client's error about an unknown context."""
    from ansible.parsing.dataloader import DataLoader
    from ansible.template import Templar, trust_as_template

    program, _ = recorder(tmp_path / "bin", "docker")
    unknown = 'context "unknown": context not found'
    program.write_text(f"#!/bin/sh\necho '{unknown}' >&2\nexit 1\n", "utf-8")
    monkeypatch.setenv("PATH", f"{tmp_path / 'bin'}:/usr/bin:/bin")
    facts = load("docker_facts").MODULE.call({})
    role = Path(__file__).parents[3] / "roles" / "docker"
    variables: dict[str, Any] = {"inventory_hostname": "here", "docker_found": facts}
    for file in ("defaults", "vars"):
        variables.update(DataLoader().load_from_file(str(role / file / "main.yml"), trusted_as_template=True))
    said = Templar(DataLoader(), variables=variables).template(trust_as_template("{{ docker_obstacle }}"))
    assert said.startswith(f"The Docker client of here does not work ({unknown}).")
    assert "DOCKER_CONTEXT" in said
