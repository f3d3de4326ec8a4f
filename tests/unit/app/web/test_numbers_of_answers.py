"""No number of an answer or of a live update may be written with an exponent."""

from __future__ import annotations

from decimal import Decimal
from typing import TYPE_CHECKING, Any

from pydantic import BaseModel, TypeAdapter

import app.main  # noqa: F401  # imports every model
from app.positions.repository import Position
from app.positions.routes import AdoptedPosition
from app.positions.trades_repository import TradePage, TradeSums

if TYPE_CHECKING:
    from collections.abc import Iterator

DATACLASSES = (Position, TradePage, TradeSums)  # answers that are no models
ONLY_READ = {AdoptedPosition}  # of a request


def bare_decimals(schema: Any) -> list[Any]:
    """Return the Decimals of a core schema without a serializer of their own: `str` writes `1E+4`."""
    if isinstance(schema, dict):
        found = [schema] if schema.get("type") == "decimal" and "serialization" not in schema else []
        return found + [each for value in schema.values() for each in bare_decimals(value)]
    if isinstance(schema, list | tuple):
        return [each for value in schema for each in bare_decimals(value)]
    return []


def models(base: type[BaseModel] = BaseModel) -> Iterator[type[BaseModel]]:
    """Yield the application's models."""
    for model in base.__subclasses__():
        if model.__module__.startswith("app."):
            yield model
        yield from models(model)


def test_no_number_of_an_answer_may_have_an_exponent() -> None:
    answers = {*models(), *DATACLASSES} - ONLY_READ
    assert len(answers) > 50
    assert {each.__name__ for each in answers if bare_decimals(TypeAdapter(each).core_schema)} == set()


def test_a_bare_decimal_is_found() -> None:
    assert len(bare_decimals(TypeAdapter(list[Decimal | None]).core_schema)) == 1
    assert len(bare_decimals(TypeAdapter(AdoptedPosition).core_schema)) == 2
