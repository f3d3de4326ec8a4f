"""Finviz over HTTP: the screener's pages, and Elite's export as CSV."""

import asyncio
from collections.abc import Container
from datetime import UTC, datetime
from typing import Literal, NamedTuple

import aiohttp
import structlog
from yarl import URL

from app.runtime.retry_after import parse_retry_after
from app.screener.pace import ROWS_A_PAGE, is_export
from app.screener.parsing.answers import Job, Parsed
from app.screener.parsing.parser import LARGEST_BYTES
from app.screener.parsing.tickers import BlockedError, Found, ProviderError
from app.screener.providers import tokens
from app.screener.providers.request import Request
from app.signals.reasons import Reason, ReasonCode
from app.signals.refusals import RefusalCode

log = structlog.get_logger(__name__)

_PAGE_SECONDS = 15.0
_REDIRECTS = 3
_LONGEST_BACK_OFF_SECONDS, _LONGEST_BACK_OFF_BY_CLOCK_SECONDS = 86_400.0, 3600.0
# By aiohttp's class: its own text may contain the whole URL, and so the token.
_ERROR_CODES: tuple[tuple[type[Exception], RefusalCode], ...] = (
    (aiohttp.ClientConnectorDNSError, RefusalCode.NET_NAME),
    (aiohttp.ClientSSLError, RefusalCode.NET_TLS),
    (aiohttp.ClientConnectorError, RefusalCode.NET_NONE),
    (aiohttp.ClientPayloadError, RefusalCode.NET_INCOMPLETE),
    (aiohttp.ServerDisconnectedError, RefusalCode.NET_CLOSED),
)


class _Answer(NamedTuple):
    """A body with its media type, and the URL it came from, without a token."""

    content: bytes
    media_type: str
    url: URL


def open_client(connector: aiohttp.BaseConnector | None = None) -> aiohttp.ClientSession:
    """Open the refresher's HTTP client, inside a running event loop. The caller closes it.

    Each page has a connection of its own, so that no late answer to another page is taken for its answer.
    """
    return aiohttp.ClientSession(
        connector=connector or aiohttp.TCPConnector(force_close=True),
        cookie_jar=aiohttp.DummyCookieJar(),
        timeout=aiohttp.ClientTimeout(total=_PAGE_SECONDS),
        headers={
            # the site answers 403 unless it begins with Mozilla
            "User-Agent": "Mozilla/5.0 (compatible; trading-signal-processor)",
            "Accept-Encoding": "gzip",
        },
    )


async def fetch(request: Request) -> Found:
    """Return the tickers of an export, or of as many pages as `depth` needs.

    One failed page fails all, unless it is below the Top-N.

    Raises:
        ProviderError: the request failed, or its answer has no list.
        BlockedError: the site blocked the request.
    """
    url, is_table = _parse(request.url), is_export(request.url)
    _check_typed_token(url, is_table=is_table)
    if is_table:
        if not request.elite_auth and tokens.may_be_sent_to(url):
            raise ProviderError(RefusalCode.AUTH_MISSING)
        found = await _read(request, url, "export", 1)
        return Found("csv", found.tickers)
    return await _pages(request, url)


async def _pages(request: Request, screen: URL) -> Found:
    tickers, is_whole = dict[str, None](), False
    for first in range(1, request.depth + 1, ROWS_A_PAGE):
        try:
            found = await _page(request, screen, first, tickers)
        except ProviderError as error:
            if len(tickers) < request.top_n:
                raise
            # Fails open: the Top-N is complete, and only what-if needs what is below it.
            log.info("tickers below the Top-N were not read", read=len(tickers), error=str(error.reason))
            break
        if found.table and first == 1:
            return Found("csv", found.tickers)
        tickers |= dict.fromkeys(found.tickers)
        is_whole = found.last
        if found.last or len(tickers) >= request.depth:
            break
    return Found("html", list(tickers), is_whole)


async def _page(request: Request, screen: URL, first: int, before: Container[str]) -> Parsed:
    found = await _read(request, screen.update_query(r=str(first)), "page", first)
    is_table = found.table and first == 1
    if not is_table and all(ticker in before for ticker in found.tickers):
        raise ProviderError(RefusalCode.PAGE_REPEATS, first=first)
    return found


async def _read(request: Request, url: URL, kind: Literal["export", "page"], first: int) -> Parsed:
    answer = await _get(request, url)
    try:
        return await request.parser.read(Job(kind, first, answer.media_type), answer.content)
    except BlockedError as error:
        raise _blocked(answer.url, error.reason, error.retry_after) from error
    except ProviderError as error:
        raise _failed(answer.url, error.reason) from error


