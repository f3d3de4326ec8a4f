"""What is wrong with a value of a request: pydantic's errors as reasons. Pure.

No text of pydantic is shown: it names Python's types, and may quote a regular expression or a parser.
"""

import re
from collections.abc import Mapping
from decimal import Decimal
from typing import Any

from app.config.checking import kind_of
from app.errors import ReasonError
from app.signals import tickers
from app.signals.reasons import Reason
from app.signals.refusals import RefusalCode

ACTION_PATTERN = r"^[a-z.-]{1,40}$"  # of the prefix of an action's name

_SHOWN = 40  # characters of a value
_QUOTED = re.compile(r"'([^']*)'")
_KINDS = {  # by the first word of the error's type
    "string": RefusalCode.VALUE_KIND_TEXT,
    "int": RefusalCode.VALUE_KIND_WHOLE,
    "float": RefusalCode.VALUE_KIND_NUMBER,
    "decimal": RefusalCode.VALUE_KIND_NUMBER,
    "finite": RefusalCode.VALUE_KIND_NUMBER,
    "bool": RefusalCode.VALUE_KIND_SWITCH,
    "list": RefusalCode.VALUE_KIND_LIST,
    "dict": RefusalCode.VALUE_KIND_OBJECT,
    "model": RefusalCode.VALUE_KIND_OBJECT,
}
_CODES = {
    "missing": RefusalCode.VALUE_REQUIRED,
    "extra_forbidden": RefusalCode.VALUE_UNKNOWN,
    "json_invalid": RefusalCode.NOT_JSON,
    "decimal_max_places": RefusalCode.PRICE_SIZE,
    "uuid_type": RefusalCode.UUID,
    "uuid_parsing": RefusalCode.UUID,
}
_PATTERNS = {tickers.PATTERN: RefusalCode.TICKER, ACTION_PATTERN: RefusalCode.VALUE_ACTION}
_LIMITS = {  # by the name of the limit
    "ge": (RefusalCode.VALUE_AT_LEAST, "low"),
    "gt": (RefusalCode.VALUE_ABOVE, "low"),
    "le": (RefusalCode.VALUE_AT_MOST, "high"),
    "lt": (RefusalCode.VALUE_BELOW, "high"),
}


def fault_of(error: Mapping[str, Any]) -> Reason:
    """Return what is wrong, from one of pydantic's errors."""
    kind, given, context = error["type"], error.get("input"), error.get("ctx", {})
    first = kind.partition("_")[0]
    reason = Reason(_CODES.get(kind, RefusalCode.VALUE_WRONG))
    if isinstance(ours := context.get("error"), ReasonError):
        reason = ours.reason
    elif limit := next((name for name in _LIMITS if name in context), None):
        code, name = _LIMITS[limit]
        bound = context[limit]
        reason = Reason(code, **{name: str(bound) if isinstance(bound, int | Decimal) else f"{bound:.10g}"})
    elif "expected" in context:
        reason = Reason(RefusalCode.VALUE_ENUM, choices=", ".join(_QUOTED.findall(context["expected"])))
    elif "pattern" in context:
        reason = Reason(_PATTERNS.get(context["pattern"], RefusalCode.VALUE_WRONG))
    elif kind.endswith("too_short") and context["min_length"] == 1:
        reason = Reason(RefusalCode.VALUE_EMPTY)
    elif kind.endswith(("too_long", "too_short")):
        is_text = first == "string"
        parts = Reason(RefusalCode.VALUE_PARTS_CHARACTERS if is_text else RefusalCode.VALUE_PARTS_ENTRIES)
        if kind.endswith("long"):
            reason = Reason(RefusalCode.VALUE_LENGTH_AT_MOST, high=context["max_length"], parts=parts)
        else:
            reason = Reason(RefusalCode.VALUE_LENGTH_AT_LEAST, low=context["min_length"], parts=parts)
    elif first in {"datetime", "timezone"}:
        reason = Reason(RefusalCode.MOMENT, example="2026-11-22T10:00:00Z")
    elif first in _KINDS and kind not in _CODES:
        shown = kind_of(given) if kind.endswith("_type") else _quoted(given)
        reason = Reason(RefusalCode.VALUE_KIND, kind=Reason(_KINDS[first]), given=shown)
    return reason


def _quoted(value: object) -> str:
    quoted = repr(value)
    return quoted if len(quoted) <= _SHOWN else f"{quoted[:_SHOWN]}…"
