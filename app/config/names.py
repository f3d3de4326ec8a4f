"""Names that people give: how they are stored, and which two look the same. Pure."""

import string
import unicodedata

from app.errors import WrongValueError
from app.signals.refusals import RefusalCode

# Control characters, invisible and direction marks, surrogates, unassigned characters, line separators.
_REFUSED = frozenset({"Cc", "Cf", "Cs", "Co", "Cn", "Zl", "Zp"})
_PLAIN = frozenset(string.digits + " ._-@+'()")
_LATIN_END = 0x250
_LETTERS = ("LATIN SMALL LETTER ", "LATIN CAPITAL LETTER ")  # not those of clicks, which look like marks
_LOOKS = str.maketrans({"I": "l", "1": "l", "0": "o"})


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


def check_plain(name: str) -> None:
    """Refuse a name that could be mistaken for another one: of other alphabets, or with unusual spaces.

    Raises:
        WrongValueError: it has other characters than Latin letters, digits, spaces and . _ - @ + ' ( ).
    """
    if not all(character in _PLAIN or _is_latin(character) for character in name):
        raise WrongValueError(RefusalCode.NAME_PLAIN)


def mistakable(one: str, other: str) -> bool:
    """Return whether two plain names could be mistaken for each other; accents do not count, nor I for l."""
    return _base(one) == _base(other) or _look(one) == _look(other)


def _is_latin(character: str) -> bool:
    return ord(character) < _LATIN_END and unicodedata.name(character, "").startswith(_LETTERS)


def _base(name: str) -> str:
    parts = unicodedata.normalize("NFKD", name).casefold().replace("\N{LATIN SMALL LETTER DOTLESS I}", "i")
    return " ".join("".join(each for each in parts if not unicodedata.combining(each)).split())


def _look(name: str) -> str:
    return _base(name.translate(_LOOKS))
