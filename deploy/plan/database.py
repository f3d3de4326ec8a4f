"""The steps that are about the database and its copies."""

from __future__ import annotations

from typing import TYPE_CHECKING

from deploy.plan import application
from deploy.plan.facts import APP, DATABASE
from deploy.plan.step import Answer, Answers, Changes, always, depends, either, few, no, step, yes

if TYPE_CHECKING:
    from deploy.plan.facts import Facts


@step("Volume", "compose: Make the volume, labelled with its kind and its checkout")
def volume(facts: Facts, _: Answers) -> Answer:
    """Made where there is none."""
    return no("it is there, and kept") if facts.volume else yes("there is none yet")


@step("Database container", "compose: Start the database")
def database(facts: Facts, _: Answers) -> Answer:
    """Made if absent or changed; orphans go in the same step."""
    if facts.database_held:
        return no("it runs, and this flow leaves it alone")
    why = facts.not_in_line(DATABASE) or ("its image changes" if facts.base_image("postgres")[0] else "")
    why = "it is taken over" if facts.foreign else why
    orphans = f"orphans of this project go: {', '.join(facts.orphans)}" if facts.orphans else ""
    return either("; ".join(filter(None, [why, orphans])), "it runs, and nothing of it changed")


@step("Password", "database: Bring the password in line with .env")
def password(facts: Facts, answers: Answers) -> Answer:
    """The database's container is asked with the password it was made with."""
    made_anew = answers["Database container"].changes is Changes.YES
    if not facts.volume:
        return no("a new database takes the one in .env")
    if not made_anew:
        return no("the container keeps its own")
    known = facts.seen.get("password", "unknown")
    if known == "unknown":
        return depends("the database is asked when it runs")
    return either("the one in .env is another one" if known == "differs" else "", "it is the one in .env")


@step("Schema", "database: Migrate the schema")
def schema(facts: Facts, answers: Answers) -> Answer:
    """Looked at where anything of the stack changes; migrated before the app is replaced."""
    if not facts.volume:
        return yes("an empty database gets its schema")
    around = application.app.decide(facts, answers)
    if answers["Database container"].changes is not Changes.YES and around.changes is Changes.NO:
        return no("nothing of the stack changes")
    pending = facts.pending(facts.seen.get("applied"))
    if pending is None:
        why = (
            "the commit has to be fetched to know"
            if not facts.source.known
            else "the database is asked when it runs"
        )
        return depends(why)
    if not pending:
        return no("up to date")
    why = f"migrations: {few(pending)}"
    if answers["Database container"].changes is Changes.YES or around.changes is Changes.YES:
        return yes(why)
    return depends(f"{why}, if the app is replaced", around.on)


@step("Schema", "database: Migrate the schema")
def restored_schema(facts: Facts, _: Answers) -> Answer:
    """A dump may be older than the database in use."""
    lacks = facts.pending(facts.archive.get("migrations"))
    if lacks is None:
        return depends(f"the migrations of version {facts.running} are not known here")
    return either(f"the dump lacks {few(lacks)}" if lacks else "", "the dump has all of it")


@step("App stopped", "database: Stop the app")
def app_stopped(facts: Facts, _: Answers) -> Answer:
    """So that nothing is written any more."""
    return either(
        "nothing may be written any more" if APP in facts.containers else "", "there is no app container"
    )


@step("Copy of the database", "database: Dump the database", "database: Copy the volume")
def copy(facts: Facts, _: Answers) -> Answer:
    """A dump, or a cold copy where the server does not run or cannot."""
    if facts.no_dump:
        return no("--no-dump: the data cannot be brought back")
    if not facts.volume:
        return no("there is no database yet")
    runs = facts.containers.get(DATABASE, {}).get("state") == "running"
    return yes(
        "a verified dump in backups/db"
        if runs
        else "it does not run: a cold copy of its volume in backups/db"
    )


@step("Destruction", "database: Remove the database's container and its volume")
def destruction(facts: Facts, _: Answers) -> Answer:
    """By exact names."""
    there = facts.volume or DATABASE in facts.containers
    return either(
        "the database's container and its volume, with every row" if there else "", "there is no database"
    )


@step("Older database images", "database: Remove names of older database images")
def older_database_images(facts: Facts, _: Answers) -> Answer:
    """Names that stand for another image than the one in use."""
    older = [name for name in facts.seen.get("images", {}).get("older_bases", []) if "postgres" in name]
    return either(f"removed: {few(older)}" if older else "", "there are none")


# After the old database is gone.
fresh_volume = always(
    "Volume", "compose: Make the volume, labelled with its kind and its checkout", "an empty one"
)
fresh_database = always("Database container", "compose: Start the database", "a new one, on the empty volume")
fresh_schema = always("Schema", "database: Migrate the schema", "an empty database gets its schema")


@step("Dump", "database: Dump the database")
def dump(facts: Facts, _: Answers) -> Answer:
    """Written under another name, and read back before it gets its own."""
    return yes(f"a verified dump in backups/db; only the newest {facts.dumps_kept} are kept")


read_in = always(
    "Dump is read in",
    "database: Restore the dump into a second database",
    "into a second database, while the app serves",
)
# So that nothing old is sent.
hold = always(
    "What was not final is held",
    "database: Carry over what limits count, and hold what was not final",
    "it expires; attempts of the last hour are carried over",
)


@step("Delivery paused", "database: Pause delivery")
def pause(facts: Facts, _: Answers) -> Answer:
    """Until somebody resumes it."""
    return either("until somebody resumes it" if facts.pauses else "", "it is paused already")


exchange = always(
    "Databases change names",
    "database: Put it in the place of the database",
    "the one in use is kept aside as trading_signals_<time>",
)
