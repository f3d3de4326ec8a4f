"""The steps before anything that runs is touched."""

from __future__ import annotations

from typing import TYPE_CHECKING

from deploy.plan.step import Answer, Answers, always, depends, either, few, no, step, yes

if TYPE_CHECKING:
    from deploy.plan.facts import Facts


@step(
    "Docker",
    "docker: Install engine, client, buildx and compose",
    "docker: Start dockerd",
    "docker: Restart the daemon",
    early=True,
)
def docker(facts: Facts, _: Answers) -> Answer:
    """Only with --install-docker it may change anything."""
    due = facts.docker_to_come or facts.docker_made
    return either("it is installed or started (--install-docker)" if due else "", "engine and compose answer")


@step("Fetch", "source: Fetch", early=True)
def fetch(facts: Facts, _: Answers) -> Answer:
    """What the remote's branch is at, by ls-remote."""
    commit = facts.commit[:12]
    return either(
        f"the remote is at {commit}" if facts.source.fetch else "", f"nothing new: {commit} is here"
    )


@step("Tree of the commit", "source: Lay the tree out", early=True)
def tree(facts: Facts, _: Answers) -> Answer:
    """Laid out anew in any case."""
    source = facts.source
    why = f"{facts.commit[:12]} is laid out in .run/releases"
    if source.changed_controller:
        why += f"; its own controller goes on, for it changes {few(source.changed_controller)}"
    elif not source.known:
        why += "; if it changes the controller, its own one goes on"
    return yes(why)


@step(
    "Files and folders",
    "project: Put the operator's files back",
    "project: Make folders",
    "project: Make the settings with fresh secrets",
    "project: Make configuration files",
    early=True,
)
def files(facts: Facts, _: Answers) -> Answer:
    """The operator's own: made where missing."""
    back = "what an interrupted update moved aside comes back" if facts.aside else ""
    made = f"made: {', '.join(facts.to_make)}" if facts.to_make else ""
    return either("; ".join(filter(None, [back, made])), "all are there")


@step("Adoption", "project: Remember the adoption", early=True)
def adoption(facts: Facts, _: Answers) -> Answer:
    """Taken over from another checkout, with --adopt."""
    return either(
        f"taken over: {', '.join(facts.foreign)}" if facts.foreign else "", "the stack is this checkout's"
    )


@step("Base images", "images: Find the base images", "images: Make the base images", early=True)
def base_images(facts: Facts, _: Answers) -> Answer:
    """Local, then a registry's, then made of Debian's packages."""
    words = {
        "absent": "{image} is pulled, or made of Debian's packages where no registry has it",
        "missing": "{image} is made of Debian's packages",
    }
    found = [(role, *facts.base_image(role)) for role in ("python", "postgres", "edge")]
    whys = [
        words.get(kind, f"{role} is {{image}} now").format(image=image) for role, kind, image in found if kind
    ]
    return either("; ".join(whys), "all are here")


@step("Modes and owners", "permissions: Set modes and owners")
def modes(facts: Facts, _: Answers) -> Answer:
    """Of what the stack reads and writes; files just made are made with narrow modes."""
    wrong = facts.seen.get("modes", [])
    made = [name for name in facts.to_make if name != ".env"]
    why = f"not as they should be: {few(wrong)}" if wrong else ""
    return either(why or ("what is made gets its own" if made else ""), "all as they should be")


@step("Modes and owners", "permissions: Set modes and owners")
def modes_of_restored(facts: Facts, answers: Answers) -> Answer:
    """What comes back has the modes that it had, and those of another profile are not known to fit."""
    changes = facts.restored.get("changes", [])
    wrong = [name for name in facts.seen.get("modes", []) if name not in changes]
    if wrong or not changes:
        return modes.decide(facts, answers)
    return depends("only if what comes back had others than those of this profile")


@step("Configuration", "config_backup: Put the configuration back")
def restored(facts: Facts, _: Answers) -> Answer:
    """The files of a backup in the place of today's."""
    backup = f"backups/{facts.restored.get('name', '')}"
    kept = facts.restored.get("without", [])
    changes = facts.restored.get("changes", [])
    rest = f"; not in it, and kept: {', '.join(kept)}" if kept else ""
    why = f"as in {backup} again: {', '.join(changes)}{rest}" if changes else ""
    return either(why, f"all files are as in {backup}{rest}")


configuration = always(
    "Backup of the configuration", "config_backup: Back up the configuration", "a dated copy in backups/"
)


@step("Image", "images: Build the application's image")
def image(facts: Facts, _: Answers) -> Answer:
    """What the build cache still holds is only known to the build."""
    if facts.no_cache:
        return yes(f"version {facts.version} is built without cache")
    if not facts.seen.get("image"):
        return yes(f"version {facts.version} was not built here yet")
    if facts.base_image("python")[0]:
        return yes("its base image changes")
    return depends(f"version {facts.version} was built here: it stays, unless the build cache lost it")


@step("Image", "images: Build the application's image")
def image_if_none(facts: Facts, answers: Answers) -> Answer:
    """The app stays the one that ran."""
    return no(f"version {facts.running} stays") if facts.running else image.decide(facts, answers)
