"""A measurement fills one or more rows; a group is a module's measurements in the order they run."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Mapping

    from benchmarks.bench import Bench
    from benchmarks.row import Result, Row


@dataclass(frozen=True)
class Measurement:
    """`run` takes the figures of all `rows` together and returns them by the rows' keys."""

    name: str  # group.name, what ONLY= selects
    rows: tuple[Row, ...]
    run: Callable[[Bench], Mapping[str, Result]]
    has_base: bool = True  # whether another commit's version can be measured in the same run

    @property
    def group(self) -> str:
        """Return the first part of its name."""
        return self.name.partition(".")[0]


def alternate(rounds: int, *takes: Callable[[], float]) -> tuple[tuple[float, ...], ...]:
    """Take figures in turn, `rounds` times, every other round in reverse; return each one's figures."""
    figures: list[list[float]] = [[] for _ in takes]
    for number in range(rounds):
        order = range(len(takes)) if number % 2 == 0 else reversed(range(len(takes)))
        for index in order:
            figures[index].append(takes[index]())
    return tuple(tuple(taken) for taken in figures)


def select(measurements: Iterable[Measurement], only: str) -> list[Measurement]:
    """Choose by `only`: names of groups or measurements with commas between; all of them where it is empty.

    Raises:
        ValueError: a name fits nothing.
    """
    known = list(measurements)
    wanted = [name for name in only.split(",") if name]
    for name in wanted:
        if not any(name in {item.name, item.group} for item in known):
            names = ", ".join(dict.fromkeys(item.group for item in known))
            raise ValueError(f"ONLY={name} names no group ({names}) and no measurement of one")
    return [item for item in known if not wanted or item.name in wanted or item.group in wanted]
