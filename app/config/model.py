"""The configuration: values of the JSON files over the environment over defaults. Pure."""

from collections.abc import Mapping
from typing import Annotated, Any, Literal

from msgspec import Meta, Struct

from app.config.access import AccessToken, AlertSource, read_sources, read_tokens
from app.config.checking import Document, as_object, checked
from app.config.destinations import (
    DestinationConfig,
    ExitReserve,
    PerHour,
    PerMinute,
    Profile,
    Timeout,
    Url,
    read_destinations,
    read_url,
)
from app.config.risk import Risk, check_risk
from app.config.times import checked_time_of_day
from app.errors import ConfigFileError
from app.settings import Settings
from app.signals.book import BookRules
from app.signals.reasons import Reason
from app.signals.refusals import RefusalCode
from app.signals.statuses import RetryUnknown

Source = Literal["file", "env", "default"]

FINVIZ_FILE, WEBHOOK_FILE, SYSTEM_FILE = "finviz_config.json", "webhook_config.json", "system_config.json"
FILES = (FINVIZ_FILE, WEBHOOK_FILE, SYSTEM_FILE)
ACCESS_LISTS = {WEBHOOK_FILE: "sources", SYSTEM_FILE: "tokens"}
# Among the documents: what people switched while the system file was wrong, until the file says it.
# Stored with the number of its revision: an older version copies members that it does not know.
DECIDED = "decided"
# Among the documents: when each pause was last switched, by its key, in nanoseconds of the machine's clock.
SWITCHED_AT = "switched_at"

_AROUND = "".join(filter(str.isspace, map(chr, range(0x3001)))) + "\u200b\u200e\u200f\u2060\ufeff"
_PAGE = 20  # tickers of a page at Finviz: `top_n` rounded up to a page is read in any case
_PRINTABLE = r"^[^\x00-\x1f\x7f]*\Z"
Name = Annotated[str, Meta(min_length=1, max_length=100, pattern=_PRINTABLE)]
Seconds = Annotated[int, Meta(ge=0, le=31_536_000)]
Pause = Annotated[float, Meta(gt=0, le=3600)]


class Strategy(Struct, frozen=True, kw_only=True):
    """Where a Top-N comes from. A list is stale once it is `max_age_seconds` old. Times are in seconds.

    `depth`: how many tickers are stored of each list, but at least `top_n`. Those below it are for what-if.
    """

    name: Name
    url: Url
    description: Annotated[str, Meta(max_length=2000)]
    top_n: Annotated[int, Meta(ge=1, le=500)]
    depth: Annotated[int, Meta(ge=1, le=500)]
    refresh_interval_sec: Annotated[int, Meta(ge=1, le=86_400)]
    max_age_seconds: Annotated[int, Meta(ge=1, le=31_536_000)]
    reprocess_enabled: bool
    reprocess_window_seconds: Seconds
    reprocess_max_age_seconds: Seconds
    respect_sell_chronology_enabled: bool
    sell_chronology_window_seconds: Seconds

    @property
    def stored_tickers(self) -> int:
        """How many tickers of each list are stored."""
        return max(self.top_n, self.depth)


class FinvizConfig(Struct, frozen=True, kw_only=True):
    """All strategies, the active one, and whether they may use other hosts than Finviz's."""

    active_strategy: Strategy
    strategies: tuple[Strategy, ...]
    allow_other_hosts: bool


class MaxSignalAge(Struct, frozen=True, kw_only=True):
    """Seconds from arrival until a signal expires."""

    buy: Annotated[int, Meta(ge=1, le=31_536_000)]
    sell: Annotated[int, Meta(ge=1, le=31_536_000)]


class WebhookConfig(Struct, frozen=True, kw_only=True):
    """The destination `default`, and how alerts are deduplicated. `url` None is paper; times in seconds."""

    url: Url | None
    timeout: Timeout
    max_req_per_min: PerMinute
    max_req_per_hour: PerHour
    exit_reserve: ExitReserve
    rate_limiting_enabled: bool
    retry_seconds: Annotated[tuple[Pause, ...], Meta(min_length=1, max_length=50)]
    retry_unknown: RetryUnknown
    max_signal_age_seconds: MaxSignalAge
    dedupe_window_seconds: Annotated[int, Meta(ge=0, le=86_400)]


