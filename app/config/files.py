"""The operator's JSON files: read, checked with the line of an error, written atomically."""

import json
import math
import re
from dataclasses import dataclass
from pathlib import Path
from typing import NamedTuple, NoReturn

from app.config.checking import Document, as_object
from app.config.destination_url import fault_of
from app.config.flat_strategy import with_strategies
from app.config.model import (
    FILES,
    FINVIZ_FILE,
    WEBHOOK_FILE,
    Config,
    faults_of_entries,
    merge,
)
from app.errors import ConfigFileError, RefusedError, file_failure
from app.runtime import durable_files
from app.settings import Settings
from app.signals.reasons import Reason
from app.signals.refusals import RefusalCode

_TOKEN = re.compile(r'"(?:[^"\\]|\\.)*"|[{}\[\]:,]|[^\s{}\[\]:,"]+')
_STEP = re.compile(r"\[(\d+)\]|([^.\[\]]+)")


@dataclass(frozen=True, slots=True)
class Unreadable:
    """The content of a file that exists and cannot be read."""

    reason: Reason


Content = bytes | Unreadable | None
"""The content of a file; None where there is no file."""


class Dates(NamedTuple):
    """When a file's content was written and when the file was put where it is, in nanoseconds since 1970."""

    written: int
    placed: int


class NotWrittenError(RefusedError):
    """A file could not be written; the old one is unchanged."""

    http_status = 500


def load(folder: Path, settings: Settings) -> Config:
    """Read the three files of `folder` (a missing one is empty) and merge them.

    Raises:
        ConfigFileError: a file cannot be read, is not valid JSON, or has a wrong value.
    """
    config = merge({}, settings)
    for name, content in read(folder).items():
        # Fails open: a destination that was used before this version checked it stays in use
        config = adopt(name, parse(name, content), config, settings, content, is_change=False)
    return config


def read(folder: Path) -> dict[str, Content]:
    """Read the files; return their contents by name."""
    contents: dict[str, Content] = {}
    for name in FILES:
        try:
            contents[name] = (folder / name).read_bytes()
        except FileNotFoundError:
            contents[name] = None
        except OSError as error:
            contents[name] = Unreadable(Reason(RefusalCode.UNREAD, why=file_failure(error)))
    return contents


def dates(folder: Path, name: str) -> Dates | None:
    """Return the dates of a file; None if there is none, or it cannot be looked at."""
    try:
        found = (folder / name).stat()
    except OSError:
        return None
    return Dates(found.st_mtime_ns, found.st_ctime_ns)


def parse(name: str, content: Content) -> Document:
    """Return the object that a file's content is.

    Raises:
        ConfigFileError: it cannot be read, is not a JSON object, has text that cannot be stored, or has
            nothing that is read.
    """
    if content is None:
        return {}
    if isinstance(content, Unreadable):
        raise ConfigFileError(name, content.reason)
    try:
        value = json.loads(
            content.decode("utf-8-sig"),
            parse_constant=_refuse_constant,
            parse_float=_finite,
            parse_int=_integer,
        )
        json.dumps(value, ensure_ascii=False).encode()  # half of a surrogate pair is not text
    except _NumberError as error:
        line = _line_of_number(content.decode("utf-8-sig"), error.digits)
        fault = Reason(RefusalCode.NUMBER, number=error.digits[:40])
        raise ConfigFileError(name, fault, line=line) from error
    except json.JSONDecodeError as error:
        raise ConfigFileError(name, Reason(RefusalCode.JSON_SYNTAX), line=error.lineno) from error
    except RecursionError as error:
        raise ConfigFileError(name, Reason(RefusalCode.NESTED)) from error
    except ValueError as error:
        raise ConfigFileError(name, Reason(RefusalCode.NO_OBJECT_TEXT)) from error
    document = as_object(value, name)
    return with_strategies(document) if name == FINVIZ_FILE else document


def adopt(
    name: str,
    document: Document,
    config: Config,
    settings: Settings,
    content: Content = None,
    *,
    is_change: bool = True,
) -> Config:
    """Return the configuration with the document instead of one file.

    A change must have destinations with valid URLs, unless they are current ones, and valid entries
    of `sources`, `tokens` and `destinations`, unless the list is the current one.

    Raises:
        ConfigFileError: the document has a wrong value; with its line, if `content` is its text.
    """
    try:
        if is_change and name == WEBHOOK_FILE:
            _check_destinations(document, config)
        if is_change:
            _check_entries(name, document, config, settings)
        return merge({**config.documents, name: document}, settings)
    except ConfigFileError as error:
        if error.file != name or not isinstance(content, bytes):
            raise
        raise _with_line(error, content) from error


