"""PostgreSQL errors quote rows, statements and names: nothing of their text is shown anywhere.

The application runs as a process of its own, as in the image, and its whole output is searched.
"""

from __future__ import annotations

import asyncio
import json
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from typing import TYPE_CHECKING
from uuid import UUID

import aiohttp
import pytest

from tests.api import raising, shown
from tests.api.conftest import ADMIN_TOKEN
from tests.api.operator import BEARER
from tests.api.process import LOG, answering, process
from tests.api.trading.desk import FINAL
from tests.api.trading.receiver import WAIT_SECONDS, always
from tests.hosts.ports import free_port

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Awaitable, Callable
    from pathlib import Path

    from tests.api.trading.desk import Desk

_EXPIRE_LEASES = (
    "UPDATE signals SET lease_until = now() - interval '1 s', not_before = NULL WHERE lease_until IS NOT NULL"
)


@dataclass(slots=True)
class Running:
    """The process, and its answers to failed requests."""

    desk: Desk
    http: aiohttp.ClientSession
    metrics: str
    folder: Path
    answers: list[str] = field(default_factory=list)

    def log(self) -> str:
        """Return everything that the process has written."""
        return (self.folder / LOG).read_text()

    async def send(self, method: str, path: str, content: str) -> int:
        """Make a request as a person; keep the answer's text and return its status."""
        async with self.http.request(method, path, data=content.encode(), headers=BEARER) as answer:
            self.answers.append(await answer.text())
            return answer.status

    async def alert(self) -> int:
        """Post a buy that is no duplicate of another."""
        number = len(self.answers)
        return await self.send(
            "POST", "/webhook/in", json.dumps({"ticker": "NVDA", "side": "buy", "n": number})
        )

    async def until_logged(self, words: str, start: int) -> None:
        """Wait until these words are in the log after its first `start` characters."""
        async with asyncio.timeout(WAIT_SECONDS):
            while words not in self.log()[start:]:  # noqa: ASYNC110
                await asyncio.sleep(0.05)  # no event reports another process's log lines

    async def settled(self) -> None:
        """Wait until every signal is final; attempts whose outcome was refused are recovered at once."""
        query = "SELECT count(*) FROM signals WHERE NOT status = ANY ($1)"
        async with asyncio.timeout(WAIT_SECONDS):
            while await self.desk.database.fetchval(query, FINAL):
                await self.desk.database.execute(_EXPIRE_LEASES)
                await asyncio.sleep(0.1)  # no event reports another process's commit


@asynccontextmanager
async def running(desk: Desk, database_url: str, folder: Path, *, live: bool) -> AsyncIterator[Running]:
    """Start the application on a database whose triggers raise on demand."""
    await raising.install(desk.database)
    port = free_port()
    settings = {
        "DATABASE_URL": database_url,
        "CONFIG_DIR": str(desk.folder),
        "DATA_DIR": str(folder / "data"),
        "ADMIN_TOKEN": ADMIN_TOKEN,
        "DEST_WEBHOOK_URL": desk.receiver.url if live else "",
        "DEST_WEBHOOK_RATE_LIMITING_ENABLED": "false",
        "ENABLE_PROMETHEUS": "true",
        "PROMETHEUS_PORT": str(port),
        "LOG_LEVEL": "DEBUG",
    }
    with process(settings, folder) as (_, url):
        async with aiohttp.ClientSession(url) as http:
            await answering(http, url)
            yield Running(desk, http, f"http://127.0.0.1:{port}/metrics", folder)


async def intake(app: Running, _: str) -> None:
    """Post an alert that cannot be stored; it is refused."""
    assert await app.alert() >= 400


async def signal(app: Running, state: str) -> None:
    """Send a signal until the error stops it; the log has the error's code."""
    start = len(app.log())
    assert await app.alert() == 202
    await app.until_logged(state, start)


