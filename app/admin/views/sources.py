"""Who may post alerts, and who may use page and API: sources and tokens, with forms to change them."""

from typing import TYPE_CHECKING, Any

from fastapi import Request

from app.admin.fields import Field, Kind, fields_of
from app.admin.routes import sources as api
from app.admin.routes import tokens
from app.admin.routes.configuration import section_values
from app.config.access import DEFAULT_SOURCE, FIRST_OPERATOR, SECRET_FIELDS, AlertSource, default_source
from app.config.model import SYSTEM_FILE, WEBHOOK_FILE
from app.db.pool import Connection
from app.web.dependencies import context_of

if TYPE_CHECKING:
    from app.config.model import Source


async def read(request: Request, connection: Connection) -> dict[str, Any]:
    """Return each source with its fields, those of a new one, and the tokens."""
    context = context_of(request)
    listed = await api.sources(request, connection)
    return {
        "sources": [
            (each.values.name, each.last_signal_at, _fields(each.values.model_dump()))
            for each in listed.sources
        ],
        "problem": context.config_problems.get(WEBHOOK_FILE),
        "is_open": not context.settings.webhook_secret,
        "blank": _fields({**section_values(default_source()), "name": ""}),
        "default_source": DEFAULT_SOURCE,
        "tokens_problem": context.config_problems.get(SYSTEM_FILE),
        "tokens": (await tokens.tokens(request)).tokens,
        "first_operator": FIRST_OPERATOR,
    }


def _fields(values: dict[str, Any]) -> list[Field]:
    """Return the fields of a source; `default` has neither another name nor a secret of its own."""
    ages = values["max_source_age_seconds"]
    flat = {**values, **{f"max_source_age_seconds.{key}": age for key, age in ages.items()}}
    origins = {name: _origin(value) for name, value in flat.items()}
    fixed = {"name", "secret"} if values["name"] == DEFAULT_SOURCE else set[str]()
    kinds: dict[str, Kind] = {"allow_from": "words", **dict.fromkeys(SECRET_FIELDS, "secret")}
    return [
        each._replace(limits=each.limits._replace(kind=kinds.get(each.name, each.limits.kind)))
        for each in fields_of(AlertSource, values, origins, ("name",))
        if each.name not in fixed
    ]


def _origin(value: object) -> "Source":
    return "default" if value in (None, []) else "file"
