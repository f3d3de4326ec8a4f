"""Every step that a flow can have: who carries it out, and whether it changes anything on a host.

A step is decided from the facts and from the steps before it, and says why in words for the operator.
"""

from __future__ import annotations

from dataclasses import dataclass
from enum import StrEnum
from typing import TYPE_CHECKING

from deploy.plan.facts import APP, DATABASE, Facts

if TYPE_CHECKING:
    from collections.abc import Callable


class Changes(StrEnum):
    """Whether a step changes anything."""

    YES = "yes"
    NO = "no"
    DEPENDS = "depends"


@dataclass(frozen=True)
class Answer:
    """Whether, and why. What depends `on` another step changes something exactly if that one does."""

    changes: Changes
    why: str
    on: str = ""


Answers = dict[str, Answer]  # of the steps before, by name


@dataclass(frozen=True)
class Step:
    """One kind of step. `tasks` are those that report the change, as `role: task`.

    `early` ones are done before the plan is made: they are part of it, and nothing is compared with it.
    """

    name: str
    tasks: tuple[str, ...]
    decide: Callable[[Facts, Answers], Answer]
    early: bool = False


def _step(
    name: str, *tasks: str, early: bool = False
) -> Callable[[Callable[[Facts, Answers], Answer]], Step]:
    return lambda decide: Step(name, tasks, decide, early)


def _yes(why: str) -> Answer:
    return Answer(Changes.YES, why)


def _no(why: str) -> Answer:
    return Answer(Changes.NO, why)


def _depends(why: str, on: str = "") -> Answer:
    return Answer(Changes.DEPENDS, why, on)


def _if(why: str, otherwise: str) -> Answer:
    """Yes, for a reason; no, where there is none."""
    return _yes(why) if why else _no(otherwise)


def _few(names: tuple[str, ...] | list[str]) -> str:
    more = f" and {len(names) - 3} more" if len(names) > 3 else ""
    return ", ".join(names[:3]) + more


# -- before anything that runs is touched --------------------------------------------------------------------


@_step("Docker", "docker: Install engine, client, buildx and compose", "docker: Start dockerd", early=True)
def docker(facts: Facts, _: Answers) -> Answer:
    """Only with --install-docker it may change anything."""
    due = facts.docker_to_come or facts.docker_made
    return _if("it is installed or started (--install-docker)" if due else "", "engine and compose answer")


@_step("Fetch", "source: Fetch", early=True)
def fetch(facts: Facts, _: Answers) -> Answer:
    """What the remote's branch is at, by ls-remote."""
    commit = facts.commit[:12]
    return _if(f"the remote is at {commit}" if facts.source.fetch else "", f"nothing new: {commit} is here")


@_step("Tree of the commit", "source: Lay the tree out", early=True)
def tree(facts: Facts, _: Answers) -> Answer:
    """Laid out anew in any case."""
    source = facts.source
    why = f"{facts.commit[:12]} is laid out in .run/releases"
    if source.changed_controller:
        why += f"; its own controller goes on, for it changes {_few(source.changed_controller)}"
    elif not source.known:
        why += "; if it changes the controller, its own one goes on"
    return _yes(why)


