"""DATABASE_URL: which of libpq's parameters asyncpg takes, which are translated, ignored or refused. Pure."""

import re
from dataclasses import dataclass
from urllib.parse import parse_qsl, quote, unquote, urlencode, urlsplit, urlunsplit

_SSL_MODES = frozenset({"disable", "allow", "prefer", "require", "verify-ca", "verify-full"})
_SESSIONS = frozenset({"any", "primary", "standby", "read-write", "read-only", "prefer-standby"})
_TLS_VERSIONS = frozenset({"TLSv1", "TLSv1.1", "TLSv1.2", "TLSv1.3"})

# None: any value. asyncpg reads these from the URL itself.
_PASSED: dict[str, frozenset[str] | None] = {
    **dict.fromkeys(("host", "port", "dbname", "database", "user", "password", "passfile", "service")),
    **dict.fromkeys(("sslcert", "sslkey", "sslrootcert", "sslcrl", "sslpassword", "krbsrvname")),
    "gsslib": frozenset({"gssapi", "sspi"}),
    "sslmode": _SSL_MODES,
    "sslnegotiation": frozenset({"postgres", "direct"}),
    "ssl_min_protocol_version": _TLS_VERSIONS,
    "ssl_max_protocol_version": _TLS_VERSIONS,
    "target_session_attrs": _SESSIONS,
}
_NUMBERS = frozenset(
    {
        *("connect_timeout", "keepalives", "keepalives_idle", "keepalives_interval", "keepalives_count"),
        "tcp_user_timeout",
    }
)
_TRANSLATED = _NUMBERS | {"application_name"}
# Of no effect here with these values; with any other the connection would be less safe than the URL asks for.
_IGNORED: dict[str, frozenset[str] | None] = {
    "channel_binding": frozenset({"prefer", "disable"}),
    "gssencmode": frozenset({"prefer", "disable"}),
    "sslcertmode": frozenset({"allow", "disable"}),
    "gssdelegation": frozenset({"0"}),
    "replication": frozenset({"false", "off", "no", "0"}),
    **dict.fromkeys(("client_encoding", "fallback_application_name", "sslcompression", "sslsni")),
    **dict.fromkeys(("load_balance_hosts", "min_protocol_version", "max_protocol_version")),
    # settings that our statements rely on: every session has its own
    **dict.fromkeys(("timezone", "enable_seqscan", "jit")),
}
_REFUSED = {
    "hostaddr": "write the address as the URL's host",
    "requiressl": "write sslmode=require",
    "sslcrldir": "write sslcrl with one file",
    "requirepeer": "connect by TCP with sslmode=verify-full",
    "require_auth": "set the method in the server's pg_hba.conf",
}
_SETTING = re.compile(r"[a-z_][a-z0-9_$.]{0,62}")
_HOST = re.compile(r"(?:\[[^\]]+\]|[^\[:][^:]*|(?=:))(?::(?P<port>[^:]*))?|/.*")
_LONGEST_CONNECT_SECONDS = 30


@dataclass(frozen=True, slots=True)
class Keepalive:
    """TCP keepalive of a connection: seconds until the first probe and between probes, and how many are lost.

    `user_timeout_ms` bounds how long sent data may stay unacknowledged.
    """

    enabled: bool = True
    idle: int = 30
    interval: int = 10
    count: int = 3
    user_timeout_ms: int = 30_000


@dataclass(frozen=True, slots=True)
class Address:
    """What DATABASE_URL means for asyncpg: `url` has its parameters, and settings that go to the server.

    `connect_seconds` is None where the URL leaves the limit to the caller; `ignored` names parameters without
    effect, `settings` the server's settings, in lower case.
    """

    url: str
    application_name: str = ""
    connect_seconds: int | None = None
    keepalive: Keepalive = Keepalive()
    ignored: tuple[str, ...] = ()
    settings: tuple[str, ...] = ()


