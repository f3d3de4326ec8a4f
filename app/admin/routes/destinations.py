"""Routes to list, create, change and delete the destinations of orders."""

from collections.abc import Mapping
from typing import Annotated, Any, Literal

from fastapi import Path, Request
from pydantic import BaseModel, Field

from app.admin.routes.configuration import (
    CHANGE_REFUSALS,
    BuySell,
    ExitReserveValues,
    merged,
    problem_of,
    section_values,
)
from app.admin.value_schemas import SectionValues
from app.config.checking import Document
from app.config.destinations import DEFAULT_DESTINATION, DestinationConfig, Match
from app.config.masking import masked_destination, unmasked_destination
from app.config.model import WEBHOOK_FILE, Config
from app.errors import ConfigFileError, ConflictError, NoSuchError, WrongValueError
from app.orders.destination_state import describe_destination
from app.signals.reasons import Reason
from app.signals.refusals import RefusalCode
from app.web.dependencies import REFUSALS, CurrentActor, Store, context_of, signed_in
from app.web.problems import Problem
from app.web.routing import new_router

_NO_SUCH: dict[int | str, dict[str, Any]] = {404: {"model": Problem, "description": "No such destination"}}

router = new_router(
    prefix="/admin/destinations", tags=["destinations"], responses=REFUSALS, dependencies=[signed_in]
)

Name = Annotated[str, Path(description="The name of the destination")]


class MatchValues(SectionValues):
    """Which entries the destination takes; an empty list: any source, any ticker.

    Exits go wherever their ticker is open.
    """

    section = Match

    sources: list[str] | None = Field(None, description="Names of sources")
    tickers: list[str] | None = Field(None, description="Tickers")


class DestinationValues(SectionValues):
    """A destination. A key left out is unchanged; null falls back to the default.

    `url` is masked except its host; the mask sent back leaves it unchanged. Without a `url` it is paper.
    Of `default` only `profile`, `ticker_gap_seconds` and `match` are changed here.
    """

    section = DestinationConfig
    masked = frozenset({"url"})
    may_be_empty = frozenset({"url"})

    name: str | None = None
    url: str | None = None
    profile: str | None = Field(None, description="`traderspost` or `raw`")
    timeout: float | None = Field(None, description="Seconds")
    max_req_per_min: int | None = None
    max_req_per_hour: int | None = None
    exit_reserve: ExitReserveValues | None = None
    rate_limiting_enabled: bool | None = None
    retry_unknown: BuySell | None = None
    ticker_gap_seconds: int | None = Field(
        None, description="Seconds that an order waits after the delivery of an opposite one of its ticker"
    )
    match: MatchValues | None = None


class NewDestination(DestinationValues):
    """A destination to add."""

    needed = frozenset({"name"})


class ShownDestination(BaseModel):
    """A destination, and whether orders are sent to it now."""

    values: DestinationValues
    kind: Literal["paper", "live"]
    state: Literal["open", "held", "paused"]


class Destinations(BaseModel):
    """All destinations, `default` first, and the error of the file, if it has one."""

    destinations: list[ShownDestination]
    problem: str | None


class NamedDestination(BaseModel):
    """The destination that was created, changed or deleted."""

    name: str


@router.get("")
async def destinations(request: Request) -> Destinations:
    """All destinations of orders."""
    context = context_of(request)
    found = []
    for each in context.config.destinations:
        described = describe_destination(context, each.name)
        values = DestinationValues.model_validate(_shown(each))
        found.append(ShownDestination(values=values, kind=described["kind"], state=described["state"]))
    return Destinations(destinations=found, problem=problem_of(context, WEBHOOK_FILE))


@router.post("", status_code=201, responses=CHANGE_REFUSALS)
async def create_destination(store: Store, actor: CurrentActor, offered: NewDestination) -> NamedDestination:
    """Add a destination; it gets the alerts that come from now on."""
    given = offered.model_dump(exclude_none=True)

    def edit(config: Config) -> Mapping[str, Document]:
        if config.destination(given.get("name", "")) is not None:  # `default` exists without an entry
            raise ConfigFileError(WEBHOOK_FILE, Reason(RefusalCode.NAMES_NOT_UNIQUE), place="name")
        return _replaced(config, [*entries_in(config), given])

    await store.change(actor, "destination.create", edit, target=given.get("name", ""))
    return NamedDestination(name=given.get("name", ""))


@router.put("/{name}", responses={**CHANGE_REFUSALS, **_NO_SUCH})
async def change_destination(
    store: Store, actor: CurrentActor, name: Name, offered: DestinationValues
) -> NamedDestination:
    """Change a destination, but for its name: orders and positions have it. Effective at once."""
    given = offered.model_dump(exclude_unset=True)

    def edit(config: Config) -> Mapping[str, Document]:
        current = _find(config, name)
        if given.get("name") not in {None, name}:
            raise ConflictError(RefusalCode.DESTINATION_NAMED, name=repr(name))
        changes = {key: value for key, value in given.items() if key != "name"}
        if changes.get("url"):
            changes["url"] = _unmasked(changes["url"], current)
        entries = entries_in(config)
        before = next((each for each in entries if each.get("name") == name), {"name": name})
        after = merged(before, section_values(current), changes)
        others = [each for each in entries if each.get("name") != name]
        index = entries.index(before) if before in entries else len(entries)
        return _replaced(config, [*others[:index], after, *others[index:]])

    await store.change(actor, "destination.change", edit, target=name)
    return NamedDestination(name=name)


@router.delete("/{name}", responses={**CHANGE_REFUSALS, **_NO_SUCH})
async def delete_destination(store: Store, actor: CurrentActor, name: Name) -> NamedDestination:
    """Delete a destination. One with an open position or an unfinished order stays: no exit may be lost."""

    def edit(config: Config) -> Mapping[str, Document]:
        _find(config, name)
        if name == DEFAULT_DESTINATION:
            raise ConflictError(RefusalCode.DESTINATION_STAYS, name=repr(name))
        return _replaced(config, [each for each in entries_in(config) if each.get("name") != name])

    await store.change(actor, "destination.delete", edit, target=name)
    return NamedDestination(name=name)


def _shown(destination: DestinationConfig) -> dict[str, Any]:
    url = destination.url
    return {**section_values(destination), "url": None if url is None else masked_destination(url)}


def _unmasked(offered: str, current: DestinationConfig) -> str:
    try:
        return unmasked_destination(offered.strip() or offered, current.url)
    except WrongValueError as error:
        raise ConfigFileError(WEBHOOK_FILE, error.reason, place="url") from error


def _find(config: Config, name: str) -> DestinationConfig:
    found = config.destination(name)
    if found is None:
        names = ", ".join(each.name for each in config.destinations)
        raise NoSuchError(RefusalCode.DESTINATION_UNKNOWN, name=repr(name), names=names)
    return found


def entries_in(config: Config) -> list[Document]:
    """Return the entries of the list, without values that are not objects: these do not count."""
    listed = config.documents.get(WEBHOOK_FILE, {}).get("destinations")
    return [each for each in listed if isinstance(each, dict)] if isinstance(listed, list) else []


def _replaced(config: Config, entries: list[Document]) -> Mapping[str, Document]:
    return {WEBHOOK_FILE: {**config.documents.get(WEBHOOK_FILE, {}), "destinations": entries}}
