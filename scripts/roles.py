"""Write the tables in `roles/*/README.md`, as the role's own files have them.

python -m scripts.roles
"""

from __future__ import annotations

import json
import re
from dataclasses import dataclass
from functools import cache, cached_property
from pathlib import Path
from typing import TYPE_CHECKING, Any

import yaml  # type: ignore[import-untyped]

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator

ROOT = Path(__file__).resolve().parent.parent
MARK = "<!-- made by `python -m scripts.roles`; a test compares it with the role -->"
_CODE = ("defaults", "handlers", "tasks", "vars")
_GIVEN = {"host_report", "run_id", "run_flow", "run_checkout"}  # by run.py, or kept for it
_NAME = re.compile(r"\b[a-z][a-z0-9]*(?:_[a-z0-9]+)+\b")


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

    @cached_property
    def left(self) -> set[str]:
        """Return the names that it registers, sets or has in `vars/main.yml`."""
        names = set(self._load("vars/main.yml"))
        for file in self.folder.glob("tasks/*.yml"):
            text = file.read_text("utf-8")
            names |= set(re.findall(r"^\s+register: (\w+)$", text, re.MULTILINE))
            names |= {
                name
                for block in re.findall(r"ansible\.builtin\.set_fact:\n((?: +\w+: .*\n)+)", text)
                for name in re.findall(r"^ +(\w+): ", block, re.MULTILINE)
            }
        return names - _GIVEN

    @cached_property
    def mentioned(self) -> set[str]:
        """Return the names in its expressions."""
        files = [file for part in _CODE for file in self.folder.glob(f"{part}/*.yml")]
        return {name for file in files for text in _texts(_parse(file)) for name in _NAME.findall(text)}

    def _load(self, name: str) -> dict[str, Any]:
        file = self.folder / name
        return dict(_parse(file) or {}) if file.exists() else {}


@cache
def all_roles() -> list[Role]:
    """Return the roles by name."""
    return [Role(folder) for folder in sorted((ROOT / "roles").iterdir())]


def tables(role: Role) -> str:
    """Return the part of the document that follows from the role's files."""
    parts = [MARK, "## Entry points", _table(("entry point", "result"), _entry_points(role))]
    if role.options:
        head = ("variable", "type", "default", "entry points", "what it is")
        parts += ["## Variables", _table(head, _variables(role))]
    return "\n\n".join([*parts, *_inputs(role)]) + "\n"


def _entry_points(role: Role) -> Iterator[tuple[str, ...]]:
    for name, spec in role.entry_points.items():
        yield f"`{name}`", f"{spec['short_description']}. {spec.get('description', '')}".strip()


def _variables(role: Role) -> Iterator[tuple[str, ...]]:
    for name, uses in role.options.items():
        option = next(iter(uses.values()))
        kind = "list of " + option["elements"] if "elements" in option else option["type"]
        meaning = option["description"]
        if "choices" in option:
            allowed = ", ".join(f"`{choice}`" if choice else "empty" for choice in option["choices"])
            meaning = f"{meaning} One of: {allowed}."
        is_required = option.get("required") and not role.defaults.get(name)
        default = "required" if is_required else _shown(role.defaults[name])
        everywhere = "all" if set(uses) == set(role.entry_points) else ", ".join(f"`{each}`" for each in uses)
        yield f"`{name}`", kind, default, everywhere, meaning


def _inputs(role: Role) -> Iterator[str]:
    """Yield what else the role reads: the group variables, and what other roles leave."""
    shared = set(_parse(ROOT / "group_vars" / "all.yml")) & role.mentioned
    lines = [f"* From `group_vars/all.yml`: {_names(shared)}."] if shared else []
    roles = all_roles()
    others = {name for each in roles for name in (*each.left, *each.defaults)} & role.mentioned - shared
    for other in roles:
        names = {name for name in others - set(role.options) if name.startswith(f"{other.name}_")}
        if other.name != role.name and names:
            lines.append(f"* Of the role `{other.name}`: {_names(names)}.")
    if lines:
        yield "## What else it reads"
        yield "\n".join(lines)


def _names(names: Iterable[str]) -> str:
    return ", ".join(f"`{name}`" for name in sorted(names))


def _shown(value: object) -> str:
    if value in ("", [], {}):
        return "empty"
    return f"`{value if isinstance(value, str) else json.dumps(value)}`"


def _table(head: tuple[str, ...], rows: Iterable[tuple[str, ...]]) -> str:
    return "\n".join(
        f"| {' | '.join(cell.replace('|', '&#124;') for cell in row)} |"
        for row in (head, ("---",) * len(head), *rows)
    )


def _texts(value: object) -> Iterator[str]:
    """Yield the texts in which variables can be: no names of tasks, modules or arguments."""
    if isinstance(value, dict):
        for key, each in value.items():
            if key != "name":
                yield from _texts(each)
    elif isinstance(value, list):
        for each in value:
            yield from _texts(each)
    elif isinstance(value, str):
        yield value


def _parse(file: Path) -> Any:  # noqa: ANN401 - whatever YAML holds
    return yaml.safe_load(file.read_text("utf-8"))


def main() -> None:
    """Write the tables of each role below what is written by hand."""
    for role in all_roles():
        by_hand = role.readme.read_text("utf-8").partition(MARK)[0]
        role.readme.write_text(by_hand + tables(role), "utf-8")


if __name__ == "__main__":
    main()
