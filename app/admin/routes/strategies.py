"""Routes to list, create, change, delete and activate the screener's strategies."""

from collections.abc import Mapping
from typing import Annotated, Any

import msgspec
from fastapi import Path, Request
from pydantic import BaseModel

from app.admin.routes.configuration import CHANGE_REFUSALS, merged, problem_of, sources_of
from app.admin.value_schemas import SectionValues
from app.config import names
from app.config.checking import Document
from app.config.masking import masked_source, unmasked_source
from app.config.model import (
    BUILT_IN_STRATEGY,
    FINVIZ_FILE,
    STRATEGY_NEEDS,
    Config,
    Source,
    Strategy,
    merge,
    trimmed,
)
from app.errors import ConfigFileError, ConflictError, NoSuchError, WrongValueError
from app.screener import providers
from app.screener.pace import too_often
from app.settings import Settings
from app.signals.reasons import Reason
from app.signals.refusals import RefusalCode
from app.web.dependencies import REFUSALS, CurrentActor, Store, context_of, signed_in
from app.web.problems import Problem
from app.web.routing import new_router

_NO_SUCH: dict[int | str, dict[str, Any]] = {404: {"model": Problem, "description": "No such strategy"}}

router = new_router(
    prefix="/admin/finviz/strategies",
    tags=["strategies"],
    responses=REFUSALS,
    dependencies=[signed_in],
)

Name = Annotated[str, Path(description="The current name of the strategy")]


class StrategyValues(SectionValues):
    """A strategy. A key left out is unchanged; null falls back to .env, else to the default.

    The token of `auth=` is masked; the mask sent back leaves it unchanged. Times are in seconds.
    """

    section = Strategy
    masked = frozenset({"url"})

    name: str | None = None
    url: str | None = None
    description: str | None = None
    top_n: int | None = None
    depth: int | None = None
    refresh_interval_sec: int | None = None
    max_age_seconds: int | None = None
    reprocess_enabled: bool | None = None
    reprocess_window_seconds: int | None = None
    reprocess_max_age_seconds: int | None = None
    respect_sell_chronology_enabled: bool | None = None
    sell_chronology_window_seconds: int | None = None


class NewStrategy(StrategyValues):
    """A strategy to add. A key left out or null falls back to .env, else to the default."""

    needed = frozenset(STRATEGY_NEEDS)


class ShownStrategy(BaseModel):
    """The current values, and the source of each."""

    values: StrategyValues
    sources: dict[str, Source]


class Strategies(BaseModel):
    """All strategies, the active one, and the error of the file, if it has one."""

    active: str
    strategies: list[ShownStrategy]
    problem: str | None


@router.get("")
async def strategies(request: Request) -> Strategies:
    """All strategies, and which one is active."""
    context = context_of(request)
    config = context.config
    return Strategies(
        active=config.finviz.active_strategy.name,
        strategies=[
            ShownStrategy(
                values=StrategyValues(**{**msgspec.to_builtins(each), "url": masked_source(each.url)}),
                sources=sources_of(config, f"finviz.strategies.{each.name}"),
            )
            for each in config.finviz.strategies
        ],
        problem=problem_of(context, FINVIZ_FILE),
    )


@router.post("", status_code=201, responses=CHANGE_REFUSALS)
async def create_strategy(
    request: Request, store: Store, actor: CurrentActor, offered: NewStrategy
) -> Strategies:
    """Add a strategy; it is not activated."""
    settings = context_of(request).settings

    def edit(config: Config) -> Mapping[str, Document]:
        given = _named(offered.model_dump(exclude_none=True), config, None)
        return _replaced(config, [*_listed(config), _unmasked(given, None)], settings)

    await store.change(actor, "strategy.create", edit, target=offered.name or "")
    return await strategies(request)


@router.put("/{name:path}", responses={**CHANGE_REFUSALS, **_NO_SUCH})
async def change_strategy(
    request: Request, store: Store, actor: CurrentActor, name: Name, offered: StrategyValues
) -> Strategies:
    """Change a strategy, also its name. A change of the active one takes effect with the next refresh."""
    settings = context_of(request).settings

    def edit(config: Config) -> Mapping[str, Document]:
        strategy, listed = _known(config, name), _listed(config)
        given = _unmasked(_named(offered.model_dump(exclude_unset=True), config, strategy), strategy)
        index = config.finviz.strategies.index(strategy)
        listed[index] = merged(listed[index], msgspec.to_builtins(strategy), given)
        was_active = strategy == config.finviz.active_strategy
        return _replaced(config, listed, settings, active=listed[index].get("name") if was_active else None)

    await store.change(actor, "strategy.change", edit, target=name)
    return await strategies(request)


