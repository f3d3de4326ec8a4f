"""The process's environment, read once at start. No repr and no error shows a secret."""

import base64
import binascii
import re
import ssl
from pathlib import Path
from typing import Annotated, Literal, Self
from urllib.parse import urlsplit

from pydantic import AfterValidator, BeforeValidator, Field, ValidationError
from pydantic_settings import BaseSettings, SettingsConfigDict

from app.db.address import parse as parse_address
from app.errors import ConfigurationError

_SECRETS = frozenset(
    {
        "database_url",
        "admin_token",
        "webhook_secret",
        "webhook_signing_secret",
        "dest_webhook_url",
        "finviz_elite_auth",
        "notify_urls",
        "heartbeat_url",
        "legacy_database_url",
    }
)


def _database_url(value: str) -> str:
    """Accept what every connection can be opened with, and return it without `+asyncpg`."""
    parse_address(value)
    return value.replace("postgresql+asyncpg://", "postgresql://", 1)


def _legacy_database_url(value: str) -> str:
    return _database_url(value) if value else value


def check_destination_url(value: str) -> str:
    """Accept an http(s) URL with a host, or nothing: for the environment and `webhook_config.json`.

    Raises:
        ValueError: what is allowed; never a part of the URL, for it may hold a password.
    """
    if value and not _is_http(value):
        raise ValueError("an http:// or https:// URL with a host, or nothing for paper")
    return value


def _is_http(url: str) -> bool:
    try:
        parts = urlsplit(url)
    except ValueError:  # brackets; its text quotes what is between them
        return False
    return parts.scheme in {"http", "https"} and bool(parts.hostname)


def _signing_secret(value: str) -> str:
    """Refuse at start what signing would stumble over at the first delivery."""
    try:
        base64.b64decode(value.removeprefix("whsec_"), validate=True)
    except binascii.Error as error:
        raise ValueError("base64, with or without the prefix whsec_ (Standard Webhooks)") from error
    return value


MOST_TARGETS = 10
_TARGET = re.compile(r"[a-z][a-z0-9+.-]*://\S+", re.IGNORECASE)


def _notify_urls(value: str) -> str:
    """Accept URLs with whitespace between them; whether apprise knows them is checked where it is loaded."""
    urls = value.split()
    if len(urls) > MOST_TARGETS or not all(_TARGET.fullmatch(url) for url in urls):
        raise ValueError(f"up to {MOST_TARGETS} URLs of apprise, such as tgram://…, with spaces between them")
    return " ".join(dict.fromkeys(urls))  # the same one twice is one target


def _heartbeat_url(value: str) -> str:
    if value and not _is_http(value):
        raise ValueError("an http:// or https:// URL with a host, or nothing")
    return value


_LABEL = r"(?!-)[a-z0-9-]{1,63}(?<!-)"
_HOST_NAME = re.compile(rf"(?=.{{1,253}}$)(?:{_LABEL}\.)+(?!\d+$){_LABEL}", re.IGNORECASE)
_EMAIL = re.compile(r"[\x21-\x7e]{1,64}@(?=.{1,253}$)[a-z0-9.-]+", re.IGNORECASE)


def _host_name(value: str) -> str:
    """Accept what a certificate can be issued for by a challenge over HTTP."""
    if value and not _HOST_NAME.fullmatch(value):
        raise ValueError(
            "a host name such as alerts.example.com, without https:// and without a port (letters other than "
            "a to z in the form xn--…), or nothing"
        )
    return value.lower()


def _email(value: str) -> str:
    if value and not _EMAIL.fullmatch(value):
        raise ValueError("an e-mail address such as me@example.com, or nothing")
    return value


def _acme_url(value: str) -> str:
    if value and not (_is_http(value) and value.lower().startswith("https://") and value.isprintable()):
        raise ValueError(
            "the https:// URL of an ACME server's directory, or nothing for that of Let's Encrypt"
        )
    return value


def _upper(value: object) -> object:
    return value.strip().upper() if isinstance(value, str) else value


Secret = Annotated[str, Field(repr=False)]
Port = Annotated[int, Field(ge=1, le=65535)]


