"""The vault passwords of this process, with which the inventory and files of variables are read.

They come from where Ansible takes them: its options, `ANSIBLE_VAULT_PASSWORD_FILE` and
`ANSIBLE_VAULT_IDENTITY_LIST`.
"""

from __future__ import annotations

import functools
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from collections.abc import Sequence

_given: list[str] = []  # vault ids of the command line, of this process


def configure(ids: Sequence[str]) -> None:
    """Use these vault ids, `NAME@FILE` or `FILE`; call it before the first `loader`."""
    _given[:] = ids


def loader() -> Any:  # noqa: ANN401 - Ansible has no types
    """Return a new loader that decrypts. Raises AnsibleError where a password file cannot be read."""
    from ansible.parsing.dataloader import DataLoader  # noqa: PLC0415

    fresh = DataLoader()
    fresh.set_vault_secrets(_secrets())
    return fresh


@functools.cache
def _secrets() -> list[Any]:
    """Return the passwords; Ansible allows one set of them in a process."""
    from ansible import constants  # noqa: PLC0415
    from ansible.parsing.dataloader import DataLoader  # noqa: PLC0415
    from ansible.parsing.vault import VaultSecretsContext  # noqa: PLC0415

    if not (_given or constants.DEFAULT_VAULT_PASSWORD_FILE or constants.DEFAULT_VAULT_IDENTITY_LIST):
        if not VaultSecretsContext.current(optional=True):
            VaultSecretsContext.initialize(VaultSecretsContext(secrets=[]))
        return []
    from ansible.cli import CLI  # noqa: PLC0415 - costs a tenth of a second

    return list(CLI.setup_vault_secrets(DataLoader(), vault_ids=list(_given), auto_prompt=False))
