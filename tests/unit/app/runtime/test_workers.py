"""Workers that fail start again, and a wake-up is never lost."""

import asyncio

import pytest

from app.db.errors import TRANSIENT_DB_ERRORS
from app.runtime import supervisor
from app.runtime.supervisor import Supervisor
from app.runtime.wakeups import Wakeups


async def test_a_worker_that_fails_or_returns_is_started_again() -> None:
    runs, third = list[int](), asyncio.Event()

    async def work() -> None:
        runs.append(len(runs))
        if len(runs) == 1:
            raise ValueError("no")
        if len(runs) == 3:
            third.set()
            await asyncio.Event().wait()

    workers = Supervisor(TRANSIENT_DB_ERRORS)
    workers.start("w", work)
    async with asyncio.timeout(5):
        await third.wait()

    state = workers.states()["w"]
    assert (state.alive, state.restarts) == (True, 2)
    assert state.error == "ended without an error"
    await workers.stop(1)
    assert workers.states() == {}


async def test_a_silent_worker_is_not_alive(monkeypatch: pytest.MonkeyPatch) -> None:
    workers = Supervisor(TRANSIENT_DB_ERRORS)
    workers.start("w", asyncio.Event().wait)  # type: ignore[arg-type]  # it never returns
    assert workers.states()["w"].alive
    monkeypatch.setattr(supervisor, "SILENT_AFTER_SECONDS", 0.0)
    assert not workers.states()["w"].alive
    monkeypatch.undo()
    workers.beat("w")
    assert workers.states()["w"].alive
    with pytest.raises(ValueError, match="running already"):
        workers.start("w", asyncio.Event().wait)  # type: ignore[arg-type]
    await workers.stop(1)


async def test_stopping_has_a_time_limit() -> None:
    let_go = asyncio.Event()

    async def stubborn() -> None:
        try:
            await asyncio.Event().wait()
        except asyncio.CancelledError:
            await let_go.wait()

    workers = Supervisor(TRANSIENT_DB_ERRORS)
    workers.start("stubborn", stubborn)
    await asyncio.sleep(0)
    async with asyncio.timeout(5):
        await workers.stop(0.05)
    let_go.set()


async def test_every_waiter_sees_a_notify() -> None:
    wakeups = Wakeups()
    waiters = [asyncio.create_task(wakeups.wait("changed", 5)) for _ in range(3)]
    await asyncio.sleep(0)
    wakeups.notify("changed")
    assert await asyncio.gather(*waiters) == [True, True, True]


async def test_a_notify_between_two_waits_is_not_lost() -> None:
    wakeups = Wakeups()
    assert not await wakeups.wait("received", 0)
    wakeups.notify("received")
    assert await wakeups.wait("received", 5)
    assert not await wakeups.wait("received", 0)
    assert not await wakeups.wait("approved", 0)
