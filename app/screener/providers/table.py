"""`file:NAME.csv`: a watchlist in the configuration folder, rank 1 first."""

import asyncio
import os
import re
import stat
from pathlib import Path

from app.errors import file_failure
from app.screener.parsing.answers import Job
from app.screener.parsing.tickers import Found, ProviderError
from app.screener.providers.request import Request, place_of
from app.signals.refusals import RefusalCode

_PLAIN_NAME = re.compile(r"[A-Za-z0-9_][A-Za-z0-9._ -]{0,200}\.[Cc][Ss][Vv]")
_LARGEST_BYTES = 1_000_000


def check(url: str, **_: bool) -> None:
    """Check the name of a `file:` URL. Pure.

    Raises:
        ProviderError: it is not the plain name of a .csv file.
    """
    if not _PLAIN_NAME.fullmatch(place_of(url)):
        raise ProviderError(RefusalCode.SOURCE_FILE)


async def fetch(request: Request) -> Found:
    """Return the tickers of the file that the URL names, in the configuration folder.

    Raises:
        ProviderError: not a plain name, no such file, too large, not UTF-8, or a cell that is not a ticker.
    """
    name = request.place
    check(request.url)
    content = await asyncio.to_thread(_contents, request.config_dir, name)
    try:
        found = await request.parser.read(Job("file"), content)
    except ProviderError as error:
        raise ProviderError(RefusalCode.AT, place=f"config/{name}", reason=error.reason) from error
    return Found("file", found.tickers)


def _contents(folder: Path, name: str) -> bytes:
    """Return the file's content. A link must lead to a .csv file in the same folder."""
    place = f"config/{name}"
    try:
        root, path = folder.resolve(strict=True), (folder / name).resolve(strict=True)
        if root not in path.parents or path.suffix.lower() != ".csv":
            raise ProviderError(RefusalCode.FILE_LINK, place=place)
        # without O_NONBLOCK, opening a pipe waits for a writer
        descriptor = os.open(path, os.O_RDONLY | os.O_NOFOLLOW | os.O_NONBLOCK | os.O_CLOEXEC)
        with open(descriptor, "rb") as file:  # noqa: PTH123  # a descriptor has no path
            if not stat.S_ISREG(os.fstat(descriptor).st_mode):
                raise ProviderError(RefusalCode.FILE_REGULAR, place=place)
            content = file.read(_LARGEST_BYTES + 1)
    except OSError as error:
        raise ProviderError(RefusalCode.FILE_UNREAD, place=place, why=file_failure(error)) from error
    except RuntimeError as error:  # a loop of links
        raise ProviderError(RefusalCode.FILE_LINK, place=place) from error
    if len(content) > _LARGEST_BYTES:
        raise ProviderError(RefusalCode.FILE_LARGER, place=place, most=_LARGEST_BYTES // 1_000_000)
    return content
