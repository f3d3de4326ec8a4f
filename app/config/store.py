"""Keep the current configuration up to date: edited files, people's changes, changes by another process.

The files are the operator's: an edited file replaces what was current. The last good revision is a row in the
database, so that all processes of a stack agree and a wrong file changes nothing.
"""

import asyncio
import time
from collections.abc import Awaitable, Callable, Mapping
from dataclasses import dataclass, replace
from typing import Any

import asyncpg
import structlog

from app.audit import repository as audit_log
from app.audit.repository import Actor
from app.config import files, repository
from app.config.access import FIRST_OPERATOR, AccessToken, is_entry_of
from app.config.checking import Document
from app.config.destination_url import fault_of
from app.config.files import Content, NotWrittenError
from app.config.masking import MASK, differences
from app.config.model import FILES, SYSTEM_FILE, Config, merge
from app.config.repository import Revision
from app.config.state import (
    State,
    removed_tokens,
    switches_to_write,
    unwritten_switches,
    with_destinations_kept,
    with_files,
    with_switch_times,
    with_unwritten_switches,
)
from app.db.errors import TRANSIENT_DB_ERRORS
from app.db.pool import Connection, Pool, connect
from app.errors import ConfigFileError, ConflictError, NoSuchError, RefusedError, describe
from app.runtime.wakeups import Wakeups
from app.settings import Settings
from app.signals.reasons import Reason
from app.signals.refusals import RefusalCode

log = structlog.get_logger(__name__)

_POLL_SECONDS = 1.0
_ABSENT_AFTER_SECONDS = 2.5  # many editors replace a file by removing it first
_FIRST_POLL_SECONDS = 5.0
_WRITE_AGAIN_SECONDS = 30.0

Edit = Callable[[Config], Mapping[str, Document]]
"""Returns the documents that a change replaces; may raise any RefusedError."""

Apply = Callable[[Config, Mapping[str, ConfigFileError]], None]
"""Makes a configuration the current one of this process."""

Lock = Callable[[Connection], Awaitable[None]]
"""Waits until no other transaction makes orders; none does until this one ends."""


@dataclass(frozen=True, slots=True)
class Opening:
    """The configuration that a process starts with, and what is wrong with files that it cannot use."""

    config: Config
    problems: Mapping[str, ConfigFileError]


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
        state = with_files(State(merge(documents, settings)), contents, settings, dates)
        return Opening(state.config, state.problems)


