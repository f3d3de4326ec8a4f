"""Whether a database is that of the replaced system: its tables have names of ours, and other columns."""

from __future__ import annotations

import os
import subprocess
from pathlib import Path

from ansible_collections.signal_processor.stack.plugins.module_utils.onhost import leftovers, runs

HAS_OLD_TABLES = """
SELECT EXISTS (SELECT FROM pg_attribute WHERE attrelid = to_regclass('public.signals')
               AND attname = 'signal_id' AND NOT attisdropped)
"""
# Names of tables as the catalog stores them: 64 bytes, the rest NUL, after the last byte of a number. Text in
# a row is never followed by that many. Every version of ours has the second table. Alpine's tools have these
# options, too. What cannot be read is printed as it is reported.
_SCAN = r"""
exec 3>&1
nul=$(printf '\001')
find "$volume" -type f -exec cat {} + 2>&3 | tr '\000' '\001' |
  LC_ALL=C grep -oE "$nul(signals|_pogo_migration)$nul{40}" | tr -d '\001' | sort -u
echo end
"""


def in_container(container: str) -> bool | None:
    """Whether the database of a running container has the tables; None where it cannot be asked."""
    psql = ["psql", "-U", "postgres", "-d", "trading_signals", "-qAtXc", HAS_OLD_TABLES]
    done = subprocess.run(["docker", "exec", container, *psql], capture_output=True, text=True, check=False)
    return {"t": True, "f": False}.get(done.stdout.strip()) if done.returncode == 0 else None


def in_volume(volume: str, image: str) -> bool | None:
    """Whether a volume has the tables, by what its catalog names; None where it cannot be read.

    It is read where the engine keeps it, or, where this user may not, in a container without a network.
    """
    inspect = ["docker", "volume", "inspect", "--format", "{{.Mountpoint}}", volume]
    folder = subprocess.run(inspect, capture_output=True, text=True, check=False).stdout.strip()
    if folder and os.access(Path(folder, "base"), os.R_OK | os.X_OK):
        return _scan(["sh"], folder)
    label = f"--label={runs.LABEL}={os.environ.get(leftovers.MARK, '')}"
    run = ["docker", "run", "--rm", "--interactive", "--pull=never", label, "--network=none", "--user=0"]
    return _scan([*run, f"--volume={volume}:/volume:ro", "--entrypoint=sh", image], "/volume")


def _scan(shell: list[str], folder: str) -> bool | None:
    argv = [*shell, "-s"]
    script = f"volume='{folder}'\n{_SCAN}"
    done = subprocess.run(argv, input=script, capture_output=True, text=True, errors="replace", check=False)
    *found, end = done.stdout.splitlines() or [""]
    if done.returncode != 0 or end != "end" or not {"signals", "_pogo_migration"}.issuperset(found):
        return None
    return found == ["signals"]
