"""The plan of every flow in the situations that matter, and the report of deviations from it."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import pytest
from ansible.parsing.dataloader import DataLoader

from deploy.actions import ACTIONS
from deploy.events import Status, Step
from deploy.plan.flows import FLOWS, differences, make
from tests.controller.checkout import REPOSITORY

if TYPE_CHECKING:
    from pathlib import Path

OLD, NEW = "a" * 12, "b" * 12
RUNS = {
    "trading-signal-processor": {"name": "trading-signal-processor", "state": "running", "version": OLD},
    "postgres": {"name": "trading-db", "state": "running", "version": ""},
    "edge": {"name": "trading-edge", "state": "running", "version": ""},
}
ACME = {"acme": {"name": "trading-acme", "state": "running", "version": ""}}
BASES = [
    "python registry python:3.13-slim",
    "postgres registry postgres:15-alpine",
    "edge distribution trading-signal-processor/base-edge:trixie-0123456789ab",
]
WITHOUT_EDGE = {service: container for service, container in RUNS.items() if service != "edge"}
SEEN = {
    "image": True,
    "modes": [],
    "password": "same",
    "migrations": ["one", "two"],
    "applied": ["one", "two"],
    "record": {"settled": True, "removes": []},
    "images": {"app": [OLD, "latest"], "older_bases": [], "nameless": []},
    "rubbish": [],
}


def report(**given: Any) -> dict[str, Any]:
    """Return the playbooks' report of a host where nothing differs and version OLD serves."""
    seen = {**SEEN, **given.pop("seen", {})}
    plan = {
        "containers": RUNS,
        "volume": True,
        "version": OLD,
        "commit": OLD + "0" * 28,
        "head": OLD + "0" * 28,
        "base_images": BASES,
        "seen": seen,
    }
    source = {"fetch": False, "known": True, "commit": "ignored here"} | given.pop("source", {})
    return {"plan": {**plan, **given}, "source": source}


def answers(flow: str, **given: Any) -> dict[str, str]:
    """Return yes, no or depends for each step."""
    return {one["step"]: one["changes"] for one in (p.as_dict() for p in make(flow, report(**given)))}


def why(flow: str, step: str, **given: Any) -> str:
    """Return why a step of the plan changes something or not."""
    return {one.step.name: one.answer.why for one in make(flow, report(**given))}[step]


NOTHING: dict[str, Any] = {"containers": {}, "volume": False, "version": NEW}
FRESH: dict[str, Any] = {
    **NOTHING,
    "to_make": ["data/", ".env"],
    "changed": {"postgres": "absent", "trading-signal-processor": "absent"},
    "seen": {"image": False, "password": "unknown", "migrations": None, "record": {"settled": False}},
}
UPDATE: dict[str, Any] = {
    "version": NEW,
    "commit": NEW + "0" * 28,
    "database_held": True,
    "changed": {"trading-signal-processor": "definition"},
    "source": {"fetch": True},
    "seen": {
        "image": False,
        "applied": ["one"],
        "record": {"settled": False, "removes": ["c" * 12]},
    },
}
WEBHOOK = "config/webhook_config.json"
RESTORED: dict[str, Any] = {"name": "BACKUP", "files": [WEBHOOK], "changes": [WEBHOOK], "without": [".env"]}
LEGACY: dict[str, Any] = {
    "kind": "stack",
    "what": "container trading-db",
    "container": "trading-db",
    "volume": "old_postgres_data",
    "is_running": True,
    "stop": ["trading-signal-processor"],
    "remove": ["trading-db", "trading-signal-processor"],
    "variables": ["ADMIN_TOKEN", "TOP_N"],
}
UNKNOWN: dict[str, Any] = {
    **UPDATE,
    "source": {"fetch": True, "known": False},
    "seen": {**UPDATE["seen"], "migrations": None},
}


