"""Parse the bytes of a file or an HTTP answer to tickers, in the parsing process. Pure."""

from typing import Any, Literal

from msgspec import Struct

from app.screener.parsing.challenges import challenge_in
from app.screener.parsing.readers import read_page
from app.screener.parsing.rows import has_head, read_export, read_watchlist
from app.screener.parsing.tickers import BlockedError, ProviderError
from app.signals.refusals import RefusalCode

_CSV_TYPES = frozenset({"text/csv", "application/csv", "text/comma-separated-values"})


class Job(Struct, frozen=True):
    """How to parse a content.

    `kind`: `file` is a watchlist. `export` must be a table. `page` is a page whose first row has the rank
    `first`, or a table if the site answered with one. `media_type` is the answer's own.
    """

    kind: Literal["file", "export", "page"]
    first: int = 1
    media_type: str = ""


class Parsed(Struct, frozen=True, kw_only=True):
    """Tickers in rank order; `last` when nothing follows; `table` when the answer was CSV.

    `error`: code and parameters of why there are none. `blocked`: the site blocked the request.
    """

    tickers: list[str] = []
    last: bool = True
    table: bool = False
    error: tuple[str, dict[str, Any]] | None = None
    blocked: bool = False


def parse(job: Job, content: bytes) -> Parsed:
    """Parse the content. The result has the error where there is no list."""
    try:
        return _parse(job, content)
    except ProviderError as error:
        return Parsed(error=error.reason.columns()[1:], blocked=isinstance(error, BlockedError))


def _parse(job: Job, content: bytes) -> Parsed:
    if job.kind == "file":
        try:
            return Parsed(tickers=read_watchlist(content.decode("utf-8-sig")), table=True)
        except UnicodeDecodeError as error:
            raise ProviderError(RefusalCode.FILE_NO_TEXT) from error
    text = content.decode("utf-8-sig", "replace")
    is_markup = text.lstrip()[:1] == "<"
    if job.kind == "export" or (not is_markup and (job.media_type in _CSV_TYPES or has_head(text))):
        return Parsed(tickers=_export(text, is_markup=is_markup), table=True)
    tickers, last = read_page(text, job.first)
    return Parsed(tickers=tickers, last=last)


def _export(text: str, *, is_markup: bool) -> list[str]:
    if is_markup or not has_head(text):
        if phrase := challenge_in(text):
            raise BlockedError(RefusalCode.SITE_BLOCKED, phrase=repr(phrase))
        raise ProviderError(RefusalCode.EXPORT_NO_COLUMN)
    return read_export(text)
