"""Templates, the texts they need, and values shown the way a trader reads them. Everything is escaped."""

import json
from collections.abc import Mapping
from datetime import datetime
from pathlib import Path
from typing import Any

from jinja2 import Environment, FileSystemLoader, StrictUndefined
from starlette.responses import HTMLResponse

from app.admin.schemas import Attempt
from app.web.locale import LANGUAGES, THEMES, current
from app.web.reasons import translate
from app.web.texts import catalogue, for_scripts, text

_HERE = Path(__file__).parent
NOTHING = "\N{EN DASH}"
_SWAPPED = str.maketrans(",.", ".,")


def clock(moment: datetime) -> str:
    """`2026-11-22 14:03:22`, UTC; the page's script turns it into the reader's own time."""
    return f"{moment:%Y-%m-%d %H:%M:%S}"


def age(seconds: float | None) -> str:
    """Seconds as `4 s`, `3 min`, `2 h` or `5 d`; the same as `age` in static/page/time.js."""
    if seconds is None:
        return NOTHING
    for size, unit in ((86_400, "d"), (3_600, "h"), (60, "min")):
        if seconds >= size:
            return f"{int(seconds // size)} {unit}"
    return f"{max(0, int(seconds))} s"


def number(value: int) -> str:
    """`12,345`, or `12.345` in Portuguese; the same as `number` in static/page/time.js."""
    return _in_language(f"{value:,}")


def seconds(value: float | None) -> str:
    """A span that is often shorter than a second: `120 ms`, `1.5 s`, in Portuguese `1,5 s`; then as `age`."""
    if value is None:
        return NOTHING
    if value < 1:
        return f"{value * 1000:.0f} ms"
    return f"{_in_language(f'{value:.1f}')} s" if value < 60 else age(value)


def _in_language(figure: str) -> str:
    """A figure with the reader's marks for thousands and decimals."""
    return figure if current.get().language == "en" else figure.translate(_SWAPPED)


def size(value: int) -> str:
    """Bytes as `12 MB`."""
    return f"{number(round(value / 1_000_000))} MB"


def took(attempt: Attempt) -> str:
    """How long an attempt lasted, in milliseconds; a dash while it is open."""
    if attempt.ended_at is None:
        return NOTHING
    return f"{(attempt.ended_at - attempt.started_at).total_seconds() * 1000:.0f} ms"


def facts(detail: Mapping[str, Any]) -> str:
    """An event's details as `rank: 3 · list size: 15`."""
    return " · ".join(
        f"{_named(name)}: {_shown(value)}" for name, value in detail.items() if value is not None
    )


def _named(name: str) -> str:
    key = f"detail.{name}"
    return text(key) if key in catalogue() else name.replace("_", " ")


def _shown(value: object) -> str:
    if isinstance(value, bool):
        return text("yes") if value else text("no")
    return value if isinstance(value, str) else json.dumps(value)


def after(moment: datetime, start: datetime) -> str:
    """How long after `start`: `+12 ms` within ten seconds, then as `age`."""
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
_environment.filters.update(number=number, size=size, facts=facts, translate=translate)


def page(template: str, status: int = 200, **values: object) -> HTMLResponse:
    """Render a template as an answer."""
    return HTMLResponse(_environment.get_template(template).render(values), status)


def problem_page(status: int, message: str) -> HTMLResponse:
    """Render a message as a page of its own."""
    return page("problem.html", status, message=message)
