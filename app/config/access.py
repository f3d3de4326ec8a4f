"""Who may post alerts, and who may use page and API: the configured sources and tokens. Pure."""

import ipaddress
from collections.abc import Callable, Iterable, Mapping
from hashlib import sha256
from typing import Annotated, Any, Literal

from msgspec import Meta, Struct

from app.config import names
from app.config.checking import Document, as_object, checked, entries_of, unknown_keys
from app.errors import ConfigFileError, WrongValueError
from app.signals.reasons import Reason
from app.signals.refusals import RefusalCode

DEFAULT_SOURCE = "default"  # the one of WEBHOOK_SECRET
FIRST_OPERATOR = "admin"  # the name of ADMIN_TOKEN in the actions log
TRADINGVIEW = "tradingview"
# https://www.tradingview.com/support/solutions/43000529348
_TRADINGVIEW_ADDRESSES = ("52.89.214.238", "34.212.75.30", "54.218.53.128", "52.32.178.7")
_SHA256_DIGITS = 64
_OF_NOTHING = sha256(b"").hexdigest()  # what a script gives whose variable is empty
_MAPPED_BITS = 96  # of ::ffff:0:0/96
SOURCE_LENGTH = 40
SECRET_FIELDS = ("secret", "previous_secret")

_PRINTABLE = r"^[^\x00-\x1f\x7f]*\Z"
_Name = Annotated[str, Meta(min_length=1, max_length=SOURCE_LENGTH, pattern=_PRINTABLE)]
_Secret = Annotated[str, Meta(min_length=8, max_length=200, pattern=_PRINTABLE)]
_Seconds = Annotated[int, Meta(ge=1, le=31_536_000)]
Network = ipaddress.IPv4Network | ipaddress.IPv6Network
Scope = Literal["read", "operate"]


class MaxSourceAge(Struct, frozen=True, kw_only=True):
    """Seconds between the time that an alert names and its arrival; None: no limit."""

    buy: _Seconds | None
    sell: _Seconds | None


class AlertSource(Struct, frozen=True, kw_only=True):
    """A sender of alerts, known by its secret or by the secret before.

    Only `default` has no secret here: its secret is WEBHOOK_SECRET. `allow_from` are addresses, networks and
    `tradingview`; empty: any address. `per_minute` limits entries, never exits. None: no limit.
    """

    name: _Name
    secret: _Secret | None
    previous_secret: _Secret | None
    allow_from: Annotated[tuple[Annotated[str, Meta(max_length=60)], ...], Meta(max_length=100)]
    per_minute: Annotated[int, Meta(ge=1, le=10_000)] | None
    expect_within_minutes: Annotated[int, Meta(ge=1, le=10_080)] | None
    max_source_age_seconds: MaxSourceAge

    def __repr__(self) -> str:
        """Return the name only: a log or a failed test must not have the secrets."""
        return f"<source {self.name!r}>"


class AccessToken(Struct, frozen=True, kw_only=True):
    """A token for page and API, by the SHA-256 of its text in hexadecimal digits."""

    name: _Name
    sha256: Annotated[str, Meta(max_length=_SHA256_DIGITS)]
    scope: Scope


_SOURCE_DEFAULTS: Mapping[str, Any] = {
    "name": None,
    "secret": None,
    "previous_secret": None,
    "allow_from": [],
    "per_minute": None,
    "expect_within_minutes": None,
}
_Listed = Annotated[tuple[dict[str, Any], ...], Meta(max_length=50)]


class _Sources(Struct):
    sources: _Listed


class _Tokens(Struct):
    tokens: _Listed


def default_source() -> AlertSource:
    """Return the source of WEBHOOK_SECRET as it is without an entry in the file: it has no limits."""
    return _source({"name": DEFAULT_SOURCE}, 0, "")


