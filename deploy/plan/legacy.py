"""The steps that take over from the system that this one replaces."""

from __future__ import annotations

from typing import TYPE_CHECKING

from deploy.plan.step import Answer, Answers, always, depends, either, few, no, step, yes

if TYPE_CHECKING:
    from deploy.plan.facts import Facts


@step("Variables", "legacy: Take over variables", early=True)
def variables(facts: Facts, _: Answers) -> Answer:
    """Of its .env, where ours has no value of its own."""
    names = facts.legacy.get("variables", [])
    return either(f"set in .env: {', '.join(names)}" if names else "", "none that .env lacks")


@step("Replaced application", "legacy: Stop the replaced application")
def stopped(facts: Facts, _: Answers) -> Answer:
    """So that no alert is accepted that the dump lacks."""
    names = facts.legacy.get("stop", [])
    return either(
        f"stopped: {', '.join(names)}; no alert is accepted until ours serves" if names else "",
        "it does not run",
    )


@step("Replaced database", "legacy: Dump the replaced database")
def dumped(facts: Facts, _: Answers) -> Answer:
    """Dumped in any case: a stopped one is read from a copy of its volume."""
    found = facts.legacy
    if found.get("kind") != "stack":
        return no(f"{found.get('what')} is read as it is")
    how = "" if found.get("is_running") else f", from a copy of the volume {found.get('volume')}"
    return yes(f"a verified dump of {found.get('what')} in backups/legacy{how}")


@step("Replaced containers", "legacy: Remove the containers of the replaced system")
def removed(facts: Facts, _: Answers) -> Answer:
    """Its volumes stay, and compose makes the containers again."""
    names = facts.legacy.get("remove", [])
    running = facts.legacy.get("container") if facts.legacy.get("is_running") else ""
    why = f"removed: {few(names)}; volumes stay" if names else f"stopped: {running}" if running else ""
    return either(why, "there are none")


loaded = always(
    "Second database",
    "legacy: Load the dump into a second database",
    "the dump is loaded into a second database, which is removed after the import",
)


@step("Import", "legacy: Import history, positions, strategies and actions")
def imported(_: Facts, __: Answers) -> Answer:
    """Rows have the same ids each time."""
    return depends("what is missing here is added; nothing of it is sent")