class Notify(Struct, frozen=True, kw_only=True):
    """Which alarms are sent. One that begins again within `mute_minutes` is sent after them, if it lasts.

    `daily_summary_at` is a time such as `08:00` (UTC) or `08:00 America/New_York`; None: no summary.
    `backup_max_age_days`: an older database backup is an alarm; 0: off.
    """

    min_severity: Literal["critical", "warning", "info"]
    mute_minutes: Annotated[int, Meta(ge=0, le=1440)]
    daily_summary_at: Annotated[str, Meta(max_length=60, pattern=_PRINTABLE)] | None
    backup_max_age_days: Annotated[int, Meta(ge=0, le=365)]
    language: Literal["en", "pt-BR"]


class SystemConfig(Struct, frozen=True, kw_only=True):
    """The operator's switches. Pauses outlast restarts; only a person resumes."""

    duplicate_buys: Literal["forward", "add", "reject"]
    partial_exits: Literal["keep_open", "close"]
    unmatched_exits: Literal["reject", "forward"]
    retention_days: Annotated[int, Meta(ge=1, le=3650)]
    notify: Notify
    risk: Risk
    engine_paused: bool
    delivery_paused: bool
    intake_paused: bool

    @property
    def book_rules(self) -> BookRules:
        """The choices where an alert and the position book leave one."""
        return BookRules(self.duplicate_buys, self.partial_exits, self.unmatched_exits)

    @property
    def buys_paused(self) -> bool:
        """Whether a person has stopped buying: no entry is approved or sent."""
        return self.risk.buys == "off"


class _OldSystem(Struct):
    """What the version before reads instead of `partial_exits`."""

    close_on_partial: bool


class Config(Struct, frozen=True, kw_only=True):
    """The whole configuration, with the source of each value.

    `sources` is keyed by dotted path (`webhook.timeout`, `finviz.strategies.NAME.top_n`). `documents` are the
    files as read, `DECIDED` and `SWITCHED_AT`. They include unknown keys, so that they can be written back.
    `destinations` begin with `default`, which `webhook` describes.
    """

    finviz: FinvizConfig
    webhook: WebhookConfig
    destinations: tuple[DestinationConfig, ...]
    system: SystemConfig
    alert_sources: tuple[AlertSource, ...]
    tokens: tuple[AccessToken, ...]
    sources: Mapping[str, Source]
    documents: Mapping[str, Document]

    def destination(self, name: str) -> DestinationConfig | None:
        """Return the destination of that name, None if it is not configured any more."""
        return next((each for each in self.destinations if each.name == name), None)

    @property
    def is_live(self) -> bool:
        """Whether any destination is more than paper: a signal may become a real order."""
        return any(each.url is not None for each in self.destinations)

    def retry_unknown_of(self, name: str) -> RetryUnknown:
        """Return what is sent again after an unknown outcome, also at a destination that was removed."""
        return (self.destination(name) or self.webhook).retry_unknown

    def timeout_of(self, name: str) -> float:
        """Return how long a request to a destination may take, also to one that was removed."""
        return (self.destination(name) or self.webhook).timeout


