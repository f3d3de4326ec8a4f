"""Unanswered posts: stored, but their sender has no 202. An equal post is the resend, whatever came since."""

from __future__ import annotations

import asyncio
import os
import signal
from typing import TYPE_CHECKING, Any

import aiohttp
import pytest

from app.intake import repository, storing
from tests.api.process import answering, process
from tests.api.trading.posts import (
    BUY,
    SELL,
    is_new,
    nothing_commits,
    numbers,
    post,
    until_stored,
    without_its_client,
)

if TYPE_CHECKING:
    from tests.api.conftest import AppServer
    from tests.api.trading.desk import Desk


def lose_results(monkeypatch: pytest.MonkeyPatch, owner: object, name: str) -> None:
    """Let a function finish, and break the connection before its result arrives."""
    function = getattr(owner, name)

    async def lose(*arguments: Any, **named: Any) -> None:
        await function(*arguments, **named)
        raise ConnectionResetError

    monkeypatch.setattr(owner, name, lose)


class TestUnanswered:
    """The first sender has no 202 for a stored alert: an equal one is its resend."""

    async def followed(self, app: AppServer) -> None:
        """Post another alert of the same ticker."""
        assert await is_new(app, {**SELL, "n": next(numbers)})

    async def test_its_503_went_out_while_its_commit_ran(self, desk: Desk) -> None:
        app = await desk.open()
        async with nothing_commits(desk):
            await post(app, BUY, 503)
        await until_stored(desk, app, 1)
        await self.followed(app)
        assert not await is_new(app, BUY)
        assert await desk.database.fetchval("SELECT count(*) FROM signals WHERE type = 'buy'") == 1

    async def test_another_process_knows_it(self, desk: Desk) -> None:
        app, other = await desk.open(), await desk.open()
        async with nothing_commits(desk):
            await post(app, BUY, 503)
            async with asyncio.timeout(5):
                recorded = "SELECT count(*) FROM unanswered_posts"
                while not await desk.database.fetchval(recorded):  # noqa: ASYNC110  # the commit still runs
                    await asyncio.sleep(0.05)
        await until_stored(desk, other, 1)
        await self.followed(other)
        assert not await is_new(other, BUY)

    async def test_its_client_disconnected_before_the_answer(self, desk: Desk) -> None:
        app = await desk.open()
        await without_its_client(desk, app, BUY)
        await until_stored(desk, app, 1)
        await self.followed(app)
        assert not await is_new(app, BUY)

    async def test_a_resend_that_was_answered_makes_the_next_exit_a_new_one(self, desk: Desk) -> None:
        app = await desk.open()
        await desk.until(app, await desk.send(app, "AAPL", "buy"), "forwarded")
        async with nothing_commits(desk):
            await post(app, SELL, 503)
        await until_stored(desk, app, 2)
        assert not await is_new(app, SELL)
        assert await is_new(app, {**BUY, "n": 1})
        assert await is_new(app, SELL)
        await desk.settled(app)
        assert await desk.open_positions() == {}

    @pytest.mark.parametrize("loss", ["late", "gone", "broken"])
    async def test_a_duplicate_is_resent_if_its_202_was_lost(
        self, desk: Desk, monkeypatch: pytest.MonkeyPatch, loss: str
    ) -> None:
        app = await desk.open()
        await without_its_client(desk, app, BUY)
        await until_stored(desk, app, 1)
        if loss == "late":
            async with nothing_commits(desk):
                await post(app, BUY, 503)
        elif loss == "gone":
            await without_its_client(desk, app, BUY)
        else:
            with monkeypatch.context() as losing:
                lose_results(losing, storing, "store")
                await post(app, BUY, 503)
        await self.followed(app)
        assert not await is_new(app, BUY)
        await self.followed(app)
        assert await is_new(app, BUY)

    async def test_a_resend_stays_one_when_its_commit_is_repeated(
        self, desk: Desk, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        app = await desk.open()
        await without_its_client(desk, app, BUY)
        await until_stored(desk, app, 1)
        await self.followed(app)
        with monkeypatch.context() as losing:
            lose_results(losing, storing, "store")
            resend = asyncio.create_task(is_new(app, BUY))
            duplicates = "SELECT count(*) FROM signal_events WHERE reason LIKE 'duplicate%'"
            async with asyncio.timeout(5):
                while await desk.database.fetchval(duplicates) < 2:  # noqa: ASYNC110  # commits are lost
                    await asyncio.sleep(0.01)
        assert not await resend
        assert await is_new(app, BUY)

    async def test_a_client_that_waits_for_its_answer_counts_as_connected(self, desk: Desk) -> None:
        app = await desk.open()
        async with nothing_commits(desk):
            waiting = asyncio.create_task(post(app, BUY))
            await asyncio.sleep(0.3)
        await waiting
        await self.followed(app)
        assert await is_new(app, BUY)

    async def test_the_result_of_its_commit_was_lost(
        self, desk: Desk, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        app = await desk.open()
        with monkeypatch.context() as losing:
            lose_results(losing, repository, "store_posts")
            await post(app, BUY, 503)
        await self.followed(app)
        assert not await is_new(app, BUY)

    @pytest.mark.parametrize(
        ("ending", "age", "expected"),
        [(signal.SIGKILL, 0, False), (signal.SIGKILL, 600, True), (signal.SIGTERM, 0, True)],
    )
    async def test_its_process_crashed(
        self,
        desk: Desk,
        database_url: str,
        ending: int,
        age: int,
        expected: bool,  # noqa: FBT001
    ) -> None:
        values = {"DATABASE_URL": database_url, "CONFIG_DIR": str(desk.folder), "DATA_DIR": str(desk.folder)}
        with process(values, desk.folder) as (running, url):
            async with aiohttp.ClientSession(url) as http:
                await answering(http, url)
                for alert in (BUY, SELL):
                    async with http.post("/webhook/in", json=alert) as answer:
                        assert answer.status == 202
            os.kill(running.pid, ending)
            await asyncio.to_thread(running.wait)
        # as if the next process had started at once, or after some time
        await desk.database.execute(
            "UPDATE signals SET received_at = clock_timestamp() - make_interval(secs => $1)", age
        )
        app = await desk.open()
        assert await is_new(app, BUY) is expected
        assert await desk.database.fetchval("SELECT count(*) FROM intake_processes") == 1

    async def test_a_process_that_runs_has_not_crashed(self, desk: Desk) -> None:
        app = await desk.open()
        await post(app, BUY)
        await post(app, SELL)
        other = await desk.open()
        assert await is_new(other, BUY)
