"""Keep the current configuration up to date: edited files, people's changes, changes by another process.

The files are the operator's: an edited file replaces what was current. The last good revision is a row in the
database, so that all processes of a stack agree and a wrong file changes nothing.
"""

import asyncio
import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field, replace
from typing import Any

import asyncpg
import structlog
from msgspec import structs

from app.audit import repository as audit_log
from app.audit.repository import Actor
from app.config import files, repository
from app.config.destination_url import fault_of
from app.config.files import Content, Dates, NotWrittenError
from app.config.masking import differences
from app.config.model import DECIDED, FILES, PAUSES, SWITCHED_AT, SYSTEM_FILE, Config, Document, merge
from app.config.repository import Revision
from app.db.errors import TRANSIENT_DB_ERRORS
from app.db.pool import Connection, Pool, connect
from app.errors import ConfigFileError, ConflictError, RefusedError, describe
from app.runtime.wakeups import Wakeups
from app.settings import Settings

log = structlog.get_logger(__name__)

_POLL_SECONDS = 1.0
_ABSENT_AFTER_SECONDS = 2.5  # many editors replace a file by removing it first
_FIRST_POLL_SECONDS = 5.0
_WRITE_AGAIN_SECONDS = 30.0
# An editor changes a file's mode or name at once after it wrote it; `cp -p` and `tar` keep an older date.
_PUT_BACK_NANOSECONDS = 2_000_000_000

Edit = Callable[[Config], Mapping[str, Document]]
"""Returns the documents that a change replaces; may raise any RefusedError."""

Apply = Callable[[Config, Mapping[str, ConfigFileError]], None]
"""Makes a configuration the current one of this process."""


class BrokenFileError(ConflictError):
    """A change would overwrite a file that has an error in it, made by hand."""


@dataclass(frozen=True, slots=True)
class Opening:
    """The configuration that a process starts with, and what is wrong with files that it cannot use."""

    config: Config
    problems: Mapping[str, ConfigFileError]


@dataclass(frozen=True, slots=True)
class _State:
    """What this process knows. `seen`: each file's content when it was last applied or refused.

    `turn` counts how often this process has locked the configuration: the state of a later turn is newer.
    """

    config: Config
    problems: Mapping[str, ConfigFileError] = field(default_factory=dict)
    seen: Mapping[str, Content] = field(default_factory=dict)
    revision: int | None = None
    turn: int = 0


async def opening(settings: Settings) -> Opening:
    """Read the files; the last good revision replaces a wrong one.

    Raises:
        ConfigFileError: a file is wrong, and the last good revision cannot be read.
    """
    try:
        return Opening(files.load(settings.config_dir, settings), {})
    except ConfigFileError:
        documents = await _last_good(settings.database_url)
        if documents is None:
            raise
        dates = files.dates(settings.config_dir, SYSTEM_FILE)
        contents = files.read(settings.config_dir)
        state = _with_files(_State(merge(documents, settings)), contents, settings, dates)
        return Opening(state.config, state.problems)