@_step(
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
    return _if("; ".join(filter(None, [back, made])), "all are there")


@_step("Adoption", "project: Remember the adoption", early=True)
def adoption(facts: Facts, _: Answers) -> Answer:
    """Taken over from another checkout, with --adopt."""
    return _if(
        f"taken over: {', '.join(facts.foreign)}" if facts.foreign else "", "the stack is this checkout's"
    )


@_step("Base images", "images: Find the base images", "images: Make the base image", early=True)
def base_images(facts: Facts, _: Answers) -> Answer:
    """Local, then a registry's, then made of Debian's packages (SPEC §5)."""
    words = {
        "absent": "{image} is pulled, or made of Debian's packages where no registry has it",
        "missing": "{image} is made of Debian's packages",
    }
    found = [(role, *facts.base_image(role)) for role in ("python", "postgres")]
    whys = [
        words.get(kind, f"{role} is {{image}} now").format(image=image) for role, kind, image in found if kind
    ]
    return _if("; ".join(whys), "both are here")


@_step("Modes and owners", "permissions: Set modes and owners")
def modes(facts: Facts, _: Answers) -> Answer:
    """Of what the stack reads and writes (SPEC §6); files just made are made with narrow modes."""
    wrong = facts.seen.get("modes", [])
    made = [name for name in facts.to_make if name != ".env"]
    why = f"not as they should be: {_few(wrong)}" if wrong else ""
    return _if(why or ("what is made gets its own" if made else ""), "all as they should be")


@_step("Backup of the configuration", "config_backup: Back up the configuration")
def configuration(_: Facts, __: Answers) -> Answer:
    """A dated copy each time."""
    return _yes("a dated copy in backups/")


@_step("Image", "images: Build the application's image")
def image(facts: Facts, _: Answers) -> Answer:
    """What the build cache still holds is only known to the build."""
    if facts.no_cache:
        return _yes(f"version {facts.version} is built without cache")
    if not facts.seen.get("image"):
        return _yes(f"version {facts.version} was not built here yet")
    if facts.base_image("python")[0]:
        return _yes("the image it stands on changes")
    return _depends(f"version {facts.version} was built here: it stays, unless the build cache lost it")


@_step("Image", "images: Build the application's image")
def image_if_none(facts: Facts, answers: Answers) -> Answer:
    """The app stays the one that ran."""
    return _no(f"version {facts.running} stays") if facts.running else image.decide(facts, answers)


# -- the database --------------------------------------------------------------------------------------------


@_step("Volume", "compose: Make the volume, labelled with its kind and its checkout")
def volume(facts: Facts, _: Answers) -> Answer:
    """Made where there is none."""
    return _no("it is there, and kept") if facts.volume else _yes("there is none yet")


@_step("Database container", "compose: Start the database")
def database(facts: Facts, _: Answers) -> Answer:
    """Made if absent or changed; orphans go in the same step."""
    if facts.database_held:
        return _no("it runs, and this flow leaves it alone")
    why = _not_in_line(facts, DATABASE) or ("its image changes" if facts.base_image("postgres")[0] else "")
    why = "it is taken over" if facts.foreign else why
    orphans = f"orphans of this project go: {', '.join(facts.orphans)}" if facts.orphans else ""
    return _if("; ".join(filter(None, [why, orphans])), "it runs, and nothing of it changed")


@_step("Password", "database: Bring the password in line with .env")
def password(facts: Facts, answers: Answers) -> Answer:
    """The database's container is asked with the password it was made with."""
    made_anew = answers["Database container"].changes is Changes.YES
    if not facts.volume:
        return _no("a new database takes the one in .env")
    if not made_anew:
        return _no("the container keeps its own")
    known = facts.seen.get("password", "unknown")
    if known == "unknown":
        return _depends("the database is asked when it runs")
    return _if("the one in .env is another one" if known == "differs" else "", "it is the one in .env")


@_step("Schema", "database: Migrate the schema")
def schema(facts: Facts, answers: Answers) -> Answer:
    """Looked at where anything of the stack changes; migrated before the app is replaced."""
    if not facts.volume:
        return _yes("an empty database gets its schema")
    around = app.decide(facts, answers)
    if answers["Database container"].changes is not Changes.YES and around.changes is Changes.NO:
        return _no("nothing of the stack changes")
    pending = _pending(facts, facts.seen.get("applied"))
    if pending is None:
        why = (
            "the commit has to be fetched to know"
            if not facts.source.known
            else "the database is asked when it runs"
        )
        return _depends(why)
    if not pending:
        return _no("up to date")
    why = f"migrations: {_few(pending)}"
    if answers["Database container"].changes is Changes.YES or around.changes is Changes.YES:
        return _yes(why)
    return _depends(f"{why}, if the app is replaced", around.on)


@_step("Schema", "database: Migrate the schema")
def fresh_schema(_: Facts, __: Answers) -> Answer:
    """After the old database is gone."""
    return _yes("an empty database gets its schema")


@_step("Schema", "database: Migrate the schema")
def restored_schema(facts: Facts, _: Answers) -> Answer:
    """A dump may be older than the database in use."""
    lacks = _pending(facts, facts.archive.get("migrations"))
    if lacks is None:
        return _depends(f"the migrations of version {facts.running} are not known here")
    return _if(f"the dump lacks {_few(lacks)}" if lacks else "", "the dump has all of it")


@_step("App stopped", "database: Stop the app")
def app_stopped(facts: Facts, _: Answers) -> Answer:
    """So that nothing is written any more."""
    return _if(
        "nothing may be written any more" if APP in facts.containers else "", "there is no app container"
    )


@_step("Copy of the database", "database: Dump the database", "database: Copy the volume")
def copy(facts: Facts, _: Answers) -> Answer:
    """A dump, or a cold copy where the server does not run or cannot."""
    if facts.no_dump:
        return _no("--no-dump: the data cannot be brought back")
    if not facts.volume:
        return _no("there is no database yet")
    runs = facts.containers.get(DATABASE, {}).get("state") == "running"
    return _yes(
        "a verified dump in backups/db"
        if runs
        else "it does not run: a cold copy of its volume in backups/db"
    )


@_step("Destruction", "database: Remove the database's container and its volume")
def destruction(facts: Facts, _: Answers) -> Answer:
    """By exact names."""
    there = facts.volume or DATABASE in facts.containers
    return _if(
        "the database's container and its volume, with every row" if there else "", "there is no database"
    )


@_step("Older database images", "database: Remove names of older database images")
def older_database_images(facts: Facts, _: Answers) -> Answer:
    """Names that stand for another image than the one in use."""
    older = [name for name in facts.seen.get("images", {}).get("older_bases", []) if "postgres" in name]
    return _if(f"removed: {_few(older)}" if older else "", "there are none")


@_step("Volume", "compose: Make the volume, labelled with its kind and its checkout")
def fresh_volume(_: Facts, __: Answers) -> Answer:
    """After the old one is gone."""
    return _yes("an empty one")


@_step("Database container", "compose: Start the database")
def fresh_database(_: Facts, __: Answers) -> Answer:
    """After the old one is gone."""
    return _yes("a new one, on the empty volume")


@_step("Dump", "database: Dump the database")
def dump(_: Facts, __: Answers) -> Answer:
    """Beside, and read back before it gets its name."""
    return _yes("a verified dump in backups/db; only the last five are kept")


@_step("Dump is read in", "database: Read the dump in beside the database")
def read_in(_: Facts, __: Answers) -> Answer:
    """While the app serves."""
    return _yes("beside the database, while the app serves")


@_step("What was not final is held", "database: Carry over what limits count, and hold what was not final")
def hold(_: Facts, __: Answers) -> Answer:
    """So that nothing old is sent."""
    return _yes("it expires; attempts of the last hour are carried over")


@_step("Delivery paused", "database: Pause delivery")
def pause(facts: Facts, _: Answers) -> Answer:
    """Until somebody resumes it."""
    return _if("until somebody resumes it" if facts.pauses else "", "it is paused already")


@_step("Databases change names", "database: Put it in the place of the database")
def exchange(_: Facts, __: Answers) -> Answer:
    """In one transaction."""
    return _yes("the one in use is kept aside as trading_signals_<time>")


# -- the app, and what follows it ----------------------------------------------------------------------------


@_step("App container", "compose: Replace the app")
def app(facts: Facts, answers: Answers) -> Answer:
    """A database that changes leaves it where it is: it reconnects by itself."""
    if facts.foreign:
        return _yes("it is taken over")
    if facts.replace_app:
        return _yes("this flow replaces it in any case")
    if (
        facts.changed.get(APP) == "definition"
        and not facts.privileges_known
        and facts.running == facts.version
    ):
        return _depends("whether this engine gives privileged containers is tried first")
    if why := _not_in_line(facts, APP):
        return _yes(why)
    built = answers.get("Image", _no(""))
    if built.changes is Changes.YES:
        return _yes("its image changes")
    return (
        _no("nothing of it changed")
        if built.changes is Changes.NO
        else _depends("only if its image changes", "Image")
    )


@_step("App container", "compose: Replace the app")
def app_again(_: Facts, __: Answers) -> Answer:
    """In flows that stop it."""
    return _yes("it starts again, on the new database")


@_step("Containers", "compose: Take the stack down")
def containers(facts: Facts, _: Answers) -> Answer:
    """The volume is not theirs."""
    names = ", ".join(one["name"] for one in facts.containers.values())
    return _if(f"removed: {names}" if names else "", "there are none")


@_step("Other images", "images: Remove the project's other images")
def other_images(facts: Facts, _: Answers) -> Answer:
    """All of this project but those in use from now on."""
    found = facts.seen.get("images", {})
    older = [name for name in found.get("older_bases", []) if "postgres" not in name]
    names = (
        [f"version {tag}" for tag in found.get("app", []) if tag != "latest"]
        + older
        + found.get("nameless", [])
    )
    return _if(f"removed: {_few(names)}" if names else "", "there are none")


@_step("Temporary files", "project: Remove temporary files")
def temporary(facts: Facts, _: Answers) -> Answer:
    """What is in data/, and copies that were never finished."""
    found = facts.seen.get("rubbish", [])
    return _if(f"removed: {_few(found)}" if found else "", "there are none")


@_step("Rehearsal")
def rehearsal(facts: Facts, _: Answers) -> Answer:
    """Beside the one that serves, and gone again."""
    return _no(f"version {facts.version} must get healthy beside the one that serves, before the swap")


@_step("Gate")
def gate(facts: Facts, _: Answers) -> Answer:
    """Waits, and changes nothing."""
    return _no(f"/health has to answer as version {facts.version} three times in a row")


@_step("Checkout", "source: Move the checkout")
def checkout(facts: Facts, _: Answers) -> Answer:
    """Follows what serves."""
    commit = facts.commit
    if facts.source.own_commits and not facts.source.known:
        own = _few(facts.source.own_commits)
        return _depends(f"it moves to {commit[:12]} if that holds {own}; if not, the update is refused")
    return _if(f"moves to {commit[:12]}" if commit != facts.head else "", f"is at {commit[:12]} already")


@_step("Record", "versions: Note the version")
def record(facts: Facts, answers: Answers) -> Answer:
    """In .run/versions.json; images of versions beyond the last few go."""
    found = facts.seen.get("record", {})
    removed = found.get("removes", [])
    more = f"; its image goes: {', '.join(removed)}" if removed else ""
    built = answers.get("Image", _no(""))
    if not found.get("settled") or built.changes is Changes.YES:
        return _yes(f"version {facts.version} is noted{more}")
    if built.changes is Changes.NO:
        return _no("it says so already")
    return _depends(f"only if its image changes{more}", "Image")


def _pending(facts: Facts, had: list[str] | None) -> list[str] | None:
    """The migrations of the version to come that a database lacks; None where one of both is not known."""
    known = facts.seen.get("migrations")
    return None if known is None or had is None else sorted(set(known) - set(had))


_REASONS = {
    "absent": "there is none",
    "definition": "its definition or a setting in .env changed",
    "image": "its image changed",
    "stopped": "it does not run",
}


def _not_in_line(facts: Facts, service: str) -> str:
    """Why compose replaces or starts a container; an unhealthy one it leaves as it is."""
    reason = facts.changed.get(service, "")
    if service == APP and reason == "definition" and facts.running not in {"", facts.version}:
        return f"version {facts.version} takes the place of {facts.running}"
    return _REASONS.get(reason, "")
