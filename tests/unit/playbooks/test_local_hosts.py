"""Which hosts are this machine, by the connection that an inventory names, and what the roles do there."""

from __future__ import annotations

import re
from pathlib import Path
from typing import Any

import pytest
from ansible.parsing.dataloader import DataLoader
from ansible.template import Templar

ROOT = Path(__file__).resolve().parents[3]
LOCAL = [{"ansible_connection": name} for name in ("local", "ansible.builtin.local")]
ELSEWHERE: list[dict[str, str]] = [
    {},
    *(
        {"ansible_connection": name}
        for name in ("ssh", "ansible.builtin.ssh", "paramiko", "docker", "community.docker.docker")
    ),
]
HOST = {
    "inventory_hostname": "one",
    "project_dir": "/srv",
    "run_by_hand": True,
    "build_on": "host",
    "source_here": "/srv",
    "legacy_source": "old.dump",
    "legacy_folder": "/typed",
    "config_backup_folder": "/typed",
    "database_restore_folder": "/typed",
    "database_restore_file": "a.dump",
}
# Each use of `is_local`: the file below roles/, what of it is read, and its value here and elsewhere.
USES: dict[str, tuple[list[Any], Any, Any]] = {
    "config_backup/tasks/choose.yml": (
        [0, "signal_processor.stack.config_restore", "folder"],
        "/typed",
        "/srv",
    ),
    "database/vars/main.yml": (["database_archive_path"], "/typed/a.dump", "/srv/a.dump"),
    "legacy/tasks/source.yml": ([0, "signal_processor.stack.legacy_source", "folder"], "/typed", "/srv"),
    "source/tasks/clone.yml": ([0, "when"], False, True),
    "source/tasks/same_playbooks.yml": ([0, "when"], True, False),
    "source/tasks/target.yml": ([-1, "vars", "source_report", "on_this_machine"], True, False),
    "status/defaults/main.yml": (["status_address"], "localhost", "one"),
}


def files(folder: str) -> list[Path]:
    return [path for path in (ROOT / folder).rglob("*") if path.suffix in {".yml", ".j2", ".py"}]


def value(file: str, place: list[Any], connection: dict[str, str]) -> Any:
    """Return what a part of a role's file is for a host that is reached by this connection."""
    loader = DataLoader()
    known = loader.load_from_file(str(ROOT / "group_vars" / "all.yml"), trusted_as_template=True)
    templar = Templar(loader, {**known, **HOST, **connection})
    found = loader.load_from_file(str(ROOT / "roles" / file), trusted_as_template=True)
    for step in place:
        found = found[step]
    return templar.evaluate_conditional(found) if place[-1] == "when" else templar.template(found)


@pytest.mark.parametrize(
    ("connection", "is_local"),
    [*((one, True) for one in LOCAL), *((one, False) for one in ELSEWHERE)],
    ids=lambda one: one.get("ansible_connection", "none") if isinstance(one, dict) else "",
)
@pytest.mark.parametrize("file", USES)
def test_each_role_knows_this_machine_however_its_connection_is_written(
    file: str, connection: dict[str, str], *, is_local: bool
) -> None:
    place, here, elsewhere = USES[file]
    assert value(file, place, connection) == (here if is_local else elsewhere)


def test_every_use_is_tested_and_no_other_file_reads_the_connection() -> None:
    texts = {path: path.read_text("utf-8") for folder in ("roles", "playbooks") for path in files(folder)}
    uses = {str(path.relative_to(ROOT / "roles")) for path, text in texts.items() if "is_local" in text}
    assert uses == set(USES)
    assert [path for path, text in texts.items() if re.search(r"\bansible_connection\b", text)] == []