def read_sources(
    document: Document, file: str, webhook_secret: str
) -> tuple[tuple[AlertSource, ...], list[ConfigFileError]]:
    """Return the sources in a file, and what is wrong with the list. No secret is quoted.

    Fails open: an entry that is not valid is ignored. Of two equal secrets, the first one's source counts,
    and that of WEBHOOK_SECRET before all others.
    """
    entries, faults = entries_of(document, "sources", _Sources, file)
    sources = dict[int, AlertSource]()
    for index, entry in entries.items():
        place = f"sources[{index}]"
        try:
            source = _source(entry, index, file)
            _check_name(source.name, [each.name for each in sources.values()], file, place)
        except ConfigFileError as error:
            faults.append(error)
            continue
        sources[index] = source
        faults += unknown_keys(entry, AlertSource, file, place)
        ages = entry.get("max_source_age_seconds") or {}
        faults += unknown_keys(ages, MaxSourceAge, file, f"{place}.max_source_age_seconds")
    known = {webhook_secret: "WEBHOOK_SECRET"} if webhook_secret else {}
    for index, source in sources.items():
        for field in SECRET_FIELDS:
            secret, place = getattr(source, field), f"sources[{index}].{field}"
            is_current = (
                source.name == DEFAULT_SOURCE and secret == webhook_secret
            )  # before WEBHOOK_SECRET changes
            if secret in known and not is_current:
                same = Reason(RefusalCode.SAME_SECRET, other=known[secret])
                faults.append(ConfigFileError(file, same, place=place))
            elif secret is not None:
                known.setdefault(secret, place)
    return tuple(sources.values()), faults


def read_tokens(
    document: Document, file: str, admin_token: str
) -> tuple[tuple[AccessToken, ...], list[ConfigFileError]]:
    """Return the named tokens in a file, with their digits in lower case, and what is wrong with the list.

    Fails closed: an entry that is not valid, or the same token as another one, is ignored.
    """
    entries, faults = entries_of(document, "tokens", _Tokens, file)
    tokens = list[AccessToken]()
    digests = {sha256(admin_token.encode()).hexdigest()}
    for index, entry in entries.items():
        place = f"tokens[{index}]"
        try:
            token = _token(entry, index, file)
            _check_name(token.name, [each.name for each in tokens], file, place, names.mistakable)
        except ConfigFileError as error:
            faults.append(error)
            continue
        if token.sha256 in digests:
            faults.append(ConfigFileError(file, Reason(RefusalCode.SAME_TOKEN), place=f"{place}.sha256"))
            continue
        tokens.append(token)
        digests.add(token.sha256)
        faults += unknown_keys(entry, AccessToken, file, place)
    return tuple(tokens), faults


def is_entry_of(token: AccessToken, entry: object) -> bool:
    """Return whether a value of the list in the file is this token's entry."""
    if not isinstance(entry, dict):
        return False
    name, digits = entry.get("name"), entry.get("sha256")
    if not isinstance(name, str) or not isinstance(digits, str):
        return False
    try:
        return names.normal(name) == token.name and digits.lower() == token.sha256
    except WrongValueError:
        return False


def listed_digests(listed: object) -> set[str] | None:
    """Return the SHA-256 of each token in the list of a file, valid or not; None if it is not a list."""
    if listed is None:
        return set()
    if not isinstance(listed, list):
        return None
    digests = [entry.get("sha256") for entry in listed if isinstance(entry, dict)]
    return {digits.lower() for digits in digests if isinstance(digits, str)}


def networks_of(source: AlertSource) -> tuple[Network, ...]:
    """Return the networks that a source may post from; empty: any."""
    return tuple(network for entry in source.allow_from for network in _networks(entry))


def _networks(entry: str) -> list[Network]:
    if entry.strip().lower() == TRADINGVIEW:
        return [ipaddress.ip_network(address) for address in _TRADINGVIEW_ADDRESSES]
    network = ipaddress.ip_network(entry.strip())
    mapped = getattr(network.network_address, "ipv4_mapped", None)
    if mapped is not None and network.prefixlen >= _MAPPED_BITS:  # IPv4 written as IPv6
        return [ipaddress.IPv4Network((mapped, network.prefixlen - _MAPPED_BITS))]
    return [network]


