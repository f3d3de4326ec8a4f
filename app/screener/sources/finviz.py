"""Finviz over HTTP: the screener's pages, and Elite's export as CSV (SPEC §12)."""

import asyncio
import csv
import io
from datetime import UTC, datetime
from urllib.parse import parse_qs, urlsplit

import aiohttp
from yarl import URL

from app.retry_after import parse_retry_after
from app.screener.pace import ROWS_A_PAGE
from app.screener.sources.readers import read_page
from app.screener.sources.request import Request
from app.screener.sources.tickers import BlockedError, SourceError, clean

_PAGE_SECONDS = 15.0
_LARGEST_BYTES = 5_000_000
_REDIRECTS = 3
_LONGEST_BACK_OFF_SECONDS, _LONGEST_BACK_OFF_BY_CLOCK_SECONDS = 86_400.0, 3600.0


def open_client() -> aiohttp.ClientSession:
    """Make the refresher's client; needs a running event loop, close it with the refresher."""
    return aiohttp.ClientSession(
        cookie_jar=aiohttp.DummyCookieJar(),
        timeout=aiohttp.ClientTimeout(total=_PAGE_SECONDS),
        # without the first word the site answers 403
        headers={"User-Agent": "Mozilla/5.0 (compatible; trading-signal-processor)"},
    )


async def fetch_pages(request: Request) -> list[str]:
    """Return the tickers of as many pages as `top_n` needs, by rank; one missing page fails them all."""
    screen, tickers = _parse(request.url), dict[str, None]()
    for first in range(1, request.top_n + 1, ROWS_A_PAGE):
        content = await _get(request, screen.update_query(r=str(first)))
        page = read_page(content.decode("utf-8", "replace"), first)
        before = len(tickers)
        tickers |= dict.fromkeys(page.tickers)
        if len(tickers) == before:
            raise SourceError(f"the page r={first} repeats the pages before it")
        if page.last or len(tickers) >= request.top_n:
            break
    return list(tickers)


async def fetch_export(request: Request) -> list[str]:
    """Return the tickers of Elite's CSV, in its order.

    Raises:
        SourceError: no token is set, or it stands in the URL, where pages and logs would show it.
    """
    if "auth" in parse_qs(urlsplit(request.url).query, keep_blank_values=True):
        raise SourceError(
            "the url must not hold auth=…: set FINVIZ_ELITE_AUTH in .env, and take it out there"
        )
    if not request.elite_auth:
        raise SourceError("FINVIZ_ELITE_AUTH is not set in .env, and Finviz's export needs it")
    content = await _get(request, _parse(request.url).update_query(auth=request.elite_auth))
    return read_export(content.decode("utf-8-sig", "replace"))


def read_export(text: str) -> list[str]:
    """Return the column Ticker of an export. Pure.

    Raises:
        SourceError: no such column: a page instead of a table, as for a wrong token; or no ticker below it.
    """
    try:
        rows = [row for row in csv.reader(io.StringIO(text)) if row]
    except csv.Error as error:
        raise SourceError(f"the export is no CSV: {error}") from error
    heads = [cell.strip().lower() for cell in rows[0]] if rows else []
    if "ticker" not in heads:
        raise SourceError("the export has no column Ticker: is FINVIZ_ELITE_AUTH right?")
    column = heads.index("ticker")
    if any(len(row) != len(heads) for row in rows):
        raise SourceError("the export breaks off in the middle of a row")
    return clean(row[column] for row in rows[1:])


def _parse(url: str) -> URL:
    try:
        return URL(url)
    except ValueError as error:
        raise SourceError("the strategy's url cannot be read as one") from error


async def _get(request: Request, url: URL) -> bytes:
    """Fetch one page, following redirects only to where the strategy itself may point."""
    for _ in range(_REDIRECTS + 1):
        _check_place(url, allow_other_hosts=request.allow_other_hosts)
        await request.pace.turn()
        try:
            async with request.http.get(url, allow_redirects=False) as response:
                if response.status in {301, 302, 303, 307, 308} and "Location" in response.headers:
                    url = url.join(URL(response.headers["Location"]))
                    continue
                _check_status(response)
                return await _content(response)
        except TimeoutError as error:
            raise SourceError(f"{_shown(url)}: no answer in {_PAGE_SECONDS:g} s") from error
        except (aiohttp.ClientError, OSError, ValueError) as error:
            # its text may hold the whole URL, and so the token
            raise SourceError(f"{_shown(url)}: {type(error).__name__}") from error
    raise SourceError(f"{_shown(url)}: more than {_REDIRECTS} redirects")


def check(url: str, *, allow_other_hosts: bool) -> None:
    """Raise SourceError for a URL that would never be asked. Pure."""
    _check_place(_parse(url), allow_other_hosts=allow_other_hosts)


def _check_place(url: URL, *, allow_other_hosts: bool) -> None:
    host = url.host or ""
    if allow_other_hosts or (
        url.scheme == "https" and (host == "finviz.com" or host.endswith(".finviz.com"))
    ):
        return
    raise SourceError(
        f"{_shown(url)}: only https:// on finviz.com is asked, "
        'unless config/finviz_config.json has "allow_other_hosts": true'
    )


def _check_status(response: aiohttp.ClientResponse) -> None:
    if response.status == 200:
        return
    message = f"{_shown(response.url)}: HTTP {response.status}"
    if response.status in {403, 429}:
        raise BlockedError(message, _retry_after(response))
    raise SourceError(message)


async def _content(response: aiohttp.ClientResponse) -> bytes:
    content = bytearray()
    async for part in response.content.iter_chunked(65_536):
        content += part
        if len(content) > _LARGEST_BYTES:
            raise SourceError(f"{_shown(response.url)}: larger than {_LARGEST_BYTES // 1_000_000} MB")
        await asyncio.sleep(0)  # a fast server must not keep the event loop to itself
    return bytes(content)


def _retry_after(response: aiohttp.ClientResponse) -> float | None:
    return parse_retry_after(
        response.headers.get("Retry-After"),
        now=datetime.now(UTC),  # only for a site that sends no Date of its own
        answered_at=response.headers.get("Date"),
        longest=_LONGEST_BACK_OFF_SECONDS,
        longest_from_clock=_LONGEST_BACK_OFF_BY_CLOCK_SECONDS,
    )


def _shown(url: URL) -> str:
    """The URL as it may be shown: its query may hold a token."""
    return f"{url.host}{url.path}"
