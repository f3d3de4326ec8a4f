"""Watch the alarms: when each began and ended, and which messages follow from it.

Every process does so. An alarm is a row that one of them inserts and one of them ends. The message is
enqueued in the same transaction, so it is enqueued once.
"""

import asyncio
import time
from collections import Counter
from collections.abc import Sequence
from datetime import datetime, timedelta
from typing import TYPE_CHECKING

import asyncpg
import structlog

from app import metrics
from app.alarms import messages, repository
from app.alarms.alarm import CODES, HOUSEKEEPING, OF_DENIALS, SEVERITIES, Alarm
from app.alarms.conditions import SETTLED_BY_PERSON, database_alarm, find_alarms, workers_alarm
from app.alarms.repository import Ended, OpenAlarm
from app.alarms.targets import Message, Target
from app.config.model import Notify
from app.config.times import parse_time_of_day
from app.context import AppContext
from app.db.errors import TRANSIENT_DB_ERRORS
from app.db.pool import Connection
from app.errors import describe
from app.screener.current import current_top_n

if TYPE_CHECKING:
    from app.signals.reasons import Reason

log = structlog.get_logger(__name__)

LOOK_SECONDS = 2.0
SEEN_EVERY_SECONDS, END_AFTER_SECONDS = 3.0, 12.0
# A process that has just started does not see all that it will see; what it saw before is ended no sooner.
START_SECONDS = 30.0
# What is over sooner is not announced, such as a list that is missing after a start.
ANNOUNCE_AFTER_SECONDS = 30.0
COST_FACTOR = 20  # it takes at most 5 % of the time
_LONGEST_PAUSE_SECONDS = 10.0
_LIMIT_SECONDS = 10.0
SUMMARY_LATE = timedelta(hours=1)
_NOT_COUNTED = frozenset((*OF_DENIALS, *HOUSEKEEPING))
_ASIDE_SECONDS = 1.0  # a locked table delays no alarm for longer
_NEWEST_SIGNALS = 10_000  # more than arrive between two looks


