"""Keep the configuration in force: edited files, people's changes, those of another process.

The files are the operator's and win over everything when they change; the last good revision is a row in the
database, so that the processes of one stack agree and a broken file harms nobody.
"""

import asyncio
import json
import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field, replace
from typing import Any

import asyncpg
import structlog
from msgspec import structs

from app.audit import repository as audit_log
from app.audit.repository import Actor
from app.config import files
from app.config.destination_url import fault_of
from app.config.files import Content, NotWrittenError
from app.config.masking import differences
from app.config.model import DECIDED, FILES, PAUSES, SYSTEM_FILE, Config, Document, merge
from app.db.errors import TRANSIENT_DB_ERRORS
from app.db.pool import Connection, Pool, connect
from app.db.queries import load
from app.errors import ConfigFileError, ConflictError, RefusedError, describe
from app.runtime.wakeups import Wakeups
from app.settings import Settings

log = structlog.get_logger(__name__)

_SQL = load("app.config")
_LOOK_EVERY_SECONDS = 1.0
_GONE_AFTER_SECONDS = 2.5  # many editors replace a file by removing it first
_FIRST_LOOK_SECONDS = 5.0

Edit = Callable[[Config], Mapping[str, Document]]
"""Returns the documents that a change replaces; may raise any RefusedError."""

Apply = Callable[[Config, Mapping[str, ConfigFileError]], None]
"""Puts a configuration in force for the process."""


class BrokenFileError(ConflictError):
    """A change would overwrite a file that somebody has left with an error in it."""


@dataclass(frozen=True, slots=True)
class Opening:
    """What a process starts with: the configuration, and what is wrong with files that it could not use."""

    config: Config
    problems: Mapping[str, ConfigFileError]


@dataclass(frozen=True, slots=True)
class _State:
    """What this process knows. `seen` is each file's content when it was last dealt with."""

    config: Config
    problems: Mapping[str, ConfigFileError] = field(default_factory=dict)
    seen: Mapping[str, Content] = field(default_factory=dict)
    revision: int | None = None


async def opening(settings: Settings) -> Opening:
    """Read the files; where one is broken the last good revision stands in for it.

    Raises:
        ConfigFileError: a file is broken, and no last good revision can be had.
    """
    try:
        return Opening(files.load(settings.config_dir, settings), {})
    except ConfigFileError:
        documents = await _last_good(settings.database_url)
        if documents is None:
            raise
        state = _State(merge(documents, settings))
        state = _with_files(state, files.read(settings.config_dir), settings)
        return Opening(state.config, state.problems)


