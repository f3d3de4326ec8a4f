"""Each role says what it is for, what it takes and what it does, and all of that is so."""

from __future__ import annotations

import re
from typing import TYPE_CHECKING, Any

import pytest
import yaml  # type: ignore[import-untyped]

from scripts import roles
from scripts.roles import ROOT, Role

if TYPE_CHECKING:
    from collections.abc import Iterator

ROLES = roles.all_roles()


def named(role: Role) -> str:
    return role.name


def uses(tasks: Any) -> Iterator[tuple[str, str]]:
    """Yield role and entry point of each task that names both."""
    if isinstance(tasks, list):
        for each in tasks:
            yield from uses(each)
    elif isinstance(tasks, dict):
        for key, value in tasks.items():
            if key in {"ansible.builtin.import_role", "ansible.builtin.include_role"}:
                yield value["name"], value.get("tasks_from", "main")
            else:
                yield from uses(value)


@pytest.mark.parametrize("role", ROLES, ids=named)
def test_the_tables_of_a_role_are_what_its_files_have(role: Role) -> None:
    """`python -m scripts.roles` writes them."""
    _, mark, rest = role.readme.read_text("utf-8").partition(roles.MARK)
    assert mark + rest == roles.tables(role)


@pytest.mark.parametrize("role", ROLES, ids=named)
def test_a_document_has_purpose_effect_and_example(role: Role) -> None:
    by_hand = role.readme.read_text("utf-8").partition(roles.MARK)[0]
    assert by_hand.startswith(
        f"# {role.name}\n\n{role.galaxy['description']}.\n\n## Effect on the running stack\n\n"
    )
    effect = by_hand.partition("running stack\n\n")[2].partition("\n\n## Example")[0]
    entry_points = set(re.findall(r"`(\w+)`", effect)) - set(role.options) - {"by_hand"}  # the plugin
    assert len(effect.split()) > 3
    assert entry_points <= set(role.entry_points)


@pytest.mark.parametrize("role", ROLES, ids=named)
def test_an_example_uses_what_the_role_has(role: Role) -> None:
    (example,) = re.findall(r"```yaml\n(.+?)```", role.readme.read_text("utf-8"), re.DOTALL)
    tasks = yaml.safe_load(example)
    for task, (name, entry_point) in zip(tasks, uses(tasks), strict=True):
        assert name == role.name
        assert set(task.get("vars", {})) <= set(role.entry_points[entry_point]["options"])


@pytest.mark.parametrize("role", ROLES, ids=named)
def test_what_a_role_takes_has_a_default_or_has_to_be_given(role: Role) -> None:
    shared = yaml.safe_load((ROOT / "group_vars" / "all.yml").read_text("utf-8"))
    assert set(role.defaults) <= set(role.options)
    for name, options in role.options.items():
        for option in options.values():
            assert name in role.defaults or option.get("required"), name
            assert name.startswith(f"{role.name}_") or name in shared or name == "lock_claim", name
            if "default" in option:
                assert option["default"] == role.defaults[name], name


@pytest.mark.parametrize("role", ROLES, ids=named)
def test_a_role_says_where_it_runs(role: Role) -> None:
    required = (ROOT / "playbooks" / "by_hand.yml").read_text("utf-8")
    assert set(role.galaxy) == {"author", "description", "license", "min_ansible_version", "platforms"}
    assert f"is version('{role.galaxy['min_ansible_version']}', '>=')" in required
    assert role.galaxy["platforms"] == ROLES[0].galaxy["platforms"]


def test_every_entry_point_in_use_is_described() -> None:
    described = {(role.name, entry_point) for role in ROLES for entry_point in role.entry_points}
    places = ("playbooks/*.yml", "playbooks/tasks/*.yml", "roles/*/tasks/*.yml")
    files = [file for place in places for file in ROOT.glob(place)]
    used = {use for file in files for use in uses(yaml.safe_load(file.read_text("utf-8")))}
    assert {use for use in used if "{{" not in use[1]} <= described
    assert len(used) > 50
    # The step of a lock is a variable; the rest of what is described is in use.
    assert {use for use in described - used if use[0] != "lock"} == set()
