"""Rows of measurements and their budgets. Pure: rows are data, verdicts follow from figures."""

from __future__ import annotations

from dataclasses import dataclass
from enum import Enum
from statistics import median
from typing import Any


class Kind(Enum):
    """How a figure is compared with its budget."""

    FIGURE = "the figure itself"
    RATIO = "the figure by its reference"
    MORE = "the figure less its reference"


@dataclass(frozen=True)
class Budget:
    """A limit for the figure, its ratio to the reference, or how much more than the reference it is."""

    kind: Kind
    limit: float
    unit: str = ""
    at_least: bool = False

    def __str__(self) -> str:
        sign = "≥" if self.at_least else "≤"
        number = f"{self.limit:g}{f' {self.unit}' if self.unit else ''}"
        return {
            Kind.FIGURE: f"{sign} {number}",
            Kind.RATIO: f"{sign} {self.limit:g} ×",
            Kind.MORE: f"{sign} + {number}",
        }[self.kind]

    def holds(self, value: float) -> bool:
        """Return whether a value of this kind is within it."""
        return value >= self.limit if self.at_least else value <= self.limit

    def used(self, value: float) -> float:
        """Return how much of the budget a value uses: 1 is all of it, more is over."""
        if self.at_least:
            return self.limit / value if value > 0 else float("inf")
        if self.limit == 0:
            return 0.0 if value <= 0 else float("inf")
        return max(0.0, value / self.limit)


def at_most(limit: float, unit: str) -> Budget:
    """Limit the figure itself."""
    return Budget(Kind.FIGURE, limit, unit)


def ratio_at_least(limit: float) -> Budget:
    """Limit the ratio to the reference, of a rate."""
    return Budget(Kind.RATIO, limit, at_least=True)


def ratio_at_most(limit: float) -> Budget:
    """Limit the ratio to the reference, of a duration."""
    return Budget(Kind.RATIO, limit)


def more_at_most(limit: float, unit: str) -> Budget:
    """Limit the difference to the reference."""
    return Budget(Kind.MORE, limit, unit)


@dataclass(frozen=True)
class Row:
    """One line of the table. `key` is `group.name`; the texts are in the table unchanged."""

    key: str
    what: str
    how: str
    unit: str
    reference: str = ""
    budget: Budget | None = None


@dataclass(frozen=True)
class Result:
    """A row's figures, in the order they were taken; the reference of each was taken in the same round."""

    figures: tuple[float, ...]
    references: tuple[float, ...] = ()
    note: str = ""

    @property
    def figure(self) -> float:
        """Return the median figure."""
        return median(self.figures)

    @property
    def reference(self) -> float | None:
        """Return the median of the reference, None where the row has none."""
        return median(self.references) if self.references else None

    @property
    def ratio(self) -> float | None:
        """Return the median of the pairs' ratios: a slow phase of the machine affects both of a pair."""
        pairs = list(zip(self.figures, self.references, strict=False))
        return median(figure / reference for figure, reference in pairs) if pairs else None

    @property
    def more(self) -> float | None:
        """Return the median difference between each figure and its reference."""
        pairs = list(zip(self.figures, self.references, strict=False))
        return median(figure - reference for figure, reference in pairs) if pairs else None

    def value(self, budget: Budget) -> float:
        """Return the value that the budget limits.

        Raises:
            ValueError: it limits a ratio, and there is no reference.
        """
        value = {Kind.FIGURE: self.figure, Kind.RATIO: self.ratio, Kind.MORE: self.more}[budget.kind]
        if value is None:
            raise ValueError(f"a budget for {budget.kind.value} needs a reference")
        return value

    def as_json(self) -> dict[str, Any]:
        """Return the JSON value that `from_json` reads."""
        return {"figures": self.figures, "references": self.references, "note": self.note}

    @classmethod
    def from_json(cls, content: dict[str, Any]) -> Result:
        """Read a result that was written before."""
        return cls(tuple(content["figures"]), tuple(content["references"]), content["note"])


def verdict(row: Row, result: Result) -> str:
    """Return a row's verdict: within, over, or reported where it has no budget."""
    if row.budget is None:
        return "reported"
    return "within" if row.budget.holds(result.value(row.budget)) else "over"
