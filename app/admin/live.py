"""Live updates: one producer per process polls the database, and each open page has a sender."""

import asyncio
import time
from collections.abc import Awaitable, Callable
from functools import partial
from typing import TYPE_CHECKING

import structlog
from fastapi import WebSocket
from starlette.websockets import WebSocketDisconnect

from app.admin import snapshot
from app.alarms.conditions import database_alarm
from app.config.access import AccessToken
from app.context import AppContext
from app.db.errors import TRANSIENT_DB_ERRORS
from app.db.reading import ReadLimitError
from app.errors import describe
from app.web.authentication import ADMIN
from app.web.hub import Hub, LiveMessage, Mailbox
from app.web.routing import new_router

if TYPE_CHECKING:
    from app.web.authentication import Access, EndedSessions

log = structlog.get_logger(__name__)
router = new_router()

_WORKER = "live"  # the producer's name in the supervisor
_POLL_SECONDS = 1.0  # changes by other processes send no wake-up to this one
_HEARTBEAT_SECONDS = 2.0
_GROWING = {"uptime_seconds", "at", "top_n_age_seconds"}  # fields of the status that differ each time
_SPACING_SECONDS = 0.2
_COST_FACTOR = 10  # snapshots take at most a tenth of the time, for any size of the tables
_LONGEST_SPACING_SECONDS = 5.0
_SEND_SECONDS = 10.0
_TRY_AGAIN_LATER, _SESSION_ENDED = 1013, 1008


async def run(context: AppContext, hub: Hub) -> None:
    """Publish changes; read nothing while no page is connected."""
    shown, shown_at = None, 0.0
    while True:
        context.supervisor.beat(_WORKER)
        if not await hub.occupied(timeout=_LONGEST_SPACING_SECONDS):
            continue
        await context.wakeups.wait("changed", _POLL_SECONDS)
        started = time.monotonic()
        try:
            seen = await snapshot.look(context)
        except ReadLimitError:  # the database answers; the page itself shows the age of its data
            await asyncio.sleep(_POLL_SECONDS)
            continue
        except TRANSIENT_DB_ERRORS as error:
            log.warning("live updates wait for the database", error=describe(error))
            hub.publish(LiveMessage("alarm", [database_alarm()]))
            shown = None
            await asyncio.sleep(_POLL_SECONDS)
            continue
        _publish(hub, seen)
        head = seen.status.model_dump(mode="json", exclude=_GROWING), seen.alarms
        if head != shown or started - shown_at >= _HEARTBEAT_SECONDS:
            shown, shown_at = head, started
            # with the alarms of the same snapshot, so that the page header does not contradict them
            status = {**seen.status.model_dump(mode="json"), "alarms": seen.alarms}
            hub.publish(LiveMessage("status_update", status), always=True)
        cost = time.monotonic() - started
        await asyncio.sleep(min(max(_SPACING_SECONDS, cost * _COST_FACTOR), _LONGEST_SPACING_SECONDS))


def _publish(hub: Hub, seen: snapshot.Overview) -> None:
    hub.publish(LiveMessage("alarm", seen.alarms))
    hub.publish(LiveMessage("signals_changed", seen.changes.model_dump(mode="json")))
    hub.publish(LiveMessage("metrics_update", seen.metrics.model_dump(mode="json")))
    hub.publish(LiveMessage("positions_changed", seen.positions.model_dump(mode="json")))
    hub.publish(
        LiveMessage("top_n_tickers_update", seen.top_n.model_dump(mode="json", exclude={"age_seconds"}))
    )


@router.websocket("/ws/admin-updates")
async def admin_updates(websocket: WebSocket) -> None:
    """Send a snapshot, then changes, until the session ends. `Authentication` has checked the session."""
    context: AppContext = websocket.app.state.context
    access: Access = websocket.scope["state"]["access"]
    hub: Hub = websocket.app.state.hub
    mailbox = hub.join()  # before the snapshot, so that no change between the two is lost
    try:
        await websocket.accept()
        try:
            seen = await snapshot.look(context)
        except TRANSIENT_DB_ERRORS:
            await websocket.close(_TRY_AGAIN_LATER, "the database is unavailable")
            return
        mailbox.put_first(LiveMessage("snapshot", seen.model_dump(mode="json")))
        sessions: EndedSessions = websocket.app.state.ended_sessions
        try:
            async with asyncio.timeout(access.seconds_left), sessions.end_event_of(access.session) as ended:
                await _converse(
                    websocket, mailbox, ended, partial(_until_removed, context, sessions, access.token)
                )
        except TimeoutError:
            await websocket.close(_SESSION_ENDED, "the session has ended")
    except WebSocketDisconnect:
        pass  # the page disconnected during a message; `finally` cleans up
    finally:
        hub.leave(mailbox)


async def _converse(
    websocket: WebSocket, mailbox: Mailbox, ended: asyncio.Event, removal: Callable[[], Awaitable[None]]
) -> None:
    """Send until either side closes. Messages of the page are read for the close frame, and else ignored.

    Raises:
        TimeoutError: the session was ended by a sign-out, or its token was removed.
    """
    sender = asyncio.create_task(_send(websocket, mailbox))
    reader = asyncio.create_task(_read(websocket))
    signed_out, removed = asyncio.create_task(ended.wait()), asyncio.ensure_future(removal())
    tasks = {sender, reader, signed_out, removed}
    try:
        done, _ = await asyncio.wait(tasks, return_when=asyncio.FIRST_COMPLETED)
        for task in done:
            task.result()
        if signed_out in done or removed in done:
            raise TimeoutError
    finally:
        for task in tasks:
            task.cancel()
        await asyncio.gather(*tasks, return_exceptions=True)  # waits until the other tasks have ended


async def _until_removed(context: AppContext, sessions: "EndedSessions", token: AccessToken) -> None:
    """Wait until a named token is removed, replaced, or of another scope."""
    while True:
        is_current = token in context.config.tokens and not sessions.is_revoked(token)
        if token != ADMIN and not is_current:
            return
        await asyncio.sleep(_POLL_SECONDS)


async def _send(websocket: WebSocket, mailbox: Mailbox) -> None:
    """Send messages; disconnect a page that reads nothing for 10 s. The server's ping finds lost pages."""
    while True:
        message = await mailbox.next()
        try:
            async with asyncio.timeout(_SEND_SECONDS):
                await websocket.send_json({"type": message.type, "data": _translated(message)})
        except TimeoutError:
            raise WebSocketDisconnect(reason="reads nothing") from None


def _translated(message: LiveMessage) -> object:
    """Return the message's data, with alarms translated into the language of this page's reader."""
    if message.type == "alarm":
        return [alarm.model_dump(mode="json") for alarm in message.data]
    if message.type == "status_update":
        alarms = [alarm.model_dump(mode="json") for alarm in message.data["alarms"]]
        return {**message.data, "alarms": alarms}
    return message.data


async def _read(websocket: WebSocket) -> None:
    while (await websocket.receive())["type"] != "websocket.disconnect":
        pass