def parse(value: str) -> Address:
    """Read a database URL.

    Raises:
        ValueError: what a valid URL looks like; never a value of this one, for it holds a password.
    """
    try:
        parts = urlsplit(value.replace("postgresql+asyncpg://", "postgresql://", 1))
    except ValueError as error:
        raise ValueError(f"{_EXAMPLE}; {_ENCODING}") from error
    if parts.scheme not in {"postgresql", "postgres"}:
        raise ValueError(_EXAMPLE)
    user, at, hosts = parts.netloc.partition("@")
    if "@" in hosts or "@" in parts.query or parts.fragment or (not at and "@" in parts.path):
        raise ValueError(f"{_EXAMPLE}; {_ENCODING}")
    try:
        pairs = parse_qsl(parts.query, keep_blank_values=True, strict_parsing=bool(parts.query))
    except ValueError as error:
        raise ValueError("a URL whose parameters are written name=value, with & between them") from error
    given = {name.lower(): parameter for name, parameter in pairs}
    _check_hosts(hosts if at else user, given.get("host", ""), given.get("port", ""))
    for name, parameter in given.items():
        _check(name, parameter)
    numbers = {name: int(given[name]) for name in _NUMBERS & given.keys()}
    settings = tuple(sorted(given.keys() - _PASSED.keys() - _IGNORED.keys() - _TRANSLATED))
    passed = {name: parameter for name, parameter in given.items() if name in _PASSED or name in settings}
    query = urlencode(passed, quote_via=quote)
    return Address(
        url=urlunsplit(parts._replace(query=query)),
        application_name=given.get("application_name", ""),
        connect_seconds=_connect_seconds(numbers.get("connect_timeout", 0)),
        keepalive=_keepalive(numbers),
        ignored=tuple(sorted(name for name in given if name in _IGNORED)),
        settings=settings,
    )


_EXAMPLE = "a URL such as postgresql+asyncpg://postgres:PASSWORD@postgres:5432/trading_signals"
_ENCODING = "write / ? # @ [ and ] in a password as %2F %3F %23 %40 %5B and %5D"


def _check_hosts(in_netloc: str, in_query: str, ports_in_query: str) -> None:
    """Refuse hosts and ports that asyncpg cannot read: its error quotes the text.

    That text is part of the password where a slash in it is not encoded.
    """
    hosts = [*in_netloc.split(",")] if in_netloc else []
    found = [_HOST.fullmatch(host) for host in (*hosts, *(in_query.split(",") if in_query else ()))]
    ports = [unquote(host["port"]) for host in found if host and host["port"]]
    given = ports_in_query.split(",") if ports_in_query else []
    if not all(found) or not all(map(_is_port, (*ports, *given))):
        raise ValueError(f"{_EXAMPLE}, with a port from 1 to 65535; {_ENCODING}")
    if len(given) > 1 and len(given) != len(hosts or in_query.split(",")):
        raise ValueError("a URL whose parameter port has one port for all hosts, or one for each")


def _is_port(text: str) -> bool:
    return re.fullmatch(r"[0-9]{1,5}", text) is not None and 1 <= int(text) <= 65535


def _check(name: str, value: str) -> None:
    if name in _REFUSED:
        raise ValueError(f"a URL without the parameter {name}: {_REFUSED[name]}")
    if name in _NUMBERS:
        # libpq reads a negative connect_timeout as no limit
        if not re.fullmatch(r"-?[0-9]{1,8}" if name == "connect_timeout" else r"[0-9]{1,8}", value):
            raise ValueError(f"a URL whose parameter {name} is a whole number")
        return
    known = {**_PASSED, **_IGNORED}
    if name not in known and not _SETTING.fullmatch(name):
        raise ValueError("a URL whose parameters are libpq's or settings of PostgreSQL; a name is not valid")
    if "\0" in value:
        raise ValueError(f"a URL whose parameter {name} has no zero byte")
    values = known.get(name)
    if values is not None and value not in values:
        raise ValueError(f"a URL whose parameter {name} is one of: {', '.join(sorted(values))}")


def _connect_seconds(asked: int) -> int | None:
    """Return the limit for one connection; as in libpq 0 is none of its own, and 1 counts as 2."""
    return min(max(asked, 2), _LONGEST_CONNECT_SECONDS) if asked > 0 else None


def _keepalive(numbers: dict[str, int]) -> Keepalive:
    """Return what is asked for; as in libpq 0 stands for the default."""
    default = Keepalive()
    return Keepalive(
        enabled=numbers.get("keepalives", 1) != 0,
        idle=min(numbers.get("keepalives_idle", 0), 32_767) or default.idle,
        interval=min(numbers.get("keepalives_interval", 0), 32_767) or default.interval,
        count=min(numbers.get("keepalives_count", 0), 127) or default.count,
        user_timeout_ms=numbers.get("tcp_user_timeout", 0) or default.user_timeout_ms,
    )
