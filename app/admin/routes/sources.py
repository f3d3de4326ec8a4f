"""Routes to list, create, change and delete the sources of alerts, and to replace the secret of one."""

import secrets
from collections.abc import Mapping
from datetime import datetime
from typing import Annotated, Any

from fastapi import Path, Request
from pydantic import BaseModel, Field

from app.admin.routes.configuration import CHANGE_REFUSALS, merged, problem_of, section_values
from app.admin.value_schemas import SectionValues
from app.config.access import DEFAULT_SOURCE, SECRET_FIELDS, AlertSource, MaxSourceAge, default_source
from app.config.checking import Document
from app.config.masking import MASK
from app.config.model import WEBHOOK_FILE, Config
from app.errors import ConflictError, NoSuchError
from app.intake.repository import fetch_last_arrivals
from app.signals.reasons import Reason
from app.signals.refusals import RefusalCode
from app.web.dependencies import REFUSALS, CurrentActor, Reading, Store, context_of, signed_in
from app.web.problems import Problem
from app.web.routing import new_router

_NO_SUCH: dict[int | str, dict[str, Any]] = {404: {"model": Problem, "description": "No such source"}}
_SECRET_BYTES = 24

router = new_router(prefix="/admin/sources", tags=["sources"], responses=REFUSALS, dependencies=[signed_in])

Name = Annotated[str, Path(description="The current name of the source")]


class MaxSourceAgeValues(SectionValues):
    """The oldest alert that is accepted, by the time that it names, in seconds; null: any."""

    section = MaxSourceAge

    buy: int | None = Field(None, description="An older entry is rejected")
    sell: int | None = Field(None, description="An older exit passes with a remark")


class SourceValues(SectionValues):
    """A source of alerts. A key left out is unchanged; null removes the value.

    Secrets are masked; the mask sent back leaves one unchanged.
    """

    section = AlertSource
    masked = frozenset(SECRET_FIELDS)

    name: str | None = None
    secret: str | None = Field(None, description="Of the source `default` it is WEBHOOK_SECRET in .env")
    previous_secret: str | None = Field(None, description="Counts, too, until it is removed")
    allow_from: list[str] | None = Field(
        None, description="Addresses, networks and `tradingview` (its published addresses); empty: any"
    )
    per_minute: int | None = Field(None, description="Signals a minute; exits pass beyond it")
    expect_within_minutes: int | None = Field(None, description="Without a signal for so long: an alarm")
    max_source_age_seconds: MaxSourceAgeValues | None = None


class NewSource(SourceValues):
    """A source to add. Without a secret, one is made."""

    needed = frozenset({"name"})


class ShownSource(BaseModel):
    """A source. `last_signal_at`: when its last signal arrived, null without any."""

    values: SourceValues
    last_signal_at: datetime | None


class AlertSources(BaseModel):
    """All sources, `default` first, and the error of the file, if it has one."""

    sources: list[ShownSource]
    problem: str | None


class SourceSecret(BaseModel):
    """The secret of a source that was created, or whose secret was replaced: shown this once; else null."""

    name: str
    secret: str | None


@router.get("")
async def sources(request: Request, connection: Reading) -> AlertSources:
    """All sources of alerts, and when each posted last."""
    context = context_of(request)
    listed = listed_sources(context.config)
    arrivals = await fetch_last_arrivals(connection, sources=[source.name for source in listed])
    return AlertSources(
        sources=[
            ShownSource(
                values=SourceValues.model_validate(_shown(source)), last_signal_at=arrivals.get(source.name)
            )
            for source in listed
        ],
        problem=problem_of(context, WEBHOOK_FILE),
    )


@router.post("", status_code=201, responses=CHANGE_REFUSALS)
async def create_source(store: Store, actor: CurrentActor, offered: NewSource) -> SourceSecret:
    """Add a source; it may post at once."""
    given = {"secret": secrets.token_urlsafe(_SECRET_BYTES), **offered.model_dump(exclude_none=True)}

    def edit(config: Config) -> Mapping[str, Document]:
        return _replaced(config, [*_documents(config), given])

    await store.change(actor, "source.create", edit, target=given.get("name", ""))
    return SourceSecret(name=given.get("name", ""), secret=given["secret"])


