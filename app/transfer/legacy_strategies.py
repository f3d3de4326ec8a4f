"""Strategies of the replaced system as those of this one: what is not valid here is replaced and named."""

from collections.abc import Iterable
from dataclasses import dataclass, field
from typing import Any

from app.config import names
from app.config.checking import Document
from app.config.masking import without_secrets
from app.config.model import FINVIZ_FILE, Config, merge
from app.errors import ConfigFileError, WrongValueError
from app.screener import providers
from app.screener.pace import too_often
from app.settings import Settings

_NEEDED = frozenset({"name", "url"})


@dataclass(slots=True)
class Strategies:
    """The strategies to add, the one to activate if there was none before, and remarks about them.

    `present` counts those whose name exists already, `refused` those that cannot be added.
    """

    added: list[Document] = field(default_factory=list)
    active: str | None = None
    present: int = 0
    refused: list[str] = field(default_factory=list)
    remarks: list[str] = field(default_factory=list)


def convert(found: Iterable[tuple[Document, bool]], config: Config, settings: Settings) -> Strategies:
    """Return which strategies are to be added to the configuration."""
    result = Strategies()
    listed = config.documents.get(FINVIZ_FILE, {}).get("strategies") or []
    known = [str(each.get("name")) for each in listed]
    for number, (document, was_active) in enumerate(found, 1):
        try:
            name = names.normal(str(document.get("name") or ""))
        except WrongValueError as error:
            result.refused.append(f"strategy {number}: name: {error}")
            continue
        if any(names.alike(name, each) for each in known):
            result.present += 1
            continue
        if any(names.alike(name, str(each["name"])) for each in result.added):
            result.refused.append(f"strategy {name!r}: another one has this name")
            continue
        try:
            strategy = _valid({**document, "name": name}, config, settings, result.remarks)
        except ConfigFileError as error:
            result.refused.append(f"strategy {name!r}: {error.place.rpartition('.')[2]}: {error.fault}")
            continue
        result.added.append(strategy)
        if was_active and (settings.legacy_activate or not known):
            result.active = name
        elif was_active:
            result.remarks.append(f"strategy {name!r} was the active one there; here it is not")
    return result


def with_added(config: Config, found: Strategies) -> Document:
    """Return the document with the strategies. The active one stays, unless one is to be activated."""
    document: dict[str, Any] = dict(config.documents.get(FINVIZ_FILE, {}))
    listed = list(document.get("strategies") or [])
    document["strategies"] = [*listed, *found.added]
    if found.active:
        document["active"] = found.active
    elif listed:
        document["active"] = config.finviz.active_strategy.name
    return document


def _valid(document: Document, config: Config, settings: Settings, remarks: list[str]) -> Document:
    """Return the strategy with defaults for values that are not valid.

    A URL that cannot be read now stays: buys wait, and the page says why. With the default they would not.

    Raises:
        ConfigFileError: its name or its URL is not valid.
    """
    strategy = dict(document)
    name = strategy["name"]
    if isinstance(url := strategy.get("url"), str) and (bare := without_secrets(url.strip())) != url:
        strategy["url"] = bare
        if bare != url.strip():
            remarks.append(f"strategy {name!r}: its URL had a token: set FINVIZ_ELITE_AUTH in .env")
    while True:
        try:
            (merged,) = merge({FINVIZ_FILE: {"strategies": [strategy]}}, settings).finviz.strategies
            break
        except ConfigFileError as error:
            key = error.place.rpartition(".")[2]
            if key in _NEEDED or key not in strategy:
                raise
            remarks.append(f"strategy {name!r}: {key} {strategy.pop(key)!r} is replaced by the default")
    try:
        providers.check(merged.url, allow_other_hosts=config.finviz.allow_other_hosts)
    except providers.ProviderError as error:
        remarks.append(f"strategy {name!r}: its list cannot be read: {error.reason}")
    pace = too_often(
        merged.url,
        top_n=merged.top_n,
        depth=merged.depth,
        refresh_interval_sec=merged.refresh_interval_sec,
    )
    if pace:
        needed = strategy["refresh_interval_sec"] = pace.parameters["needed"]
        remarks.append(
            f"strategy {name!r}: refresh_interval_sec {merged.refresh_interval_sec} is {needed} now: "
            "the site allows no more requests"
        )
    return strategy
