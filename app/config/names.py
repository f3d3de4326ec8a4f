"""Names that people give: how they are stored, and which two look the same. Pure."""

import unicodedata

from app.errors import WrongValueError
from app.signals.refusals import RefusalCode

# Control characters, invisible and direction marks, surrogates, unassigned characters, line separators.
_REFUSED = frozenset({"Cc", "Cf", "Cs", "Co", "Cn", "Zl", "Zp"})


def normal(name: str) -> str:
    """Return the name as it is stored: composed (NFC), without whitespace at its ends.

    Raises:
        WrongValueError: it could not be distinguished in a list, or not be used in a URL.
    """
    stored = unicodedata.normalize("NFC", name).strip()
    if not stored:
        raise WrongValueError(RefusalCode.VALUE_EMPTY)
    if any(part in {".", ".."} for part in stored.split("/")):
        raise WrongValueError(RefusalCode.NAME_DOTS)
    if any(unicodedata.category(character) in _REFUSED for character in stored):
        raise WrongValueError(RefusalCode.NAME_CHARACTERS)
    return stored


def alike(one: str, other: str) -> bool:
    """Return whether two names look the same: case, spaces and the form of accents do not count."""
    return _shape(one) == _shape(other)


def _shape(name: str) -> str:
    return " ".join(unicodedata.normalize("NFKC", name).casefold().split())
