"""CSV that a spreadsheet may open without running what strangers sent (SPEC §14). Pure."""

import csv
import io
import re
from collections.abc import Iterable
from typing import TYPE_CHECKING, TextIO

if TYPE_CHECKING:
    from _csv import Reader

_LONGEST_CELL = 16 * 1024 * 1024  # a story of many attempts is longer than the module's 128 KB
# What spreadsheets take for a formula, also behind the apostrophes that neutralise one.
_FORMULA = re.compile(r"'*[=+\-@\t\r\n]")


def neutral(text: str) -> str:
    """Put an apostrophe before what would be a formula: the cell shows the text itself."""
    return f"'{text}" if _FORMULA.match(text) else text


def restored(cell: str) -> str:
    """Return the text that `neutral` made the cell of."""
    return cell[1:] if cell.startswith("'") and _FORMULA.match(cell) else cell


def lines(rows: Iterable[Iterable[object]]) -> bytes:
    """Render rows as CSV in UTF-8, every cell neutralised, None as an empty one."""
    buffer = io.StringIO()
    csv.writer(buffer).writerows(["" if cell is None else neutral(str(cell)) for cell in row] for row in rows)
    return buffer.getvalue().encode("utf-8", errors="replace")


def read(file: TextIO) -> "Reader":
    """Read what `lines` wrote; the cells are still neutralised. `file` is opened with newline=""."""
    csv.field_size_limit(_LONGEST_CELL)
    return csv.reader(file, strict=True)