class Watch:
    """The alarms that this process saw last."""

    def __init__(self, context: AppContext, targets: Sequence[Target]) -> None:
        self._context = context
        self._targets = targets
        self._seen: list[Alarm] = []
        self._seen_at = 0.0
        self._summarised: datetime | None = None
        self._failing_since: float | None = None  # no look has succeeded since
        self._announced_directly: Alarm | None = None
        self._sending: set[asyncio.Task[Reason | None]] = set()  # messages that cannot be stored
        self._has_introduced = False  # what is open to targets that are new in NOTIFY_URLS

    @property
    def is_all_well(self) -> bool:
        """Return whether a check in the last minute found no alarm above `info`, and all workers are alive.

        Denied requests do not count: any client can send them, and would stop the heartbeat. Nor does what
        may last for days: meanwhile a missing machine would stay unnoticed.
        """
        is_recent = bool(self._seen_at) and time.monotonic() - self._seen_at < 60
        is_alive = all(state.alive for state in self._context.supervisor.states().values())
        return (
            is_recent
            and is_alive
            and not any(alarm.severity != "info" and alarm.code not in _NOT_COUNTED for alarm in self._seen)
        )

    async def run(self, name: str) -> None:
        """Look every 2 s."""
        while True:
            self._context.supervisor.beat(name)
            started = time.monotonic()
            try:
                async with asyncio.timeout(_LIMIT_SECONDS):
                    await self.look()
            except TRANSIENT_DB_ERRORS:
                self._announce_failing(database_alarm())
                raise
            except Exception as error:
                self._announce_failing(workers_alarm([f"{name} ({describe(error)})"]))
                raise
            self._announce_recovery()
            self._context.supervisor.beat(name)
            pause = min(max(LOOK_SECONDS, COST_FACTOR * (time.monotonic() - started)), _LONGEST_PAUSE_SECONDS)
            await asyncio.sleep(pause)

    async def look(self) -> None:
        """Record which alarms there are, and enqueue the messages that are due."""
        context, notify = self._context, self._context.config.system.notify
        if notify.backup_max_age_days:
            await self._read_last_backup()
        await self._read_silence()
        async with context.pool.acquire(timeout=5) as connection:
            top_n = await current_top_n(context, connection)
            alarms = await find_alarms(context, connection, top_n=top_n, waiting=context.queues.approved)
            with messages.language(notify.language):
                async with connection.transaction():
                    await self._record(connection, alarms, notify)
                async with connection.transaction():
                    await self._summarise(connection, notify)
            opened = await repository.read_open(connection)
            if self._targets and not self._has_introduced:
                with messages.language(notify.language):
                    await self._introduce(connection, alarms, opened)
                self._has_introduced = True
        context.alarms_began = {(each.code, each.subject): each.began_at for each in opened}
        self._seen, self._seen_at = alarms, time.monotonic()
        context.alarms_seen = counts = Counter(alarm.code for alarm in alarms)
        for code in CODES:
            metrics.ALARM.set(counts[code], code)

    async def _read_last_backup(self) -> None:
        """Read when the last backup was made. Fails open: no alarm about an exit depends on that table."""
        try:
            async with asyncio.timeout(_ASIDE_SECONDS):
                self._context.last_backup = (await repository.read_last_backup(self._context.pool),)
        except (*TRANSIENT_DB_ERRORS, asyncpg.PostgresError) as error:
            log.warning("the last backup could not be read", error=describe(error))

    async def _read_silence(self) -> None:
        """Read since when expected sources are silent. Fails open: no alarm about an exit depends on it."""
        config = self._context.config
        expected = [each.name for each in config.alert_sources if each.expect_within_minutes is not None]
        try:
            async with asyncio.timeout(_ASIDE_SECONDS):
                self._context.silent_since = await repository.read_silence(
                    self._context.pool,
                    sources=expected,
                    newest=_NEWEST_SIGNALS,
                    is_paused=config.system.intake_paused,
                )
        except (*TRANSIENT_DB_ERRORS, asyncpg.PostgresError) as error:
            log.warning("the last signals of sources could not be read", error=describe(error))

    async def _introduce(
        self, connection: Connection, alarms: Sequence[Alarm], opened: Sequence[OpenAlarm]
    ) -> None:
        """Enqueue what is open for targets without any message: they were added after it was announced."""
        announced = {(each.code, each.subject): each.began_at for each in opened if each.is_announced}
        begun = [(alarm, began) for alarm in alarms if (began := announced.get((alarm.code, alarm.subject)))]
        if not begun:
            return
        keys = [target.key for target in self._targets]
        if await repository.enqueue_for_new(connection, targets=keys, **messages.begun(begun)._asdict()):
            self._context.wakeups.notify("notifications")

    def _announce_failing(self, alarm: Alarm) -> None:
        """Announce to every target why alarms cannot be found, once they could not be for a while.

        Not by the outbox: it is in the database, and only a look fills it. Each process announces it, once.
        """
        now = time.monotonic()
        self._failing_since = self._failing_since or now
        if self._announced_directly or now - self._failing_since < ANNOUNCE_AFTER_SECONDS:
            return
        self._announced_directly = alarm
        since = self._context.clock.now() - timedelta(seconds=now - self._failing_since)
        log.warning("alarm", code=alarm.code, subject=alarm.subject)
        with messages.language(self._context.config.system.notify.language):
            self._send(messages.begun([(alarm, since)]))

    def _announce_recovery(self) -> None:
        """Announce that alarms are found again, where it was announced that they could not be."""
        since, self._failing_since = self._failing_since, None
        alarm, self._announced_directly = self._announced_directly, None
        if alarm is None or since is None:
            return
        now = self._context.clock.now()
        began = now - timedelta(seconds=time.monotonic() - since)
        with messages.language(self._context.config.system.notify.language):
            self._send(messages.over([Ended(alarm.code, "", began, now, alarm.text, is_announced=True)]))

    def _send(self, message: Message) -> None:
        for target in self._targets:
            task = asyncio.create_task(target.send(message))
            self._sending.add(task)
            task.add_done_callback(self._sending.discard)

    async def _record(self, connection: Connection, alarms: Sequence[Alarm], notify: Notify) -> None:
        ended = await self._end_settled(connection, alarms)
        await repository.record_seen(
            connection,
            codes=[alarm.code for alarm in alarms],
            subjects=[alarm.subject for alarm in alarms],
            every_seconds=SEEN_EVERY_SECONDS,
        )
        if time.monotonic() - self._context.started_at > START_SECONDS:
            ended += await repository.end_unseen(connection, after_seconds=END_AFTER_SECONDS)
        for each in ended:
            log.info("alarm ended", code=each.code, subject=each.subject)
        queued = 0
        if over := [each for each in ended if each.is_announced]:
            queued += await self._enqueue(connection, messages.over(over))
        if self._targets:
            queued += await self._announce(connection, alarms, notify)
        if queued:
            self._context.wakeups.notify("notifications")

    async def _end_settled(self, connection: Connection, alarms: Sequence[Alarm]) -> list[Ended]:
        """End alarms that a person has settled and that have begun anew since: they are announced again."""
        since = {
            (alarm.code, alarm.subject): alarm.since
            for alarm in alarms
            if alarm.since and alarm.code in SETTLED_BY_PERSON
        }
        return await repository.end_settled(
            connection,
            codes=[code for code, _ in since],
            subjects=[subject for _, subject in since],
            since=list(since.values()),
        )

    async def _announce(self, connection: Connection, alarms: Sequence[Alarm], notify: Notify) -> int:
        announced = set(SEVERITIES[: SEVERITIES.index(notify.min_severity) + 1])
        due = {(alarm.code, alarm.subject): alarm for alarm in alarms if alarm.severity in announced}
        found = await repository.lock_unannounced(
            connection,
            codes=[code for code, _ in due],
            subjects=[subject for _, subject in due],
            muted_codes=MUTED_CODES,
            mute_minutes=notify.mute_minutes,
            after_seconds=ANNOUNCE_AFTER_SECONDS,
        )
        if not found:
            return 0
        begun = [(due[each.code, each.subject], each.began_at) for each in found]
        for alarm, _ in begun:
            log.warning("alarm", code=alarm.code, subject=alarm.subject)
        await repository.mark_announced(
            connection,
            ids=[each.id for each in found],
            texts=[alarm.text for alarm, _ in begun],
        )
        return await self._enqueue(connection, messages.begun(begun))

    async def _summarise(self, connection: Connection, notify: Notify) -> None:
        """Enqueue the daily summary, once a day, over restarts and in any number of processes."""
        at = due_summary(notify.daily_summary_at, self._context.clock.now())
        if at is None or not self._targets or at == self._summarised:
            return
        day = await repository.read_day(connection)
        if await self._enqueue(connection, messages.summary(day), once=f"summary {at:%Y-%m-%d}"):
            self._context.wakeups.notify("notifications")
        self._summarised = at

    async def _enqueue(self, connection: Connection, message: Message, once: str | None = None) -> int:
        return await repository.enqueue(
            connection, targets=[target.key for target in self._targets], once=once, **message._asdict()
        )


# Fails open: an exit that did not get through is announced at once, each time it happens.
MUTED_CODES = tuple(code for code, severity in CODES.items() if severity != "critical")


def due_summary(configured: str | None, now: datetime) -> datetime | None:
    """Return the moment of the newest summary that is due now, at most an hour late; None without one."""
    if configured is None:
        return None
    hour, minute, zone = parse_time_of_day(configured)
    local = now.astimezone(zone)
    at = local.replace(hour=hour, minute=minute, second=0, microsecond=0)
    if at > local:
        at -= timedelta(days=1)
    return at if local - at < SUMMARY_LATE else None