class ConfigStore:
    """Changes the current configuration; nothing else does.

    Calls `apply` with the current configuration and the problems of its files after each look at them.
    """

    def __init__(
        self, pool: Pool, settings: Settings, wakeups: Wakeups, start: Opening, *, apply: Apply
    ) -> None:
        self._pool, self._settings, self._wakeups = pool, settings, wakeups
        self._apply_to_process = apply
        self._state = _State(start.config)
        self._absent_since: dict[str, float] = {}
        self._write_again_at = 0.0
        self._turns = 0

    async def first_look(self) -> None:
        """Take over the current revision before any work begins.

        Fails open: without a database the files alone are the configuration.
        """
        try:
            async with asyncio.timeout(_FIRST_POLL_SECONDS):
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
            await asyncio.sleep(_POLL_SECONDS)

    async def look(self) -> None:
        """Take over changed files, and changes that another process made."""
        pool, known = self._pool, self._state
        number = await repository.current_number(pool)
        is_known = number is not None and number == known.revision and await self._contents() == known.seen
        if is_known and not self._has_switch_to_write():
            return
        async with pool.acquire(timeout=5) as connection, connection.transaction():
            state = await self._catch_up(connection)
        self._apply(state)

    def _has_switch_to_write(self) -> bool:
        """Return whether the system file is to be written again because it could not be written."""
        state = self._state
        is_waiting = SYSTEM_FILE not in state.problems and bool(_decided(state.config))
        return is_waiting and time.monotonic() >= self._write_again_at

    async def change(
        self,
        actor: Actor,
        action: str,
        edit: Edit,
        *,
        target: str = "",
        decides: Mapping[str, bool] | None = None,
    ) -> Config:
        """Make a person's change: files, revision and actions log. It is current when this returns.

        What changes nothing is neither written nor recorded. A refusal is recorded in the actions log.

        `decides`: the switches of the system file that are set, by name. They are set although the file is
        wrong or cannot be written: the revision keeps them, and they are written into the file later.
        `unwritten_switches` names them.

        Raises:
            ConfigFileError: the new values are wrong.
            BrokenFileError: the file to write has an error that a person must correct first.
            NotWrittenError: the file cannot be written, and the change is not one of switches.
            RefusedError: `edit` refuses the change.
            TRANSIENT_DB_ERRORS: the database is unavailable.
        """
        refusal: RefusedError | None = None
        async with self._pool.acquire(timeout=5) as connection, connection.transaction():
            state = await self._catch_up(connection)
            try:
                async with (
                    audit_log.attempt(connection, actor, action, target=target),
                    connection.transaction(),  # a savepoint: a refusal does not undo what was taken over
                ):
                    changed, names = self._edited(state, edit, decides)
                    before, after = state.config.documents, changed.config.documents
                    if after != before:
                        old, new = differences(before, {name: after[name] for name in FILES if name in after})
                        await audit_log.record(
                            connection, actor, action, target=target, before=old, after=new
                        )
                        # Files first: after a crash in between, the file counts as edited.
                        changed = await self._write_change(_dated(state, changed), names, decides)
                        state = await self._store(connection, changed)
            except RefusedError as error:
                refusal = error
        self._apply(state)
        if refusal is not None:
            raise refusal
        log.info("configuration changed", action=action, session=actor.session, revision=state.revision)
        return state.config

    async def _write_change(
        self, state: _State, names: list[str], decides: Mapping[str, bool] | None
    ) -> _State:
        """Write the changed files. Switches that cannot be written stay in the revision.

        Fails closed: exits wait from a pause on, whatever the disk does.
        Fails open: exits leave from a resume on.
        """
        try:
            return await self._write(state, names)
        except NotWrittenError as error:
            if decides is None:
                raise
            log.warning("a switch differs in its file", error=str(error))
            self._write_again_at = time.monotonic() + _WRITE_AGAIN_SECONDS
            return _deciding(state, {**_decided(state.config), **decides})

    def _edited(
        self, state: _State, edit: Edit, decides: Mapping[str, bool] | None
    ) -> tuple[_State, list[str]]:
        """Apply the edit; return the state after it, and the names of the files to write."""
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
        """Lock the configuration and return its current state, edited files included."""
        await repository.lock(connection)
        self._turns += 1
        turn = self._turns
        revision = await repository.current(connection)
        state = self._state if revision is None else self._taken_over(revision)
        state = replace(state, turn=turn)
        dates = await asyncio.to_thread(files.dates, self._settings.config_dir, SYSTEM_FILE)
        edited = _with_files(state, await self._contents(), self._settings, dates)
        if revision is not None:
            edited = _dated(state, edited)
        if SYSTEM_FILE not in edited.problems:
            edited = await self._with_decisions_written(edited)
        if revision is None:
            return await self._store(connection, edited)
        if edited.config.documents == state.config.documents:
            return edited
        await _record_edits(connection, state.config.documents, edited.config.documents)
        return await self._store(connection, edited)

    async def _with_decisions_written(self, state: _State) -> _State:
        """Write what people switched into the system file, which was wrong, absent or older than that."""
        if _is_outdated(state):
            try:
                state = await self._write(state, [SYSTEM_FILE])
            except NotWrittenError as error:
                log.warning("a switch differs in its file", error=str(error))
                self._write_again_at = time.monotonic() + _WRITE_AGAIN_SECONDS
                return _deciding(state, _differing(state))
            log.warning("the file was older than a person's decision, and says it", file=SYSTEM_FILE)
        return _deciding(state, {})

    def _taken_over(self, revision: Revision) -> _State:
        """Return the state with a revision that another process may have stored."""
        if revision.number == self._state.revision:
            return self._state
        try:
            config = merge(revision.documents, self._settings)
        except ConfigFileError as error:  # written by a newer version, which allows more than this one
            log.warning("this version cannot use the configuration in force", error=str(error))
            config = self._state.config
        return replace(self._state, config=config, revision=revision.number)

    async def _write(self, state: _State, names: list[str]) -> _State:
        folder, seen = self._settings.config_dir, dict(state.seen)
        for name in names:
            document = state.config.documents[name]
            seen[name] = await asyncio.to_thread(files.write, folder, name, document)
        return replace(state, seen=seen)

    async def _store(self, connection: Connection, state: _State) -> _State:
        number = (await repository.current_number(connection) or 0) + 1
        await repository.store(connection, revision=number, documents=state.config.documents)
        return replace(state, revision=number)

    def _apply(self, state: _State) -> None:
        """Make the state current.

        Fails closed: a state that was read before a later change is dropped. So no late answer ends a pause.
        """
        if state.turn < self._state.turn:
            return
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
        """Read the files. One that is absent for less than 2.5 s counts as unchanged."""
        contents = await asyncio.to_thread(files.read, self._settings.config_dir)
        now = time.monotonic()
        for name, content in contents.items():
            if content is not None:
                self._absent_since.pop(name, None)
            elif now - self._absent_since.setdefault(name, now) < _ABSENT_AFTER_SECONDS:
                contents[name] = self._state.seen.get(name)
        return contents


