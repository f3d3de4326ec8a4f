"""Write `docs/reference.md`: variables, configuration files, alarms and metrics, as the code has them.

python -m scripts.reference
"""

from __future__ import annotations

import json
import re
from collections import defaultdict
from pathlib import Path
from typing import TYPE_CHECKING, get_args

from prometheus_client import REGISTRY

from app import metrics
from app.admin.fields import Limits, fields_of
from app.admin.routes.configuration import section_values, sources_of
from app.alarms.alarm import CODES
from app.config.access import default_source
from app.config.model import (
    BUILT_IN_STRATEGY,
    FROM_ENVIRONMENT,
    STRATEGY_NEEDS,
    Config,
    merge,
)
from app.config.switches import PAUSES
from app.settings import Settings
from app.web.texts import catalogue, text

if TYPE_CHECKING:
    from collections.abc import Container, Iterable, Iterator

    import msgspec
    from pydantic.fields import FieldInfo

ROOT = Path(__file__).resolve().parent.parent
DOCUMENT = ROOT / "docs" / "reference.md"
EXAMPLE = ROOT / ".env.example"
_VARIABLE = re.compile(r"(?P<comment>(?:# .*\n)*)(?P<name>[A-Z][A-Z0-9_]*)=(?P<value>.*)")
_OTHERS = ("python_", "process_", metrics.PREFIX)  # metrics of libraries, and second names
_HEAD = ("key", "default", "allowed", "what it is")


def document() -> str:
    """Return the whole document, ending in a newline."""
    config = merge({}, Settings.model_construct(database_url=""))
    strategy, name = config.finviz.active_strategy, BUILT_IN_STRATEGY["name"]
    sections = (
        _INTRODUCTION,
        _table(("variable", "default", "allowed", "what it does"), variables(EXAMPLE.read_text("utf-8"))),
        _FILES,
        _table(_HEAD, _section("configuration.webhook", config.webhook, config, "webhook")),
        _DESTINATIONS,
        _SOURCES,
        _table(_HEAD, _section("sources.field", default_source(), config, "sources", ("name",))),
        _SYSTEM,
        _table(_HEAD, (*_section("configuration.system", config.system, config, "system"), *_pauses())),
        _STRATEGIES,
        _table(
            _HEAD, _section("strategies.field", strategy, config, f"finviz.strategies.{name}", STRATEGY_NEEDS)
        ),
        _ALARMS,
        _table(("code", "severity", "what it says", "what to do"), _alarms()),
        _METRICS,
        _table(("metric", "type", "what it is"), _metrics()),
    )
    return "\n\n".join(sections) + "\n"


_INTRODUCTION = """<!-- made by `python -m scripts.reference`; a test compares it with the code -->

# Reference

Every variable, every key of the configuration files, every alarm and every metric. The flags of `run.py` are in the
[README](../README.md#flags); the HTTP API is at `/docs` of a running stack; what `--json` prints is in [json.md](json.md).

## Variables of `.env`

They are read once, at a start. An empty one counts as absent. Where a configuration file has the same value, the file counts."""

_FILES = """## `config/webhook_config.json`

The page writes the files in `config/`, and so may you: a change counts within seconds, a file with an error changes nothing and is an
alarm. A key that is absent or null falls back to its variable, else to the default. A dot is an object within an object."""

_DESTINATIONS = """### `destinations[]`

Where orders go in addition to the destination `default`, which the keys above describe. Two of them may get the same alert, such as paper
and live; each has limits, a circuit breaker, holds and positions of its own. An entry that is not valid, such as one
with an unknown key, is an error of the file. Where it is current, as after a change of `DEST_WEBHOOK_URL` to the `url` of an entry, the
destination takes no entries; its exits are sent.

| key | default | allowed | what it is |
| --- | --- | --- | --- |
| `name` | required | 1 to 40 of a to z, 0 to 9, `-` and `_` | Orders and positions have it: another name is another destination. |
| `url`, `timeout`, `max_req_per_min`, `max_req_per_hour`, `exit_reserve`, `rate_limiting_enabled`, `retry_unknown` | none; 5; 60; 500; 5 and 50; true; buys false, sells true | as above | As the keys above. Without a `url` it is paper. No two destinations have the same one. |
| `profile` | by `MAP_SIDE_TO_ACTION_TRADERSPOST` | `traderspost`, `raw` | How an alert is written: with the bridge's words, or as its sender wrote it. |
| `ticker_gap_seconds` | 10; 0 for paper, `raw` and `default` | 0 to 3600, less than `max_signal_age_seconds` | An order waits so long after the delivery of an opposite one of its ticker. |
| `match.sources` | any | names of sources | Only entries of these sources. Exits go wherever their ticker is open. |
| `match.tickers` | any | tickers | Only entries of these tickers. Exits go wherever their ticker is open. |

An entry named `default` may have `profile`, `ticker_gap_seconds` and `match`. An alert that no destination takes is rejected; an exit of an
open position is then an alarm."""

