"""`file:NAME.csv`: a table in the configuration folder; its column Ticker or else its first, best first."""

import asyncio
import csv
import io
import re
from pathlib import Path

from app.screener.sources.request import Request
from app.screener.sources.tickers import SourceError, clean

_PLAIN_NAME = re.compile(r"[A-Za-z0-9_][A-Za-z0-9._ -]*")
_LARGEST_BYTES = 1_000_000


def check(name: str) -> None:
    """Raise SourceError for what is not the plain name of a file. Pure."""
    if not _PLAIN_NAME.fullmatch(name):
        raise SourceError(f"file:{name[:60]}: allowed is the plain name of a file in config/")


async def fetch(request: Request) -> list[str]:
    """Return the tickers of the file that the URL names, in the configuration folder.

    Raises:
        SourceError: no plain name, no such file, too large, no UTF-8, or a cell that is no ticker.
    """
    place = request.place
    check(place)
    return read(await asyncio.to_thread(_contents, request.config_dir / place), place)


def read(text: str, name: str) -> list[str]:
    """Return the tickers of a CSV text. Pure."""
    try:
        rows = [row for row in csv.reader(io.StringIO(text)) if row]
        heads = [cell.strip().lower() for cell in rows[0]] if rows else []
        column = heads.index("ticker") if "ticker" in heads else 0
        body = rows[1:] if "ticker" in heads else rows
        return clean(row[column] for row in body if len(row) > column)
    except csv.Error as error:
        raise SourceError(f"config/{name}: {error}") from error
    except SourceError as error:
        raise SourceError(f"config/{name}: {error}") from error


def _contents(path: Path) -> str:
    try:
        with path.open("rb") as file:
            content = file.read(_LARGEST_BYTES + 1)
    except OSError as error:
        raise SourceError(f"config/{path.name} cannot be read: {error.strerror}") from error
    if len(content) > _LARGEST_BYTES:
        raise SourceError(f"config/{path.name} is larger than {_LARGEST_BYTES // 1_000_000} MB")
    try:
        return content.decode("utf-8-sig")
    except UnicodeDecodeError as error:
        raise SourceError(f"config/{path.name} is no UTF-8 text") from error
