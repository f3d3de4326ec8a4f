"""Check a part of a configuration file against its type, and say which value is wrong. Pure.

msgspec decides whether values are valid. Its message is not shown: it names Python's types, and may quote a
regular expression.
"""

import re
from collections.abc import Iterator, Mapping
from typing import Any, NamedTuple, TypeVar, cast, get_args, get_type_hints

import msgspec
from msgspec import Struct, inspect

from app.errors import ConfigFileError, WrongValueError
from app.signals.reasons import Reason
from app.signals.refusals import RefusalCode

Document = Mapping[str, Any]
_LONGEST_KEY = 40  # in a message
_Section = TypeVar("_Section", bound=Struct)


class _Kind(NamedTuple):
    """A kind of value: how msgspec names it, its Python types, and its word."""

    described: type[inspect.Type]
    types: tuple[type, ...]
    code: RefusalCode


_KINDS = (
    _Kind(inspect.BoolType, (bool,), RefusalCode.VALUE_KIND_SWITCH),
    _Kind(inspect.IntType, (int,), RefusalCode.VALUE_KIND_WHOLE),
    _Kind(inspect.FloatType, (float, int), RefusalCode.VALUE_KIND_NUMBER),
    _Kind(inspect.StrType, (str,), RefusalCode.VALUE_KIND_TEXT),
    _Kind(inspect.LiteralType, (str,), RefusalCode.VALUE_KIND_TEXT),
    _Kind(inspect.CollectionType, (list, tuple), RefusalCode.VALUE_KIND_LIST),
    _Kind(inspect.StructType, (dict,), RefusalCode.VALUE_KIND_OBJECT),
    _Kind(inspect.DictType, (dict,), RefusalCode.VALUE_KIND_OBJECT),
)


def checked(values: Mapping[str, Any], kind: type[_Section], file: str, prefix: str = "") -> _Section:
    """Return the values as a section; `prefix` is the place of the section in the file.

    Raises:
        ConfigFileError: a value is not of its type, or beyond its limits.
    """
    try:
        return msgspec.convert(values, kind)
    except msgspec.ValidationError as error:
        place, fault = fault_in(values, kind)
        raise ConfigFileError(file, fault, place=prefix + place) from error


def as_object(value: object, file: str, place: str = "") -> Document:
    """Return a JSON object; null counts as an empty one.

    Raises:
        ConfigFileError: it is something else.
    """
    if value is None:
        return {}
    if not isinstance(value, dict):
        raise ConfigFileError(file, Reason(RefusalCode.OBJECT), place=place)
    return cast("Document", value)


def entries_of(
    document: Document, key: str, listed: type[Struct], file: str
) -> tuple[dict[int, Document], list[ConfigFileError]]:
    """Return the objects in a list by their index, and what is wrong with the list as a whole."""
    given, faults = document.get(key), list[ConfigFileError]()
    if given is None:
        return {}, faults
    try:
        checked({key: given}, listed, file)
    except ConfigFileError as error:
        faults.append(error)
    entries = given if isinstance(given, list) else []
    return {index: entry for index, entry in enumerate(entries) if isinstance(entry, dict)}, faults


def unknown_keys(entry: Document, kind: type[Struct], file: str, place: str) -> list[ConfigFileError]:
    """Return a fault for each key that the type does not have."""
    unknown = [key for key in entry if key not in kind.__struct_fields__]
    fault = Reason(RefusalCode.VALUE_UNKNOWN)
    return [ConfigFileError(file, fault, place=f"{place}.{key[:_LONGEST_KEY]}") for key in unknown]


def fault_in(values: Mapping[str, object], section: type[Struct]) -> tuple[str, Reason]:
    """Return the place and the fault of the first value that the section does not allow."""
    found = _faults(values, inspect.type_info(section), "")
    return next(found, ("", Reason(RefusalCode.VALUE_WRONG)))


def check_storable(text: str) -> None:
    """Check that a file and the database can store a text.

    Raises:
        WrongValueError: it has NUL or half of a surrogate pair.
    """
    if "\0" in text:
        raise WrongValueError(RefusalCode.NUL)
    if any("\ud800" <= character <= "\udfff" for character in text):
        raise WrongValueError(RefusalCode.HALF_PAIR)


