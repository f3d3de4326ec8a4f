"""Write the tables in `roles/*/README.md`, as the role's own files have them.

python -m scripts.roles
"""

from __future__ import annotations

import re
from dataclasses import dataclass
from functools import cache, cached_property
from pathlib import Path
from typing import TYPE_CHECKING, Any

import jinja2
import yaml  # type: ignore[import-untyped]
from jinja2 import nodes

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator

_JINJA = jinja2.Environment(autoescape=False)  # noqa: S701 - it only parses
ROOT = Path(__file__).resolve().parent.parent
MARK = "<!-- made by `python -m scripts.roles`; a test compares it with the role -->"
_CODE = ("defaults", "handlers", "tasks", "vars")
_GIVEN = {"host_report", "run_id", "run_flow", "run_checkout"}  # by run.py, or kept for it
_ANSIBLE = {"ansible_[a-z_]+", "hostvars", "inventory_hostname", "item", "lookup", "omit", "playbook_dir"}
_EXPRESSIONS = {"changed_when", "failed_when", "that", "until", "when"}  # keys without braces


@dataclass(frozen=True)
class Role:
    """A folder of `roles/`."""

    folder: Path

    @property
    def name(self) -> str:
        """Return the name under which playbooks use it."""
        return self.folder.name

    @property
    def readme(self) -> Path:
        """Return its document."""
        return self.folder / "README.md"

    @cached_property
    def entry_points(self) -> dict[str, Any]:
        """Return what `meta/argument_specs.yml` says of each entry point."""
        specs: dict[str, Any] = self._load("meta/argument_specs.yml")["argument_specs"]
        return specs

    @cached_property
    def galaxy(self) -> dict[str, Any]:
        """Return `galaxy_info`."""
        info: dict[str, Any] = self._load("meta/main.yml")["galaxy_info"]
        return info

    @cached_property
    def defaults(self) -> dict[str, Any]:
        """Return `defaults/main.yml`."""
        return self._load("defaults/main.yml")

    @cached_property
    def options(self) -> dict[str, dict[str, Any]]:
        """Return the options of each variable, by the entry points that take it."""
        found: dict[str, dict[str, Any]] = {}
        for entry_point, spec in self.entry_points.items():
            for name, option in spec["options"].items():
                found.setdefault(name, {})[entry_point] = option
        return found

    def required(self, entry_point: str) -> set[str]:
        """Return what has to be given to an entry point, because it has no default either."""
        options = self.entry_points[entry_point]["options"]
        return {
            name for name, each in options.items() if each.get("required") and not self.defaults.get(name)
        }

    @cached_property
    def left(self) -> set[str]:
        """Return the names that it registers, sets or has in `vars/main.yml`."""
        names = set(self._load("vars/main.yml"))
        for part in ("handlers", "tasks"):
            for file in self.folder.glob(f"{part}/*.yml"):
                names |= set(_left_by(_parse(file)))
        return names - _GIVEN

    @cached_property
    def reads(self) -> set[str]:
        """Return the variables in its expressions that are neither Ansible's nor of a single task."""
        files = [_parse(file) for part in _CODE for file in self.folder.glob(f"{part}/*.yml")]
        names = {name for file in files for text in _expressions(file) for name in _variables_of(text)}
        ansibles = re.compile("|".join(_ANSIBLE))
        local = {name for file in files for name in _task_variables(file) if name.startswith(f"{self.name}_")}
        return {name for name in names - local if not ansibles.fullmatch(name)}

    @cached_property
    def returned(self) -> set[str]:
        """Return what of `left` playbooks and `group_vars/all.yml` read."""
        return self.left & _read_by_playbooks()

    @cached_property
    def foreign(self) -> set[str]:
        """Return what it reads that is not its own, not declared, and not a variable of the flow."""
        given = {name for each in all_roles() for name in each.options if name.startswith(f"{each.name}_")}
        return self.reads - self.left - set(self.options) - (flow_variables() - given) - _GIVEN

    def _load(self, name: str) -> dict[str, Any]:
        file = self.folder / name
        return dict(_parse(file) or {}) if file.exists() else {}


