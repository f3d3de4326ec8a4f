"""Routes for the settings of the destination and the system, each value with its source."""

from collections.abc import Mapping
from typing import Any

import msgspec
from fastapi import Request
from pydantic import BaseModel, Field

from app.admin.value_schemas import SectionValues
from app.config.checking import Document
from app.config.destinations import ExitReserve
from app.config.masking import masked_destination, unmasked_destination
from app.config.model import (
    SYSTEM_FILE,
    WEBHOOK_FILE,
    Config,
    MaxSignalAge,
    Notify,
    Source,
    SystemConfig,
    WebhookConfig,
)
from app.config.risk import Risk
from app.config.switches import BUYS, PAUSES
from app.context import AppContext
from app.errors import ConfigFileError, WrongValueError
from app.signals.reasons import Reason
from app.signals.refusals import RefusalCode
from app.signals.statuses import RetryUnknown
from app.web.dependencies import REFUSALS, CurrentActor, Store, context_of, signed_in
from app.web.problems import Invalid, Problem
from app.web.routing import new_router

CHANGE_REFUSALS: dict[int | str, dict[str, Any]] = {
    409: {"model": Problem, "description": "The file has an error that a person must correct first"},
    422: {"model": Invalid, "description": "A value is wrong; nothing was changed"},
    500: {"model": Problem, "description": "The file cannot be written; nothing was changed"},
}

router = new_router(prefix="/admin", tags=["configuration"], responses=REFUSALS, dependencies=[signed_in])


class ExitReserveValues(SectionValues):
    """Requests of each rate limit that are for exits only; at most half of a limit counts."""

    section = ExitReserve

    per_min: int | None = Field(None, description="0: none")
    per_hour: int | None = Field(None, description="0: none")


class BuySell(SectionValues):
    """A switch for buys and one for sells."""

    section = RetryUnknown

    buy: bool | None = None
    sell: bool | None = None


class BuySellSeconds(SectionValues):
    """Seconds for buys and for sells."""

    section = MaxSignalAge

    buy: int | None = None
    sell: int | None = None


class WebhookValues(SectionValues):
    """The destination. A key left out is unchanged; null falls back to .env, else to the default.

    `url` is masked except its host; the mask sent back leaves it unchanged. An empty `url` means paper.
    """

    section = WebhookConfig
    masked = frozenset({"url"})
    may_be_empty = frozenset({"url"})

    url: str | None = None
    timeout: float | None = Field(None, description="Seconds")
    max_req_per_min: int | None = None
    max_req_per_hour: int | None = None
    exit_reserve: ExitReserveValues | None = None
    rate_limiting_enabled: bool | None = None
    retry_seconds: list[float] | None = Field(
        None, description="Delays before the next attempts, in seconds; the last one repeats"
    )
    retry_unknown: BuySell | None = None
    max_signal_age_seconds: BuySellSeconds | None = None
    dedupe_window_seconds: int | None = Field(None, description="0: off")


class NotifyValues(SectionValues):
    """Which alarms are sent to the targets of NOTIFY_URLS."""

    section = Notify
    may_be_empty = frozenset({"daily_summary_at"})

    min_severity: str | None = Field(None, description="`critical`, `warning` or `info`")
    mute_minutes: int | None = Field(None, description="0: off; alarms about exits are never muted")
    daily_summary_at: str | None = Field(None, description="such as `08:00 America/New_York`; empty: none")
    backup_max_age_days: int | None = Field(None, description="an older database backup is an alarm; 0: off")
    language: str | None = Field(None, description="`en` or `pt-BR`")


class RiskValues(SectionValues):
    """Rules for entries; no exit is subject to any. An empty text, null or an empty list: no such rule.

    `buys` is read here and changed by its own routes.
    """

    section = Risk
    may_be_empty = frozenset({"hours", "flatten_at"})

    buys: str | None = Field(None, description="`on` or `off`")
    hours: str | None = Field(
        None,
        description="Entries pass within these hours of trading days, such as `09:30-16:00 America/New_York`",
    )
    max_open_positions: int | None = Field(None, description="Tickers that are open or being opened")
    max_buys_per_day: int | None = Field(None, description="Of a day in the zone of `hours`, else UTC")
    cooldown_seconds: int | None = Field(None, description="After the ticker's last exit; 0: off")
    blocklist: list[str] | None = Field(None, description="Tickers that are not bought")
    flatten_at: str | None = Field(
        None, description="All positions are sold then, each trading day, such as `15:55 America/New_York`"
    )


class SystemValues(SectionValues):
    """The system's settings. A key left out is unchanged; null falls back to .env, else to the default.

    Pauses are read here and changed by their own routes.
    """

    section = SystemConfig

    duplicate_buys: str | None = Field(None, description="`forward`, `add` or `reject`")
    partial_exits: str | None = Field(None, description="`keep_open` or `close`")
    unmatched_exits: str | None = Field(None, description="`reject` or `forward`")
    retention_days: int | None = None
    notify: NotifyValues | None = None
    risk: RiskValues | None = None
    engine_paused: bool | None = None
    delivery_paused: bool | None = None
    intake_paused: bool | None = None


