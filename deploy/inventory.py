"""The inventory of a run, and `--limit` checked against it term by term.

Ansible itself ends 0 when a pattern matches nothing and only warns about one unknown name among several; both
would deploy to fewer hosts than the operator meant.
"""

from __future__ import annotations

from functools import cached_property
from pathlib import Path
from typing import TYPE_CHECKING, Any

from deploy import vault

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping, Sequence

SHIPPED = "inventory"
DEFAULT_LIMIT = "local"
# How a host is reached. No password: run.py needs none, and it may be encrypted with another one.
_REACH = (
    *("ansible_connection", "ansible_host", "ansible_port", "ansible_user", "ansible_become"),
    *("ansible_ssh_private_key_file", "ansible_ssh_common_args", "ansible_ssh_extra_args"),
)


class InventoryError(Exception):
    """An inventory that cannot be read, or a limit that names nothing; for the operator (exit 2)."""


def sources(root: Path, added: Sequence[str]) -> list[str]:
    """The shipped inventory first, then the operator's, so that the shipped variables apply and theirs win.

    A term with a comma is a list of hosts, as Ansible has it. Raises InventoryError for a missing path.
    """
    found = [str(root / SHIPPED)]
    for item in added:
        if "," not in item and not Path(item).exists():
            raise InventoryError(f"-i {item}: no such file or folder")
        found.append(item if "," in item else str(Path(item).resolve()))
    return found


