"""Where orders go: the configured destinations. Pure."""

import re
from collections.abc import Mapping, Sequence
from functools import lru_cache
from typing import Annotated, Any, ClassVar, Literal, NamedTuple

from msgspec import Meta, Struct, structs

from app.config.access import SOURCE_LENGTH
from app.config.checking import Document, as_object, checked, entries_of, unknown_keys
from app.config.destination_url import identity_of
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
TICKERS_SHOWN = 10
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
        tuple[Annotated[str, Meta(min_length=1, max_length=SOURCE_LENGTH, pattern=_PRINTABLE)], ...],
        Meta(max_length=50),
    ]
    tickers: Annotated[
        tuple[Annotated[str, Meta(min_length=1, max_length=60, pattern=_PRINTABLE)], ...],
        Meta(max_length=1000),
    ]

    takes_entries: ClassVar[bool] = True

    def takes(self, source: str, ticker: str) -> bool:
        """Return whether an alert of this source and folded ticker is for the destination."""
        return (not self.sources or source in self.sources) and (
            not self.tickers or ticker in _folded(self.tickers)
        )

    def takes_exit(self, source: str, ticker: str) -> bool:
        """Return whether an exit whose ticker is open nowhere is for the destination."""
        return self.takes(source, ticker)


class ExitsOnly(Match, frozen=True, kw_only=True):
    """The filter of a destination whose entry has a fault: it takes no entries, and exits as before."""

    takes_entries: ClassVar[bool] = False

    def takes(self, source: str, ticker: str) -> bool:  # noqa: ARG002
        """Return False, whatever the source and ticker."""
        return False

    def takes_exit(self, source: str, ticker: str) -> bool:
        """Return whether an exit whose ticker is open nowhere is for the destination."""
        return super().takes(source, ticker)


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
        """Why the destination cannot be removed or become paper."""
        if self.open:
            return Reason(RefusalCode.DESTINATION_OPEN, name=repr(self.name), tickers=list_tickers(self.open))
        return Reason(
            RefusalCode.DESTINATION_PENDING, name=repr(self.name), tickers=list_tickers(self.pending)
        )


def list_tickers(tickers: Sequence[str]) -> str:
    """Return the first ten tickers for a message; an ellipsis follows where there are more."""
    return ", ".join([*tickers[:TICKERS_SHOWN], *(["…"] if len(tickers) > TICKERS_SHOWN else [])])


_NESTED: Mapping[str, type[Struct]] = {
    "exit_reserve": ExitReserve,
    "retry_unknown": RetryUnknown,
    "match": Match,
}


class _Listed(Struct):
    destinations: Annotated[tuple[dict[str, Any], ...], Meta(max_length=_MOST)]


def read_destinations(
    document: Document, file: str, default: Mapping[str, Any], *, profile: Profile, max_age_seconds: int
) -> tuple[tuple[DestinationConfig, ...], list[ConfigFileError]]:
    """Return all destinations, `default` first, and what is wrong with the list.

    `default` are its values outside of the list. `profile` is the one of a destination without its own.
    `max_age_seconds` is the shortest age at which a signal expires: an order must be able to wait out the
    gap.

    Fails closed: a destination whose entry has a fault takes no entries, so nothing is sent twice or beyond
    its filter. Fails open: its exits are sent. An entry that cannot be read is ignored, but for `default`;
    the exits of its positions wait until it is corrected.
    """
    entries, faults = entries_of(document, "destinations", _Listed, file)
    found = dict[str, DestinationConfig]()
    urls = {} if default["url"] is None else {identity_of(default["url"]): DEFAULT_DESTINATION}
    for index, entry in entries.items():
        place = f"destinations[{index}]"
        try:
            destination = _read(entry, found, default, file, place, profile)
        except ConfigFileError as error:
            faults.append(error)
            continue
        wrong = [
            *_unknown_keys(entry, file, place),
            *_faults_among(destination, urls, max_age_seconds, file, place),
        ]
        faults += wrong
        found[destination.name] = _without_entries(destination) if wrong else destination
    if DEFAULT_DESTINATION not in found:
        alone = _destination(DEFAULT_DESTINATION, {}, default, file, "", profile=profile)
        is_wrong = any(entry.get("name") == DEFAULT_DESTINATION for entry in entries.values())
        found[DEFAULT_DESTINATION] = _without_entries(alone) if is_wrong else alone
    return (found.pop(DEFAULT_DESTINATION), *found.values()), faults


def read_url(url: object, file: str, place: str) -> str | None:
    """Return a destination's URL; null or an empty text is paper, None.

    Raises:
        ConfigFileError: it is anything else that is not a URL: as paper it would count orders as delivered.
    """
    if url is None or url == "":
        return None
    try:
        return check_destination_url(url if isinstance(url, str) else "-")
    except ValueError as error:
        raise ConfigFileError(file, Reason(RefusalCode.DESTINATION_NO_URL), place=place) from error


def _read(
    entry: Document,
    others: Mapping[str, Any],
    default: Mapping[str, Any],
    file: str,
    place: str,
    profile: Profile,
) -> DestinationConfig:
    name = _name(entry, others, file, place)
    values = (
        _own(entry, file, place) if name != DEFAULT_DESTINATION else _of_default(entry, default, file, place)
    )
    return _destination(name, entry, values, file, place, profile=profile)


def _without_entries(destination: DestinationConfig) -> DestinationConfig:
    match = destination.match
    return structs.replace(destination, match=ExitsOnly(sources=match.sources, tickers=match.tickers))


def _unknown_keys(entry: Document, file: str, place: str) -> list[ConfigFileError]:
    faults = unknown_keys(entry, DestinationConfig, file, place)
    for key, kind in _NESTED.items():
        faults += unknown_keys(as_object(entry.get(key), file), kind, file, f"{place}.{key}")
    return faults


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
    reserve = as_object(entry.get("exit_reserve"), file, f"{place}.exit_reserve")
    retry = as_object(entry.get("retry_unknown"), file, f"{place}.retry_unknown")
    return {
        "url": read_url(entry.get("url"), file, f"{place}.url"),
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


def _faults_among(
    destination: DestinationConfig, urls: dict[Any, str], max_age_seconds: int, file: str, place: str
) -> list[ConfigFileError]:
    """Return what is wrong with a destination among others; `urls` are theirs by name, and get its own."""
    faults = list[ConfigFileError]()
    if destination.ticker_gap_seconds >= max_age_seconds:
        fault = Reason(RefusalCode.GAP_TOO_LONG, seconds=max_age_seconds)
        faults.append(ConfigFileError(file, fault, place=f"{place}.ticker_gap_seconds"))
    url = destination.url
    if url is not None and urls.setdefault(identity_of(url), destination.name) != destination.name:
        fault = Reason(RefusalCode.SAME_DESTINATION)
        faults.append(ConfigFileError(file, fault, place=f"{place}.url"))
    return faults
