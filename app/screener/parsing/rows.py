"""From the text of a CSV file or answer to its tickers. Pure.

An export has a head and whole rows. A watchlist is what a person or a charting platform saves: with or
without a head, separated by comma, semicolon, tab or bar, `NASDAQ:AAPL` for AAPL, `###section`, `# comment`.
"""

import csv
import io
from collections.abc import Iterable, Iterator
from typing import NamedTuple

from app.screener.parsing.tickers import Cell, SourceError, clean, is_ticker, without_exchange

# A first line with one of these is a head, also where a ticker has such a name.
_HEADS = frozenset(
    {"ticker", "tickers", "ticker symbol", "symbol", "symbols", "stock symbol"}
    | {"ativo", "código", "codigo", "papel"}
)
_SEPARATORS = ",;\t|"
_SECTION = "###"


class Row(NamedTuple):
    """A row that is not empty, with the number of the line on which it begins."""

    line: int
    cells: list[str]


def has_head(text: str) -> bool:
    """Return whether the first line names a column of tickers beside others, as an export does."""
    first = next((line for line in io.StringIO(text) if line.strip()), "")
    cells = _split(first, _separator(first))
    return len(cells) > 1 and _column(cells) is not None


def read_export(text: str) -> list[str]:
    """Return the ticker column of an export.

    Raises:
        SourceError: no such column, as in the answer to a wrong token; a row is cut off; or no ticker.
    """
    rows = _rows(text, comments=False)
    column = _column(rows[0].cells) if rows else None
    if column is None:
        raise SourceError("the export has no column Ticker: is FINVIZ_ELITE_AUTH right?")
    if any(len(row.cells) != len(rows[0].cells) for row in rows):
        raise SourceError("the export breaks off in the middle of a row")
    return clean(Cell(row.line, column + 1, row.cells[column]) for row in rows[1:])


def read_watchlist(text: str) -> list[str]:
    """Return the tickers of a watchlist, best first.

    With a head, its ticker column. Without: every cell of a single line or of symbols with an exchange, else
    the first column.

    Raises:
        SourceError: a cell is not a ticker, several columns could hold the tickers, or there is no ticker.
    """
    rows = _rows(text, comments=True)
    if not rows:
        raise SourceError("no tickers in it")
    column = _column(rows[0].cells)
    if column is not None:
        body = (row for row in rows[1:] if len(row.cells) > column)
        return clean(_symbol(row, column) for row in body)
    cells = [_symbol(row, index) for row in rows for index in range(len(row.cells))]
    if len(rows) == 1 or all(":" in word for row in rows for word in row.cells if word):
        return clean(cells)
    if _is_ambiguous(rows):
        raise SourceError(
            "several columns could hold the tickers: write a first line that names the column Ticker, "
            "or one ticker a line"
        )
    return clean(_symbol(row, 0) for row in rows)


def _symbol(row: Row, column: int) -> Cell:
    return Cell(row.line, column + 1, without_exchange(row.cells[column]))


def _is_ambiguous(rows: list[Row]) -> bool:
    """Return whether more than one column holds what may be tickers, and nothing else is there."""
    words = [[word for word in row.cells if word] for row in rows]
    return any(len(row) > 1 for row in words) and all(
        is_ticker(without_exchange(word)) and word == word.upper() and any(map(str.isalpha, word))
        for row in words
        for word in row
    )


def _column(cells: list[str]) -> int | None:
    return next((index for index, cell in enumerate(cells) if cell.lower() in _HEADS), None)


def _rows(text: str, *, comments: bool) -> list[Row]:
    """Return the rows that have a word.

    `comments`: lines that begin with `#` and cells that begin with `###` are left out.
    """
    lines = list(io.StringIO(text, newline=""))
    if comments:
        lines = ["\n" if _is_comment(line) else line for line in lines]
    separator = ""
    for index, line in enumerate(lines):
        if line.strip():
            if line.strip().lower() in {f"sep={each}" for each in _SEPARATORS} | {"sep="}:
                separator, lines[index] = line.strip("\r\n ")[4:5], "\n"
            break
    first = next((line for line in lines if line.strip() and not _is_section(line)), "")
    reader = csv.reader(lines, delimiter=separator or _separator(first), skipinitialspace=True)
    return list(_numbered(reader, comments=comments))


def _numbered(reader: Iterable[list[str]], *, comments: bool) -> Iterator[Row]:
    line = 1
    try:
        for cells in reader:
            words = [cell.strip() for cell in cells]
            if comments:
                words = [word for word in words if not word.startswith(_SECTION)]
            if any(words):
                yield Row(line, words)
            line = getattr(reader, "line_num", line) + 1
    except csv.Error as error:
        raise SourceError(f"line {line} is not valid CSV") from error


def _is_comment(line: str) -> bool:
    word = line.lstrip()
    return word.startswith("#") and not word.startswith(_SECTION)


def _is_section(line: str) -> bool:
    word = line.lstrip()
    return word.startswith(_SECTION) and not any(separator in word for separator in _SEPARATORS)


def _separator(line: str) -> str:
    """Return the separator by which the line has a head, or begins with a symbol and has most cells."""

    def fit(separator: str) -> tuple[bool, bool, int]:
        cells = [cell for cell in _split(line, separator) if not cell.startswith(_SECTION)]
        begins = bool(cells) and is_ticker(without_exchange(cells[0]))
        return _column(cells) is not None, begins, len(cells)

    return max(_SEPARATORS, key=fit)


def _split(line: str, separator: str) -> list[str]:
    try:
        found = next(csv.reader([line], delimiter=separator, skipinitialspace=True), [])
    except csv.Error:  # the whole text is refused with its line number
        return []
    return [cell.strip() for cell in found]