class Settings(BaseSettings):
    """The variables of the environment, with defaults and limits; an empty one counts as absent."""

    model_config = SettingsConfigDict(env_ignore_empty=True, extra="ignore", frozen=True)

    database_url: Annotated[Secret, AfterValidator(_database_url)]
    admin_token: Secret = ""
    webhook_secret: Secret = ""
    webhook_signing_secret: Annotated[Secret, AfterValidator(_signing_secret)] = ""
    dest_webhook_url: Annotated[Secret, AfterValidator(check_destination_url)] = ""
    dest_webhook_timeout: Annotated[float, Field(gt=0, le=60)] = 5.0
    dest_webhook_max_req_per_min: Annotated[int, Field(ge=1, le=100_000)] = 60
    dest_webhook_max_req_per_hour: Annotated[int, Field(ge=1, le=1_000_000)] = 500
    dest_webhook_rate_limiting_enabled: bool = True
    map_side_to_action_traderspost: bool = True
    top_n: Annotated[int, Field(ge=1, le=500)] = 15
    finviz_refresh_sec: Annotated[int, Field(ge=1, le=86_400)] = 10
    finviz_elite_auth: Secret = ""
    notify_urls: Annotated[Secret, AfterValidator(_notify_urls)] = ""
    heartbeat_url: Annotated[Secret, AfterValidator(_heartbeat_url)] = ""
    worker_concurrency: Annotated[int, Field(ge=1, le=64)] = 4
    forwarding_workers: Annotated[int, Field(ge=1, le=64)] = 8
    queue_max_size: Annotated[int, Field(ge=1, le=10_000_000)] = 100_000
    server_port: Port = 80
    log_level: Annotated[
        Literal["DEBUG", "INFO", "WARNING", "ERROR", "CRITICAL"], BeforeValidator(_upper)
    ] = "INFO"
    enable_prometheus: bool = True
    prometheus_port: Port = 8008
    signal_retention_days: Annotated[int, Field(ge=1, le=3650)] = 30
    database_pool_size: Annotated[int, Field(ge=2, le=100)] = 8
    config_dir: Path = Path("config")
    data_dir: Path = Path("data")
    tls_cert_file: Path | None = None
    tls_key_file: Path | None = None
    tls_domain: Annotated[str, AfterValidator(_host_name)] = ""
    tls_email: Annotated[str, AfterValidator(_email)] = ""
    tls_acme_url: Annotated[str, AfterValidator(_acme_url)] = ""
    certificate_file: Path = Path("certificate/state.json")
    legacy_api: bool = False
    # of `python -m app import-legacy` alone
    legacy_database_url: Annotated[Secret, AfterValidator(_legacy_database_url)] = ""
    legacy_finviz_file: Path | None = None  # `-` is stdin
    legacy_activate: bool = False  # its active strategy becomes ours, which nobody has chosen
    app_version: str = "dev"

    @classmethod
    def from_environment(cls) -> Self:
        """Read the environment.

        Raises:
            ConfigurationError: one line that names the variable, its value and what is allowed.
        """
        try:
            settings = cls()  # type: ignore[call-arg]  # the fields come from the environment
        except ValidationError as error:
            raise ConfigurationError(_one_line(error)) from error
        return settings

    @property
    def has_tls(self) -> bool:
        """Whether the edge answers over TLS."""
        return bool(self.tls_domain or self.tls_cert_file)


def check_tls_files(settings: Settings) -> None:
    """Check that TLS_CERT_FILE and TLS_KEY_FILE are a pair that a server can use.

    A start does not check them: the edge keeps the last good pair, and files that are just being renewed must
    not prevent the start.

    Raises:
        ConfigurationError: one line that names the variables and what is allowed.
    """
    certificate, key = settings.tls_cert_file, settings.tls_key_file
    if not certificate and not key:
        return
    if not certificate or not key:
        missing, given = (
            ("TLS_KEY_FILE", "TLS_CERT_FILE") if certificate else ("TLS_CERT_FILE", "TLS_KEY_FILE")
        )
        raise ConfigurationError(f"{missing} is not set: {given} needs both, or neither")
    try:
        ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER).load_cert_chain(certificate, key)
    except OSError as error:  # what ssl raises is one, too
        reason = error.strerror or str(error)
        raise ConfigurationError(
            f"TLS_CERT_FILE='{certificate}' with TLS_KEY_FILE='{key}' is not valid: {reason}; they must be a "
            "certificate and its key in PEM inside config/, such as config/tls/cert.pem"
        ) from error


def _one_line(error: ValidationError) -> str:
    first = error.errors()[0]
    field = str(first["loc"][0])
    if first["type"] == "missing":
        return f"{field.upper()} is not set: add it to .env (see .env.example)"
    allowed = first["msg"].removeprefix("Value error, ").removeprefix("Input should be ")
    shown = "(not shown)" if field in _SECRETS else repr(first["input"])
    return f"{field.upper()}={shown} is not valid: it must be {allowed}"
