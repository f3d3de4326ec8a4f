"""The actions log: who changed what, from where, with each value before and after."""

import json
from collections.abc import Iterator
from typing import Any, Literal, NamedTuple, get_args

from fastapi import Request

from app.admin.filters import Listing, chosen, cursor_of
from app.admin.routes import records
from app.db.pool import Connection

# The first parts of the names of actions.
Area = Literal[
    "order",
    "position",
    "alarm",
    "dead-letters",
    "reprocessing",
    "engine",
    "buys",
    "delivery",
    "intake",
    "strategy",
    "source",
    "token",
    "webhook",
    "system",
    "config",
    "database",
    "notifications",
]
Result = Literal["done", "refused"]

PATH = "/admin/page/actions"
_AREAS: tuple[Area, ...] = get_args(Area)
_RESULTS: tuple[Result, ...] = get_args(Result)
_ROWS = 50


class Change(NamedTuple):
    """One value that an action changed; None on a side without the value."""

    name: str
    before: str | None
    after: str | None


async def read(request: Request, connection: Connection) -> dict[str, Any]:
    """Return the requested page of the log."""
    query = request.query_params
    area, result = chosen(query, "area", _AREAS), chosen(query, "result", _RESULTS)
    cursor = cursor_of(query)
    action = f"{area}." if area else None
    listed = await records.actions_log(connection, limit=_ROWS, cursor=cursor, action=action, result=result)
    return {
        "listed": listed,
        "changes": {entry.id: list(changes(entry.before, entry.after)) for entry in listed.actions},
        "wanted": Listing(PATH, {"area": area, "result": result}, cursor),
        "areas": _AREAS,
        "results": _RESULTS,
    }


def changes(before: object, after: object, name: str = "") -> Iterator[Change]:
    """Yield the values that differ, nested ones with dotted names. Pure."""
    if (before or after) and isinstance(before, dict | None) and isinstance(after, dict | None):
        old, new = before or {}, after or {}
        for key in [*old, *(key for key in new if key not in old)]:
            yield from changes(old.get(key), new.get(key), f"{name}.{key}" if name else key)
    elif before != after:
        yield Change(name, _shown(before), _shown(after))


def _shown(value: object) -> str | None:
    if value is None or isinstance(value, str):
        return value
    return json.dumps(value, ensure_ascii=False)
