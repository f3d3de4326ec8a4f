"""The collection of our modules: names, routes, imports, and where Ansible finds it."""

from __future__ import annotations

import os
import re
import subprocess
import sys
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest
import yaml  # type: ignore[import-untyped]

from tests.unit.playbooks.modules import COLLECTION, PLAYBOOKS, load

if TYPE_CHECKING:
    from collections.abc import Iterator

ROOT = PLAYBOOKS.parent
PREFIX = "signal_processor.stack."
MODULES = {file.stem for file in (COLLECTION / "plugins" / "modules").glob("*.py")}


def test_every_module_has_its_route_and_no_other_name_has_one() -> None:
    """By its route `ansible-playbook` on this machine runs a module in its own process."""
    routing = yaml.safe_load((COLLECTION / "meta" / "runtime.yml").read_text("utf-8"))["plugin_routing"]
    route = {"action_plugin": f"{PREFIX}in_process"}
    assert routing == {"modules": dict.fromkeys(MODULES, route)}
    assert (COLLECTION / "plugins" / "action" / "in_process.py").is_file()


def test_everything_that_a_module_imports_of_the_collection_is_there() -> None:
    for folder in ("modules", "module_utils", "filter"):
        for file in (COLLECTION / "plugins" / folder).glob("*.py"):
            assert load(f"{folder}.{file.stem}")


def mappings(node: Any) -> Iterator[dict[str, Any]]:
    """Yield every mapping in a YAML document."""
    if isinstance(node, dict):
        yield node
    for child in node.values() if isinstance(node, dict) else node if isinstance(node, list) else ():
        yield from mappings(child)


def test_tasks_use_our_modules_by_their_full_names() -> None:
    """A file of tasks is read when a play comes to it: no syntax check sees a name that does not exist."""
    used = set()
    for folder in ("playbooks", "roles", "tests"):
        for file in (ROOT / folder).rglob("*.yml"):
            tasks = [one for one in mappings(yaml.safe_load(file.read_text("utf-8"))) if "name" in one]
            assert not [task for task in tasks if MODULES & task.keys()], file
            used |= {key for task in tasks for key in task if str(key).startswith(PREFIX)}
    assert used == {PREFIX + name for name in MODULES}


def test_collections_of_the_operator_are_found_and_galaxy_installs_there(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """Ansible's own places come first: nothing is installed into the checkout, which has to stay clean."""
    from ansible.config.manager import ConfigManager

    monkeypatch.delenv("ANSIBLE_COLLECTIONS_PATH", raising=False)
    found = ConfigManager(str(ROOT / "ansible.cfg")).get_config_value("COLLECTIONS_PATHS")
    own = Path("~/.ansible/collections").expanduser()
    assert found == [str(own), "/usr/share/ansible/collections", str(PLAYBOOKS / "collections")]


@pytest.mark.parametrize("playbook", ["quick", "status"])
def test_a_playbook_of_the_operator_may_import_one_of_ours(tmp_path: Path, playbook: str) -> None:
    """Ansible looks for collections next to the playbook that was typed, hence the variable."""
    own = tmp_path / "own.yml"
    own.write_text(f"- ansible.builtin.import_playbook: {PLAYBOOKS}/{playbook}.yml\n", "utf-8")
    done = subprocess.run(
        [sys.executable, "-m", "ansible", "playbook", "-i", "localhost,", "--syntax-check", str(own)],
        cwd=tmp_path,
        env={**os.environ, "ANSIBLE_COLLECTIONS_PATH": str(PLAYBOOKS / "collections")},
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == 0, done.stdout + done.stderr


def test_the_reason_of_every_module_is_in_the_documents() -> None:
    text = (ROOT / "docs" / "architecture.md").read_text("utf-8")
    table = text.partition("### Modules of our own\n")[2].partition("\n### ")[0]
    rows = re.findall(r"^\| (`.+?) \|", table, re.MULTILINE)
    named = [name for row in rows for name in re.findall(r"`(\w+)`", row)]
    assert sorted(named) == sorted(MODULES)