class ConfigStore:
    """Changes the current configuration; nothing else does.

    Calls `apply` with the current configuration and the problems of its files after each look at them, and
    `lock_approvals` before it removes a destination or makes it paper.
    """

    def __init__(
        self,
        pool: Pool,
        settings: Settings,
        wakeups: Wakeups,
        start: Opening,
        *,
        apply: Apply,
        lock_approvals: Lock,
    ) -> None:
        self._pool, self._settings, self._wakeups = pool, settings, wakeups
        self._apply_to_process, self._lock_approvals = apply, lock_approvals
        self._state = State(start.config)
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
        for destination in self._state.config.destinations:
            if fault := fault_of(destination.url):
                log.warning(
                    "the destination's URL is not valid; it stays current",
                    destination=destination.name,
                    fault=str(fault),
                )

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
        is_waiting = SYSTEM_FILE not in state.problems and bool(unwritten_switches(state.config))
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
            ConflictError: the file to write has an error that a person must correct first.
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
                    connection.transaction(),  # a savepoint: a refusal does not undo what was applied
                ):
                    changed, names = self._edited(state, edit, decides)
                    if used := await self._ended_in_use(connection, state.config, changed.config):
                        raise ConflictError(used.code, **used.parameters)
                    before, after = state.config.documents, changed.config.documents
                    if after != before:
                        old, new = differences(before, {name: after[name] for name in FILES if name in after})
                        await audit_log.record(
                            connection, actor, action, target=target, before=old, after=new
                        )
                        # Files first: after a crash in between, the file counts as edited.
                        changed = await self._write_change(
                            with_switch_times(state, changed, time.time_ns()), names, decides
                        )
                        state = await self._store(connection, changed)
            except RefusedError as error:
                refusal = error
        self._apply(state)
        if refusal is not None:
            raise refusal
        log.info("configuration changed", action=action, session=actor.session, revision=state.revision)
        return state.config

    async def revoke_token(self, actor: Actor, name: str) -> Config:
        """Remove a named token for good. No file that lists it, now or later, makes it count again.

        Fails closed: it is revoked also while the file is wrong elsewhere, or cannot be written.

        Raises:
            NoSuchError: there is no such token.
            TRANSIENT_DB_ERRORS: the database is unavailable.
        """
        action, refusal = "token.delete", None
        async with self._pool.acquire(timeout=5) as connection, connection.transaction():
            state = await self._catch_up(connection)
            try:
                async with audit_log.attempt(connection, actor, action, target=name):
                    token = token_named(state.config, name)
            except RefusedError as error:
                refusal = error
            else:
                await repository.revoke_tokens(connection, digests=[token.sha256])
                entry = {"name": token.name, "sha256": MASK, "scope": token.scope}
                before = {f"tokens.{token.name}": entry}
                await audit_log.record(connection, actor, action, target=name, before=before, after={})
                state = await self._without_token(connection, state, token)
        self._apply(state)
        if refusal is not None:
            raise refusal
        log.info("a token was removed", session=actor.session, name=name)
        return state.config

    async def _without_token(self, connection: Connection, state: State, token: AccessToken) -> State:
        document = state.config.documents.get(SYSTEM_FILE, {})
        kept = [entry for entry in document.get("tokens") or [] if not is_entry_of(token, entry)]
        try:
            changed, names = self._edited(state, lambda _: {SYSTEM_FILE: {**document, "tokens": kept}}, None)
            changed = await self._write(changed, names)
        except RefusedError as error:
            log.warning("a removed token is still in its file; it is refused all the same", error=str(error))
            return state
        return await self._store(connection, changed)

    async def _write_change(
        self, state: State, names: list[str], decides: Mapping[str, bool] | None
    ) -> State:
        """Write the changed files. Switches that cannot be written stay in the revision.

        Fails closed: exits wait from a pause on, whatever the disk does.
        Fails open: exits leave from a resume on.
        """
        try:
            return await self._write(state, names)
        except NotWrittenError as error:
            if decides is None:
                raise
            log.warning("a pause or resume cannot be written to its file; retrying", error=str(error))
            self._write_again_at = time.monotonic() + _WRITE_AGAIN_SECONDS
            return with_unwritten_switches(state, {**unwritten_switches(state.config), **decides})

    def _edited(
        self, state: State, edit: Edit, decides: Mapping[str, bool] | None
    ) -> tuple[State, list[str]]:
        """Apply the edit; return the state after it, and the names of the files to write."""
        edited = edit(state.config)
        broken = [state.problems[name] for name in edited if name in state.problems]
        if decides is None:
            for problem in broken:
                raise ConflictError(RefusalCode.FILE_WRONG, reason=problem.reason)
        for name, document in edited.items():
            config = files.adopt(name, document, state.config, self._settings)
            state = replace(state, config=config)
        if decides is not None:
            unwritten = {
                key: value for key, value in unwritten_switches(state.config).items() if key not in decides
            }
            state = with_unwritten_switches(state, {**unwritten, **decides} if broken else unwritten)
        return state, [] if broken else list(edited)

    async def _catch_up(self, connection: Connection) -> State:
        """Lock the configuration and return its current state, edited files included."""
        await repository.lock(connection)
        self._turns += 1
        turn = self._turns
        revision = await repository.current(connection)
        state = self._state if revision is None else self._taken_over(revision)
        state = replace(state, turn=turn)
        dates = await asyncio.to_thread(files.dates, self._settings.config_dir, SYSTEM_FILE)
        edited = with_files(state, await self._contents(), self._settings, dates)
        if used := await self._ended_in_use(connection, state.config, edited.config):
            edited = with_destinations_kept(state, edited, used, self._settings)
        if removed := removed_tokens(state, edited):
            await repository.revoke_tokens(connection, digests=removed)
            log.info("tokens were removed from the file", file=SYSTEM_FILE, count=len(removed))
        if revision is not None:
            edited = with_switch_times(state, edited, time.time_ns())
        if SYSTEM_FILE not in edited.problems:
            edited = await self._with_decisions_written(edited)
        if revision is None:
            return await self._store(connection, edited)
        if edited.config.documents == state.config.documents:
            return edited
        await _record_edits(connection, state.config.documents, edited.config.documents)
        return await self._store(connection, edited)

    async def _ended_in_use(self, connection: Connection, before: Config, after: Config) -> Reason | None:
        """Return why a destination cannot be removed or become paper: something is open or unfinished there.

        Fails closed: the exits of its positions would reach no broker. Where nothing is open or unfinished,
        no decision may make an order before the change is committed. Exits of all destinations are decided
        after that, which takes as long as it takes to write the file.
        """
        live = {each.name for each in after.destinations if each.url is not None}
        kept = {each.name for each in after.destinations}
        ended = {
            each.name for each in before.destinations if each.name not in (kept if each.url is None else live)
        }
        if not ended:
            return None
        used = await repository.destinations_in_use(connection, names=ended)
        if not used:
            await self._lock_approvals(connection)
            used = await repository.destinations_in_use(connection, names=ended)
        return used[0].refusal if used else None

    async def _with_decisions_written(self, state: State) -> State:
        """Write what people switched into the system file, which was wrong, absent or older than that."""
        if late := switches_to_write(state):
            try:
                state = await self._write(state, [SYSTEM_FILE])
            except NotWrittenError as error:
                log.warning("a pause or resume cannot be written to its file; retrying", error=str(error))
                self._write_again_at = time.monotonic() + _WRITE_AGAIN_SECONDS
                return with_unwritten_switches(state, late)
            log.warning("pauses that a person set were written to the file", file=SYSTEM_FILE)
        return with_unwritten_switches(state, {})

    def _taken_over(self, revision: Revision) -> State:
        """Return the state with a revision that another process may have stored."""
        if revision.number == self._state.revision:
            return self._state
        try:
            config = merge(revision.documents, self._settings)
        except ConfigFileError as error:  # written by a newer version, which allows more than this one
            log.warning("this version cannot use the current configuration", error=str(error))
            config = self._state.config
        return replace(self._state, config=config, revision=revision.number)

    async def _write(self, state: State, names: list[str]) -> State:
        folder, seen = self._settings.config_dir, dict(state.seen)
        for name in names:
            document = state.config.documents[name]
            seen[name] = await asyncio.to_thread(files.write, folder, name, document)
        return replace(state, seen=seen)

    async def _store(self, connection: Connection, state: State) -> State:
        number = (await repository.current_number(connection) or 0) + 1
        await repository.store(connection, revision=number, documents=state.config.documents)
        return replace(state, revision=number)

    def _apply(self, state: State) -> None:
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
                    "configuration file is not valid; the last valid one stays current", error=str(problem)
                )
        if before.config != state.config or before.problems != state.problems:
            self._wakeups.notify("received", "approved", "changed", "configured")

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


def token_named(config: Config, name: str) -> AccessToken:
    """Return the current token of this name.

    Raises:
        NoSuchError: there is none.
    """
    for token in config.tokens:
        if token.name == name:
            return token
    known = ", ".join([FIRST_OPERATOR, *(token.name for token in config.tokens)])
    raise NoSuchError(RefusalCode.NO_TOKEN, name=repr(name), names=known)


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
        log.warning("the last good configuration cannot be read", error=describe(error))
        return None
    return revision.documents if revision else None
