"""Loads the playbooks' own modules as Ansible does: their shared code is in `ansible.module_utils`."""

from __future__ import annotations

import importlib
import sys
from pathlib import Path
from typing import Any

import ansible.module_utils

PLAYBOOKS = Path(__file__).parents[3] / "playbooks"


def load(name: str) -> Any:
    """Import a module of playbooks/library, or one of playbooks/module_utils by its dotted name."""
    shared, library = str(PLAYBOOKS / "module_utils"), str(PLAYBOOKS / "library")
    if shared not in ansible.module_utils.__path__:
        ansible.module_utils.__path__.append(shared)
    sys.path.insert(0, library)
    try:
        return importlib.import_module(name)
    finally:
        sys.path.remove(library)
