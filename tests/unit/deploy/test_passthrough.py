"""Options of ansible-playbook: typed at run.py, handed on with full paths, passwords in private files."""

from __future__ import annotations

import shlex
from typing import TYPE_CHECKING

import pytest

from deploy import cli, summary
from deploy.passthrough import PasswordError
from deploy.request import Request

if TYPE_CHECKING:
    from pathlib import Path


def request_of(line: str) -> Request:
    found = cli.parse(shlex.split(line))
    assert isinstance(found, Request)
    return found


def no_question(prompt: str) -> str:
    raise AssertionError(f"asked: {prompt}")


def test_options_are_handed_on_under_their_names(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Relative paths are those of the folder where they were typed."""
    monkeypatch.chdir(tmp_path)
    for name in ("key", "one", "two"):
        (tmp_path / name).write_text("x", "utf-8")
    line = "--quick -b -u ops --private-key key --vault-id prod@one --vault-password-file two -D"
    options = request_of(line).ansible
    words, ids = options.settled(tmp_path, no_question)
    assert ids == [f"prod@{tmp_path}/one", f"{tmp_path}/two"]
    assert words == [
        *("--vault-id", ids[0], "--vault-id", ids[1], "--become", "--diff", "--user", "ops"),
        *("--private-key", f"{tmp_path}/key"),
    ]
    assert options.reach == {
        "ansible_become": True,
        "ansible_user": "ops",
        "ansible_ssh_private_key_file": f"{tmp_path}/key",
    }


def test_without_options_nothing_is_handed_on(tmp_path: Path) -> None:
    assert request_of("--quick").ansible.settled(tmp_path, no_question) == ([], [])


def test_a_password_is_asked_once_and_lies_in_a_private_file(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A controller that goes on with the run finds it."""
    monkeypatch.setattr("sys.stdin.isatty", lambda: True, raising=False)
    asked: list[str] = []

    def ask(prompt: str) -> str:
        asked.append(prompt)
        return f"secret {len(asked)}"

    options = request_of("--update -K -J --vault-id eu@prompt").ansible
    words, ids = options.settled(tmp_path, ask)
    assert asked == ["Vault password (eu): ", "Vault password: ", "BECOME password: "]
    files = [one.rpartition("@")[2] for one in ids] + [words[-1]]
    assert words[-2] == "--become-password-file"
    for number, name in enumerate(files, 1):
        path = tmp_path / name
        assert (path.read_text("utf-8"), path.stat().st_mode & 0o777) == (f"secret {number}\n", 0o600)
    assert options.settled(tmp_path, no_question) == (words, ids)


@pytest.mark.parametrize(
    ("line", "message"),
    [
        ("-K", "-K asks for a password, and there is no terminal to type it on"),
        ("--vault-id eu@prompt", "--vault-id asks for a password"),
        ("--vault-password-file nowhere", "--vault-password-file nowhere: no such file"),
        ("--vault-id eu@nowhere", "--vault-id nowhere: no such file"),
        ("--private-key nowhere", "--private-key nowhere: no such file"),
    ],
)
def test_what_cannot_be_handed_on_is_refused(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, line: str, message: str
) -> None:
    monkeypatch.setattr("sys.stdin.isatty", lambda: False, raising=False)
    monkeypatch.chdir(tmp_path)
    with pytest.raises(PasswordError, match=message):
        request_of(f"--quick {line}").ansible.settled(tmp_path, no_question)


def test_the_next_command_has_them() -> None:
    line = "--quick --limit a -b -K -J --vault-id x@f --vault-password-file g -u ops --private-key k -D"
    assert summary.command_line(request_of(line), ["a"], everything=True) == f"python3 run.py {line}"