@pytest.mark.parametrize(
    ("flow", "given", "yes", "depends"),
    [
        (
            "restore_config",
            {"restored": RESTORED},
            "Backup of the configuration, Configuration",
            "Image, Modes and owners, App container, Record",
        ),
        (
            "restore_config",
            {"restored": RESTORED, "seen": {"modes": [WEBHOOK]}},
            "Backup of the configuration, Configuration",
            "Image, Modes and owners, App container, Record",
        ),
        (
            "restore_config",
            {"restored": RESTORED, "seen": {"modes": ["logs", WEBHOOK]}},
            "Backup of the configuration, Configuration, Modes and owners",
            "Image, App container, Record",
        ),
        (
            "restore_config",
            {"restored": RESTORED | {"changes": []}, "changed": {"trading-signal-processor": "definition"}},
            "Backup of the configuration, App container",
            "Image, Record",
        ),
        ("quick", {}, "", "Image, App container, Record"),
        ("site", {"no_cache": True, "replace_app": True}, "Image, App container, Record", ""),
        (
            "quick",
            FRESH,
            (
                "Files and folders, Image, Modes and owners, Volume, Database container, Schema, "
                "App container, Edge, Record"
            ),
            "",
        ),
        ("quick", {"changed": {"edge": "definition"}}, "Edge", "Image, App container, Record"),
        ("quick", {"changed": {"edge": "image"}}, "Edge", "Image, App container, Record"),
        (
            "quick",
            {"has_acme": True, "changed": {"acme": "absent"}},
            "Certificate",
            "Image, App container, Record",
        ),
        ("quick", {"has_acme": True}, "", "Image, App container, Record"),
        ("quick", {"containers": RUNS | ACME}, "Certificate", "Image, App container, Record"),
        (
            "quick",
            {"changed": {"trading-signal-processor": "definition"}},
            "App container",
            "Image, Record",
        ),
        (
            "quick",
            {"changed": {"trading-signal-processor": "stopped"}},
            "App container",
            "Image, Record",
        ),
        (
            "quick",
            {"changed": {"postgres": "definition"}, "seen": {"password": "differs"}},
            "Database container, Password",
            "Image, App container, Record",
        ),
        (
            "quick",
            {"changed": {"postgres": "absent"}, "seen": {"password": "unknown", "applied": None}},
            "Database container",
            "Image, Password, Schema, App container, Record",
        ),
        ("quick", {"orphans": ["old-web"]}, "Database container", "Image, App container, Record"),
        (
            "quick",
            {"seen": {"applied": ["one"]}},
            "",
            "Image, Schema, App container, Record",
        ),
        (
            "quick",
            {"foreign": ["container trading-db"]},
            "Adoption, Database container, App container",
            "Image, Record",
        ),
        (
            "quick",
            {"base_images": ["python registry python:3.13-slim changed", BASES[1]]},
            "Base images, Image, App container, Record",
            "",
        ),
        (
            "quick",
            {"base_images": [BASES[0], "postgres absent postgres:15-alpine"]},
            "Base images, Database container",
            "Image, App container, Record",
        ),
        (
            "quick",
            {"changed": {"trading-signal-processor": "definition"}, "privileges_known": False},
            "",
            "Image, App container, Record",
        ),
        (
            "update",
            {**UPDATE, "no_cache": True},
            (
                "Fetch, Tree of the commit, Backup of the configuration, Image, Schema, "
                "App container, Checkout, Record"
            ),
            "",
        ),
        (
            "quickupdate",
            UNKNOWN,  # whether the remote's branch was rewritten is known when it was fetched
            "Fetch, Tree of the commit, Backup of the configuration, Image, App container, Record",
            "Schema, Checkout",
        ),
        (
            "quickupdate",
            {"database_held": True},
            "Tree of the commit, Backup of the configuration",
            "Image, App container, Record",
        ),
        (
            "quickupdate",
            {**UNKNOWN, "source": {"fetch": True, "known": False, "own_commits": ["1234567 Mine"]}},
            "Fetch, Tree of the commit, Backup of the configuration, Image, App container, Record",
            "Schema, Checkout",
        ),
        (
            "rollback",
            {**UPDATE, "seen": {"record": {"settled": False}}},
            "Tree of the commit, Backup of the configuration, App container, Checkout, Record",
            "",
        ),
        (
            "db",
            {"seen": {"images": {"older_bases": ["trading-signal-processor/base-postgres:old"]}}},
            (
                "App stopped, Copy of the database, Destruction, Older database images, Volume, "
                "Database container, Schema, App container"
            ),
            "",
        ),
        (
            "db",
            {"no_dump": True},
            "App stopped, Destruction, Volume, Database container, Schema, App container",
            "",
        ),
        (
            "rebuild",
            {"no_cache": True, "replace_app": True, "seen": {"rubbish": ["data/exports"]}},
            (
                "Image, App stopped, Copy of the database, Containers, Destruction, Other images, "
                "Temporary files, Volume, Database container, Schema, App container"
            ),
            "",
        ),
        (
            "import_legacy",
            {"legacy": LEGACY},
            (
                "Variables, Replaced application, Replaced database, Replaced containers, Second database, "
                "App container"
            ),
            "Image, Import, Record",
        ),
        (
            "import_legacy",
            {**FRESH, "legacy": {"kind": "dump", "what": "a.dump"}},
            (
                "Files and folders, Image, Modes and owners, Volume, Database container, Schema, "
                "Second database, App container, Edge, Record"
            ),
            "Import",
        ),
        ("stop", {}, "Containers", ""),
        ("stop", {"containers": {}}, "", ""),
        ("backup", {}, "Dump", ""),
        (
            "restore",
            {"pauses": True, "archive": {"migrations": ["one"]}},
            (
                "Dump is read in, App stopped, What was not final is held, Delivery paused, "
                "Databases change names, Schema, App container"
            ),
            "",
        ),
        (
            "restore",
            {"archive": {"migrations": ["one", "two"]}},
            "Dump is read in, App stopped, What was not final is held, Databases change names, App container",
            "",
        ),
    ],
)
def test_a_plan_lists_what_changes(flow: str, given: dict[str, Any], yes: str, depends: str) -> None:
    found = answers(flow, **given)
    assert ", ".join(step for step, changes in found.items() if changes == "yes") == yes
    assert ", ".join(step for step, changes in found.items() if changes == "depends") == depends


