"""One picture of a run: how much of its budget each row uses. Pure; SVG by hand, nothing to install."""

from __future__ import annotations

from math import isfinite
from typing import TYPE_CHECKING
from xml.sax.saxutils import escape

from benchmarks.row import verdict

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from benchmarks.row import Result, Row

_LINE, _TOP, _LEFT, _WIDTH, _RIGHT = 22, 56, 430, 360, 150
_SHOWN = 1.5  # bars end here, however far a row is over its budget
_COLOURS = {"within": "#2f855a", "over": "#c53030"}


def draw(rows: Sequence[Row], results: Mapping[str, Result], title: str) -> str:
    """Return the SVG. Rows without a budget, or without a result, are left out."""
    shown = [(row, results[row.key]) for row in rows if row.budget and row.key in results]
    height = _TOP + _LINE * len(shown) + 16
    full = _LEFT + _WIDTH / _SHOWN
    parts = [
        f'<svg xmlns="http://www.w3.org/2000/svg" width="{_LEFT + _WIDTH + _RIGHT}" height="{height}"',
        f'     font-family="system-ui, sans-serif" font-size="12" role="img" aria-label="{escape(title)}">',
        f'<rect width="100%" height="{height}" fill="#ffffff"/>',
        f'<text x="16" y="24" font-size="15" font-weight="600" fill="#1a202c">{escape(title)}</text>',
        f'<text x="{full}" y="44" text-anchor="middle" fill="#4a5568">all of the budget</text>',
    ]
    parts.append(f'<line x1="{full}" x2="{full}" y1="{_TOP - 6}" y2="{height - 10}" stroke="#1a202c"/>')
    for place, (row, result) in enumerate(shown):
        parts += _bar(row, result, _TOP + _LINE * place)
    return "\n".join([*parts, "</svg>", ""])


def _bar(row: Row, result: Result, y: int) -> list[str]:
    if row.budget is None:
        raise ValueError(f"{row.key} has no budget to draw")
    used = row.budget.used(result.value(row.budget))
    length = max(2.0, min(used, _SHOWN) / _SHOWN * _WIDTH)
    middle = y + _LINE / 2
    colour = _COLOURS[verdict(row, result)]
    share = f"{used:.0%}" if isfinite(used) else "more"
    label = f"{share} of {row.budget}"
    name = row.what.replace("`", "")
    return [
        f'<text x="{_LEFT - 8}" y="{middle + 4}" text-anchor="end" fill="#1a202c">{escape(name)}</text>',
        f'<rect x="{_LEFT}" y="{y + 4}" width="{length:.1f}" height="{_LINE - 8}" rx="2" fill="{colour}"/>',
        f'<text x="{_LEFT + _WIDTH + 12}" y="{middle + 4}" fill="#4a5568">{escape(label)}</text>',
    ]
