"""Where orders go: the configured destinations. Pure."""

import re
from collections.abc import Mapping, Sequence
from functools import lru_cache
from typing import Annotated, Any, Literal, NamedTuple

from msgspec import Meta, Struct

from app.config.access import SOURCE_LENGTH
from app.config.checking import Document, as_object, checked
from app.errors import ConfigFileError
from app.settings import check_destination_url
from app.signals.reasons import Reason
from app.signals.refusals import RefusalCode
from app.signals.statuses import RetryUnknown
from app.signals.tickers import fold, without_exchange

DEFAULT_DESTINATION = "default"  # the one of the keys outside of the list
_NAME = re.compile(r"[a-z0-9][a-z0-9_-]{0,39}")
_PRINTABLE = r"^[^\x00-\x1f\x7f]*\Z"
_GAP_SECONDS = 10  # the bridge documents races between opposite orders of a ticker
_MOST = 10
_TICKERS_SHOWN = 10
# What an entry `default` may say; its other values have keys outside of the list.
OF_DEFAULT = frozenset({"name", "profile", "ticker_gap_seconds", "match"})

Name = Annotated[str, Meta(min_length=1, max_length=40, pattern=rf"^{_NAME.pattern}\Z")]
Url = Annotated[str, Meta(min_length=1, max_length=4000, pattern=_PRINTABLE)]
Timeout = Annotated[float, Meta(gt=0, le=60)]
PerMinute = Annotated[int, Meta(ge=1, le=100_000)]
PerHour = Annotated[int, Meta(ge=1, le=1_000_000)]
Profile = Literal["traderspost", "raw"]


class ExitReserve(Struct, frozen=True, kw_only=True):
    """How much of each rate limit is for exits only; at most half of a limit counts."""

    per_min: Annotated[int, Meta(ge=0, le=100_000)]
    per_hour: Annotated[int, Meta(ge=0, le=1_000_000)]


class Match(Struct, frozen=True, kw_only=True):
    """Which entries a destination takes; an empty list: any source, any ticker.

    Exits go wherever their ticker is open or about to be.
    """

    sources: Annotated[
        tuple[Annotated[str, Meta(min_length=1, max_length=SOURCE_LENGTH)], ...], Meta(max_length=50)
    ]
    tickers: Annotated[tuple[Annotated[str, Meta(min_length=1, max_length=60)], ...], Meta(max_length=1000)]

    def takes(self, source: str, ticker: str) -> bool:
        """Return whether an alert of this source and folded ticker is for the destination."""
        return (not self.sources or source in self.sources) and (
            not self.tickers or ticker in _folded(self.tickers)
        )


@lru_cache(maxsize=32)
def _folded(tickers: tuple[str, ...]) -> frozenset[str]:
    return frozenset(fold(without_exchange(ticker)) for ticker in tickers)


class DestinationConfig(Struct, frozen=True, kw_only=True):
    """A destination; `url` None is paper. All times in seconds.

    `ticker_gap_seconds`: an order waits so long after the delivery of an opposite order of its ticker.
    """

    name: Name
    url: Url | None
    profile: Profile
    timeout: Timeout
    max_req_per_min: PerMinute
    max_req_per_hour: PerHour
    exit_reserve: ExitReserve
    rate_limiting_enabled: bool
    retry_unknown: RetryUnknown
    ticker_gap_seconds: Annotated[int, Meta(ge=0, le=3600)]
    match: Match

    def __repr__(self) -> str:
        """Return the name only: a log or a failed test must not have the password in the URL."""
        return f"<destination {self.name!r}>"


class DestinationUse(NamedTuple):
    """The tickers that are open at a destination, and those that only have an unfinished order there."""

    name: str
    open: Sequence[str]
    pending: Sequence[str]

    @property
    def refusal(self) -> Reason:
        """Why the destination cannot be removed."""
        if self.open:
            return Reason(RefusalCode.DESTINATION_OPEN, name=repr(self.name), tickers=_shown(self.open))
        return Reason(RefusalCode.DESTINATION_PENDING, name=repr(self.name), tickers=_shown(self.pending))


def _shown(tickers: Sequence[str]) -> str:
    return ", ".join([*tickers[:_TICKERS_SHOWN], *(["…"] if len(tickers) > _TICKERS_SHOWN else [])])


class _Listed(Struct):
    destinations: Annotated[tuple[dict[str, Any], ...], Meta(max_length=_MOST)]