async def change(app: Running, _: str) -> None:
    """Make a person's changes of the configuration.

    Files are written before the revision, so a refused pause may be in force by the next round, as an edit.
    """
    await app.send("POST", "/admin/engine/pause", "")
    timeout = 10 + len(app.answers)  # another one each time, so that there is something to store
    assert await app.send("PUT", "/admin/webhook/config", json.dumps({"timeout": timeout})) >= 400


async def edited_file(app: Running, state: str) -> None:
    """Edit a file as a person does."""
    start = len(app.log())
    app.desk.configure("webhook", timeout=5, mine=len(app.answers))
    app.answers.append("")
    await app.until_logged(state, start)


async def order(app: Running, _: str) -> None:
    """Place a person's order, which cannot be stored."""
    assert await app.send("POST", "/admin/order/sell-individual", '{"ticker": "NVDA"}') >= 400


async def refused_post(app: Running, state: str) -> None:
    """Post an alert whose refusal cannot be stored."""
    start = len(app.log())
    assert await app.send("POST", "/webhook/in", "[]") == 422
    await app.until_logged(state, start)


async def new_list(app: Running, state: str) -> None:
    """Change the list."""
    start = len(app.log())
    app.desk.watch(f"list:NVDA,T{len(app.answers)}", refresh_interval_sec=1)
    app.answers.append("")
    await app.until_logged(state, start)


async def imported(app: Running, _: str) -> None:
    """Import history in which every row has a new id."""
    async with app.http.post("/admin/database/export", headers=BEARER) as answer:
        rows = await answer.text()
    kept = str(await app.desk.database.fetchval("SELECT id FROM signals LIMIT 1"))
    assert kept in rows
    new = str(UUID(int=UUID(kept).int ^ len(app.answers) + 1))
    await app.send("POST", "/admin/database/import", rows.replace(kept, new))
    assert await app.desk.database.fetchval("SELECT count(*) FROM signals WHERE id = $1", UUID(new)) == 0


# One of each class that the application distinguishes; a worker waits up to 5 s after each failure.
CLASSES = raising.STATES[:6]


@pytest.mark.parametrize(
    ("place", "provoke", "states"),
    [
        ("store", intake, CLASSES),
        ("outcome", signal, raising.STATES),
        ("configuration", change, CLASSES),
        ("list", new_list, CLASSES),
        *(
            pytest.param(*case, marks=pytest.mark.exhaustive)
            for case in (
                ("commit", intake, CLASSES),
                ("store", order, CLASSES),
                ("store", imported, raising.STATES),
                ("decision", signal, CLASSES),
                ("claim", signal, CLASSES),
                ("paper", signal, raising.STATES),
                ("configuration", edited_file, CLASSES),
                ("refused", refused_post, CLASSES),
            )
        ),
    ],
    ids=lambda value: getattr(value, "__name__", value if isinstance(value, str) else ""),
)
async def test_no_text_of_a_postgresql_error_is_shown(
    desk: Desk,
    database_url: str,
    tmp_path: Path,
    place: str,
    provoke: Callable[[Running, str], Awaitable[None]],
    states: tuple[str, ...],
) -> None:
    await desk.database.execute("INSERT INTO positions (ticker) VALUES ('NVDA')")
    desk.configure("webhook", retry_seconds=[0.05])
    seen = dict[str, str]()
    async with running(desk, database_url, tmp_path, live=place != "paper") as app:
        assert await app.alert() == 202
        for number, state in enumerate(states):
            # an outcome is written in one way for a success, and in another for what is attempted again
            desk.receiver.answer = always(503 if number % 2 else 200)
            await raising.start(desk.database, place, state)
            await provoke(app, state)
            found = await shown.head(app.http, app.metrics)
            seen |= {f"{where} at {state}": text for where, text in found.items()}
            await raising.stop(desk.database, place)
            desk.receiver.answer = always(200)
            await app.settled()
        assert await app.alert() == 202
        await app.settled()
        seen |= await shown.everything(app.http, desk.database, app.log())
    assert shown.places({**seen, "answers": "\n".join(app.answers)}, raising.SECRET) == set()
