"""Where orders go: the destinations, with forms to add, change and delete them."""

from collections import Counter
from typing import TYPE_CHECKING, Any

from fastapi import Request

from app.admin.fields import Field, fields_of
from app.admin.routes import destinations as api
from app.admin.routes.configuration import section_values
from app.config.checking import Document
from app.config.destinations import DEFAULT_DESTINATION, OF_DEFAULT, DestinationConfig
from app.config.model import WEBHOOK_FILE, WebhookConfig, merge
from app.db.pool import Connection
from app.positions import repository as positions
from app.settings import Settings
from app.web.dependencies import context_of

if TYPE_CHECKING:
    from app.config.model import Source

# Of these the labels are those of the configuration; that of `url` there is `Destination`.
_SHARED = frozenset(WebhookConfig.__struct_fields__) - {"url"}
# Of a live destination for the bridge: its default gap is shown, not that of paper.
_BLANK: Document = {"name": "new", "url": "https://new.invalid"}


async def read(request: Request, connection: Connection) -> dict[str, Any]:
    """Return each destination with its state, open positions and fields, and the fields of a new one."""
    context = context_of(request)
    listed = await api.destinations(request)
    entries = {str(each.get("name")): each for each in api.entries_in(context.config)}
    return {
        "destinations": [
            (
                each,
                _fields(each.values.model_dump(), entries.get(str(each.values.name), {}), context.settings),
            )
            for each in listed.destinations
        ],
        "held": Counter(each.destination for each in await positions.open_positions(connection)),
        "problem": context.config_problems.get(WEBHOOK_FILE),
        "blank": _blank(context.settings),
        "default_destination": DEFAULT_DESTINATION,
        "shared": _SHARED,
    }


def _blank(settings: Settings) -> list[Field]:
    config = merge({WEBHOOK_FILE: {"destinations": [_BLANK]}}, settings).destinations[-1]
    return _fields({**section_values(config), "name": "", "url": ""}, {}, settings)


def _fields(values: dict[str, Any], entry: Document, settings: Settings) -> list[Field]:
    """Return the fields of a destination; of `default` those that its entry may have."""
    names = OF_DEFAULT if values["name"] == DEFAULT_DESTINATION else DestinationConfig.__struct_fields__
    origins = _origins(values, entry, settings)
    found = fields_of(DestinationConfig, values, origins, ("name",))
    return [each for each in found if each.name.partition(".")[0] in names]


def _origins(values: dict[str, Any], entry: Document, settings: Settings) -> "dict[str, Source]":
    """Return where each value is from, by its dotted name."""
    names = set[str]()
    found = set[str]()
    for name, value in values.items():
        given = entry.get(name)
        if isinstance(value, dict):
            names |= {f"{name}.{key}" for key in value}
            inner = given if isinstance(given, dict) else {}  # the entry may be one that does not count
            found |= {f"{name}.{key}" for key, each in inner.items() if each is not None}
        else:
            names.add(name)
            found |= {name} if given is not None else set()
    origins: dict[str, Source] = {name: "file" if name in found else "default" for name in names}
    if "profile" not in found and "map_side_to_action_traderspost" in settings.model_fields_set:
        origins["profile"] = "env"
    return origins
