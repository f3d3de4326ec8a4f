"""Whether a database is that of the replaced system: its tables have names of ours, and other columns."""

from __future__ import annotations

import os
import subprocess
from pathlib import Path

from ansible.module_utils.onhost import leftovers, runs

HAS_OLD_TABLES = """
SELECT EXISTS (SELECT FROM pg_attribute WHERE attrelid = to_regclass('public.signals')
               AND attname = 'signal_id' AND NOT attisdropped)
"""
# Names of tables as the catalog stores them: 64 bytes, the rest NUL, after the last byte of a number. Text in
# a row is never followed by that many. Every version of ours has the second table.
_SCAN = r"""
has() { LC_ALL=C grep -rqaP "\\x00$1\\x00{40}" "$volume/base" "$volume/pg_wal" 2>/dev/null; }
has signals && ! has _pogo_migration
"""


def in_container(container: str) -> bool:
    """Whether the database of a running container has the tables; not where it cannot be asked."""
    psql = ["psql", "-U", "postgres", "-d", "trading_signals", "-qAtXc", HAS_OLD_TABLES]
    done = subprocess.run(["docker", "exec", container, *psql], capture_output=True, text=True, check=False)
    return done.returncode == 0 and done.stdout.strip() == "t"


def in_volume(volume: str, image: str) -> bool:
    """Whether a volume that no server uses has the tables, by what its catalog names.

    It is read where the engine keeps it, or, where this user may not, in a container without a network.
    """
    inspect = ["docker", "volume", "inspect", "--format", "{{.Mountpoint}}", volume]
    folder = subprocess.run(inspect, capture_output=True, text=True, check=False).stdout.strip()
    if folder and os.access(Path(folder, "base"), os.R_OK | os.X_OK):
        return _scan(["sh"], folder)
    label = f"--label={runs.LABEL}={os.environ.get(leftovers.MARK, '')}"
    run = ["docker", "run", "--rm", "--interactive", "--pull=never", label, "--network=none", "--user=0"]
    return _scan([*run, f"--volume={volume}:/volume:ro", "--entrypoint=sh", image], "/volume")


def _scan(shell: list[str], folder: str) -> bool:
    argv = [*shell, "-s"]
    script = f"volume='{folder}'\n{_SCAN}"
    return subprocess.run(argv, input=script, capture_output=True, text=True, check=False).returncode == 0
