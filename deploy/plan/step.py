"""A step of a flow: who carries it out, and whether it changes anything on a host.

It is decided from the facts and from the steps before it, and says why in words for the operator.
"""

from __future__ import annotations

from dataclasses import dataclass
from enum import StrEnum
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Callable

    from deploy.plan.facts import Facts


class Changes(StrEnum):
    """Whether a step changes anything."""

    YES = "yes"
    NO = "no"
    DEPENDS = "depends"


@dataclass(frozen=True)
class Answer:
    """Whether, and why. What depends `on` another step changes something exactly if that one does."""

    changes: Changes
    why: str
    on: str = ""


Answers = dict[str, Answer]  # of the steps before, by name


@dataclass(frozen=True)
class Step:
    """One kind of step. `tasks` are those that report the change, as `role: task`.

    `early` ones are done before the plan is made: they are part of it, and nothing is compared with it.
    """

    name: str
    tasks: tuple[str, ...]
    decide: Callable[[Facts, Answers], Answer]
    early: bool = False


def step(name: str, *tasks: str, early: bool = False) -> Callable[[Callable[[Facts, Answers], Answer]], Step]:
    """Make a step of the function that decides it."""
    return lambda decide: Step(name, tasks, decide, early)


def always(name: str, task: str, why: str) -> Step:
    """Make a step that changes something in any case."""
    return Step(name, (task,), lambda *_: yes(why))


def yes(why: str) -> Answer:
    """It changes something."""
    return Answer(Changes.YES, why)


def no(why: str) -> Answer:
    """All is as it should be."""
    return Answer(Changes.NO, why)


def depends(why: str, on: str = "") -> Answer:
    """Nobody can say before another step, or the flow itself, has come that far."""
    return Answer(Changes.DEPENDS, why, on)


def either(why: str, otherwise: str) -> Answer:
    """Yes, for a reason; no, where there is none."""
    return yes(why) if why else no(otherwise)


def few(names: tuple[str, ...] | list[str]) -> str:
    """The first three, and how many more there are."""
    more = f" and {len(names) - 3} more" if len(names) > 3 else ""
    return ", ".join(names[:3]) + more
