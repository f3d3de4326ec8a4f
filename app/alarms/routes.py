"""Routes for the alarms that a person settles, and for the notifications about alarms."""

from datetime import datetime
from typing import Annotated, Literal, Self

from fastapi import Request
from pydantic import BaseModel, StringConstraints, model_validator

from app.alarms import messages, repository
from app.alarms.alarm import Alarm, Severity
from app.alarms.conditions import SettledByPerson, find_alarms
from app.audit import repository as audit_log
from app.errors import ConflictError, WrongValueError
from app.screener.current import current_top_n
from app.signals.refusals import RefusalCode
from app.web.dependencies import (
    REFUSALS,
    CurrentActor,
    Cursor,
    Database,
    Limit,
    Moment,
    Reading,
    Storable,
    context_of,
    signed_in,
)
from app.web.problems import Problem
from app.web.routing import new_router

router = new_router(prefix="/admin", tags=["alarms"], responses=REFUSALS, dependencies=[signed_in])


class Settlement(BaseModel):
    """An alarm as it was shown: its `code`, `subject` and `settle_until`."""

    code: SettledByPerson
    subject: Annotated[str, StringConstraints(max_length=100), Storable]
    until: Moment

    @model_validator(mode="after")
    def _has_its_subject(self) -> Self:
        if (self.code == "orders_refused") is bool(self.subject):
            raise WrongValueError(RefusalCode.ALARM_SUBJECT)
        return self


class EndedAlarm(BaseModel):
    """An alarm that has ended."""

    code: str
    subject: str
    began_at: datetime
    ended_at: datetime


class Alarms(BaseModel):
    """The alarms of now, the most urgent first, and those that ended last, the newest first."""

    alarms: list[Alarm]
    ended: list[EndedAlarm]


@router.get("/alarms")
async def alarms(request: Request, connection: Reading, limit: Limit = 50) -> Alarms:
    """Return the alarms, and the last `limit` that have ended."""
    context = context_of(request)
    top_n = await current_top_n(context, connection)
    found = await find_alarms(context, connection, top_n=top_n, waiting=context.queues.approved)
    ended = await repository.read_ended(connection, limit=limit)
    return Alarms(
        alarms=found, ended=[EndedAlarm.model_validate(each, from_attributes=True) for each in ended]
    )


@router.post("/alarms/acknowledge")
async def acknowledge_alarm(
    request: Request, connection: Database, actor: CurrentActor, settlement: Settlement
) -> Settlement:
    """Settle an alarm about what has happened up to a moment. What happens later is an alarm again.

    Nothing is sent, and no position is changed.
    """
    target = f"{settlement.code} {settlement.subject}".strip()
    async with connection.transaction():
        await repository.settle(
            connection, code=settlement.code, subject=settlement.subject, until=settlement.until
        )
        await audit_log.record(
            connection, actor, "alarm.settle", target=target, after={"until": settlement.until.isoformat()}
        )
    context_of(request).wakeups.notify("changed")
    return settlement


class TargetState(BaseModel):
    """A target of notifications: its number in NOTIFY_URLS and its scheme, never its URL.

    `waiting`: messages that were not sent yet. `given_up`: not accepted for 24 h. `error`: why the last
    attempt failed, empty if it did not.
    """

    name: str
    waiting: int = 0
    given_up: int = 0
    last_sent_at: datetime | None = None
    error: str = ""


class QueuedMessage(BaseModel):
    """A message to one target. `target` is null if its URL is not in NOTIFY_URLS any more.

    `body`: its first 2,000 characters. `severity` is that of its most urgent alarm, `success` where alarms
    have ended. `error`: why the last attempt failed. `due_at`: the earliest next attempt; null once it was
    sent, or given up after 24 h, which a critical one never is.
    """

    id: int
    target: str | None
    severity: Severity | Literal["success"]
    title: str
    body: str
    state: repository.MessageState
    created_at: datetime
    due_at: datetime | None
    sent_at: datetime | None
    attempts: int
    error: str


class Notifications(BaseModel):
    """The targets in the order of NOTIFY_URLS. `heartbeat`: whether HEARTBEAT_URL is set.

    `messages`: those of the outbox, the newest first. `next_cursor`: that of the next page, null on
    the last one.
    """

    targets: list[TargetState]
    heartbeat: bool
    messages: list[QueuedMessage]
    next_cursor: int | None


class Queued(BaseModel):
    """How many messages were queued, one for each target."""

    queued: int


@router.get("/notifications")
async def notifications(
    request: Request, connection: Reading, limit: Limit = 50, cursor: Cursor = None
) -> Notifications:
    """Who is notified of alarms, and what became of the messages."""
    context = context_of(request)
    names = context.notification_targets
    states = await repository.read_targets(connection, targets=list(names))
    stored = await repository.read_messages(connection, before_id=cursor, limit=limit + 1)
    messages = [
        QueuedMessage.model_validate({**each._asdict(), "target": names.get(each.target)})
        for each in stored[:limit]
    ]
    return Notifications(
        targets=[
            TargetState.model_validate({"name": name, **(states[key]._asdict() if key in states else {})})
            for key, name in names.items()
        ],
        heartbeat=bool(context.settings.heartbeat_url),
        messages=messages,
        next_cursor=messages[-1].id if len(stored) > limit else None,
    )


@router.post(
    "/notifications/test",
    status_code=202,
    responses={409: {"model": Problem, "description": "NOTIFY_URLS is empty"}},
)
async def send_test_notification(request: Request, connection: Database, actor: CurrentActor) -> Queued:
    """Send a message to every target. What became of it is in `GET /admin/notifications`."""
    context = context_of(request)
    names = context.notification_targets
    async with audit_log.attempt(connection, actor, "notifications.test"), connection.transaction():
        if not names:
            raise ConflictError(RefusalCode.NOBODY_TO_NOTIFY)
        with messages.language(context.config.system.notify.language):
            message = messages.trial()
        queued = await repository.enqueue(connection, targets=list(names), **message._asdict())
        await audit_log.record(connection, actor, "notifications.test", after={"queued": queued})
    context.wakeups.notify("notifications", "changed")
    return Queued(queued=queued)
