"""Numbers leave in plain digits, all of them."""

from __future__ import annotations

from decimal import Decimal

import pytest
from hypothesis import given
from hypothesis import strategies as st
from pydantic import TypeAdapter

from app.signals.amounts import Amount, fixed_point

_AMOUNT = TypeAdapter[Decimal](Amount)


@pytest.mark.parametrize(
    ("value", "text"),
    [("1E+4", "10000"), ("1.2E-7", "0.00000012"), ("-1E-18", "-0.000000000000000001"), ("1.50", "1.50")],
)
def test_a_number_has_no_exponent(value: str, text: str) -> None:
    assert fixed_point(Decimal(value)) == text
    assert _AMOUNT.dump_json(Decimal(value)) == f'"{text}"'.encode()


@given(st.decimals(allow_nan=False, allow_infinity=False, min_value=-(10**60), max_value=10**60))
def test_no_digit_is_lost(value: Decimal) -> None:
    assert Decimal(fixed_point(value)) == value
