"""Variables of the replaced system's `.env`: what each one is called here, and what comes. Pure."""

from __future__ import annotations

import re
from dataclasses import dataclass, field

RENAMED = {"FINVIZ_UPDATE_TOKEN": "ADMIN_TOKEN"}
SAME = (
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
)
_ELITE = "Elite's export needs no password: set FINVIZ_ELITE_AUTH to the token of the export"
_NOT_THERE = "the replaced system has no such setting: write it into .env if it is for this one"
_DATABASE = "the database here is one of this system's own"
WITHOUT_COUNTERPART = {
    **dict.fromkeys(("FINVIZ_USE_ELITE", "FINVIZ_EMAIL", "FINVIZ_PASSWORD", "FINVIZ_LOGIN_URL"), _ELITE),
    "DATABASE_URL": _DATABASE,
    "POSTGRES_PASSWORD": "run.py makes the password of the database",
}
_LINE = re.compile(
    r"^[ \t]*(?:export[ \t]+)?([A-Za-z_][A-Za-z0-9_]*)[ \t]*=[ \t]*(.*?)[ \t\r]*$", re.MULTILINE
)
# A quoted value of several lines, such as a key: what follows its first line is no name.
_MORE_LINES = re.compile(
    r"""^([ \t]*(?:export[ \t]+)?\w+[ \t]*=[ \t]*(["'])(?:\\.|(?!\2)[^\\\n])*)\n(?:\\.|(?!\2)[^\\])*\2.*$""",
    re.MULTILINE,
)


@dataclass(frozen=True)
class Variables:
    """Names and lines of an `.env`. No value is in any message."""

    taken: dict[str, tuple[str, str]] = field(
        default_factory=dict
    )  # by our name: their name, value as written
    kept: list[str] = field(default_factory=list)  # ours have a value of their own
    dropped: list[tuple[str, str]] = field(default_factory=list)  # names that have none here, and why

    def lines(self, done: str) -> list[str]:
        """Return what becomes of each variable, as text; `done` is `came` or `would come`."""
        return [
            *(
                f"variable: {old} {done}" + (f" as {new}" if old != new else "")
                for new, (old, _) in self.taken.items()
            ),
            *(f"variable: {name} stays: it has a value of its own here" for name in self.kept),
            *(f"variable: {name} does not come: {why}" for name, why in self.dropped),
        ]


def assigned(text: str) -> dict[str, str]:
    """Return the variables of an `.env` that have a value, as it is written: quotes and references stay."""
    found = dict(_LINE.findall(_MORE_LINES.sub(r"\1", text.removeprefix("\ufeff"))))
    return {name: value for name, value in found.items() if _bare(value)}


def _bare(value: str) -> str:
    """Return a value without its comment and quotes; an empty one is none."""
    if quoted := re.match(r"""(['"])(.*?)(?<!\\)\1""", value):
        return quoted[2]
    return re.sub(r"(^|[ \t])#.*$", "", value).strip()


def why_unreadable(value: str, known: frozenset[str]) -> str:
    """Say why a value cannot be copied as it is written; empty if it can."""
    quote = value[:1] if value[:1] in {"'", '"'} else ""
    if quote and len(re.findall(rf"(?<!\\){quote}", value)) < 2:
        return "its value has more than one line: write it into .env"
    references = [] if quote == "'" else re.findall(r"(?<![\\$])\$\{?([A-Za-z_][A-Za-z0-9_]*)", value)
    if set(references) - known:  # unnamed: what follows the sign may be a part of a secret
        return "its value refers to another variable ($…): write it into .env"
    return ""


def compare(old: str, ours: str, template: str, *, is_fresh: bool) -> Variables:
    """Return what comes from an old `.env`.

    A value of ours counts as its own unless it is empty or the template's. In a file that was just made the
    secrets were made, too, and do not count.
    """
    here, defaults = assigned(ours), assigned(template)
    names = {name for name, _ in _LINE.findall(template)}
    result = Variables()
    for name, value in assigned(old).items():
        new = RENAMED.get(name, name)
        if name not in RENAMED and name not in SAME:
            fallback = _DATABASE if name.startswith("DATABASE_") else "this system has no such setting"
            fallback = _NOT_THERE if name in names else fallback
            result.dropped.append((name, WITHOUT_COUNTERPART.get(name, fallback)))
        elif here.get(new) == value:
            continue
        elif new in here and here[new] != defaults.get(new) and not (is_fresh and new in RENAMED.values()):
            result.kept.append(new)
        elif why := why_unreadable(value, frozenset(here)):
            result.dropped.append((name, why))
        else:
            result.taken[new] = (name, value)
    return result


def with_values(text: str, values: dict[str, str]) -> str:
    """Return the text of an `.env` in which these variables have these values, each on its own line."""
    for name, value in values.items():
        line = f"{name}={value}"
        pattern = re.compile(rf"^[ \t]*(?:export[ \t]+)?{name}[ \t]*=.*$", re.MULTILINE)
        if pattern.search(text):
            text = pattern.sub(lambda _, line=line: line, text)  # type: ignore[misc]  # a default is how a loop binds
        else:
            text = f"{text}{'' if text.endswith(chr(10)) or not text else chr(10)}{line}\n"
    return text
