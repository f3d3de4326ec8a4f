"""Import of the replaced system's database: history, positions, strategies, actions. Nothing is sent.

Its database is read in one read-only transaction. Positions come first, so that exits pass from then on.
Every batch is a transaction, and a row always gets the same id: a second import adds what is missing.
"""

import asyncio
import sys
from collections import Counter
from collections.abc import AsyncIterator, Callable
from dataclasses import dataclass, field
from datetime import datetime
from typing import TypeVar

import asyncpg

from app.audit.repository import Actor
from app.config import files
from app.config.checking import Document
from app.config.model import FINVIZ_FILE, Config
from app.config.store import ConfigStore, opening
from app.db.clock import read_time
from app.db.errors import TRANSIENT_DB_ERRORS
from app.db.pool import Connection, Pool, connect, open_pool
from app.errors import ConfigFileError, RefusedError, WrongValueError, describe
from app.orders.repository import lock_approvals_exclusive
from app.runtime.wakeups import Wakeups
from app.settings import Settings
from app.transfer import importing, legacy_repository, legacy_rows, legacy_strategies
from app.transfer.history import Past
from app.transfer.legacy_repository import OldPosition
from app.transfer.legacy_rows import Redaction
from app.transfer.legacy_strategies import Strategies

SESSION = "replaced system"
_ACTOR = Actor(SESSION, "import-legacy")
_BATCH = 200
_LISTED = 20
_TICKERS_IN_LINE = 20
_SETTINGS = {
    "default_transaction_read_only": "on",
    "enable_seqscan": "on",
    "idle_in_transaction_session_timeout": "0",  # our own commits happen between two reads
}
_Read = TypeVar("_Read")


class LegacyImportError(Exception):
    """Nothing more can be imported; the text says why and what to do."""


@dataclass(slots=True)
class Part:
    """One kind of rows. `found` in the replaced system; each is `new`, `present` already, or named as bad."""

    name: str
    found: int = 0
    new: int = 0
    present: int = 0
    counts: Counter[str] = field(default_factory=Counter)
    bad: int = 0
    listed: list[str] = field(default_factory=list)

    def refuse(self, what: str) -> None:
        """Count a row that cannot come, and name it while there is room."""
        self.bad += 1
        if len(self.listed) < _LISTED:
            self.listed.append(what)


@dataclass(slots=True)
class Report:
    """What came, or would come with `is_check`, and what cannot. `adopted` are tickers."""

    is_check: bool
    positions: Part = field(default_factory=lambda: Part("positions"))
    strategies: Part = field(default_factory=lambda: Part("strategies"))
    signals: Part = field(default_factory=lambda: Part("signals"))
    actions: Part = field(default_factory=lambda: Part("actions"))
    adopted: list[str] = field(default_factory=list)
    missing: list[str] = field(default_factory=list)
    remarks: list[str] = field(default_factory=list)

    def lines(self) -> list[str]:
        """Return the report as text."""
        done = "would come" if self.is_check else "came"
        lines = []
        for part in (self.positions, self.strategies, self.signals, self.actions):
            rest = "".join(f", {count} {what}" for what, count in sorted(part.counts.items()))
            lines.append(
                f"{part.name}: {part.found} found, {part.new} {done}, {part.present} present already, "
                f"{part.bad} cannot come{rest}"
            )
            if part is self.positions:
                tickers = sorted(self.adopted)
                lines += [
                    f"  adopted as unconfirmed: {', '.join(tickers[first : first + _TICKERS_IN_LINE])}"
                    for first in range(0, len(tickers), _TICKERS_IN_LINE)
                ]
            lines += [f"  cannot come: {what}" for what in part.listed]
            if part.bad > len(part.listed):
                lines.append(f"  and {part.bad - len(part.listed)} more")
        lines += [f"not found there: the table {name}" for name in self.missing]
        lines += [f"note: {remark}" for remark in self.remarks]
        return lines


async def run(settings: Settings, *, check: bool) -> Report:
    """Import from the database of LEGACY_DATABASE_URL; with `check` only read both.

    Raises:
        LegacyImportError: a database is unavailable or not what is expected, or a file cannot be read.
        ConfigFileError: a configuration file of this system is wrong, and there is no last good revision.
    """
    if not settings.legacy_database_url:
        raise LegacyImportError(
            "LEGACY_DATABASE_URL is not set: it must be the address of the replaced system's database"
        )
    report = Report(check)
    source = await _connect(settings.legacy_database_url, "LEGACY_DATABASE_URL")
    try:
        pool = await open_pool(settings.database_url, 2, role="import")
        try:
            async with source.transaction(isolation="repeatable_read", readonly=True):
                await _Import(settings, source, pool, report).run()
        finally:
            pool.terminate()
    except asyncpg.UndefinedTableError as error:
        raise LegacyImportError(
            "the database of DATABASE_URL lacks tables of this version: run `python -m app migrate` first"
        ) from error
    except (*TRANSIENT_DB_ERRORS, asyncpg.PostgresError) as error:
        raise LegacyImportError(
            f"the import was interrupted ({describe(error)}): run it again, and it adds what is missing"
        ) from error
    finally:
        source.terminate()
    return report