class Inventory:
    """Hosts, groups and variables as Ansible sees them; read when first asked: that takes half a second.

    `paths` as `sources` gives them; `reach` are variables of the command line that those of a host replace.
    Every method raises InventoryError if one of them cannot be read.
    """

    def __init__(self, paths: Sequence[str], reach: Mapping[str, Any] | None = None) -> None:
        self.paths = list(paths)
        self._reach = reach or {}

    @cached_property
    def _loader(self) -> Any:  # noqa: ANN401 - as below
        return vault.loader()

    @cached_property
    def _inventory(self) -> Any:  # noqa: ANN401 - Ansible has no types
        from ansible.errors import AnsibleError  # noqa: PLC0415
        from ansible.inventory.manager import InventoryManager  # noqa: PLC0415

        try:
            return InventoryManager(loader=self._loader, sources=self.paths)
        except AnsibleError as error:
            raise InventoryError(f"cannot read the inventory: {error}") from error

    def hosts(self, limit: str) -> list[str]:
        """The hosts `limit` selects, in inventory order. Raises InventoryError at the first unknown term."""
        from ansible.errors import AnsibleError  # noqa: PLC0415

        terms = list(_terms(limit))
        if all(term.startswith(("!", "&")) for term in terms):
            raise InventoryError(
                f"--limit {limit} only excludes hosts, and would select all others, this machine among them: "
                f"name hosts or groups first, such as all,{limit}.\n{self._known()}"
                if terms
                else f"--limit {limit} names no host.\n{self._known()}"
            )
        for term in terms:
            self._check(term, limit)
        try:
            self._inventory.subset(limit)
            selected = [host.name for host in self._inventory.get_hosts("all")]
        except AnsibleError as error:
            raise InventoryError(f"--limit {limit}: {error}") from error
        if not selected:
            raise InventoryError(f"--limit {limit} matches no host.\n{self._known()}")
        return selected

    def variables(self, host: str, extra: Mapping[str, Any]) -> dict[str, Any]:
        """Return a host's variables, merged from inventory, group_vars and host_vars; `extra` wins.

        Of the templates only those that say how the host is reached are rendered, as Ansible reads them: a
        connection without its collection, `ansible_become` as a boolean. Passwords stay as they are.
        """
        from ansible.errors import AnsibleError  # noqa: PLC0415
        from ansible.module_utils.parsing.convert_bool import boolean  # noqa: PLC0415
        from ansible.template import Templar  # noqa: PLC0415
        from ansible.vars.manager import VariableManager  # noqa: PLC0415

        inventory, loader = self._inventory, self._loader
        try:
            found = VariableManager(loader=loader, inventory=inventory).get_vars(
                host=inventory.get_host(host), include_hostvars=False
            )
            variables = {**self._reach, **found, **extra}
            reach = {name: variables[name] for name in _REACH if name in variables}
            reach = Templar(loader=loader, variables=variables).template(reach)
        except AnsibleError as error:
            raise InventoryError(f"cannot determine how {host} is reached: {error}") from error
        if "ansible_connection" in reach:
            reach["ansible_connection"] = str(reach["ansible_connection"]).rpartition(".")[2]
        if "ansible_become" in reach:
            reach["ansible_become"] = boolean(reach["ansible_become"], strict=False)
        return {**variables, **reach}

    def project_dir(self, host: str, extra: Mapping[str, Any]) -> Path | None:
        """Where the checkout of a host lies, if run.py can work on it itself: on this machine, as this user.

        `extra` are the variables of the run, which win. None: the host is reached by Ansible.
        """
        variables = self.variables(host, extra)
        if variables.get("ansible_connection") != "local" or variables.get("ansible_become"):
            return None
        return Path(self._rendered(host, "project_dir", variables))

    def builds_here(self, host: str, extra: Mapping[str, Any]) -> bool:
        """Whether the images of a host are built on this machine."""
        variables = {"build_on": "host", **self.variables(host, extra)}
        return self._rendered(host, "build_on", variables) == "controller"

    def text(self, host: str, name: str, extra: Mapping[str, Any]) -> str:
        """One variable of a host as text, empty where it is not set. `extra` wins."""
        variables = self.variables(host, extra)
        return self._rendered(host, name, variables) if name in variables else ""

    def _rendered(self, host: str, name: str, variables: dict[str, Any]) -> str:
        """One variable of a host as its playbooks see it."""
        from ansible.errors import AnsibleError  # noqa: PLC0415
        from ansible.template import Templar  # noqa: PLC0415

        seen = {**variables, "playbook_dir": str(Path(self.paths[0]).parent / "playbooks")}
        try:
            return str(Templar(loader=self._loader, variables=seen).template(seen[name]))
        except (AnsibleError, KeyError) as error:
            raise InventoryError(f"cannot determine {name} of {host}: {error}") from error

    def _check(self, term: str, limit: str) -> None:
        from ansible.errors import AnsibleError  # noqa: PLC0415

        name = term.lstrip("!&")
        try:
            matches = [host.name for host in self._inventory.get_hosts(name)]
        except AnsibleError as error:
            raise InventoryError(f"--limit {limit}: '{term}' cannot be read: {error}") from error
        # Ansible makes up a `localhost` that is in no inventory; only listed hosts count.
        if any(host in self._inventory.hosts for host in matches):
            return
        if name in self._inventory.groups:
            if name != term:  # taking an empty group away, or crossing with it, is a meaning
                return
            raise InventoryError(
                f"--limit {limit}: the group '{name}' has no hosts yet; "
                f"fill it in, in inventory/hosts.yml or with -i.\n{self._known()}"
            )
        raise InventoryError(f"--limit {limit}: no host or group '{name}'.\n{self._known()}")

    def _known(self) -> str:
        groups = sorted(set(self._inventory.groups) - {"all", "ungrouped"})
        hosts = list(self._inventory.hosts)
        return f"  hosts:  {', '.join(hosts) or 'none'}\n  groups: {', '.join(groups) or 'none'}"


def _terms(limit: str) -> Iterator[str]:
    """The single patterns of a limit, with `@file` opened (one pattern a line, as in a retry file)."""
    from ansible.inventory.manager import split_host_pattern  # noqa: PLC0415

    for term in split_host_pattern(limit):
        if not term.startswith("@"):
            yield term
            continue
        try:
            lines = Path(term[1:]).read_text("utf-8").splitlines()
        except OSError as error:
            raise InventoryError(f"--limit {term}: {error.strerror or error}") from error
        for line in filter(None, map(str.strip, lines)):
            yield from split_host_pattern(line)