@pytest.mark.parametrize(
    ("flow", "step", "given", "words"),
    [
        (
            "quick",
            "App container",
            {"changed": {"trading-signal-processor": "definition"}},
            "a setting in .env",
        ),
        (
            "restore_config",
            "Configuration",
            {"restored": RESTORED},
            "as in backups/BACKUP again: config/webhook_config.json; not in it, and kept: .env",
        ),
        (
            "restore_config",
            "Configuration",
            {"restored": RESTORED | {"changes": []}},
            "all files are as in backups/BACKUP; not in it, and kept: .env",
        ),
        ("import_legacy", "Variables", {"legacy": LEGACY}, "set in .env: ADMIN_TOKEN, TOP_N"),
        ("import_legacy", "Replaced application", {"legacy": LEGACY}, "stopped: trading-signal-processor"),
        (
            "import_legacy",
            "Replaced database",
            {"legacy": LEGACY | {"is_running": False}},
            "in backups/legacy, from a copy of the volume old_postgres_data",
        ),
        (
            "import_legacy",
            "Replaced containers",
            {"legacy": LEGACY},
            "removed: trading-db, trading-signal-processor; volumes stay",
        ),
        ("import_legacy", "Replaced containers", {"legacy": LEGACY | {"remove": []}}, "stopped: trading-db"),
        ("update", "App container", UPDATE, f"version {NEW} takes the place of {OLD}"),
        ("update", "Database container", UPDATE, "leaves it alone"),
        ("update", "Record", UPDATE, "its image goes: cccccccccccc"),
        ("update", "Tree of the commit", UNKNOWN, "if it changes the controller"),
        (
            "update",
            "Tree of the commit",
            {"source": {"changed_controller": ["deploy/flow.py"]}},
            "deploy/flow.py",
        ),
        ("update", "Schema", UNKNOWN, "fetched to know"),
        ("quick", "Modes and owners", {"seen": {"modes": list("abcde")}}, "a, b, c and 2 more"),
        ("quick", "Files and folders", {"aside": True}, "moved aside"),
        ("quick", "Database container", {"orphans": ["old-web"]}, "old-web"),
        ("quick", "Edge", {"changed": {"edge": "image"}}, "its image changed: nobody answers for up to 1 s"),
        ("quick", "Edge", {"containers": WITHOUT_EDGE}, "takes over the port of the app"),
        ("quick", "Edge", {"base_images": [*BASES[:2], BASES[2] + " changed"]}, "its image changes"),
        ("quick", "Certificate", {}, "TLS is off"),
        ("quick", "Certificate", {"containers": RUNS | ACME}, "TLS is off: the service acme goes"),
        (
            "quick",
            "Certificate",
            {"has_acme": True, "containers": RUNS | ACME, "changed": {"acme": "definition"}},
            "the service acme is started: its definition or a setting in .env changed",
        ),
        (
            "quick",
            "Certificate",
            {"has_acme": True, "base_images": [*BASES[:2], BASES[2] + " changed"]},
            "the service acme is started: its image changes",
        ),
        ("quick", "Stand-in", {"replace_app": True}, "must become healthy next to the one that serves"),
        ("quick", "Stand-in", {"changed": {"edge": "image"}, "seen": {}}, "must become healthy"),
        ("site", "Stand-in", {**NOTHING, "replace_app": True}, "no app runs"),
        ("db", "Copy of the database", {"no_dump": True}, "cannot be brought back"),
        ("rebuild", "Copy of the database", {"containers": {}}, "a cold copy of its volume"),
    ],
)
def test_a_plan_has_reasons(flow: str, step: str, given: dict[str, Any], words: str) -> None:
    assert words in why(flow, step, **given)


