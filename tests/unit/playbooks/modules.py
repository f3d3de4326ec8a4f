"""Loads the playbooks' own modules as Ansible does, by their names in the collection, and their tasks."""

from __future__ import annotations

import importlib
from pathlib import Path
from typing import TYPE_CHECKING, Any

import ansible_collections
from ansible.parsing.dataloader import DataLoader

if TYPE_CHECKING:
    from collections.abc import Iterator

PLAYBOOKS = Path(__file__).parents[3] / "playbooks"
COLLECTION = PLAYBOOKS / "collections" / "ansible_collections" / "signal_processor" / "stack"
_PLUGINS = "ansible_collections.signal_processor.stack.plugins"


def load(name: str) -> Any:
    """Import a module of the collection, or one of its module_utils by `module_utils.NAME`."""
    shipped = str(COLLECTION.parents[1])
    if shipped not in ansible_collections.__path__:
        ansible_collections.__path__.append(shipped)
    return importlib.import_module(f"{_PLUGINS}.{name if '.' in name else f'modules.{name}'}")


def role_tasks(tasks: list[dict[str, Any]], folder: Path = PLAYBOOKS) -> Iterator[dict[str, Any]]:
    """Yield the tasks that use a role, in order: those of blocks and imported files too, of a rescue not."""
    for task in tasks:
        if "ansible.builtin.import_tasks" in task:
            file = folder / task["ansible.builtin.import_tasks"]
            yield from role_tasks(DataLoader().load_from_file(str(file)), file.parent)
        elif "block" in task:
            yield from role_tasks(task["block"], folder)
        else:
            yield task