@cache
def all_roles() -> list[Role]:
    """Return the roles by name."""
    return [Role(folder) for folder in sorted((ROOT / "roles").iterdir())]


@cache
def flow_variables() -> set[str]:
    """Return the names in `group_vars/all.yml`, which every role may read."""
    return set(_parse(ROOT / "group_vars" / "all.yml"))


@cache
def _read_by_playbooks() -> set[str]:
    places = ("group_vars/all.yml", "playbooks/*.yml", "playbooks/tasks/*.yml")
    files = [_parse(file) for place in places for file in ROOT.glob(place)]
    return {name for file in files for text in _expressions(file) for name in _variables_of(text)}


def tables(role: Role) -> str:
    """Return the part of the document that follows from the role's files."""
    rows = (("entry point", "takes", "result"), ("---",) * 3, *_entry_points(role))
    table = "\n".join(f"| {' | '.join(cell.replace('|', '&#124;') for cell in row)} |" for row in rows)
    details = f"Bold variables are required; all are described by `ansible-doc -t role -r roles {role.name}`."
    shared = sorted(flow_variables() & role.reads - set(role.options) - role.left)
    if shared:
        details += f" From `group_vars/all.yml`: {_names(shared)}."
    return f"{MARK}\n{table}\n\n{details}\n"


def _entry_points(role: Role) -> Iterator[tuple[str, ...]]:
    for name, spec in role.entry_points.items():
        result = f"{spec['short_description']}. {spec.get('description', '')}".strip()
        required = role.required(name)
        takes = (f"**`{each}`**" if each in required else f"`{each}`" for each in spec["options"])
        yield f"`{name}`", ", ".join(takes), result


def _names(names: Iterable[str]) -> str:
    return ", ".join(f"`{name}`" for name in names)


def _expressions(value: object, *, bare: bool = False) -> Iterator[str]:
    """Yield the templates in a file; those of `when` and the like get their braces."""
    if isinstance(value, dict):
        for key, each in value.items():
            yield from _expressions(each, bare=key in _EXPRESSIONS)
    elif isinstance(value, list):
        for each in value:
            yield from _expressions(each, bare=bare)
    elif isinstance(value, str):
        yield f"{{{{ {value} }}}}" if bare else value


def _variables_of(template: str) -> set[str]:
    """Return the names that a template reads and does not set itself."""
    names = list(_JINJA.parse(template).find_all(nodes.Name))
    return {one.name for one in names} - {one.name for one in names if one.ctx == "store"}


def _task_variables(value: object) -> Iterator[str]:
    """Yield the names that tasks give to themselves with `vars` and `loop_var`."""
    for each in value if isinstance(value, list) else value.values() if isinstance(value, dict) else ():
        yield from _task_variables(each)
    if isinstance(value, dict):
        yield from value["vars"] if isinstance(value.get("vars"), dict) else ()
        yield from [value["loop_var"]] if "loop_var" in value else ()


def _left_by(value: object) -> Iterator[str]:
    """Yield the names that tasks register or set."""
    for each in value if isinstance(value, list) else value.values() if isinstance(value, dict) else ():
        yield from _left_by(each)
    if isinstance(value, dict):
        yield from [value["register"]] if "register" in value else ()
        yield from value.get("ansible.builtin.set_fact", ())


@cache
def _parse(file: Path) -> Any:  # noqa: ANN401 - whatever YAML holds
    return yaml.safe_load(file.read_text("utf-8"))


def main() -> None:
    """Write the tables of each role below what is written by hand."""
    for role in all_roles():
        by_hand = role.readme.read_text("utf-8").partition(MARK)[0]
        role.readme.write_text(by_hand + tables(role), "utf-8")


if __name__ == "__main__":
    main()
