"""`--limit` against a real inventory: every term counts, unknown ones are named."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path
from typing import TYPE_CHECKING

import pytest

from deploy import inventory
from deploy.inventory import Inventory, InventoryError

if TYPE_CHECKING:
    from tests.controller.checkout import Checkout


@pytest.fixture
def known(checkout: Checkout) -> Inventory:
    return Inventory(inventory.sources(checkout.root, []))


@pytest.mark.parametrize(
    ("limit", "hosts"),
    [
        ("local", ["here"]),
        ("web", ["a", "b"]),
        ("a,dead", ["a", "dead"]),
        ("a:dead", ["a", "dead"]),
        ("web,!b", ["a"]),
        ("all:&web", ["a", "b"]),
        ("all,!prod,!web", ["here", "dead"]),  # prod is empty: leaving it out is no mistake
        ("de*", ["dead"]),
        ("~[ab]$", ["a", "b"]),
        ("web[0]", ["a"]),
    ],
)
def test_valid_limits_select_hosts(known: Inventory, limit: str, hosts: list[str]) -> None:
    assert sorted(known.hosts(limit)) == sorted(hosts)


@pytest.mark.parametrize("limit", ["nowhere", "a,nowhere", "a:nowhere", "web,!nowhere", "web:&nowhere", "x*"])
def test_an_unknown_term_is_named_with_what_there_is(known: Inventory, limit: str) -> None:
    with pytest.raises(InventoryError) as refusal:
        known.hosts(limit)
    assert "no host or group '" + ("x*" if limit == "x*" else "nowhere") in str(refusal.value)
    assert "here" in str(refusal.value)
    assert "web" in str(refusal.value)


@pytest.mark.parametrize("limit", ["!b", "!web", "&web", "!a,!b", "!a:!b"])
def test_a_limit_that_only_takes_hosts_away_is_refused(known: Inventory, limit: str) -> None:
    """Ansible would select all other hosts, this machine included."""
    with pytest.raises(InventoryError, match="only excludes hosts") as refusal:
        known.hosts(limit)
    assert f"such as all,{limit}." in str(refusal.value)


@pytest.mark.parametrize("text", ["", "\n \n"])
def test_an_empty_retry_file_is_refused(known: Inventory, tmp_path: Path, text: str) -> None:
    (tmp_path / "retry").write_text(text, "utf-8")
    with pytest.raises(InventoryError, match="names no host"):
        known.hosts(f"@{tmp_path}/retry")


def test_ansibles_implicit_localhost_is_not_in_the_inventory(known: Inventory) -> None:
    with pytest.raises(InventoryError, match="no host or group 'localhost'"):
        known.hosts("localhost")


def test_an_empty_group_is_refused_with_the_file_to_edit(known: Inventory) -> None:
    with pytest.raises(InventoryError, match=r"'prod' has no hosts yet; fill it in, in inventory/hosts\.yml"):
        known.hosts("prod")


def test_terms_that_leave_nothing_are_refused(known: Inventory) -> None:
    with pytest.raises(InventoryError, match="matches no host"):
        known.hosts("a,!web")


def test_a_retry_file_is_checked_line_by_line(known: Inventory, tmp_path: Path) -> None:
    retry = tmp_path / "retry"
    retry.write_text("a\n\nb\n", "utf-8")
    assert known.hosts(f"@{retry}") == ["a", "b"]
    retry.write_text("a\nnowhere\n", "utf-8")
    with pytest.raises(InventoryError, match="no host or group 'nowhere'"):
        known.hosts(f"@{retry}")


def test_a_missing_retry_file_is_named(known: Inventory, tmp_path: Path) -> None:
    with pytest.raises(InventoryError, match="No such file"):
        known.hosts(f"@{tmp_path / 'nowhere'}")


def test_the_operators_inventory_comes_after_the_shipped_one(checkout: Checkout, tmp_path: Path) -> None:
    added = tmp_path / "mine.yml"
    added.write_text("web: {vars: {group: mine}, hosts: {a: {who: mine}, extra: {}}}\n", "utf-8")
    group_vars = checkout.root / "inventory" / "group_vars"
    group_vars.mkdir()
    (group_vars / "web.yml").write_text("who: shipped\nkept: true\ngroup: shipped\n", "utf-8")
    known = Inventory(inventory.sources(checkout.root, [str(added)]))
    assert known.hosts("web") == ["a", "b", "extra"]
    assert known.variables("a", {})["who"] == "mine"
    assert known.variables("extra", {})["kept"] is True
    assert known.variables("b", {})["group"] == "mine"
    assert known.variables("b", {})["who"] == "shipped"


@pytest.mark.parametrize(
    ("line", "is_here"),
    [
        ("one ansible_connection=local", True),
        ("one ansible_connection=ansible.builtin.local", True),
        ("one ansible_connection=local ansible_become=false", True),
        ("one ansible_connection=local ansible_become=no", True),
        ("one ansible_connection=local ansible_become=yes", False),
        ("one ansible_connection=ansible.builtin.ssh", False),
        ("one", False),
    ],
)
def test_words_of_an_ini_inventory_mean_what_ansible_reads(
    checkout: Checkout, tmp_path: Path, line: str, *, is_here: bool
) -> None:
    """Booleans are words there, and a connection may have the name of its collection."""
    added = tmp_path / "mine.ini"
    added.write_text(f"{line} project_dir=/srv/x\n", "utf-8")
    known = Inventory(inventory.sources(checkout.root, [str(added)]))
    assert known.project_dir("one", {}) == (Path("/srv/x") if is_here else None)
    assert known.project_dir("one", {"ansible_connection": "ssh"}) is None


VAULTED = """
import json, sys
from pathlib import Path
from deploy import inventory
known = inventory.Inventory(inventory.sources(Path(sys.argv[1]), [sys.argv[2]]))
try:
    found = {"host": known.variables("one", {})["ansible_host"], "at": known.text("one", "place", {})}
    print(json.dumps(found))
