"""All that a person or a program can see of an application, to search it for secrets."""

from __future__ import annotations

import re
from typing import TYPE_CHECKING

from app.admin.views import VIEWS
from tests.api.operator import BEARER

if TYPE_CHECKING:
    from collections.abc import Iterator

    import aiohttp
    import asyncpg

LANGUAGES = ("en", "pt-BR")
_TABLES = "SELECT tablename FROM pg_tables WHERE schemaname = 'public' AND tablename <> 'raising'"
_HEALTH = ("/health", "/health/detailed")
_HEAD = ("/admin/status", "/admin")
_SIGNALS = "SELECT id FROM signals ORDER BY seq LIMIT 20"


async def everything(
    http: aiohttp.ClientSession, database: asyncpg.Pool[asyncpg.Record], log: str
) -> dict[str, str]:
    """Return all tables, all GET routes of API and page, the export and the log, by place."""
    seen = {"log": log}
    for name in [row["tablename"] for row in await database.fetch(_TABLES)]:
        rows = await database.fetch(f'SELECT t::text AS row FROM "{name}" t')  # noqa: S608 - names of ours
        seen[f"table {name}"] = "\n".join(row["row"] for row in rows)
    signals = [str(row["id"]) for row in await database.fetch(_SIGNALS)]
    async with http.get("/openapi.json") as answer:
        routes = [path for path, methods in (await answer.json())["paths"].items() if "get" in methods]
    pages = [*(view.path for view in VIEWS), "/admin/page/signals/{signal_id}"]
    seen |= await _pages(http, list(_filled([*routes, *pages], signals)))
    async with http.post("/admin/database/export", headers=BEARER) as answer:
        assert answer.status == 200
        seen["export"] = await answer.text()
    async with http.ws_connect("/ws/admin-updates", headers=BEARER) as updates:
        seen["live updates"] = str((await updates.receive(timeout=30)).data)
    return seen


async def head(http: aiohttp.ClientSession, metrics: str = "") -> dict[str, str]:
    """Return what shows current problems: health, status, alarms, and the metrics at this address."""
    seen = await _pages(http, [*_HEALTH, *_HEAD])
    if metrics:
        async with http.get(metrics) as answer:
            seen["metrics"] = await answer.text()
    return seen


def places(seen: dict[str, str], secret: str) -> set[str]:
    """Return the places that contain the secret, as text or as hexadecimal digits."""
    wanted = re.compile(f"{re.escape(secret)}|{secret.encode().hex()}", re.IGNORECASE)
    return {where for where, text in seen.items() if wanted.search(text)}


def _filled(paths: list[str], signals: list[str]) -> Iterator[str]:
    for path in dict.fromkeys(paths):
        if "{signal_id}" in path:
            yield from (path.replace("{signal_id}", signal) for signal in signals)
        else:
            assert "{" not in path, f"{path} has a place that this does not fill"
            yield path


async def _pages(http: aiohttp.ClientSession, paths: list[str]) -> dict[str, str]:
    seen = dict[str, str]()
    for language in LANGUAGES:
        headers = {**BEARER, "Cookie": f"language={language}"}
        for path in paths:
            async with http.get(path, headers=headers) as answer:
                assert answer.status == 200 or (path in _HEALTH and answer.status == 503), path
                seen[f"{path} {language}"] = await answer.text()
    return seen