def unwritten_switches(config: Config) -> frozenset[str]:
    """Return the keys of the switches that the system file does not say yet."""
    return frozenset(_decided(config))


def _with_files(
    state: _State, contents: Mapping[str, Content], settings: Settings, dates: Dates | None
) -> _State:
    """Return the state with the contents of changed files; the last good content of a wrong one stays.

    `dates` are those of the system file.
    """
    config, problems = state.config, dict(state.problems)
    for name, content in contents.items():
        if name in state.seen and state.seen[name] == content:
            continue
        problems.pop(name, None)
        try:
            document, decided = files.parse(name, content), _decided(config)
            if name == SYSTEM_FILE:
                decided = _still_decided(document, state)
                document = {
                    **document,
                    **_pauses_left_out(document, config),
                    **_switched_since(document, config, dates),
                    **decided,
                }
            before = _deciding(replace(state, config=config), decided).config
            config = files.adopt(name, document, before, settings, content)
        except ConfigFileError as error:
            problems[name] = error
    return replace(state, config=config, problems=problems, seen=dict(contents))


def _refuse(broken: list[ConfigFileError]) -> None:
    for problem in broken:
        raise BrokenFileError(f"{problem}; mend the file by hand first, it is not overwritten")


def _pauses_left_out(document: Document, config: Config) -> dict[str, bool]:
    """Return the current pauses that the document does not mention.

    Fails closed: only a person's `false` resumes. A file that is lost or replaced does not.
    """
    before = config.documents.get(SYSTEM_FILE, {})
    return {key: True for key in PAUSES if before.get(key) is True and document.get(key) is None}


def _still_decided(document: Document, state: _State) -> Mapping[str, bool]:
    """Return the decided switches that the changed system file does not overrule.

    A file that was right and is edited is newer than the switch that could not be written into it.
    """
    decided = _decided(state.config)
    if SYSTEM_FILE in state.problems or SYSTEM_FILE not in state.seen:
        return decided
    return {key: value for key, value in decided.items() if document.get(key) is None}