def read_destinations(
    document: Document, file: str, default: Mapping[str, Any], *, profile: Profile, max_age_seconds: int
) -> tuple[DestinationConfig, ...]:
    """Return all destinations, `default` first. `default` are its values outside of the list.

    `profile` is the one of a destination without its own; `max_age_seconds` the shortest age at which a
    signal expires: an order must be able to wait out the gap.

    Raises:
        ConfigFileError: an entry is not valid. Fails closed: the last valid content stays current, so that no
            exit misses the destination of its position.
    """
    given = document.get("destinations")
    if given is not None:
        checked({"destinations": given}, _Listed, file)
    entries = [as_object(entry, file, f"destinations[{index}]") for index, entry in enumerate(given or ())]
    found = dict[str, DestinationConfig]()
    urls = {default["url"]: DEFAULT_DESTINATION}
    for index, entry in enumerate(entries):
        place = f"destinations[{index}]"
        name = _name(entry, found, file, place)
        values = (
            _own(entry, file, place)
            if name != DEFAULT_DESTINATION
            else _of_default(entry, default, file, place)
        )
        found[name] = _destination(name, entry, values, file, place, profile=profile)
        _check(found[name], urls, max_age_seconds, file, place)
    if DEFAULT_DESTINATION not in found:
        found[DEFAULT_DESTINATION] = _destination(DEFAULT_DESTINATION, {}, default, file, "", profile=profile)
    return (found.pop(DEFAULT_DESTINATION), *found.values())


def _name(entry: Document, others: Mapping[str, Any], file: str, place: str) -> str:
    name = entry.get("name")
    if name is None:
        raise ConfigFileError(file, Reason(RefusalCode.VALUE_REQUIRED), place=f"{place}.name")
    if not isinstance(name, str) or not _NAME.fullmatch(name):
        raise ConfigFileError(file, Reason(RefusalCode.DESTINATION_NAME), place=f"{place}.name")
    if name in others:
        raise ConfigFileError(file, Reason(RefusalCode.NAMES_NOT_UNIQUE), place=f"{place}.name")
    return name


def _of_default(entry: Document, default: Mapping[str, Any], file: str, place: str) -> Mapping[str, Any]:
    for key in entry:
        if key not in OF_DEFAULT and key in DestinationConfig.__struct_fields__:
            raise ConfigFileError(
                file, Reason(RefusalCode.KEY_OF_DEFAULT, setting=key), place=f"{place}.{key}"
            )
    return default


def _own(entry: Document, file: str, place: str) -> dict[str, Any]:
    url = entry.get("url")
    if url == "":
        url = None
    try:
        if isinstance(url, str):
            check_destination_url(url)
    except ValueError as error:
        raise ConfigFileError(file, Reason(RefusalCode.DESTINATION_NO_URL), place=f"{place}.url") from error
    reserve = as_object(entry.get("exit_reserve"), file, f"{place}.exit_reserve")
    retry = as_object(entry.get("retry_unknown"), file, f"{place}.retry_unknown")
    return {
        "url": url,
        "timeout": _or(entry.get("timeout"), 5.0),
        "max_req_per_min": _or(entry.get("max_req_per_min"), 60),
        "max_req_per_hour": _or(entry.get("max_req_per_hour"), 500),
        "exit_reserve": {
            "per_min": _or(reserve.get("per_min"), 5),
            "per_hour": _or(reserve.get("per_hour"), 50),
        },
        "rate_limiting_enabled": _or(entry.get("rate_limiting_enabled"), True),  # noqa: FBT003  # a value
        "retry_unknown": {"buy": _or(retry.get("buy"), False), "sell": _or(retry.get("sell"), True)},  # noqa: FBT003
    }


def _or(value: object, default: object) -> object:
    return default if value is None else value


def _destination(
    name: str, entry: Document, values: Mapping[str, Any], file: str, place: str, *, profile: Profile
) -> DestinationConfig:
    match = as_object(entry.get("match"), file, f"{place}.match")
    chosen = _or(entry.get("profile"), profile)
    # as it is without the list: the gap of `default` is off unless its entry says otherwise
    has_gap = name != DEFAULT_DESTINATION and values["url"] is not None and chosen == "traderspost"
    return checked(
        {
            "name": name,
            "profile": chosen,
            "ticker_gap_seconds": _or(entry.get("ticker_gap_seconds"), _GAP_SECONDS if has_gap else 0),
            "match": {key: _or(match.get(key), []) for key in Match.__struct_fields__},
            **{key: values[key] for key in DestinationConfig.__struct_fields__ if key in values},
        },
        DestinationConfig,
        file,
        f"{place}." if place else "",
    )


def _check(
    destination: DestinationConfig, urls: dict[Any, str], max_age_seconds: int, file: str, place: str
) -> None:
    """Check a destination against the others; `urls` are theirs by name, and get its own."""
    if destination.ticker_gap_seconds >= max_age_seconds:
        fault = Reason(RefusalCode.GAP_TOO_LONG, seconds=max_age_seconds)
        raise ConfigFileError(file, fault, place=f"{place}.ticker_gap_seconds")
    if destination.url is not None and urls.setdefault(destination.url, destination.name) != destination.name:
        raise ConfigFileError(file, Reason(RefusalCode.SAME_DESTINATION), place=f"{place}.url")
