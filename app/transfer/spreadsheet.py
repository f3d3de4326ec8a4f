"""CSV in which a spreadsheet program finds no formulas, for any content of senders. Pure."""

import csv
import io
import re
from collections import deque
from collections.abc import Iterable, Iterator
from datetime import UTC, datetime
from decimal import Decimal
from typing import NamedTuple, TextIO

from app.signals.amounts import fixed_point
from app.signals.reasons import Reason
from app.signals.refusals import RefusalCode

# The byte order mark by which spreadsheet programs recognise UTF-8; a file begins with it.
SIGNATURE = "\N{ZERO WIDTH NO-BREAK SPACE}".encode()

_LONGEST_CELL = 16 * 1024 * 1024  # characters: enough for the events of a signal with thousands of attempts
_LONGEST_RECORD = 2 * _LONGEST_CELL

# A spreadsheet program begins a cell at the start, and after each list separator or line end. If its
# separator is not the comma, quotes around a cell do not protect the content. It reads as a formula what
# begins with one of these characters, also after some that it may skip.
_FORMULA = r"""[ '"]*[=+\-@\uff1d\uff0b\uff0d\uff20]"""
_SEPARATOR = r"(?<=[,;|\t\r\n])"
_UNPROTECTED = re.compile(rf"\A(?={_FORMULA}|'*[\t\r\n]|'+\Z)|{_SEPARATOR}(?={_FORMULA})")
_PROTECTED = re.compile(rf"\A'(?={_FORMULA}|'*[\t\r\n]|'*\Z)|{_SEPARATOR}'(?={_FORMULA})")
_EMPTY_TEXT = "'"

# The version without the column `imported_at` put an apostrophe only before the whole cell.
_PROTECTED_BEFORE = re.compile(r"'(?='*[=+\-@\t\r\n])")


class Record(NamedTuple):
    """The cells of a row and the number of its first line. `reason`: why it cannot be read."""

    line: int
    cells: list[str]
    reason: Reason | None = None


def neutral(text: str) -> str:
    """Put an apostrophe before everything that a spreadsheet program would read as the start of a formula."""
    return _UNPROTECTED.sub("'", text)


def restored(cell: str) -> str:
    """Return the text from which `neutral` made the cell."""
    return _PROTECTED.sub("", cell)


def restored_from_before(cell: str) -> str:
    """Return the text of a cell in an export without the column `imported_at`."""
    return _PROTECTED_BEFORE.sub("", cell, count=1) if _PROTECTED_BEFORE.match(cell) else cell


def moment(value: datetime) -> str:
    """Format a time in UTC with microseconds, as in every export."""
    return f"{value.astimezone(UTC).replace(tzinfo=None).isoformat(timespec='microseconds')}Z"


def lines(rows: Iterable[Iterable[object]]) -> bytes:
    """Format rows as CSV in UTF-8.

    Texts are neutralised, numbers are not. None is an empty cell, an empty text a single apostrophe.
    """
    buffer = io.StringIO()
    csv.writer(buffer).writerows([_cell(value) for value in row] for row in rows)
    return buffer.getvalue().encode("utf-8", errors="replace")


def _cell(value: object) -> str:
    match value:
        case None:
            return ""
        case str():
            return neutral(value) if value else _EMPTY_TEXT
        case datetime():
            return moment(value)
        case Decimal():
            return fixed_point(value)
        case _:
            return str(value)


class Records:
    """Iterate over the rows of a CSV text, opened with newline=""; cells are still neutralised.

    A row that cannot be read is a record with a reason. Reading continues with the line after its first one,
    so that an unclosed quote hides no later row. Empty lines are skipped.
    """

    def __init__(self, file: TextIO) -> None:
        csv.field_size_limit(_LONGEST_CELL)
        self._file = file
        self._again: deque[str] = deque()
        self._line = 0  # number of lines read

    def __iter__(self) -> Iterator[Record]:
        return self

    def __next__(self) -> Record:
        while True:
            first, taken = self._line + 1, list[str]()
            try:
                cells = next(csv.reader(self._lines(taken), strict=True), None)
            except _TooLongError:
                self._line += len(taken)
                return Record(first, [], Reason(RefusalCode.LINE_LENGTH, count=_LONGEST_CELL))
            except csv.Error:
                self._again.extendleft(reversed(taken[1:]))
                self._line = first
                return Record(first, [], Reason(RefusalCode.ROW_NOT_CSV))
            if cells is None:
                raise StopIteration
            self._line += len(taken)
            if cells:
                return Record(first, cells)

    def _lines(self, taken: list[str]) -> Iterator[str]:
        size = 0
        while line := self._again.popleft() if self._again else self._file.readline(_LONGEST_CELL):
            taken.append(line)
            size += len(line)
            if len(line) == _LONGEST_CELL and not line.endswith(("\r", "\n")):
                while (rest := self._file.readline(_LONGEST_CELL)) and not rest.endswith(("\r", "\n")):
                    pass
                raise _TooLongError
            if size > _LONGEST_RECORD:
                raise _TooLongError
            yield line


class _TooLongError(Exception):
    """A row is longer than allowed."""