def kind_of(value: object) -> Reason:
    """Return what kind of value it is, in words."""
    codes = (each.code for each in _KINDS if type(value) in each.types)
    return Reason(next(codes, RefusalCode.VALUE_KIND_OTHER))


def _faults(
    value: object, kind: inspect.Type, place: str, hint: object = None
) -> Iterator[tuple[str, Reason]]:
    """Yield places and faults, innermost first. `hint` has the choices in their order; msgspec sorts them."""
    match kind:
        case inspect.UnionType():  # a value or null
            if value is not None:
                yield from _faults(value, next(each for each in kind.types if _is_value(each)), place)
        case inspect.StructType() if isinstance(value, dict):
            hints = get_type_hints(kind.cls)
            for field in kind.fields:
                if field.required or field.name in value:
                    inner = f"{place}.{field.name}" if place else field.name
                    yield from _faults(value.get(field.name), field.type, inner, hints[field.name])
        case inspect.CollectionType() if isinstance(value, list | tuple) and value:
            for number, each in enumerate(value):
                yield from _faults(each, kind.item_type, f"{place}[{number}]")
    if (fault := _fault_of(value, kind, hint)) is not None:
        yield place, fault


def _is_value(kind: inspect.Type) -> bool:
    return not isinstance(kind, inspect.NoneType)


def _fault_of(value: object, kind: inspect.Type, hint: object) -> Reason | None:
    """Return what is wrong with the value itself, not with its content."""
    fault = None
    allowed = next((each for each in _KINDS if isinstance(kind, each.described)), None)
    match kind:
        case inspect.UnionType():
            pass
        case _ if value is None:
            fault = Reason(RefusalCode.VALUE_REQUIRED)
        case _ if allowed and type(value) not in allowed.types and not isinstance(value, Struct):
            fault = Reason(RefusalCode.VALUE_KIND, kind=Reason(allowed.code), given=kind_of(value))
        case inspect.LiteralType() if value not in kind.values:
            fault = Reason(RefusalCode.VALUE_ENUM, choices=", ".join(map(str, get_args(hint) or kind.values)))
        case inspect.StrType() | inspect.CollectionType():
            fault = _fault_of_length(cast("str", value), kind)
        case inspect.IntType() | inspect.FloatType():
            fault = _fault_of_size(cast("float", value), kind)
    return fault


def _fault_of_length(value: str, kind: inspect.StrType | inspect.CollectionType) -> Reason | None:
    is_text = isinstance(kind, inspect.StrType)
    parts = Reason(RefusalCode.VALUE_PARTS_CHARACTERS if is_text else RefusalCode.VALUE_PARTS_ENTRIES)
    if len(value) < (kind.min_length or 0):
        is_one = kind.min_length == 1
        low = Reason(RefusalCode.VALUE_LENGTH_AT_LEAST, low=kind.min_length, parts=parts)
        return Reason(RefusalCode.VALUE_EMPTY) if is_one else low
    if kind.max_length is not None and len(value) > kind.max_length:
        return Reason(RefusalCode.VALUE_LENGTH_AT_MOST, high=kind.max_length, parts=parts)
    if isinstance(kind, inspect.StrType) and kind.pattern and not re.search(kind.pattern, value):
        return Reason(RefusalCode.VALUE_LINE)
    return None


def _fault_of_size(value: float, kind: inspect.IntType | inspect.FloatType) -> Reason | None:
    if kind.ge is not None and not value >= kind.ge:
        return Reason(RefusalCode.VALUE_AT_LEAST, low=f"{kind.ge:.10g}")
    if kind.gt is not None and not value > kind.gt:
        return Reason(RefusalCode.VALUE_ABOVE, low=f"{kind.gt:.10g}")
    if kind.le is not None and value > kind.le:
        return Reason(RefusalCode.VALUE_AT_MOST, high=f"{kind.le:.10g}")
    return None
