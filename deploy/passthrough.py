"""Options of ansible-playbook that run.py takes under Ansible's names, and hands on.

Passwords are asked once, at the beginning: what plays has no terminal. They are handed on in private files.
"""

from __future__ import annotations

import sys
from dataclasses import dataclass
from getpass import getpass
from pathlib import Path
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from collections.abc import Callable

_PROMPT = "prompt"  # `--vault-id NAME@prompt`


class PasswordError(Exception):
    """A password cannot be asked for or read; one line for the operator (exit 2)."""


@dataclass(frozen=True)
class AnsibleOptions:
    """What was typed."""

    become: bool = False
    ask_become: bool = False
    ask_vault: bool = False
    vault_ids: tuple[str, ...] = ()  # NAME@FILE, NAME@prompt, FILE
    vault_files: tuple[str, ...] = ()
    user: str = ""
    private_key: str = ""
    diff: bool = False

    @property
    def typed(self) -> list[str]:
        """Return the words that say the same."""
        words = ["-b"] * self.become + ["-K"] * self.ask_become + ["-J"] * self.ask_vault
        words += [word for one in self.vault_ids for word in ("--vault-id", one)]
        words += [word for one in self.vault_files for word in ("--vault-password-file", one)]
        words += ["-u", self.user] if self.user else []
        words += ["--private-key", self.private_key] if self.private_key else []
        return words + ["-D"] * self.diff

    @property
    def reach(self) -> dict[str, Any]:
        """Return the variables that these options stand for; those of an inventory win, as with Ansible."""
        found: dict[str, Any] = {"ansible_become": True} if self.become else {}
        if self.user:
            found["ansible_user"] = self.user
        if self.private_key:
            found["ansible_ssh_private_key_file"] = str(Path(self.private_key).expanduser().absolute())
        return found

    @property
    def asks(self) -> bool:
        """Whether a password has to be typed."""
        return (
            self.ask_become
            or self.ask_vault
            or any(one.rpartition("@")[2] == _PROMPT for one in self.vault_ids)
        )

    def settled(self, folder: Path, ask: Callable[[str], str] = getpass) -> tuple[list[str], list[str]]:
        """Return the arguments for ansible-playbook, and those of them that are vault ids, without a prompt.

        `folder` is private. A password that is in it already, from the controller before, is not asked again.
        Raises PasswordError.
        """
        ids = [_settled_id(one, folder, ask) for one in self.vault_ids]
        ids += [_existing("--vault-password-file", one) for one in self.vault_files]
        if self.ask_vault:
            ids.append(str(_asked(folder / "vault", "-J", "Vault password: ", ask)))
        words = [word for one in ids for word in ("--vault-id", one)]
        if self.ask_become:
            words += [
                "--become-password-file",
                str(_asked(folder / "become", "-K", "BECOME password: ", ask)),
            ]
        words += ["--become"] * self.become + ["--diff"] * self.diff
        words += ["--user", self.user] if self.user else []
        if self.private_key:
            words += ["--private-key", _existing("--private-key", self.private_key)]
        return words, ids


def _settled_id(typed: str, folder: Path, ask: Callable[[str], str]) -> str:
    name, _, source = typed.rpartition("@")
    if source == _PROMPT:
        prompt = f"Vault password ({name or 'default'}): "
        path = _asked(folder / f"vault-{name.encode().hex()}", "--vault-id", prompt, ask)
    else:
        path = Path(_existing("--vault-id", source))
    return f"{name}@{path}" if name else str(path)


def _existing(option: str, typed: str) -> str:
    """Return the path of a file that is there, in full: ansible-playbook runs in another folder."""
    path = Path(typed).expanduser().absolute()
    if not path.is_file():
        raise PasswordError(f"{option} {typed}: no such file")
    return str(path)


def _asked(path: Path, option: str, prompt: str, ask: Callable[[str], str]) -> Path:
    if path.exists():
        return path
    if not sys.stdin.isatty():
        raise PasswordError(f"{option} asks for a password, and there is no terminal to type it on")
    try:
        password = ask(prompt)
    except EOFError as error:
        raise PasswordError(f"{option}: no password was typed") from error
    path.touch(mode=0o600)
    path.write_text(password + "\n", "utf-8")
    return path