_SOURCES = """### `sources[]`

Who may post alerts, each with a secret of its own. An entry that is not valid is ignored and named in an alarm."""

_SYSTEM = "## `config/system_config.json`"

_STRATEGIES = f"""## `config/finviz_config.json`

`active` names the strategy that decides; without it, the first one does. `allow_other_hosts` (`false`): whether a strategy's `url` may lead
to other hosts than Finviz's. Without a file there is one strategy, `{BUILT_IN_STRATEGY["name"]}`.

### `strategies[]`"""

_ALARMS = """## Alarms

On the page, in `/admin/status`, as metric `alarm` with the label `code`, and as a notification when one begins and when it ends."""

_METRICS = f"""## Metrics

At `PROMETHEUS_PORT`, on loopback. A counter's samples end in `_total`. Each metric has a second name with the prefix `{metrics.PREFIX}`."""


def _table(head: tuple[str, ...], rows: Iterable[tuple[str, ...]]) -> str:
    return "\n".join(
        f"| {' | '.join(cell.replace('|', '&#124;') for cell in row)} |"
        for row in (head, ("---",) * len(head), *rows)
    )


def variables(example: str) -> Iterator[tuple[str, str, str, str]]:
    """Yield name, default, allowed content and comment of each variable in the text of `.env.example`."""
    for found in _VARIABLE.finditer(example):
        name, comment = found["name"], found["comment"].replace("# ", "").replace("\n", " ").strip()
        field = Settings.model_fields.get(name.lower())
        others = _range(1, 65535) if name.endswith("_PORT") else "text"  # of the stack alone
        allowed = _allowed_variable(field) if field else others
        yield f"`{name}`", _shown(found["value"]), allowed, comment


def _allowed_variable(field: FieldInfo) -> str:
    if field.annotation is bool:
        return "true, false"
    choices = get_args(field.annotation)
    if choices and all(isinstance(each, str) for each in choices):
        return ", ".join(choices)
    bounds = {
        kind: getattr(each, kind)
        for each in field.metadata
        for kind in ("ge", "gt", "le")
        if hasattr(each, kind)
    }
    if "le" not in bounds:
        return "text"
    return (
        _range(bounds["ge"], bounds["le"]) if "ge" in bounds else f"above {bounds['gt']}, to {bounds['le']}"
    )


def _section(
    texts: str, section: msgspec.Struct, config: Config, path: str, needs: Container[str] = ()
) -> Iterator[tuple[str, ...]]:
    """Yield a row for each value of a section, with the texts of the page's form."""
    values, sources = section_values(section), sources_of(config, path)
    variables = FROM_ENVIRONMENT.get("strategy" if "strategies" in path else path, {})
    for field in fields_of(type(section), values, defaultdict(lambda: "default", sources), needs):
        default = "required" if field.required else _shown(field.value)
        if field.name in variables:
            default = f"`{variables[field.name].upper()}`"
        key = f"{texts}.{field.name}"
        yield f"`{field.name}`", default, _allowed(field.limits, key), f"{text(key)}. {text(f'{key}.hint')}"


def _pauses() -> Iterator[tuple[str, ...]]:
    for name in PAUSES:
        meaning = text(f"configuration.{name.removesuffix('_paused')}.paused")
        yield f"`{name}`", "`false`", "true, false", f"Also a switch of the page. {meaning}"


def _alarms() -> Iterator[tuple[str, ...]]:
    texts = catalogue()
    for code, severity in CODES.items():
        says = texts.get(f"alarm.{code}", "")
        yield f"`{code}`", severity, says, texts.get(f"alarm.{code}.action", "")


def _metrics() -> Iterator[tuple[str, ...]]:
    families = (each for each in REGISTRY.collect() if not each.name.startswith(_OTHERS))
    for family in sorted(families, key=lambda each: each.name):
        yield f"`{family.name}`", family.type, family.documentation


def _shown(value: object) -> str:
    if value in (None, "", []):
        return "none"
    return f"`{value if isinstance(value, str) else json.dumps(value)}`"


def _allowed(limits: Limits, key: str) -> str:
    low, high = f"{limits.low or 0:g}", f"{limits.high or 0:g}"
    meanings = catalogue()
    allowed = {
        "switch": "true, false",
        "whole": _range(limits.low, limits.high),
        "decimal": f"above {low}, to {high}",
        "decimals": f"list, each above {low}, to {high}",
        "lines": "list of texts",
        "choice": "; ".join(f"`{each}`: {meanings[f'{key}.{each}']}" for each in limits.choices),
    }
    return allowed.get(limits.kind, f"text, up to {high} characters")


def _range(low: float | None, high: float | None) -> str:
    if low is None or high is None:
        return "whole number"
    return f"{low:,.0f} to {high:,.0f}"


if __name__ == "__main__":
    DOCUMENT.write_text(document(), "utf-8")
