"""`make bench` works: one measurement of the real application in seconds, and shared parts."""

from __future__ import annotations

import asyncio
import subprocess
import sys
from typing import TYPE_CHECKING

import asyncpg

from benchmarks.database import Database
from benchmarks.report import RESULTS, Run
from benchmarks.version import CHECKOUT

if TYPE_CHECKING:
    from tests.hosts.engine import Engine


def test_a_quick_measurement_counts_the_statements_of_a_signals_life(engine: Engine) -> None:  # noqa: ARG001
    """The application, its database, a destination and a sender of alerts, all as processes of their own."""
    command = [sys.executable, "-m", "benchmarks", "--quick", "--only", "usage.statements"]
    subprocess.run(command, cwd=CHECKOUT, check=True, timeout=300)
    folder = RESULTS / "scratch"
    run = Run.read(folder)
    assert run is not None
    assert list(run.results) == ["usage.statements"]
    assert 1 < run.results["usage.statements"].figure < 20
    assert "statements per signal" in (folder / "table.md").read_text("utf-8")
    assert "statements per signal" in (folder / "picture.svg").read_text("utf-8")


async def test_tables_are_emptied_while_a_transaction_locks_them_in_another_order(
    database_url: str,
) -> None:
    """As a worker of the application does; neither transaction is aborted."""
    async with asyncpg.create_pool(database_url, min_size=0, max_size=2) as pool:
        async with pool.acquire() as worker, worker.transaction():
            await worker.execute("LOCK attempts IN ROW EXCLUSIVE MODE")
            emptying = asyncio.create_task(asyncio.to_thread(Database(database_url).empty))
            while not await pool.fetchval("SELECT count(*) FROM pg_locks WHERE NOT granted"):  # noqa: ASYNC110
                await asyncio.sleep(0.01)
            await worker.execute("SELECT FROM signals FOR SHARE")
        await emptying