@router.delete("/{name:path}", responses={**CHANGE_REFUSALS, **_NO_SUCH})
async def delete_strategy(request: Request, store: Store, actor: CurrentActor, name: Name) -> Strategies:
    """Delete a strategy that is not active. Its stored lists stay until retention deletes them."""
    settings = context_of(request).settings

    def edit(config: Config) -> Mapping[str, Document]:
        strategy, listed = _known(config, name), _listed(config)
        if strategy == config.finviz.active_strategy:
            raise ConflictError(RefusalCode.STRATEGY_ACTIVE, name=repr(name))
        del listed[config.finviz.strategies.index(strategy)]
        return _replaced(config, listed, settings)

    await store.change(actor, "strategy.delete", edit, target=name)
    return await strategies(request)


@router.post("/{name:path}/activate", responses={**CHANGE_REFUSALS, **_NO_SUCH})
async def activate_strategy(request: Request, store: Store, actor: CurrentActor, name: Name) -> Strategies:
    """Make this strategy the active one. Buys wait until its first list is fetched."""
    settings = context_of(request).settings

    def edit(config: Config) -> Mapping[str, Document]:
        return _replaced(config, _listed(config), settings, active=_known(config, name).name)

    await store.change(actor, "strategy.activate", edit, target=name)
    return await strategies(request)


def _known(config: Config, name: str) -> Strategy:
    for strategy in config.finviz.strategies:
        if strategy.name == name:
            return strategy
    there = ", ".join(strategy.name for strategy in config.finviz.strategies)
    raise NoSuchError(RefusalCode.NO_STRATEGY, name=repr(name), names=there)


def _listed(config: Config) -> list[Document]:
    """Return the strategies as documents, in the order of `config.finviz.strategies`."""
    return list(config.documents[FINVIZ_FILE].get("strategies") or [BUILT_IN_STRATEGY])


def _replaced(
    config: Config, listed: list[Document], settings: Settings, *, active: str | None = None
) -> dict[str, Document]:
    """Return the file with these strategies. It names the active one, so that no other one becomes active."""
    document = {
        **config.documents[FINVIZ_FILE],
        "active": active or config.finviz.active_strategy.name,
        "strategies": listed,
    }
    finviz = merge({FINVIZ_FILE: document}, settings).finviz
    # Fails open: a current source that a stricter check would refuse is kept until a person changes it.
    in_force = {strategy.url for strategy in config.finviz.strategies}
    for index, strategy in enumerate(finviz.strategies):
        if strategy.url not in in_force:
            _check_url(strategy.url, f"strategies[{index}].url", allow_other_hosts=finviz.allow_other_hosts)
        if strategy not in config.finviz.strategies:
            _check_pace(strategy, f"strategies[{index}]")
    return {FINVIZ_FILE: document}


def _check_url(url: str, place: str, *, allow_other_hosts: bool) -> None:
    try:
        providers.check(url, allow_other_hosts=allow_other_hosts)
    except providers.ProviderError as error:
        raise ConfigFileError(FINVIZ_FILE, error.reason, place=place) from error


def _check_pace(strategy: Strategy, place: str) -> None:
    problem = too_often(
        strategy.url,
        top_n=strategy.top_n,
        depth=strategy.depth,
        refresh_interval_sec=strategy.refresh_interval_sec,
    )
    if problem:
        raise ConfigFileError(FINVIZ_FILE, problem, place=place)


def _named(given: dict[str, Any], config: Config, current: Strategy | None) -> dict[str, Any]:
    """Return the given values with a normalised name. The current name is kept unchanged and unchecked."""
    name = given.get("name")
    if name is None or (current and name == current.name):
        return given
    try:
        name = names.normal(name)
    except WrongValueError as error:
        raise ConfigFileError(FINVIZ_FILE, error.reason, place="name") from error
    for strategy in config.finviz.strategies:
        if name != strategy.name and strategy is not current and names.alike(name, strategy.name):
            fault = Reason(RefusalCode.NAME_ALIKE, name=repr(strategy.name))
            raise ConfigFileError(FINVIZ_FILE, fault, place="name")
    return {**given, "name": name}


def _unmasked(given: dict[str, Any], current: Strategy | None) -> dict[str, Any]:
    if given.get("url"):
        try:
            given["url"] = unmasked_source(trimmed(given["url"]), current.url if current else None)
        except WrongValueError as error:
            raise ConfigFileError(FINVIZ_FILE, error.reason, place="url") from error
    return given
