"""A configuration's values as a form's fields: kind, limits, source, from the types that check them. Pure.

The limits shown to a person are the ones that the server refuses by: both come from `app.config.model`.
"""

from collections.abc import Container, Iterator, Mapping
from functools import reduce
from typing import Any, Literal, NamedTuple, cast

import msgspec
from msgspec import inspect

from app.config.model import PAUSES, Source

Kind = Literal["text", "long", "whole", "decimal", "decimals", "switch", "choice"]

_LONG = 100  # characters; a longer text gets several lines


class Limits(NamedTuple):
    """What may stand in a field. `low` itself is not allowed if `above`; for a text `high` is its length."""

    kind: Kind
    low: float | None = None
    above: bool = False
    high: float | None = None
    choices: tuple[str, ...] = ()


class Field(NamedTuple):
    """One value. `name` is its dotted path; `required`: nothing stands behind the file."""

    name: str
    value: Any
    source: Source
    limits: Limits
    required: bool

    @property
    def shown(self) -> str:
        """The value as it stands in the form."""
        if self.limits.kind in {"decimal", "decimals"}:
            numbers = [self.value] if self.limits.kind == "decimal" else self.value
            return " ".join(f"{number:g}" for number in numbers)
        return "" if self.value is None else str(self.value)

    @property
    def resettable(self) -> bool:
        """Whether the file pins it, and something stands behind the file."""
        return self.source == "file" and not self.required


def fields_of(
    section: type[msgspec.Struct],
    values: Mapping[str, Any],
    sources: Mapping[str, Source],
    required: Container[str] = (),
) -> list[Field]:
    """The section's fields in the order of its type, nested ones by dotted names; pauses are no fields."""
    return [
        Field(name, _at(values, name), sources[name], _limits(kind), name in required)
        for name, kind in _leaves(section)
        if name not in PAUSES
    ]


def _at(values: Mapping[str, Any], name: str) -> object:
    return reduce(lambda found, part: found[part], name.split("."), cast("Any", values))


def _leaves(section: type[msgspec.Struct]) -> Iterator[tuple[str, inspect.Type]]:
    for field in cast("inspect.StructType", inspect.type_info(section)).fields:
        if isinstance(field.type, inspect.StructType):
            yield from ((f"{field.name}.{name}", kind) for name, kind in _leaves(field.type.cls))
        else:
            yield field.name, field.type


def _limits(kind: inspect.Type) -> Limits:
    limits = Limits("switch")
    match kind:
        case inspect.UnionType():  # a text or null
            limits = _limits(kind.types[0])
        case inspect.VarTupleType():
            limits = _limits(kind.item_type)._replace(kind="decimals")
        case inspect.IntType():
            limits = Limits("whole", low=kind.ge, high=kind.le)
        case inspect.FloatType():
            limits = Limits("decimal", low=kind.gt, above=True, high=kind.le)
        case inspect.LiteralType():
            limits = Limits("choice", choices=tuple(str(value) for value in kind.values))
        case inspect.StrType():
            longest = kind.max_length or 0
            limits = Limits("long" if longest > _LONG else "text", high=longest)
    return limits
