"""Why something happened, in the reader's language: from the code and the parameters that are stored."""

from collections.abc import Mapping
from typing import Any

from app.signals.reasons import NESTED, Parameter, Reason, ReasonCode, stored_reason
from app.web.patterns import translate
from app.web.texts import key_of, text


def explain(words: str, code: str | None, parameters: Mapping[str, Any] | None) -> str:
    """Return a row's reason in the reader's language; a text without a code is found by its pattern."""
    return render(stored_reason(words, code, parameters))


def render(reason: Reason) -> str:
    """Return the reason in the reader's language, with the reasons among its parameters."""
    if reason.code is ReasonCode.OTHER:
        return translate(str(reason))
    values = {name: _value(name, value) for name, value in reason.parameters.items()}
    return text(key_of(reason.code), **values)


def _value(name: str, value: Parameter) -> Parameter:
    """Return a parameter in the reader's language if it is a reason, of a row without a code its text."""
    if isinstance(value, Reason):
        return render(value)
    return translate(value) if name in NESTED and isinstance(value, str) else value
