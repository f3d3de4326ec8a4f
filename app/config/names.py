"""Names that people give: what looks alike is alike, and every name can stand in an address. Pure."""

import unicodedata

# Control characters, invisible and direction marks, halves of pairs, unassigned ones, line separators.
_REFUSED = frozenset({"Cc", "Cf", "Cs", "Co", "Cn", "Zl", "Zp"})


def normal(name: str) -> str:
    """Return the name as it is kept: composed (NFC), without whitespace at its ends.

    Raises:
        ValueError: it could not be told apart in a list, or not be asked for in an address.
    """
    kept = unicodedata.normalize("NFC", name).strip()
    if not kept:
        raise ValueError("must not be empty")
    if any(part in {".", ".."} for part in kept.split("/")):
        raise ValueError("must not be '.' or '..', nor have one between slashes: it means a folder")
    if any(unicodedata.category(character) in _REFUSED for character in kept):
        raise ValueError("must not contain control characters, invisible ones or marks of text direction")
    return kept


def alike(one: str, other: str) -> bool:
    """Whether a person would take them for the same: case, spaces and the form of accents do not count."""
    return _shape(one) == _shape(other)


def _shape(name: str) -> str:
    return " ".join(unicodedata.normalize("NFKC", name).casefold().split())
