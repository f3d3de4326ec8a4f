"""The values of a configuration section as form fields, with kind, limits and source. Pure.

The limits in the form are those that the server enforces: both come from the types of `app.config.model`.
"""

from collections.abc import Container, Iterator, Mapping
from functools import reduce
from typing import Any, Literal, NamedTuple, cast

import msgspec
from msgspec import inspect

from app.config.model import Source
from app.config.switches import SWITCHES

Kind = Literal["text", "long", "whole", "decimal", "decimals", "words", "lines", "secret", "switch", "choice"]

_LONG = 100  # characters; a longer text gets a field of several lines


class Limits(NamedTuple):
    """The allowed content of a field. With `above`, `low` is exclusive. For a text, `high` is its length."""

    kind: Kind
    low: float | None = None
    above: bool = False
    high: float | None = None
    choices: tuple[str, ...] = ()


class Field(NamedTuple):
    """One value. `name` is its dotted path. `required`: neither .env nor a default can replace the file's."""

    name: str
    value: Any
    source: Source
    limits: Limits
    required: bool

    @property
    def shown(self) -> str:
        """The value as text in the form."""
        if self.limits.kind in {"decimal", "decimals"}:
            numbers = [self.value] if self.limits.kind == "decimal" else self.value
            return " ".join(f"{number:g}" for number in numbers)
        if self.limits.kind == "words":
            return " ".join(self.value)
        if self.limits.kind == "lines":
            return "\n".join(self.value)
        return "" if self.value is None else str(self.value)

    @property
    def resettable(self) -> bool:
        """Whether the file sets the value, and .env or a default can replace it."""
        return self.source == "file" and not self.required


def fields_of(
    section: type[msgspec.Struct],
    values: Mapping[str, Any],
    sources: Mapping[str, Source],
    required: Container[str] = (),
) -> list[Field]:
    """Return the section's fields in the order of its type, nested ones with dotted names; no switches."""
    return [
        Field(name, _at(values, name), sources[name], _limits(kind), name in required)
        for name, kind in _leaves(section)
        if name not in SWITCHES
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
            item = _limits(kind.item_type)
            limits = Limits("lines") if item.kind == "text" else item._replace(kind="decimals")
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