class WebhookConfiguration(BaseModel):
    """The current values, the source of each, and the error of the file, if it has one.

    `signed`: whether deliveries are signed (WEBHOOK_SIGNING_SECRET in .env, never shown).
    """

    values: WebhookValues
    sources: dict[str, Source]
    problem: str | None
    signed: bool


class SystemConfiguration(BaseModel):
    """The current values, the source of each, and the error of the file, if it has one."""

    values: SystemValues
    sources: dict[str, Source]
    problem: str | None


@router.get("/webhook/config")
async def webhook_config(request: Request) -> WebhookConfiguration:
    """The destination, and how deliveries are made."""
    context = context_of(request)
    config = context.config
    return WebhookConfiguration(
        values=WebhookValues.model_validate(_shown_webhook(config)),
        sources=sources_of(config, "webhook"),
        problem=problem_of(context, WEBHOOK_FILE),
        signed=bool(context.settings.webhook_signing_secret),
    )


@router.put("/webhook/config", responses=CHANGE_REFUSALS)
async def change_webhook_config(
    request: Request, store: Store, actor: CurrentActor, offered: WebhookValues
) -> WebhookConfiguration:
    """Change the destination, or how deliveries are made. Effective at once in every process of the stack."""

    def edit(config: Config) -> Mapping[str, Document]:
        values = offered.model_dump(exclude_unset=True)
        if values.get("url"):
            try:
                pasted = (
                    values["url"].strip() or values["url"]
                )  # whitespace alone is not valid; only an empty URL means paper
                values["url"] = unmasked_destination(pasted, config.webhook.url)
            except WrongValueError as error:
                raise ConfigFileError(WEBHOOK_FILE, error.reason, place="url") from error
        shown = {**_shown_webhook(config), "url": config.webhook.url}
        return {WEBHOOK_FILE: merged(config.documents[WEBHOOK_FILE], shown, values)}

    await store.change(actor, "webhook.configure", edit)
    return await webhook_config(request)


@router.get("/system/config")
async def system_config(request: Request) -> SystemConfiguration:
    """The system's settings."""
    context = context_of(request)
    return SystemConfiguration(
        values=SystemValues.model_validate(section_values(context.config.system)),
        sources=sources_of(context.config, "system"),
        problem=problem_of(context, SYSTEM_FILE),
    )


@router.put("/system/config", responses=CHANGE_REFUSALS)
async def change_system_config(
    request: Request, store: Store, actor: CurrentActor, offered: SystemValues
) -> SystemConfiguration:
    """Change the system's settings. Effective at once in every process of the stack."""

    def edit(config: Config) -> Mapping[str, Document]:
        shown = section_values(config.system)
        values = offered.model_dump(exclude_unset=True)
        # a page that was opened before the pause must not end it by sending its old values
        for name in PAUSES:
            if values.pop(name, None) not in {None, shown[name]}:
                raise _switched_elsewhere(name, name.partition("_")[0])
        risk = values.get("risk")
        if risk and risk.pop("buys", None) not in {None, shown["risk"]["buys"]}:
            raise _switched_elsewhere(BUYS, "buys")
        if "risk" in values and risk is None:  # back to the defaults, but for the switch
            values["risk"] = dict.fromkeys(name for name in shown["risk"] if name != "buys")
        return {SYSTEM_FILE: merged(config.documents[SYSTEM_FILE], shown, values)}

    await store.change(actor, "system.configure", edit)
    return await system_config(request)


def _switched_elsewhere(place: str, part: str) -> ConfigFileError:
    fault = Reason(RefusalCode.PAUSES_ELSEWHERE, part=part, same=part)
    return ConfigFileError(SYSTEM_FILE, fault, place=place)


def merged(document: Document, shown: Mapping[str, Any], offered: Mapping[str, Any]) -> dict[str, Any]:
    """Return the document with the offered values; unknown keys stay. Pure.

    A value equal to the shown one is not a change: sending back what was read adds nothing to the file.
    """
    new = dict(document)
    for key, value in offered.items():
        if value is None:
            new.pop(key, None)
        elif isinstance(value, dict):
            inner = merged(document.get(key) or {}, shown[key], value)
            if inner != (document.get(key) or {}):
                new[key] = inner
        elif value != shown[key]:
            new[key] = value
    return new


def _shown_webhook(config: Config) -> dict[str, Any]:
    values = section_values(config.webhook)
    if config.webhook.url is not None:
        values["url"] = masked_destination(config.webhook.url)
    elif config.sources["webhook.url"] == "file":
        values["url"] = ""  # paper, set by the file: null would fall back to .env
    return values


def section_values(section: msgspec.Struct) -> dict[str, Any]:
    """Return the values of a section as JSON has them: tuples become lists."""
    values: dict[str, Any] = msgspec.json.decode(msgspec.json.encode(section))
    return values


def sources_of(config: Config, path: str) -> dict[str, Source]:
    """Return the source of each value below a path, by the rest of its path."""
    prefix = f"{path}."
    return {
        key.removeprefix(prefix): source for key, source in config.sources.items() if key.startswith(prefix)
    }


def problem_of(context: AppContext, file: str) -> str | None:
    """Return the error of a file as text; None if it is valid."""
    problem = context.config_problems.get(file)
    return str(problem) if problem else None
