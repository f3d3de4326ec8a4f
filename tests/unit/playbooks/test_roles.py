"""Each role says what it is for, what it takes and what it does, and all of that is so."""

from __future__ import annotations

import re
from functools import cache
from typing import TYPE_CHECKING, Any

import pytest
import yaml  # type: ignore[import-untyped]
from ansible.parsing.dataloader import DataLoader
from ansible.template import Templar

from deploy.plan.facts import Facts, facts_of
from scripts import roles
from scripts.roles import ROOT, Role

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

ROLES = roles.all_roles()


def named(role: Role) -> str:
    return role.name


def uses(tasks: Any) -> Iterator[tuple[str, str, set[str]]]:
    """Yield role, entry point and variables of each task that uses a role."""
    if isinstance(tasks, list):
        for each in tasks:
            yield from uses(each)
    elif isinstance(tasks, dict):
        for key, value in tasks.items():
            if key in {"ansible.builtin.import_role", "ansible.builtin.include_role"}:
                yield value["name"], value.get("tasks_from", "main"), set(tasks.get("vars", {}))
            else:
                yield from uses(value)


@pytest.mark.parametrize("role", ROLES, ids=named)
def test_the_tables_of_a_role_are_what_its_files_have(role: Role) -> None:
    """`python -m scripts.roles` writes them."""
    _, mark, rest = role.readme.read_text("utf-8").partition(roles.MARK)
    assert mark + rest == roles.tables(role)


@pytest.mark.parametrize("role", ROLES, ids=named)
def test_a_document_has_purpose_and_effect(role: Role) -> None:
    by_hand = role.readme.read_text("utf-8").partition(roles.MARK)[0]
    start = f"# {role.name}\n\n{role.galaxy['description']}. Effect on the running stack: "
    assert " ".join(by_hand.split()).startswith(" ".join(start.split()))
    effect = by_hand.partition("stack: ")[2]
    entry_points = set(re.findall(r"`(\w+)`", effect)) - set(role.options) - {"by_hand"}  # the plugin
    assert len(effect.split()) > 3
    assert entry_points <= set(role.entry_points)


@pytest.mark.parametrize("role", ROLES, ids=named)
def test_a_role_reads_its_own_variables_and_those_of_the_flow(role: Role) -> None:
    """What it needs of another role is declared, and group_vars/all.yml or a playbook gives it."""
    assert role.reads or role.name == "lock"
    assert role.foreign == set()


def test_a_variable_of_another_role_is_found_wherever_it_is_read(tmp_path: Path) -> None:
    """In a template, a bare condition, a loop and a handler; not where a task names it itself."""
    for part in ("handlers", "meta", "tasks"):
        (tmp_path / "health" / part).mkdir(parents=True)
    (tmp_path / "health/meta/argument_specs.yml").write_text(
        "argument_specs: {main: {options: {health_port: {type: int, required: true}}}}", "utf-8"
    )
    (tmp_path / "health/tasks/main.yml").write_text(
        """
- ansible.builtin.command: echo {{ health_port }} {{ health_mine }} {{ project_stack.now }} {{ project_dir }}
  register: health_done
  vars: {health_mine: 1}
  when: not health_done.skipped and docker_found.root and compose_plan is defined
  loop: "{{ source_target | default([]) }}"
""",
        "utf-8",
    )
    (tmp_path / "health/handlers/main.yml").write_text(
        "- ansible.builtin.assert: {that: [versions_keep > 0]}", "utf-8"
    )
    found = Role(tmp_path / "health").foreign
    assert found == {"project_stack", "docker_found", "compose_plan", "source_target", "versions_keep"}


@pytest.mark.parametrize("role", ROLES, ids=named)
def test_what_others_read_of_a_role_is_in_its_document(role: Role) -> None:
    document = role.readme.read_text("utf-8")
    assert {name for name in role.returned if f"`{name}" not in document} == set()
    assert all(name.startswith(f"{role.name}_") for name in role.left)


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


@cache
def uses_of_all() -> list[tuple[str, str, set[str]]]:
    places = ("playbooks/*.yml", "playbooks/tasks/*.yml", "roles/*/tasks/*.yml")
    files = [file for place in places for file in ROOT.glob(place)]
    return [use for file in files for use in uses(yaml.safe_load(file.read_text("utf-8")))]


def test_every_entry_point_in_use_is_described() -> None:
    described = {(role.name, entry_point) for role in ROLES for entry_point in role.entry_points}
    used = {use[:2] for use in uses_of_all()}
    assert {use for use in used if "{{" not in use[1]} <= described
    assert len(used) > 50
    # The step of a lock is a variable; the rest of what is described is in use.
    assert {use for use in described - used if use[0] != "lock"} == set()


def test_a_task_gives_a_role_what_its_entry_point_takes() -> None:
    """Variables of another prefix are the flow's, or for a role that this one uses in turn."""
    options = {role.name: role.entry_points for role in ROLES}
    given = [(*use[:2], name) for use in uses_of_all() for name in use[2] if name.startswith(use[0])]
    assert len(given) > 10
    assert [use for use in given if use[2] not in options[use[0]][use[1]]["options"]] == []


@pytest.mark.parametrize("role", ROLES, ids=named)
def test_what_an_entry_point_requires_is_given(role: Role) -> None:
    """By group_vars/all.yml, by each task that uses it, or by run.py for an option of its own."""
    by_options = {"compose_maintenance", "database_restore_file", "legacy_source"}
    for used, step, names in uses_of_all():
        if used != role.name or role.name in {"by_hand", "lock"}:  # the callback plugin and run.py give all
            continue
        assert role.required(step) - roles.flow_variables() - names - by_options == set(), (step, names)


def test_the_plan_is_made_where_nothing_was_looked_at_yet() -> None:
    """As for a machine where Docker is still to come; each member has the value that changes nothing."""
    loader = DataLoader()
    known = loader.load_from_file(str(ROOT / "group_vars" / "all.yml"), trusted_as_template=True)
    templar = Templar(loader, {**known, "ansible_skip_tags": ["changes"], "inventory_hostname": "one"})
    found = templar.template(known["plan_facts"])
    assert facts_of({"plan": found}) == Facts()
    assert set(found) == set(vars(Facts())) - {"source"}
