"""From the text of a CSV file or answer to its tickers. Pure.

An export has a head and whole rows. A watchlist is saved by a person or a charting platform, with or without
a head. Separators are comma, semicolon, tab or bar; `NASDAQ:AAPL`, `###section` and `# comment` occur.
Several columns without a head are tickers with remarks: the first column is the list.
"""

import csv
import io
from collections.abc import Iterable, Iterator
from itertools import islice
from typing import NamedTuple

from app.screener.parsing.heads import (
    SEARCHED,
    head_column,
    head_of,
    is_number,
    is_sum,
    looks_like_tickers,
    named_column,
)
from app.screener.parsing.tickers import Cell, ProviderError, clean, is_list_ticker
from app.signals.refusals import RefusalCode
from app.signals.tickers import without_exchange

_SEPARATORS = ",;\t|"
_SECTION = "###"


class Row(NamedTuple):
    """A row that is not empty, with the number of the line on which it begins."""

    line: int
    cells: list[str]


def has_head(text: str) -> bool:
    """Return whether the first line names a column of tickers, as an export does."""
    first = next((line for line in io.StringIO(text) if line.strip()), "")
    return named_column(_split(first, _separator(first))) is not None


def read_export(text: str) -> list[str]:
    """Return the ticker column of an export.

    Raises:
        ProviderError: no such column, as in the answer to a wrong token; a row is cut off; or no ticker.
    """
    rows = _rows(text, comments=False)
    column = named_column(rows[0].cells) if rows else None
    if column is None:
        raise ProviderError(RefusalCode.EXPORT_NO_COLUMN)
    if any(len(row.cells) != len(rows[0].cells) for row in rows):
        raise ProviderError(RefusalCode.EXPORT_BROKEN)
    return clean(Cell(row.line, column + 1, row.cells[column]) for row in rows[1:])


def read_watchlist(text: str) -> list[str]:
    """Return the tickers of a watchlist, best first.

    With a head, its ticker column, without titles above it and a sum below. Without: every cell of symbols
    with an exchange, or of a single line of tickers; else the first column.

    Raises:
        ProviderError: a cell is not a ticker, several columns could hold the tickers, the first column holds
            numbers or dates, or there is no ticker.
    """
    rows = _rows(text, comments=True)
    if not rows:
        raise ProviderError(RefusalCode.EMPTY_LIST)
    head = head_of([row.cells for row in rows])
    if head is not None:
        return clean(_below(rows[head].cells, rows[head + 1 :]))
    words = [[word for word in row.cells if word] for row in rows]
    # Fails closed for buys, which wait for a list; an exit needs none.
    if len(rows) > 1 and _is_numbered([row.cells for row in rows]):
        raise ProviderError(RefusalCode.TABLE_NUMBERS)
    if all(":" in word for row in words for word in row) or (len(rows) == 1 and _is_list(words[0])):
        return clean(_symbol(row, index) for row in rows for index in range(len(row.cells)))
    if len(rows) > 1 and _is_ambiguous(words):
        raise ProviderError(RefusalCode.TABLE_COLUMNS)
    return clean(_symbol(row, 0) for row in rows)


def _below(head: list[str], rows: list[Row]) -> Iterator[Cell]:
    """Yield the cells below the head; a repeated head and a sum in the last row are left out."""
    column = head_column(head) or 0
    for number, row in enumerate(rows, 1):
        if len(row.cells) <= column or row.cells == head:
            continue
        if number < len(rows) or not is_sum(row.cells, column):
            yield _symbol(row, column)


def _symbol(row: Row, column: int) -> Cell:
    return Cell(row.line, column + 1, without_exchange(row.cells[column]))


def _is_list(words: list[str]) -> bool:
    """Return whether a single line is a list, with or without mistakes; else it is a ticker with remarks."""
    others = words[1:]
    if is_number(without_exchange(words[0])) or not others:
        return True
    return not any(map(_is_remark, others)) and any(map(looks_like_tickers, others))


def _is_remark(word: str) -> bool:
    """Return whether the word is a number, or written like the name of a company: `Apple Inc`."""
    return is_number(word) or (not is_list_ticker(word.upper()) and word not in {word.upper(), word.lower()})


def _is_numbered(rows: list[list[str]]) -> bool:
    """Return whether most rows begin with a rank, date or price, so that the tickers are in another column.

    Some exchanges have tickers of digits only. Such a column is a rank if different tickers follow it.
    """
    numbered = [cells for cells in rows if is_number(cells[0]) and any(cells[1:])]
    if len(numbered) * 2 <= len(rows):
        return False
    if any(not cells[0].isdigit() for cells in numbered):
        return True
    following = [next(filter(_is_symbol, cells[1:]), None) for cells in numbered]
    return None not in following and len(set(following)) * 2 > len(following)


def _is_symbol(cell: str) -> bool:
    return bool(cell) and looks_like_tickers(cell)


def _is_ambiguous(words: list[list[str]]) -> bool:
    """Return whether all words may be tickers, some with an exchange, and they form no table."""
    has_exchange = any(":" in row[0] for row in words)
    is_regular = len({len(row) for row in words}) == 1
    is_table = is_regular and not any(":" in word for row in words for word in row[1:])
    return has_exchange and not is_table and all(looks_like_tickers(word) for row in words for word in row)


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
    reader = csv.reader(lines, delimiter=separator or _separator_of(lines), skipinitialspace=True)
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
        raise ProviderError(RefusalCode.LINE_NOT_CSV, line=line) from error


def _is_comment(line: str) -> bool:
    word = line.lstrip()
    return word.startswith("#") and not word.startswith(_SECTION) and not _is_head_of_ranks(word)


def _is_head_of_ranks(line: str) -> bool:
    """Return whether the line is a head whose first column, the ranks, is named `#`."""
    rows = (_split(line, separator) for separator in _SEPARATORS)
    return any(cells and cells[0] == "#" and head_column(cells) is not None for cells in rows)


def _is_section(line: str) -> bool:
    word = line.lstrip()
    return word.startswith(_SECTION) and not any(separator in word for separator in _SEPARATORS)


def _separator_of(lines: Iterable[str]) -> str:
    """Return the separator of the head, where there is one; else that of the first line."""
    filled = (line for line in lines if line.strip() and not _is_section(line))
    separators = [(line, _separator(line)) for line in islice(filled, SEARCHED)]
    head = head_of([_split(line, separator) for line, separator in separators])
    return separators[head or 0][1] if separators else _SEPARATORS[0]


def _separator(line: str) -> str:
    """Return the separator by which the line has a head, or begins with a symbol and has most cells."""

    def fit(separator: str) -> tuple[bool, bool, int]:
        cells = [cell for cell in _split(line, separator) if not cell.startswith(_SECTION)]
        begins = bool(cells) and is_list_ticker(without_exchange(cells[0]))
        return head_column(cells) is not None, begins, len(cells)

    return max(_SEPARATORS, key=fit)


def _split(line: str, separator: str) -> list[str]:
    try:
        found = next(csv.reader([line], delimiter=separator, skipinitialspace=True), [])
    except csv.Error:  # the whole text is refused with its line number
        return []
    return [cell.strip() for cell in found]
