"""Variables of the replaced system's `.env`: what each one is called here. Pure. No value is ever shown."""

from collections.abc import Iterable
from dataclasses import dataclass

RENAMED = {"FINVIZ_UPDATE_TOKEN": "ADMIN_TOKEN"}
SAME = frozenset(
    {
        "DEST_WEBHOOK_URL",
        "DEST_WEBHOOK_TIMEOUT",
        "DEST_WEBHOOK_MAX_REQ_PER_MIN",
        "DEST_WEBHOOK_MAX_REQ_PER_HOUR",
        "DEST_WEBHOOK_RATE_LIMITING_ENABLED",
        "MAP_SIDE_TO_ACTION_TRADERSPOST",
        "TOP_N",
        "FINVIZ_REFRESH_SEC",
        "WORKER_CONCURRENCY",
        "FORWARDING_WORKERS",
        "QUEUE_MAX_SIZE",
        "SIGNAL_RETENTION_DAYS",
        "SERVER_PORT",
        "LOG_LEVEL",
        "ENABLE_PROMETHEUS",
        "PROMETHEUS_PORT",
        "DATABASE_POOL_SIZE",
    }
)
_ELITE = "Elite's export needs no password: set FINVIZ_ELITE_AUTH to the token of the export"
WITHOUT_COUNTERPART = {
    "FINVIZ_USE_ELITE": _ELITE,
    "FINVIZ_EMAIL": _ELITE,
    "FINVIZ_PASSWORD": _ELITE,
    "FINVIZ_LOGIN_URL": _ELITE,
    "DATABASE_URL": "run.py makes the address of the database",
    "POSTGRES_PASSWORD": "run.py makes the password of the database",
}


@dataclass(frozen=True, slots=True)
class Variables:
    """The names of a file: as they are here, and those that this system does not have, with the reason."""

    kept: tuple[tuple[str, str], ...]
    dropped: tuple[tuple[str, str], ...]


def read(lines: Iterable[str]) -> Variables:
    """Read the names of the variables of an env file that have a value."""
    kept, dropped = list[tuple[str, str]](), list[tuple[str, str]]()
    for line in lines:
        name, found, value = line.strip().removeprefix("export ").partition("=")
        name = name.strip()
        if not found or not value.strip() or not name.isidentifier():
            continue
        if name in SAME or name in RENAMED:
            kept.append((name, RENAMED.get(name, name)))
        else:
            dropped.append((name, WITHOUT_COUNTERPART.get(name, "this system has no such setting")))
    return Variables(tuple(dict.fromkeys(kept)), tuple(dict.fromkeys(dropped)))