def ignored_in(name: str, document: Document, settings: Settings, content: Content) -> ConfigFileError | None:
    """Return the first fault in the lists of a document that `adopt` accepted."""
    faults = faults_of_entries(name, document, settings)
    return _with_line(faults[0], content) if faults and isinstance(content, bytes) else None


def _with_line(error: ConfigFileError, content: bytes) -> ConfigFileError:
    line = line_of(content.decode("utf-8-sig"), error.place)
    return ConfigFileError(error.file, error.fault, place=error.place, line=line)


def _check_destinations(document: Document, config: Config) -> None:
    listed = document.get("destinations")
    places = {"url": document.get("url")}
    for index, entry in enumerate(listed if isinstance(listed, list) else ()):
        places[f"destinations[{index}].url"] = entry.get("url") if isinstance(entry, dict) else None
    current = {each.url for each in config.destinations}
    for place, url in places.items():
        if isinstance(url, str) and url and url not in current and (fault := fault_of(url)):
            raise ConfigFileError(WEBHOOK_FILE, fault, place=place)


def _check_entries(name: str, document: Document, config: Config, settings: Settings) -> None:
    """Refuse a fault in a list that is changed, and one that a changed value around the list makes."""
    before = config.documents.get(name, {})
    known = [(each.place, each.fault) for each in faults_of_entries(name, before, settings)]
    for fault in faults_of_entries(name, document, settings):
        listed = fault.place.partition("[")[0]
        if document.get(listed) != before.get(listed) or (fault.place, fault.fault) not in known:
            raise fault


def check_destinations(config: Config, settings: Settings) -> None:
    """Check the list of destinations before a deployment; a process starts in spite of a fault.

    Raises:
        ConfigFileError: an entry does not count, or takes no entries.
    """
    for fault in faults_of_entries(WEBHOOK_FILE, config.documents.get(WEBHOOK_FILE, {}), settings):
        if fault.place.startswith("destinations"):
            raise fault


def write(folder: Path, name: str, document: Document) -> bytes:
    """Replace the file with the document, atomically; owner and mode stay. Returns the content.

    Raises:
        NotWrittenError: the disk is full, or the folder is not writable.
    """
    content = (json.dumps(document, indent=2, ensure_ascii=False) + "\n").encode()
    path = folder / name
    try:
        durable_files.write(path, content)
    except OSError as error:
        why = file_failure(error)
        raise NotWrittenError(RefusalCode.NOT_WRITTEN, file=str(path), why=why) from error
    return content


class _NumberError(ValueError):
    """A number that JSON, and so the database, cannot store; `digits` is how the file spells it."""

    def __init__(self, digits: str) -> None:
        super().__init__()
        self.digits = digits


def _refuse_constant(digits: str) -> NoReturn:
    raise _NumberError(digits)


def _finite(digits: str) -> float:
    """Return the number. Refuse one beyond the range of a float: it would be stored as `Infinity`.

    Fails closed: the last valid content stays current, so pauses and exits work as before.
    """
    number = float(digits)
    if not math.isfinite(number):
        raise _NumberError(digits)
    return number


def _integer(digits: str) -> int:
    try:
        return int(digits)
    except ValueError as error:  # more digits than Python converts
        raise _NumberError(digits) from error


def _line_of_number(text: str, digits: str) -> int | None:
    """Return the line of the first such number; lines count from 1."""
    found = (token.start() for token in _TOKEN.finditer(text) if token[0] == digits)
    start = next(found, None)
    return None if start is None else text.count("\n", 0, start) + 1


def line_of(text: str, place: str) -> int:
    """Return the line of `place`, as `strategies[1].top_n`, or of the innermost value around it.

    `text` is valid JSON; lines count from 1.
    """
    wanted: list[str | int] = [
        int(step[1]) if step[1] is not None else step[2] for step in _STEP.finditer(place)
    ]
    # per open container: the index in a list, the key (None before it) in an object
    path: list[str | int | None] = []
    depth_found, line = 0, 1
    for token in _TOKEN.finditer(text):
        mark = token[0]
        if mark in {"}", "]"}:
            path.pop()
        elif mark == ",":
            path[-1] = path[-1] + 1 if isinstance(path[-1], int) else None
        elif mark == ":":
            continue
        elif path and path[-1] is None:
            path[-1] = json.loads(mark)
        else:
            if len(path) > depth_found and path == wanted[: len(path)]:
                depth_found, line = len(path), text.count("\n", 0, token.start()) + 1
            if mark in {"{", "["}:
                path.append(0 if mark == "[" else None)
    return line
