"""The machine of a run: figures of different machines cannot be compared."""

from __future__ import annotations

import os
import platform
import re
from datetime import UTC, datetime
from importlib.metadata import version
from pathlib import Path
from typing import TYPE_CHECKING

from benchmarks.version import CHECKOUT
from tests.hosts.docker import call

if TYPE_CHECKING:
    from benchmarks.bench import Bench


_LIBRARIES = ("fastapi", "uvicorn", "asyncpg", "aiohttp", "ansible-core")


def describe(bench: Bench) -> dict[str, str]:
    """Return machine, versions and commit, as shown above the table."""
    return {
        "commit": _commit(),
        "date": datetime.now(UTC).strftime("%Y-%m-%d %H:%M UTC"),
        "machine": f"{os.cpu_count()} × {_first('/proc/cpuinfo', 'model name')}, {_memory_gb():.0f} GB",
        "system": f"{_first('/etc/os-release', 'PRETTY_NAME')}, Linux {platform.release().partition('-')[0]}",
        "python": platform.python_version(),
        "docker": bench.engine_version(),
        "libraries": ", ".join(f"{name} {version(name)}" for name in _LIBRARIES),
    }


def _commit() -> str:
    git = ["git", "-C", str(CHECKOUT)]
    commit = call([*git, "rev-parse", "--short=12", "HEAD"]).require().stdout.strip()
    edited = call([*git, "status", "--porcelain"]).require().stdout.strip()
    return f"{commit} and edits" if edited else commit


def _first(path: str, name: str) -> str:
    match = re.search(rf'^{name}\s*[:=]\s*"?(.*?)"?$', Path(path).read_text(), re.MULTILINE)
    return match[1] if match else "unknown"


def _memory_gb() -> float:
    return os.sysconf("SC_PHYS_PAGES") * os.sysconf("SC_PAGE_SIZE") / 2**30