# Top gainers of the day, until the operator writes a strategy.
BUILT_IN_STRATEGY: Document = {
    "name": "top-gainers",
    "url": "https://finviz.com/screener.ashx?v=111&s=ta_topgainers",
}
_DEFAULTS: dict[str, dict[str, Any]] = {
    "strategy": {
        "name": None,
        "url": None,
        "description": "",
        "reprocess_enabled": False,
        "reprocess_window_seconds": 300,
        "respect_sell_chronology_enabled": True,
        "sell_chronology_window_seconds": 300,
    },
    "finviz": {"allow_other_hosts": False},
    "webhook": {
        "retry_seconds": [1, 2, 5, 10, 30, 60],
        "dedupe_window_seconds": 60,
    },
    "webhook.exit_reserve": {"per_min": 5, "per_hour": 50},
    # A buy bought twice costs money. A sell sent twice finds nothing left to sell; one never sent leaves
    # a position open.
    "webhook.retry_unknown": {"buy": False, "sell": True},
    "webhook.max_signal_age_seconds": {"buy": 300, "sell": 3600},
    "system.notify": {
        "min_severity": "warning",
        "mute_minutes": 10,
        "daily_summary_at": None,
        "backup_max_age_days": 0,
        "language": "en",
    },
    "system.risk": {
        "buys": "on",
        "hours": None,
        "max_open_positions": None,
        "max_buys_per_day": None,
        "cooldown_seconds": 0,
        "blocklist": [],
        "flatten_at": None,
    },
    "system": {
        "duplicate_buys": "forward",
        "partial_exits": "keep_open",
        "unmatched_exits": "reject",
        "engine_paused": False,
        "delivery_paused": False,
        "intake_paused": False,
    },
}
# What a strategy must have in the file: there is neither a variable nor a default for it.
STRATEGY_NEEDS = tuple(key for key, value in _DEFAULTS["strategy"].items() if value is None)
# key in the file → field of Settings that is used without it
FROM_ENVIRONMENT = {
    "strategy": {"top_n": "top_n", "refresh_interval_sec": "finviz_refresh_sec"},
    "webhook": {
        "url": "dest_webhook_url",
        "timeout": "dest_webhook_timeout",
        "max_req_per_min": "dest_webhook_max_req_per_min",
        "max_req_per_hour": "dest_webhook_max_req_per_hour",
        "rate_limiting_enabled": "dest_webhook_rate_limiting_enabled",
    },
    "system": {"retention_days": "signal_retention_days"},
}


def merge(documents: Mapping[str, Document], settings: Settings) -> Config:
    """Return the configuration of these files' contents (by file name), the environment and the defaults.

    Fails open: an entry of `sources`, `tokens` or `destinations` that is not valid does not count
    (`faults_of_entries`). So a variable of .env, or a list of a version that did not read it, stops neither
    the start nor any exit.

    Raises:
        ConfigFileError: a value is wrong. It names file, place and what is allowed; the caller adds the line.
    """
    layers = _Layers(settings)
    finviz, webhook, system = (documents.get(name, {}) for name in FILES)
    section, destinations, _ = _webhook(webhook, layers)
    system_values = layers.pick("system", _with_partial_exits(system))
    system_values["notify"] = _notify(system, layers)
    risk = layers.pick("system.risk", as_object(system.get("risk"), SYSTEM_FILE, "risk"))
    system_values["risk"] = check_risk(risk, SYSTEM_FILE)
    return Config(
        finviz=_finviz(finviz, layers),
        webhook=section,
        destinations=destinations,
        system=checked(system_values, SystemConfig, SYSTEM_FILE),
        alert_sources=read_sources(webhook, WEBHOOK_FILE, settings.webhook_secret)[0],
        tokens=read_tokens(system, SYSTEM_FILE, settings.admin_token)[0],
        sources=layers.sources,
        documents=documents,
    )


def faults_of_entries(name: str, document: Document, settings: Settings) -> list[ConfigFileError]:
    """Return what is wrong with the entries of a file's lists that `merge` tolerates.

    Raises:
        ConfigFileError: a value outside of the lists is wrong.
    """
    if name == WEBHOOK_FILE:
        sources = read_sources(document, name, settings.webhook_secret)[1]
        return sources + _webhook(document, _Layers(settings))[2]
    return read_tokens(document, name, settings.admin_token)[1] if name == SYSTEM_FILE else []


def _webhook(
    document: Document, layers: "_Layers"
) -> tuple[WebhookConfig, tuple[DestinationConfig, ...], list[ConfigFileError]]:
    """Return the section, all destinations, and what is wrong with their list."""
    values = layers.pick("webhook", document)
    for group in ("exit_reserve", "retry_unknown", "max_signal_age_seconds"):
        values[group] = layers.pick(f"webhook.{group}", as_object(document.get(group), WEBHOOK_FILE, group))
    values["url"] = read_url(values["url"], WEBHOOK_FILE, "url")
    section = checked(values, WebhookConfig, WEBHOOK_FILE)
    ages = section.max_signal_age_seconds
    destinations, faults = read_destinations(
        document, WEBHOOK_FILE, values, profile=layers.profile, max_age_seconds=min(ages.buy, ages.sell)
    )
    return section, destinations, faults