except inventory.InventoryError as error:
    sys.exit(f"refused: {error}")
"""


@pytest.mark.parametrize("given", [True, False], ids=["with the password", "without it"])
def test_variables_may_be_encrypted(checkout: Checkout, tmp_path: Path, *, given: bool) -> None:
    """A password in a vault is no obstacle; a file that cannot be decrypted is named."""
    from ansible.parsing.vault import VaultLib, VaultSecret

    lib = VaultLib([("default", VaultSecret(b"opensesame"))])
    added = tmp_path / "mine"
    (added / "host_vars" / "one").mkdir(parents=True)
    secret = "\n".join(f"          {line}" for line in lib.encrypt("sudo-password").decode().splitlines())
    hosts = "all:\n  hosts:\n    one:\n      ansible_host: one.example\n"
    hosts += f"      ansible_become_password: !vault |\n{secret}\n"
    (added / "hosts.yml").write_text(hosts, "utf-8")
    (added / "host_vars" / "one" / "more.yml").write_bytes(lib.encrypt("place: Frankfurt\n"))
    password = tmp_path / "password"
    password.write_text("opensesame\n", "utf-8")
    environ = {**os.environ, **({"ANSIBLE_VAULT_PASSWORD_FILE": str(password)} if given else {})}
    done = subprocess.run(
        [sys.executable, "-c", VAULTED, str(checkout.root), str(added)],
        env=environ,
        capture_output=True,
        text=True,
        check=False,
    )
    if given:
        assert json.loads(done.stdout) == {"host": "one.example", "at": "Frankfurt"}
    else:
        assert (done.returncode, "Traceback" in done.stderr) == (1, False)
        assert "refused: cannot determine how one is reached: " in done.stderr


def test_a_list_of_hosts_is_an_inventory_too(checkout: Checkout) -> None:
    known = Inventory(inventory.sources(checkout.root, ["one.example,two.example"]))
    assert known.hosts("two.example") == ["two.example"]


def test_a_missing_inventory_is_named(checkout: Checkout) -> None:
    with pytest.raises(InventoryError, match="-i /nowhere: no such file or folder"):
        inventory.sources(checkout.root, ["/nowhere"])