class ConfigStore:
    """Puts configurations in force, and is the only one that does.

    `apply` is given the configuration in force and the problems of its files whenever they were looked at.
    """

    def __init__(
        self, pool: Pool, settings: Settings, wakeups: Wakeups, start: Opening, *, apply: Apply
    ) -> None:
        self._pool, self._settings, self._wakeups = pool, settings, wakeups
        self._apply_to_process = apply
        self._state = _State(start.config)
        self._absent_since: dict[str, float] = {}

    async def first_look(self) -> None:
        """Agree with the other processes before any work begins; without a database the files have to do."""
        try:
            async with asyncio.timeout(_FIRST_LOOK_SECONDS):
                await self.look()
        except (*TRANSIENT_DB_ERRORS, asyncpg.PostgresError) as error:
            log.warning("configuration from the files alone", error=describe(error))
        if fault := fault_of(self._state.config.webhook.url):
            log.warning("the destination's URL is not valid; it stays in force", fault=fault)

    async def run(self, beat: Callable[[], None]) -> None:
        """Look once a second."""
        while True:
            beat()
            await self.look()
            await asyncio.sleep(_LOOK_EVERY_SECONDS)

    async def look(self) -> None:
        """Take over what changed in the files, or in the database by another process."""
        pool, known = self._pool, self._state
        revision = await pool.fetchval(_SQL["revision"])
        if revision is not None and revision == known.revision and await self._contents() == known.seen:
            return
        async with pool.acquire(timeout=5) as connection, connection.transaction():
            state = await self._catch_up(connection)
        self._apply(state)

    async def change(
        self,
        actor: Actor,
        action: str,
        edit: Edit,
        *,
        target: str = "",
        decides: Mapping[str, bool] | None = None,
    ) -> Config:
        """Make a person's change: files, revision and actions log; in force when this returns.

        What changes nothing is not written and not logged; a refusal is in the log.

        `decides`: the switches of the system file that are set, by name. Such a change does not wait for a
        person to correct the file: it is kept until the file is readable, and then written into it.

        Raises:
            ConfigFileError: the new values are wrong.
            BrokenFileError: the file to write has an error that a person has to mend first.
            NotWrittenError: the file cannot be written.
            RefusedError: whatever else `edit` refuses.
            TRANSIENT_DB_ERRORS: the database cannot be written.
        """
        refusal: RefusedError | None = None
        async with self._pool.acquire(timeout=5) as connection, connection.transaction():
            state = await self._catch_up(connection)
            try:
                async with (
                    audit_log.attempt(connection, actor, action, target=target),
                    connection.transaction(),  # what was caught up with stays, whatever is refused
                ):
                    changed, names = self._edited(state, edit, decides)
                    before, after = state.config.documents, changed.config.documents
                    if after != before:
                        old, new = differences(before, {name: after[name] for name in FILES if name in after})
                        await audit_log.record(
                            connection, actor, action, target=target, before=old, after=new
                        )
                        # files first: after a crash in between, the file counts as edited
                        changed = await self._write(changed, names)
                        state = await self._store(connection, changed)
            except RefusedError as error:
                refusal = error
        self._apply(state)
        if refusal is not None:
            raise refusal
        log.info("configuration changed", action=action, session=actor.session, revision=state.revision)
        return state.config

    def _edited(
        self, state: _State, edit: Edit, decides: Mapping[str, bool] | None
    ) -> tuple[_State, list[str]]:
        """Make the edit; return what is in force after it, and which files have to be written for it."""
        edited = edit(state.config)
        broken = [state.problems[name] for name in edited if name in state.problems]
        if decides is None:
            _refuse(broken)
        for name, document in edited.items():
            config = files.adopt(name, document, state.config, self._settings)
            state = replace(state, config=config)
        if decides is not None:
            unwritten = {key: value for key, value in _decided(state.config).items() if key not in decides}
            state = _deciding(state, {**unwritten, **decides} if broken else unwritten)
        return state, [] if broken else list(edited)

    async def _catch_up(self, connection: Connection) -> _State:
        """Lock the configuration and return it as it is now, edited files included."""
        await connection.execute(_SQL["lock"])
        row = await connection.fetchrow(_SQL["current"])
        state = self._state if row is None else self._agreed(row["revision"], _documents_of(row))
        edited = _with_files(state, await self._contents(), self._settings)
        if SYSTEM_FILE not in edited.problems:
            edited = await self._with_decisions_written(edited)
        if row is None:
            return await self._store(connection, edited)
        if edited.config.documents == state.config.documents:
            return edited
        await _record_edits(connection, state.config.documents, edited.config.documents)
        return await self._store(connection, edited)

    async def _with_decisions_written(self, state: _State) -> _State:
        """Make the file say what people switched while it was wrong, absent or replaced by an older one."""
        if _is_outdated(state):
            try:
                state = await self._write(state, [SYSTEM_FILE])
            except NotWrittenError as error:  # the decision holds all the same: it is in the revision
                log.warning("a switch differs in its file", error=str(error))
                return state
            log.warning("the file was older than a person's decision, and says it", file=SYSTEM_FILE)
        return _deciding(state, {})

    def _agreed(self, revision: int, documents: dict[str, Any]) -> _State:
        """Take the revision that another process has put in force."""
        if revision == self._state.revision:
            return self._state
        try:
            config = merge(documents, self._settings)
        except ConfigFileError as error:  # written by a version that knows more than this one
            log.warning("this version cannot use the configuration in force", error=str(error))
            config = self._state.config
        return replace(self._state, config=config, revision=revision)

    async def _write(self, state: _State, names: list[str]) -> _State:
        folder, seen = self._settings.config_dir, dict(state.seen)
        for name in names:
            document = state.config.documents[name]
            seen[name] = await asyncio.to_thread(files.write, folder, name, document)
        return replace(state, seen=seen)

    async def _store(self, connection: Connection, state: _State) -> _State:
        revision = (await connection.fetchval(_SQL["revision"]) or 0) + 1
        await connection.execute(_SQL["store"], revision, _stored(state.config.documents, revision))
        return replace(state, revision=revision)

    def _apply(self, state: _State) -> None:
        before, self._state = self._state, state
        self._apply_to_process(state.config, state.problems)
        for name, problem in state.problems.items():
            if before.problems.get(name) is not problem:
                log.warning(
                    "a configuration file is wrong; the last good one stays in force", error=str(problem)
                )
        if before.config != state.config or before.problems != state.problems:
            for topic in ("received", "approved", "changed"):
                self._wakeups.notify(topic)

    async def _contents(self) -> Mapping[str, Content]:
        """Read the files; one that has just vanished still counts as it was."""
        contents = await asyncio.to_thread(files.read, self._settings.config_dir)
        now = time.monotonic()
        for name, content in contents.items():
            if content is not None:
                self._absent_since.pop(name, None)
            elif now - self._absent_since.setdefault(name, now) < _GONE_AFTER_SECONDS:
                contents[name] = self._state.seen.get(name)
        return contents