async def _connect(url: str, variable: str) -> "asyncpg.Connection[asyncpg.Record]":
    try:
        return await connect(url, role="import-legacy", seconds=10, command_seconds=None, settings=_SETTINGS)
    except (OSError, TimeoutError, asyncpg.PostgresError, asyncpg.InterfaceError) as error:
        raise LegacyImportError(
            f"the database of {variable} cannot be opened ({describe(error)}): is it up, and are host, port, "
            "user, password and database right?"
        ) from error


class _Import:
    """One import. `source` holds the transaction in which everything is read."""

    def __init__(self, settings: Settings, source: Connection, pool: Pool, report: Report) -> None:
        self._settings, self._source, self._pool, self._report = settings, source, pool, report
        self._tables = frozenset[str]()

    async def run(self) -> None:
        self._tables = await legacy_repository.tables(self._source)
        if "signals" not in self._tables or not await legacy_repository.has_old_signals(self._source):
            raise LegacyImportError(
                "the database of LEGACY_DATABASE_URL is not one of the replaced system: it has no table "
                "signals with a column signal_id"
            )
        known = ("signal_events", "positions", "finviz_urls", "admin_actions")
        self._report.missing = [name for name in known if name not in self._tables]
        now = await read_time(self._pool)
        typed = await legacy_repository.tokens(self._source) if "admin_actions" in self._tables else []
        ours = (self._settings.admin_token, self._settings.webhook_secret)
        redaction = Redaction([*typed, *(token for token in ours if token)])
        if "positions" in self._tables:
            await self._positions(now)
        await self._strategies(redaction)
        await self._signals(redaction, now)
        if "admin_actions" in self._tables:
            await self._actions(redaction, now)

    async def _positions(self, now: datetime) -> None:
        part, days = self._report.positions, self._settings.signal_retention_days

        async def found() -> AsyncIterator[OldPosition]:
            rows = legacy_repository.texts(self._source, "positions")
            async for position in _read(rows, part, lambda text: legacy_rows.position(text, now)):
                yield position
            buys = legacy_repository.texts(self._source, "buys_being_sent")
            async for bought in _read(buys, part, lambda text: legacy_rows.position_of_buy(text, now)):
                if bought is None:
                    part.found -= 1
                else:
                    part.counts["of buys that were being sent"] += 1
                    yield bought

        async for batch in _batches(found()):
            kept = [each for each in batch if not legacy_rows.is_too_old(each, now, days)]
            if len(kept) < len(batch):
                part.counts["closed before the retention"] += len(batch) - len(kept)
            await self._store_positions(kept)

    async def _store_positions(self, positions: list[OldPosition]) -> None:
        """Adopt the open ones, and store the closed ones.

        Fails open: an adopted position is unconfirmed, so exits pass. Where another position in the ticker is
        open, exits pass already. That row is stored as closed, so that no later import adopts it.
        """
        part = self._report.positions
        ids = [each.id for each in positions]
        present = await legacy_repository.present_positions(self._pool, ids=ids)
        part.present += sum(each.id in present for each in positions)
        new = [each for each in positions if each.id not in present]
        still_open = [each for each in new if each.closed_at is None]
        closed = [each for each in new if each.closed_at is not None]
        if self._report.is_check:
            tickers = [each.ticker for each in still_open]
            held = await legacy_repository.open_tickers(self._pool, tickers=tickers)
            adopted = set(tickers) - held - set(self._report.adopted)
            part.new += len({each.id for each in new})
            self._note_adopted(adopted, len(still_open) - len(adopted))
            return
        async with self._pool.acquire(timeout=5) as connection, connection.transaction():
            now = await read_time(connection)
            adopted_ids = await legacy_repository.adopt(connection, still_open, reason=legacy_rows.ADOPTED)
            beside = [
                each._replace(closed_at=now, reason=legacy_rows.NOT_ADOPTED)
                for each in still_open
                if each.id not in adopted_ids
            ]
            stored = await legacy_repository.insert_closed(connection, [*closed, *beside])
        part.new += len(adopted_ids) + len(stored)
        self._note_adopted({each.ticker for each in still_open if each.id in adopted_ids}, len(beside))

    def _note_adopted(self, adopted: set[str], beside: int) -> None:
        counts = self._report.positions.counts
        self._report.adopted += adopted
        counts["adopted as unconfirmed"] += len(adopted)
        if beside:
            counts["closed: another one in the ticker is open"] += beside

    async def _strategies(self, redaction: Redaction) -> None:
        part, remarks = self._report.strategies, self._report.remarks
        found = list[tuple[Document, bool]]()
        if "finviz_urls" in self._tables:
            rows = legacy_repository.texts(self._source, "strategies")
            found = [
                each async for each in _read(rows, part, lambda text: legacy_rows.strategy(text, redaction))
            ]
        if not found:
            found = await self._flat_strategy()
        elif self._settings.legacy_finviz_file:
            remarks.append("finviz_config.json there is not read: the table finviz_urls has the strategies")
        start = await opening(self._settings)
        active = start.config.finviz.active_strategy.name
        if self._report.is_check:
            self._note(legacy_strategies.convert(found, start.config, self._settings), active)
            return
        store = ConfigStore(
            self._pool,
            self._settings,
            Wakeups(),
            start,
            apply=lambda _config, _problems: None,
            lock_approvals=lock_approvals_exclusive,
        )
        await store.first_look()
        added = Strategies()

        def edit(config: Config) -> dict[str, Document]:
            nonlocal added
            added = legacy_strategies.convert(found, config, self._settings)
            return {FINVIZ_FILE: legacy_strategies.with_added(config, added)} if added.added else {}

        try:
            await store.change(_ACTOR, "strategy.import", edit)
        except RefusedError as error:
            remarks.append(f"no strategy came: {error}")
            return
        self._note(added, active)

    async def _flat_strategy(self) -> list[tuple[Document, bool]]:
        """Return the strategy of a flat `finviz_config.json`; an unknown form is named, never replaced."""
        if (path := self._settings.legacy_finviz_file) is None:
            return []
        read = sys.stdin.buffer.read if str(path) == "-" else path.read_bytes
        part = self._report.strategies
        try:
            document = files.parse(FINVIZ_FILE, await asyncio.to_thread(read))
        except OSError as error:
            raise LegacyImportError(f"LEGACY_FINVIZ_FILE cannot be read ({describe(error)})") from error
        except ConfigFileError as error:
            part.found += 1
            part.refuse(f"finviz_config.json there: {error.fault}")
            return []
        listed = [each for each in document.get("strategies") or [] if isinstance(each, dict)]
        active = document.get("active") or (listed[0].get("name") if listed else None)
        part.found += len(listed)
        return [(each, each.get("name") == active) for each in listed]

    def _note(self, found: Strategies, active: str) -> None:
        """Note what came; `active` is the strategy that was active here before."""
        part = self._report.strategies
        part.new, part.present = len(found.added), found.present
        for what in found.refused:
            part.refuse(what)
        self._report.remarks += found.remarks
        if found.active:
            self._report.remarks.append(f"strategy {found.active!r} is the active one")
        if part.bad and not part.new and not part.present:
            self._report.remarks.append(
                f"no strategy came: {active!r} of config/finviz_config.json here stays active, and decides "
                "which tickers are bought. Check it on /admin"
            )

    async def _signals(self, redaction: Redaction, now: datetime) -> None:
        part = self._report.signals
        rows = legacy_repository.signals(self._source, with_events="signal_events" in self._tables)
        number = 0

        def read(old: legacy_repository.OldSignal) -> tuple[int, Past]:
            nonlocal number
            number += 1
            if legacy_rows.is_odd_id(legacy_rows.parse(old.signal).get("signal_id")):
                part.counts["with an id made from their own"] += 1
            return number, legacy_rows.signal(old, redaction, now)

        async for batch in _batches(_read(rows, part, read)):
            if self._report.is_check:
                ids = [past.signal.id for _, past in batch]
                present = await legacy_repository.present_signals(self._pool, ids=ids)
                new = {each for each in ids if each not in present}
                part.new += len(new)
                part.present += len(batch) - len(new)
                part.counts["unfinished there, not sent"] += sum(
                    past.was_unfinished and past.signal.id in new for _, past in batch
                )
                continue
            result = importing.Result()
            await importing.store(self._pool, batch, result)
            part.new += result.imported
            part.present += result.present
            part.counts["unfinished there, not sent"] += result.expired
            for line, reason in result.listed:
                part.refuse(f"signal {line}: {reason}")

    async def _actions(self, redaction: Redaction, now: datetime) -> None:
        part = self._report.actions
        last = await legacy_repository.last_action(self._pool, session=SESSION)
        rows = legacy_repository.texts(self._source, "actions", last)
        async for batch in _batches(_read(rows, part, lambda text: legacy_rows.action(text, redaction, now))):
            if not self._report.is_check:
                async with self._pool.acquire(timeout=5) as connection, connection.transaction():
                    await legacy_repository.insert_actions(connection, batch, session=SESSION)
            part.new += len(batch)


async def _read(
    rows: AsyncIterator[legacy_repository.OldSignal] | AsyncIterator[str],
    part: Part,
    read: Callable[..., _Read],
) -> AsyncIterator[_Read]:
    """Yield the rows that can be read; count all, and name the others by their number."""
    async for row in rows:
        part.found += 1
        try:
            yield read(row)
        except WrongValueError as error:
            part.refuse(f"row {part.found}: {error}")
        except (ValueError, RecursionError, KeyError, TypeError) as error:
            part.refuse(f"row {part.found}: cannot be read ({type(error).__name__})")


async def _batches(items: AsyncIterator[_Read]) -> AsyncIterator[list[_Read]]:
    batch: list[_Read] = []
    async for item in items:
        batch.append(item)
        if len(batch) == _BATCH:
            yield batch
            batch = []
    if batch:
        yield batch
