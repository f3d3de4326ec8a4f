"""Templates with their texts and filters that format values for a trader. Everything is escaped."""

import json
from collections.abc import Mapping
from datetime import datetime
from decimal import Decimal
from pathlib import Path
from typing import Any

from jinja2 import Environment, FileSystemLoader, StrictUndefined
from starlette.responses import HTMLResponse

from app.admin.schemas import Attempt
from app.signals.reasons import REMARK_CODES, stored_remarks
from app.signals.tickers import fold
from app.web.locale import LANGUAGES, THEMES, current
from app.web.patterns import translate
from app.web.reasons import explain, render
from app.web.texts import catalogue, for_scripts, text

_HERE = Path(__file__).parent
NOTHING = "\N{EN DASH}"
_PLACES, _SIGNIFICANT = 8, 6
_SWAPPED = str.maketrans(",.", ".,")


def clock(moment: datetime) -> str:
    """Format a time as `2026-11-22 14:03:22` in UTC; the page's script converts it to local time."""
    return f"{moment:%Y-%m-%d %H:%M:%S}"


def age(seconds: float | None) -> str:
    """Format seconds as `4 s`, `3 min`, `2 h` or `5 d`, like `age` in static/page/time.js."""
    if seconds is None:
        return NOTHING
    for size, unit in ((86_400, "d"), (3_600, "h"), (60, "min")):
        if seconds >= size:
            return f"{int(seconds // size)} {unit}"
    return f"{max(0, int(seconds))} s"


def number(value: int) -> str:
    """Format a number as `12,345`, in Portuguese `12.345`, like `number` in static/page/time.js."""
    return _in_language(f"{value:,}")


def decimal(value: Decimal) -> str:
    """Format a quantity or a price as `1,234.5`, in Portuguese `1.234,5`, like `decimal` in page/time.js.

    At most eight decimal places, the smallest unit of most cryptocurrencies, or six significant digits if
    that is more: a price of `0.00000012` is not 0.
    """
    places = max(_PLACES, _SIGNIFICANT - 1 - value.adjusted())
    figure = f"{value:,.{places}f}"
    return _in_language(figure.rstrip("0").rstrip("."))


def seconds(value: float | None) -> str:
    """Format a duration as `120 ms` or `1.5 s`, in Portuguese `1,5 s`; from 60 s on like `age`."""
    if value is None:
        return NOTHING
    if value < 1:
        return f"{value * 1000:.0f} ms"
    return f"{_in_language(f'{value:.1f}')} s" if value < 60 else age(value)


def _in_language(figure: str) -> str:
    """Return the figure with the separators of the reader's language."""
    return figure if current.get().language == "en" else figure.translate(_SWAPPED)


def size(value: int) -> str:
    """Format bytes as `12 MB`."""
    return f"{number(round(value / 1_000_000))} MB"


def took(attempt: Attempt) -> str:
    """Format the duration of an attempt in milliseconds; a dash while it is open."""
    if attempt.ended_at is None:
        return NOTHING
    return f"{(attempt.ended_at - attempt.started_at).total_seconds() * 1000:.0f} ms"


def facts(detail: Mapping[str, Any]) -> str:
    """Format an event's details as `rank: 3 · list size: 15`, with its remarks in the reader's language.

    Round 2 is shown as the first replay, an intent in the words of the page.
    """
    values = {name: value for name, value in detail.items() if value is not None and name != REMARK_CODES}
    if remarks := stored_remarks(detail):
        values["remarks"] = "; ".join(map(render, remarks))
    if isinstance(replay_round := values.get("round"), int):
        values["round"] = replay_round - 1
    intent = f"intent.{values.get('intent')}"
    if intent in catalogue():
        values["intent"] = text(intent)
    return " · ".join(f"{_named(name)}: {_shown(value)}" for name, value in values.items())


def _named(name: str) -> str:
    key = f"detail.{name}"
    return text(key) if key in catalogue() else name.replace("_", " ")


def _shown(value: object) -> str:
    if isinstance(value, bool):
        return text("yes") if value else text("no")
    return value if isinstance(value, str) else json.dumps(value)


def after(moment: datetime, start: datetime) -> str:
    """Format the time since `start` as `+12 ms`; from 10 s on like `age`."""
    seconds = (moment - start).total_seconds()
    return f"+{seconds * 1000:.0f} ms" if seconds < 10 else f"+{age(seconds)}"


_environment = Environment(
    loader=FileSystemLoader(_HERE / "templates"),
    autoescape=True,
    undefined=StrictUndefined,
    trim_blocks=True,
    lstrip_blocks=True,
)
_environment.globals.update(t=text, preferences=current.get, languages=LANGUAGES, themes=THEMES)
_environment.globals.update(words=lambda: for_scripts(current.get().language))
_environment.filters.update(clock=clock, age=age, seconds=seconds, took=took, after=after)
_environment.filters.update(
    number=number, decimal=decimal, size=size, facts=facts, translate=translate, fold=fold
)
_environment.filters.update(explain=explain, render=render)


def page(template: str, status: int = 200, **values: object) -> HTMLResponse:
    """Render a template as a response."""
    return HTMLResponse(_environment.get_template(template).render(values), status)


def problem_page(status: int, message: str) -> HTMLResponse:
    """Render an error message as a page."""
    return page("problem.html", status, message=message)