def _source(document: Document, index: int, file: str) -> AlertSource:
    place = f"sources[{index}]"
    values = {key: _or_default(document, key, default) for key, default in _SOURCE_DEFAULTS.items()}
    ages = as_object(document.get("max_source_age_seconds"), file, f"{place}.max_source_age_seconds")
    values["max_source_age_seconds"] = {key: ages.get(key) for key in ("buy", "sell")}
    source = checked(_named(values, file, place), AlertSource, file, f"{place}.")
    if source.name != DEFAULT_SOURCE and names.alike(source.name, DEFAULT_SOURCE):
        fault = Reason(RefusalCode.LIKE_DEFAULT, name=repr(DEFAULT_SOURCE))
        raise ConfigFileError(file, fault, place=f"{place}.name")
    _check_secrets(source, file, place)
    for number, entry in enumerate(source.allow_from):
        try:
            _networks(entry)
        except ValueError as error:
            raise ConfigFileError(
                file, _fault_of_network(entry), place=f"{place}.allow_from[{number}]"
            ) from error
    return source


def _or_default(document: Document, key: str, default: object) -> object:
    value = document.get(key)
    return default if value is None else value


def _check_secrets(source: AlertSource, file: str, place: str) -> None:
    if source.name == DEFAULT_SOURCE and source.secret is not None:
        fault = Reason(RefusalCode.DEFAULT_SECRET, name=repr(DEFAULT_SOURCE))
        raise ConfigFileError(file, fault, place=f"{place}.secret")
    if source.name != DEFAULT_SOURCE and source.secret is None:
        raise ConfigFileError(file, Reason(RefusalCode.VALUE_REQUIRED), place=f"{place}.secret")
    for field in SECRET_FIELDS:
        secret = getattr(source, field)
        if secret is not None and secret != secret.strip():
            raise ConfigFileError(file, Reason(RefusalCode.SECRET_WHITESPACE), place=f"{place}.{field}")


def _fault_of_network(entry: str) -> Reason:
    """Return what to write instead; a network with an address inside of it is ambiguous."""
    try:
        inside = ipaddress.ip_interface(entry.strip())
    except ValueError:
        return Reason(RefusalCode.NETWORK)
    return Reason(RefusalCode.NETWORK_OR_ADDRESS, network=str(inside.network), address=str(inside.ip))


def _token(document: Document, index: int, file: str) -> AccessToken:
    place = f"tokens[{index}]"
    values = {key: document.get(key) for key in AccessToken.__struct_fields__}
    token = checked(_named(values, file, place), AccessToken, file, f"{place}.")
    try:
        names.check_plain(token.name)
    except WrongValueError as error:
        raise ConfigFileError(file, error.reason, place=f"{place}.name") from error
    if names.mistakable(token.name, FIRST_OPERATOR):
        fault = Reason(RefusalCode.FIRST_OPERATOR, name=repr(FIRST_OPERATOR))
        raise ConfigFileError(file, fault, place=f"{place}.name")
    digits = token.sha256.lower()
    if len(digits) != _SHA256_DIGITS or not set(digits) <= set("0123456789abcdef"):
        raise ConfigFileError(file, Reason(RefusalCode.SHA256), place=f"{place}.sha256")
    if digits == _OF_NOTHING:
        raise ConfigFileError(file, Reason(RefusalCode.SHA256_OF_NOTHING), place=f"{place}.sha256")
    return AccessToken(name=token.name, sha256=digits, scope=token.scope)


def _named(values: Mapping[str, Any], file: str, place: str) -> dict[str, Any]:
    """Return the values with the name as it is stored; one that is no text is left to the type's check."""
    name = values["name"]
    if not isinstance(name, str):
        return dict(values)
    try:
        return {**values, "name": names.normal(name)}
    except WrongValueError as error:
        raise ConfigFileError(file, error.reason, place=f"{place}.name") from error


def _check_name(
    name: str,
    others: Iterable[str],
    file: str,
    place: str,
    is_same: Callable[[str, str], bool] = names.alike,
) -> None:
    if any(is_same(name, other) for other in others):
        raise ConfigFileError(file, Reason(RefusalCode.NAMES_NOT_UNIQUE), place=f"{place}.name")