@router.put("/{name:path}", responses={**CHANGE_REFUSALS, **_NO_SUCH})
async def change_source(store: Store, actor: CurrentActor, name: Name, offered: SourceValues) -> SourceSecret:
    """Change a source, also its name. Effective at once in every process of the stack."""

    def edit(config: Config) -> Mapping[str, Document]:
        return _changed(config, name, offered.model_dump(exclude_unset=True))

    await store.change(actor, "source.change", edit, target=name)
    return SourceSecret(name=offered.name or name, secret=None)


@router.delete("/{name:path}", responses={**CHANGE_REFUSALS, **_NO_SUCH})
async def delete_source(store: Store, actor: CurrentActor, name: Name) -> SourceSecret:
    """Delete a source: its secrets are refused from now on. Its signals stay."""

    def edit(config: Config) -> Mapping[str, Document]:
        if name == DEFAULT_SOURCE:
            raise ConflictError(RefusalCode.DEFAULT_STAYS, name=repr(name))
        index, documents = _place_of(config, name), _documents(config)
        del documents[index]
        return _replaced(config, documents)

    await store.change(actor, "source.delete", edit, target=name)
    return SourceSecret(name=name, secret=None)


@router.post("/{name:path}/rotate", responses={**CHANGE_REFUSALS, **_NO_SUCH})
async def rotate_secret(store: Store, actor: CurrentActor, name: Name) -> SourceSecret:
    """Make a new secret for a source. The one before counts, too, until it is removed.

    While there is a previous secret this is a conflict: alerts may still have it, exits too.
    """
    made = secrets.token_urlsafe(_SECRET_BYTES)

    def edit(config: Config) -> Mapping[str, Document]:
        if name == DEFAULT_SOURCE:
            raise ConflictError(RefusalCode.DEFAULT_ROTATION, name=repr(name))
        source = config.alert_sources[_place_of(config, name)]
        if source.previous_secret is not None:
            raise ConflictError(RefusalCode.ROTATION_OPEN, name=repr(name))
        return _changed(config, name, {"secret": made, "previous_secret": source.secret})

    await store.change(actor, "source.rotate", edit, target=name)
    return SourceSecret(name=name, secret=made)


def listed_sources(config: Config) -> list[AlertSource]:
    """Return all sources, `default` first, whether or not the file has an entry for it."""
    default = [source for source in config.alert_sources if source.name == DEFAULT_SOURCE]
    others = [source for source in config.alert_sources if source.name != DEFAULT_SOURCE]
    return [*(default or [default_source()]), *others]


def _shown(source: AlertSource) -> dict[str, Any]:
    values = section_values(source)
    return {**values, **{field: MASK for field in SECRET_FIELDS if values[field] is not None}}


def _place_of(config: Config, name: str) -> int:
    known = [source.name for source in config.alert_sources]
    if name not in known:
        there = ", ".join(source.name for source in listed_sources(config))
        raise NoSuchError(RefusalCode.NO_SOURCE, name=repr(name), names=there)
    return known.index(name)


def _documents(config: Config) -> list[Document]:
    """Return the sources as documents, in the order of `config.alert_sources`.

    Raises:
        ConflictError: the file has an entry that is ignored, and that only a person can correct.
    """
    listed = config.documents.get(WEBHOOK_FILE, {}).get("sources") or []
    if not isinstance(listed, list) or len(listed) != len(config.alert_sources):
        raise ConflictError(RefusalCode.FILE_WRONG, reason=Reason(RefusalCode.IGNORED_ENTRIES))
    return list(listed)


def _changed(config: Config, name: str, given: Mapping[str, Any]) -> Mapping[str, Document]:
    documents = _documents(config)
    if name == DEFAULT_SOURCE and all(source.name != name for source in config.alert_sources):
        source, before = default_source(), dict[str, Any](name=DEFAULT_SOURCE)
        index = len(documents)
        documents.append(before)
    else:
        index = _place_of(config, name)
        source = config.alert_sources[index]
    # the mask of a secret is its shown value, and so no change
    documents[index] = merged(documents[index], _shown(source), given)
    return _replaced(config, documents)


def _replaced(config: Config, documents: list[Document]) -> Mapping[str, Document]:
    return {WEBHOOK_FILE: {**config.documents.get(WEBHOOK_FILE, {}), "sources": documents}}
