"""Loads the playbooks' own modules as Ansible does: by their names in the collection."""

from __future__ import annotations

import importlib
from pathlib import Path
from typing import Any

import ansible_collections

PLAYBOOKS = Path(__file__).parents[3] / "playbooks"
COLLECTION = PLAYBOOKS / "collections" / "ansible_collections" / "signal_processor" / "stack"
_PLUGINS = "ansible_collections.signal_processor.stack.plugins"


def load(name: str) -> Any:
    """Import a module of the collection, or one of its module_utils by `module_utils.NAME`."""
    shipped = str(COLLECTION.parents[1])
    if shipped not in ansible_collections.__path__:
        ansible_collections.__path__.append(shipped)
    return importlib.import_module(f"{_PLUGINS}.{name if '.' in name else f'modules.{name}'}")