def _parse(url: str) -> URL:
    try:
        return URL(url)
    except ValueError as error:
        raise ProviderError(RefusalCode.SOURCE_UNREADABLE) from error


async def _get(request: Request, url: URL) -> _Answer:
    """Fetch one page. Follow redirects only to hosts that a strategy may use."""
    typed, bare = tokens.split(url)
    for _ in range(_REDIRECTS + 1):
        _check_place(bare, allow_other_hosts=request.allow_other_hosts)
        await request.pace.turn()
        sent = tokens.added(bare, typed or (request.elite_auth if is_export(str(bare)) else ""))
        try:
            async with request.http.get(sent, allow_redirects=False) as response:
                if response.status in {301, 302, 303, 307, 308} and "Location" in response.headers:
                    _, bare = tokens.split(bare.join(URL(response.headers["Location"])))
                    tokens.check_absent(bare, typed, request.elite_auth)
                    continue
                _check_status(response)
                return _Answer(await _content(response), response.content_type.lower(), bare)
        except TimeoutError as error:
            raise _failed(bare, Reason(ReasonCode.NO_ANSWER, seconds=f"{_PAGE_SECONDS:g}")) from error
        except (aiohttp.ClientError, OSError, ValueError) as error:
            raise _failed(bare, _reason_of(error)) from error
    raise _failed(bare, Reason(RefusalCode.REDIRECTS, most=_REDIRECTS))


def check(url: str, *, allow_other_hosts: bool) -> None:
    """Check a strategy's URL. Pure.

    Raises:
        ProviderError: its host is not allowed, or it has a token where none may be.
    """
    parsed = _parse(url)
    _check_place(parsed, allow_other_hosts=allow_other_hosts)
    _check_typed_token(parsed, is_table=is_export(url))


def _check_place(url: URL, *, allow_other_hosts: bool) -> None:
    if tokens.may_be_sent_to(url):
        return
    if allow_other_hosts and url.scheme in {"http", "https"} and url.raw_host:
        return
    raise _failed(url, Reason(RefusalCode.SOURCE_FOREIGN))


def _check_typed_token(url: URL, *, is_table: bool) -> None:
    """Refuse a token in the URL of an export, which is set in .env, and in a URL of another site."""
    typed, _ = tokens.split(url)
    has_token = typed is not None or tokens.is_in_path(url)
    if has_token and (is_table or not tokens.may_be_sent_to(url)):
        raise ProviderError(RefusalCode.AUTH_IN_URL)


def _check_status(response: aiohttp.ClientResponse) -> None:
    if response.status == 200:
        return
    reason = Reason(ReasonCode.HTTP_STATUS, status=response.status)
    is_busy = response.status == 503 and "Retry-After" in response.headers
    if response.status in {403, 429} or is_busy:
        raise _blocked(response.url, reason, _retry_after(response))
    raise _failed(response.url, reason)


async def _content(response: aiohttp.ClientResponse) -> bytes:
    content = bytearray()
    async for part in response.content.iter_chunked(65_536):
        content += part
        if len(content) > LARGEST_BYTES:
            raise _failed(response.url, Reason(RefusalCode.LARGER, most=LARGEST_BYTES // 1_000_000))
        await asyncio.sleep(0)  # a fast server must not block the event loop
    return bytes(content)


def _retry_after(response: aiohttp.ClientResponse) -> float | None:
    return parse_retry_after(
        response.headers.get("Retry-After"),
        now=datetime.now(UTC),  # used only for a site that sends no Date
        answered_at=response.headers.get("Date"),
        longest=_LONGEST_BACK_OFF_SECONDS,
        longest_from_clock=_LONGEST_BACK_OFF_BY_CLOCK_SECONDS,
    )


def _reason_of(error: Exception) -> Reason:
    codes = (code for kind, code in _ERROR_CODES if isinstance(error, kind))
    return Reason(next(codes, RefusalCode.NET_HTTP))


def _failed(url: URL, reason: Reason) -> ProviderError:
    return ProviderError(RefusalCode.AT, place=_shown(url), reason=reason)


def _blocked(url: URL, reason: Reason, retry_after: float | None) -> BlockedError:
    error = BlockedError(RefusalCode.AT, place=_shown(url), reason=reason)
    error.retry_after = retry_after
    return error


def _shown(url: URL) -> str:
    """Return the host only: path and query may contain a token, and in a redirect they are foreign text."""
    return (url.raw_host or "the url")[:100]