def _with_files(state: _State, contents: Mapping[str, Content], settings: Settings) -> _State:
    """Put in force what stands in files that changed; of a wrong one the last good content stays."""
    config, problems = state.config, dict(state.problems)
    for name, content in contents.items():
        if name in state.seen and state.seen[name] == content:
            continue
        problems.pop(name, None)
        try:
            document = files.parse(name, content)
            if name == SYSTEM_FILE:
                document = {**document, **_pauses_left_out(document, config), **_decided(config)}
            config = files.adopt(name, document, config, settings, content)
        except ConfigFileError as error:
            problems[name] = error
    return replace(state, config=config, problems=problems, seen=dict(contents))


def _refuse(broken: list[ConfigFileError]) -> None:
    for problem in broken:
        raise BrokenFileError(f"{problem}; mend the file by hand first, it is not overwritten")


def _pauses_left_out(document: Document, config: Config) -> dict[str, bool]:
    """Pauses hold over everything but a person's `false`: a file that is lost or replaced resumes nothing."""
    before = config.documents.get(SYSTEM_FILE, {})
    return {key: True for key in PAUSES if before.get(key) is True and document.get(key) is None}


def _decided(config: Config) -> Mapping[str, bool]:
    """Return the switches that hold whatever the file says: it has not been readable since they were set."""
    return config.documents.get(DECIDED, {})


def _stored(documents: Mapping[str, Document], revision: int) -> str:
    """Return the text of a revision; what is decided names the revision it belongs to."""
    decided = (
        {DECIDED: {"revision": revision, "switches": documents[DECIDED]}} if DECIDED in documents else {}
    )
    return json.dumps({**documents, **decided})


def _documents_of(row: asyncpg.Record) -> dict[str, Any]:
    """Return a revision's documents, with what is decided only if this very revision decided it.

    A version that does not know the member carries it into later revisions, whatever people switch then.
    Fails open: what such a revision says of the pauses is the newer decision, so that a resume stays one.
    """
    documents: dict[str, Any] = json.loads(row["documents"])
    match documents.pop(DECIDED, None):
        case {"revision": int(revision), "switches": dict(switches)} if revision == row["revision"]:
            documents[DECIDED] = switches
    return documents


def _deciding(state: _State, decided: Mapping[str, bool]) -> _State:
    if decided == _decided(state.config):
        return state
    documents = {name: document for name, document in state.config.documents.items() if name != DECIDED}
    if decided:
        documents[DECIDED] = decided
    return replace(state, config=structs.replace(state.config, documents=documents))


def _is_outdated(state: _State) -> bool:
    """Whether the (readable) system file does not say what holds."""
    written = files.parse(SYSTEM_FILE, state.seen[SYSTEM_FILE])
    return bool(_pauses_left_out(written, state.config)) or any(
        (written.get(key) or False) != value for key, value in _decided(state.config).items()
    )


async def _record_edits(
    connection: Connection, before: Mapping[str, Document], after: Mapping[str, Document]
) -> None:
    for name in FILES:
        old, new = differences({name: before.get(name, {})}, {name: after.get(name, {})})
        if old or new:
            actor = Actor("file", f"config/{name}")
            await audit_log.record(connection, actor, "config.edit", target=name, before=old, after=new)


async def _last_good(database_url: str) -> dict[str, Any] | None:
    """Ask the database; None if it has no revision, or does not answer."""
    try:
        connection = await connect(database_url, role="configuration", command_seconds=5)
        try:
            row = await connection.fetchrow(_SQL["current"])
        finally:
            await connection.close(timeout=5)
    except (*TRANSIENT_DB_ERRORS, asyncpg.PostgresError) as error:
        log.warning("the last good configuration cannot be asked for", error=describe(error))
        return None
    return _documents_of(row) if row else None