def _notify(system: Document, layers: "_Layers") -> dict[str, Any]:
    values = layers.pick("system.notify", as_object(system.get("notify"), SYSTEM_FILE, "notify"))
    at = values["daily_summary_at"]
    values["daily_summary_at"] = checked_time_of_day(at, SYSTEM_FILE, "notify.daily_summary_at")
    return values


def _with_partial_exits(system: Document) -> Document:
    """Return the document with `partial_exits` for the key that the version before reads.

    Raises:
        ConfigFileError: that key has another value than true or false.
    """
    old = system.get("close_on_partial")
    if old is None or system.get("partial_exits") is not None:
        return system
    before = checked({"close_on_partial": old}, _OldSystem, SYSTEM_FILE)
    return {**system, "partial_exits": "close" if before.close_on_partial else "keep_open"}


class _Layers:
    """Takes each value from the first source that has it, and records which one that was.

    `profile` is the one of a destination without its own.
    """

    def __init__(self, settings: Settings) -> None:
        self._settings = settings
        self.profile: Profile = "traderspost" if settings.map_side_to_action_traderspost else "raw"
        self.sources: dict[str, Source] = {}

    def pick(self, section: str, document: Document, path: str = "") -> dict[str, Any]:
        """Return the section's values; a key that is absent or null in the document falls back."""
        values: dict[str, Any] = {}
        for key, default in _DEFAULTS[section].items():
            values[key] = self._take(f"{path or section}.{key}", document.get(key), default, "default")
        for key, field in FROM_ENVIRONMENT.get(section, {}).items():
            source: Source = "env" if field in self._settings.model_fields_set else "default"
            values[key] = self._take(
                f"{path or section}.{key}", document.get(key), getattr(self._settings, field), source
            )
        return values

    def _take(self, path: str, value: object, fallback: object, source: Source) -> object:
        self.sources[path] = source if value is None else "file"
        return fallback if value is None else value


def _finviz(document: Document, layers: _Layers) -> FinvizConfig:
    listed = document.get("strategies")
    if listed is not None and not isinstance(listed, list):
        raise ConfigFileError(FINVIZ_FILE, Reason(RefusalCode.LIST_OF_OBJECTS), place="strategies")
    strategies = tuple(
        _strategy(as_object(item, FINVIZ_FILE, f"strategies[{index}]"), index, layers)
        for index, item in enumerate(listed or [BUILT_IN_STRATEGY])
    )
    names = [strategy.name for strategy in strategies]
    if len(set(names)) != len(names):
        raise ConfigFileError(FINVIZ_FILE, Reason(RefusalCode.NAMES_NOT_UNIQUE), place="strategies")
    active = document.get("active")
    if active is None:
        active = names[0]
    if active not in names:
        fault = Reason(RefusalCode.STRATEGY_UNKNOWN, name=repr(active), names=", ".join(names))
        raise ConfigFileError(FINVIZ_FILE, fault, place="active")
    values = {
        "active_strategy": strategies[names.index(active)],
        "strategies": strategies,
        **layers.pick("finviz", document),
    }
    return checked(values, FinvizConfig, FINVIZ_FILE)


def _strategy(document: Document, index: int, layers: _Layers) -> Strategy:
    path = f"finviz.strategies.{document.get('name')}"
    values = layers.pick("strategy", document, path)
    # defaults that follow from other values of the same strategy
    if isinstance(values["url"], str):
        values["url"] = trimmed(values["url"])
    refresh, window = values["refresh_interval_sec"], values["reprocess_window_seconds"]
    top_n = values["top_n"]
    for key, default in {
        "depth": -(-top_n // _PAGE) * _PAGE if isinstance(top_n, int) else top_n,
        "max_age_seconds": max(60, 6 * refresh) if isinstance(refresh, int) else refresh,
        "reprocess_max_age_seconds": window,
    }.items():
        given = document.get(key)
        layers.sources[f"{path}.{key}"] = "default" if given is None else "file"
        values[key] = default if given is None else given
    return checked(values, Strategy, FINVIZ_FILE, f"strategies[{index}].")


def trimmed(url: str) -> str:
    """Return the URL without what a clipboard leaves around it: whitespace, marks of no width."""
    return url.strip(_AROUND)
