"""Requests of an operator over the API, and their entries in the actions log."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING, Any

from tests.api.conftest import ADMIN_TOKEN

if TYPE_CHECKING:
    from tests.api.conftest import AppServer

BEARER = {"Authorization": f"Bearer {ADMIN_TOKEN}"}


async def ask(
    app: AppServer, method: str, path: str, expected: int = 200, /, body: Any = None, **query: Any
) -> Any:
    """Send a request with the token, assert the expected status, and return the decoded response."""
    async with app.http.request(method, path, json=body, params=query, headers=BEARER) as answer:
        assert answer.status == expected, await answer.text()
        return await answer.json()


def system_file(part: str, *, pause: bool) -> dict[str, Any]:
    """Return the content that a switch writes into the system file."""
    return {"risk": {"buys": "off" if pause else "on"}} if part == "buys" else {f"{part}_paused": pause}


async def log_of(app: AppServer) -> list[tuple[str, str, str, str, Any, Any, str]]:
    """Return the actions log, oldest first: session, origin, action, target, before, after, result."""
    rows = await app.context.pool.fetch(
        "SELECT session, origin, action, target, before, after, result FROM actions ORDER BY id"
    )
    return [
        (
            row["session"],
            row["origin"],
            row["action"],
            row["target"],
            json.loads(row["before"] or "null"),
            json.loads(row["after"] or "null"),
            row["result"],
        )
        for row in rows
    ]


async def alarms(app: AppServer) -> set[str]:
    """Return the codes of the alarms that the page shows."""
    return {alarm["code"] for alarm in (await ask(app, "GET", "/admin/status"))["alarms"]}


async def health(app: AppServer) -> tuple[int, dict[str, Any]]:
    """Return the status of `/health`, and its checks."""
    async with app.http.get("/health") as answer:
        return answer.status, (await answer.json())["checks"]