def _switched_since(document: Document, config: Config, dates: Dates | None) -> dict[str, bool]:
    """Return the current pauses that differ in the document, which is older than the switch: a copy put back.

    A file written in place counts, also after the clock was put back.

    Fails closed: exits wait until a person ends the pause, whatever copy is put back.
    Fails open: a copy from before a resume stops no exit.
    """
    if dates is None or dates.placed - dates.written < _PUT_BACK_NANOSECONDS:
        return {}
    current, at = config.documents.get(SYSTEM_FILE, {}), _switched_at(config)
    return {
        key: current.get(key) is True
        for key in PAUSES
        if dates.written < at.get(key, 0) and document.get(key) is (current.get(key) is not True)
    }


def _switched_at(config: Config) -> Mapping[str, int]:
    """Return when each pause was last switched, by its key; what has another version's shape is omitted."""
    match config.documents.get(SWITCHED_AT):
        case dict(found):
            return {key: at for key, at in found.items() if isinstance(at, int)}
    return {}


def _dated(before: _State, state: _State) -> _State:
    """Return the state with the time of the pauses that were switched since `before`.

    A pause without a time gets one: an older version or the restoring of a database stored it.
    """
    old, new = (each.config.documents.get(SYSTEM_FILE, {}) for each in (before, state))
    dated = _switched_at(state.config)
    switched = {key for key in PAUSES if (old.get(key) is True) != (new.get(key) is True)}
    switched |= {key for key in PAUSES if new.get(key) is True and key not in dated}
    if not switched:
        return state
    times = {**dated, **dict.fromkeys(sorted(switched), time.time_ns())}
    documents = {**state.config.documents, SWITCHED_AT: times}
    return replace(state, config=structs.replace(state.config, documents=documents))


def _decided(config: Config) -> Mapping[str, bool]:
    """Return the switches that override the file: it has not been readable since they were set."""
    return config.documents.get(DECIDED, {})


def _deciding(state: _State, decided: Mapping[str, bool]) -> _State:
    """Return the state with these switches overriding the system file, and no others."""
    if decided == _decided(state.config):
        return state
    documents = {name: document for name, document in state.config.documents.items() if name != DECIDED}
    if decided:
        documents[DECIDED] = decided
    return replace(state, config=structs.replace(state.config, documents=documents))


def _is_outdated(state: _State) -> bool:
    """Return whether the (readable) system file differs from the pauses and decisions that are current."""
    return bool(_differing(state))


def _differing(state: _State) -> dict[str, bool]:
    """Return the current pauses and decisions that the (readable) system file does not say."""
    written = files.parse(SYSTEM_FILE, state.seen[SYSTEM_FILE])
    current = {key: state.config.documents.get(SYSTEM_FILE, {}).get(key) is True for key in PAUSES}
    current |= _decided(state.config)
    return {key: value for key, value in current.items() if (written.get(key) or False) != value}


async def _record_edits(
    connection: Connection, before: Mapping[str, Document], after: Mapping[str, Document]
) -> None:
    for name in FILES:
        old, new = differences({name: before.get(name, {})}, {name: after.get(name, {})})
        if old or new:
            actor = Actor("file", f"config/{name}")
            await audit_log.record(connection, actor, "config.edit", target=name, before=old, after=new)


async def _last_good(database_url: str) -> dict[str, Any] | None:
    """Return the documents of the current revision; None if there is none, or the database is unavailable."""
    try:
        connection = await connect(database_url, role="configuration", command_seconds=5)
        try:
            revision = await repository.current(connection)
        finally:
            await connection.close(timeout=5)
    except (*TRANSIENT_DB_ERRORS, asyncpg.PostgresError) as error:
        log.warning("the last good configuration cannot be asked for", error=describe(error))
        return None
    return revision.documents if revision else None