def test_before_docker_is_there_everything_else_depends_on_it() -> None:
    found = answers("quick", docker_to_come=True)
    assert found.pop("Docker") == "yes"
    assert set(found.values()) == {"depends"}


def test_a_host_that_failed_before_the_plan_has_none() -> None:
    assert make("quick", {"warnings": []}) == []


def test_unknown_members_of_a_newer_report_are_ignored() -> None:
    assert answers("quick", invented_later=[1]) == answers("quick")


def ran(*changed: str) -> list[Step]:
    return [Step("here", "Deploy", name, Status.CHANGED, 1.0) for name in changed]


BUILT, SWAPPED, STARTED = (
    "images: Build the application's image",
    "compose: Replace the app",
    "compose: Start the database",
)


@pytest.mark.parametrize(
    ("given", "happened", "words"),
    [
        ({}, [], []),
        ({}, [BUILT, SWAPPED, "versions: Note the version"], []),
        ({}, [SWAPPED], ["App container: changed, and was not going to (only if its image changes)"]),
        (
            {},
            [STARTED],
            ["Database container: changed, and was not going to (it runs, and nothing of it changed)"],
        ),
        (
            {"changed": {"postgres": "stopped"}},
            [],
            ["Database container: did not change, and was going to (it does not run)"],
        ),
        # the result of a cached build is not predictable
        ({"replace_app": True}, [BUILT, SWAPPED, "versions: Note the version"], []),
        # made before the plan was: nothing to compare
        ({"to_make": ["logs/"], "seen": {"modes": ["logs"]}}, ["permissions: Set modes and owners"], []),
    ],
)
def test_deviations_from_the_plan_are_named(
    given: dict[str, Any], happened: list[str], words: list[str]
) -> None:
    assert differences(make("quick", report(**given)), ran(*happened), ended=True) == words


def test_a_failed_flow_may_omit_steps_but_has_no_unplanned_ones() -> None:
    plan = make("quick", report(replace_app=True))
    assert differences(plan, ran(), ended=False) == []
    assert len(differences(plan, ran(STARTED), ended=False)) == 1


def test_every_flow_that_changes_something_has_a_plan() -> None:
    assert set(FLOWS) == {action.name for action in ACTIONS if action.changes}


def _task_names(role: Path) -> set[str]:
    """Return the names of all tasks of a role, those inside of blocks included."""
    found, waiting = (
        set(),
        [
            task
            for part in ("tasks", "handlers")
            for file in role.glob(f"{part}/*.yml")
            for task in DataLoader().load_from_file(str(file))
        ],
    )
    while waiting:
        task = waiting.pop()
        found.add(task["name"])
        waiting += [one for part in ("block", "rescue", "always") for one in task.get(part, [])]
    return found


def test_every_task_that_a_plan_waits_for_exists() -> None:
    """Without this test a renamed task would silently never count as changed."""
    existing = {
        f"{role.name}: {name}" for role in (REPOSITORY / "roles").iterdir() for name in _task_names(role)
    }
    wanted = {task for flow in FLOWS.values() for step in flow for task in step.tasks}
    assert wanted - existing == set()
