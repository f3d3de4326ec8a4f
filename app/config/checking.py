"""Check a part of a configuration file against its type. Pure."""

from collections.abc import Mapping
from typing import Any, TypeVar, cast

import msgspec
from msgspec import Struct

from app.config.value_words import in_words
from app.errors import ConfigFileError

Document = Mapping[str, Any]
_Section = TypeVar("_Section", bound=Struct)


def checked(values: Mapping[str, Any], kind: type[_Section], file: str, prefix: str = "") -> _Section:
    """Return the values as a section; `prefix` is the place of the section in the file.

    Raises:
        ConfigFileError: a value is not of its type, or beyond its limits.
    """
    try:
        return msgspec.convert(values, kind)
    except msgspec.ValidationError as error:
        message, _, path = str(error).partition(" - at `$.")
        place = path.rstrip("`")
        raise ConfigFileError(file, in_words(message, kind, place), place=prefix + place) from error


def as_object(value: object, file: str, place: str = "") -> Document:
    """Return a JSON object; null counts as an empty one.

    Raises:
        ConfigFileError: it is something else.
    """
    if value is None:
        return {}
    if not isinstance(value, dict):
        raise ConfigFileError(file, "must be an object", place=place)
    return cast("Document", value)
