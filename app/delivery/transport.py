"""One request to the destination, and what came of it. HTTP for a live destination, a table for paper."""

import asyncio
from collections.abc import Mapping
from types import SimpleNamespace
from typing import NamedTuple

import aiohttp

from app.db.away import DATABASE_AWAY
from app.db.pool import Pool
from app.db.queries import load
from app.delivery.policy import Outcome, outcome_of

_SQL = load("delivery")
RESPONSE_BYTES = 2048
_RESPONSE_SECONDS = 1.0  # for the rest of an answer whose status is known: it changes nothing any more
# Shorter than the five seconds after which common servers close an idle connection: a request that meets the
# closing has an unknown outcome.
_KEEPALIVE_SECONDS = 3.0


class Answer(NamedTuple):
    """An attempt's outcome and what is kept of it. `error` says what went wrong, None if an answer came."""

    outcome: Outcome
    http_status: int | None = None
    error: str | None = None
    retry_after: str | None = None
    response: bytes = b""


def open_client() -> aiohttp.ClientSession:
    """Make the one client that all senders share; needs a running event loop, close it with the process."""
    trace = aiohttp.TraceConfig()
    trace.on_request_headers_sent.append(_headers_sent)
    return aiohttp.ClientSession(
        connector=aiohttp.TCPConnector(limit=0, keepalive_timeout=_KEEPALIVE_SECONDS),
        cookie_jar=aiohttp.DummyCookieJar(),
        timeout=aiohttp.ClientTimeout(total=None),  # post_http has one of its own, over everything
        auto_decompress=False,
        trace_configs=[trace],
    )


async def _headers_sent(
    _session: aiohttp.ClientSession, context: SimpleNamespace, _: aiohttp.TraceRequestHeadersSentParams
) -> None:
    context.trace_request_ctx.left = True


async def post_http(
    client: aiohttp.ClientSession, url: str, body: bytes, headers: Mapping[str, str], timeout_seconds: float
) -> Answer:
    """Send the body. No redirect is followed and at most 2 KB of the answer are read."""
    progress = SimpleNamespace(left=False)
    try:
        async with asyncio.timeout(timeout_seconds):
            response = await client.post(
                url, data=body, headers=headers, allow_redirects=False, trace_request_ctx=progress
            )
    except TimeoutError:
        what = "no answer" if progress.left else "no connection"
        return _failed(f"{what} in {timeout_seconds:g} s", left=progress.left)
    except aiohttp.InvalidURL:
        return Answer(Outcome.REFUSED, error="the destination's URL is not valid")  # its text holds the URL
    except (aiohttp.ClientError, OSError) as error:
        return _failed(_words(error), left=progress.left)
    async with response:
        return Answer(
            outcome_of(response.status),
            response.status,
            retry_after=response.headers.get("Retry-After"),
            response=await _beginning(response),
        )


async def post_paper(pool: Pool, body: bytes, headers: Mapping[str, str]) -> Answer:
    """Keep what a destination would have got (SPEC §10)."""
    try:
        await pool.execute(_SQL["keep_paper"], headers["webhook-id"], dict(headers), body)
    except DATABASE_AWAY as error:
        return _failed(_words(error), left=False)
    return Answer(Outcome.DELIVERED, 200, response=b"kept on paper")


def _failed(error: str, *, left: bool) -> Answer:
    """Once a byte may have left, nobody knows what the destination did."""
    return Answer(Outcome.UNKNOWN if left else Outcome.NOT_TAKEN, error=error)


def _words(error: Exception) -> str:
    text = str(error).replace("\0", "")
    return f"{type(error).__name__}: {text}"[:500] if text else type(error).__name__


async def _beginning(response: aiohttp.ClientResponse) -> bytes:
    """Read what is kept of the answer; a longer one costs its connection, not the time to read it."""
    kept = bytearray()
    try:
        if response.content.is_eof() and response.content.total_bytes <= RESPONSE_BYTES:
            return response.content.read_nowait()  # it came whole with its headers
        async with asyncio.timeout(_RESPONSE_SECONDS):
            while len(kept) < RESPONSE_BYTES and (
                part := await response.content.read(RESPONSE_BYTES - len(kept))
            ):
                kept += part
    except (TimeoutError, aiohttp.ClientError, OSError):
        response.close()
    if not response.content.at_eof():
        response.close()
    return bytes(kept)
