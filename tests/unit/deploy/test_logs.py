"""`--follow-logs`: how a host is reached."""

from __future__ import annotations

from typing import Any

import pytest

from deploy import logs

SSH = ("ssh", "-o", "BatchMode=yes", "-o", "ConnectTimeout=15", "-o", "StrictHostKeyChecking=yes")
FOLLOW = ("docker", "logs", "--follow", "--tail", "100", "trading-signal-processor")


@pytest.mark.parametrize(
    ("variables", "argv"),
    [
        ({"ansible_connection": "local"}, list(FOLLOW)),
        ({"ansible_connection": "local", "ansible_become": True}, ["sudo", "-n", *FOLLOW]),
        (
            {"ansible_host": "10.0.0.7", "ansible_user": "deploy", "ansible_port": 2222},
            [*SSH, "-p", "2222", "-l", "deploy", "10.0.0.7", " ".join(FOLLOW)],
        ),
        (
            {"ansible_ssh_private_key_file": "/keys/a b", "ansible_ssh_common_args": "-o ProxyJump=jump"},
            [*SSH, "-i", "/keys/a b", "-o", "ProxyJump=jump", "host", " ".join(FOLLOW)],
        ),
    ],
)
def test_the_command_line_of_a_host(variables: dict[str, Any], argv: list[str]) -> None:
    assert logs.target("host", variables).command(*FOLLOW) == argv


def test_words_for_a_remote_shell_are_quoted() -> None:
    command = logs.target("host", {"ansible_become": True}).command("docker", "inspect", "{{.State.Status}}")
    assert command[-1] == "sudo -n docker inspect '{{.State.Status}}'"
