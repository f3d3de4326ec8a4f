"""Quantities, prices and results as they leave the application: plain digits without an exponent. Pure."""

from decimal import Decimal
from typing import Annotated

from pydantic import Field, PlainSerializer


def fixed_point(value: Decimal) -> str:
    """Return all digits of a number as `10000` or `0.00000012`, where `str` writes `1E+4` and `1.2E-7`."""
    return f"{value:f}"


_Text = Annotated[str, Field(pattern=r"^-?\d+(\.\d+)?$")]

# The type of every number in an answer or a live message that is a Decimal.
Amount = Annotated[Decimal, PlainSerializer(fixed_point, return_type=_Text, when_used="json")]
