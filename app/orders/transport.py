"""One request to the destination, and what came of it. HTTP for a live destination, a table for paper."""

import asyncio
from collections.abc import Mapping
from types import SimpleNamespace
from typing import NamedTuple

import aiohttp
import asyncpg

from app.db.errors import TRANSIENT_DB_ERRORS
from app.db.pool import Pool
from app.db.queries import load
from app.errors import describe
from app.orders.policy import JUDGED_BYTES, outcome_of, says_failure, unpacked
from app.signals.statuses import Outcome

_SQL = load("app.orders")
RESPONSE_BYTES = 2048
_RESPONSE_SECONDS = 1.0  # for the rest of an answer whose status is known: it changes nothing any more
# Shorter than the five seconds after which common servers close an idle connection: a request that meets the
# closing has an unknown outcome.
_KEEPALIVE_SECONDS = 3.0


class Answer(NamedTuple):
    """An attempt's outcome and what is kept of it. `error` says what went wrong, in words of ours.

    `retry_after` and `date` are the headers of these names, as they came.
    """

    outcome: Outcome
    http_status: int | None = None
    error: str | None = None
    retry_after: str | None = None
    response: bytes = b""
    date: str | None = None


def open_client() -> aiohttp.ClientSession:
    """Make the one client that all senders share; needs a running event loop, close it with the process."""
    trace = aiohttp.TraceConfig()
    trace.on_request_headers_sent.append(_headers_sent)
    return aiohttp.ClientSession(
        connector=aiohttp.TCPConnector(limit=0, keepalive_timeout=_KEEPALIVE_SECONDS),
        cookie_jar=aiohttp.DummyCookieJar(),
        timeout=aiohttp.ClientTimeout(total=None),  # post_http has one of its own, over everything
        auto_decompress=False,
        headers={"Accept-Encoding": "identity"},  # what is kept of an answer should be readable
        trace_configs=[trace],
    )


async def _headers_sent(
    _session: aiohttp.ClientSession, context: SimpleNamespace, _: aiohttp.TraceRequestHeadersSentParams
) -> None:
    context.trace_request_ctx.left = True


async def post_http(
    client: aiohttp.ClientSession, url: str, body: bytes, headers: Mapping[str, str], timeout_seconds: float
) -> Answer:
    """Send the body. No redirect is followed; 16 KB of the answer are read at most, and 2 KB kept.

    Whatever is raised before the request left means that nothing was accepted; after it the outcome is
    unknown. An answer whose status is known has its outcome, whatever its body does.
    """
    progress = SimpleNamespace(left=False)
    try:
        async with asyncio.timeout(timeout_seconds):
            response = await client.post(
                url, data=body, headers=headers, allow_redirects=False, trace_request_ctx=progress
            )
    except TimeoutError:
        what = "no answer" if progress.left else "no connection"
        return _failed(f"{what} in {timeout_seconds:g} s", left=progress.left)
    # any class: a URL, a header or an answer can make the client raise nearly everything
    except Exception as error:  # noqa: BLE001 - the outcome follows from `left` alone
        return _failed(describe(error), left=progress.left)
    return await _answer_of(response)


async def _answer_of(response: aiohttp.ClientResponse) -> Answer:
    status, headers = response.status, response.headers
    beginning = unpacked(await _beginning(response), headers.get("Content-Encoding", ""))
    is_failure = 200 <= status < 300 and says_failure(beginning)
    return Answer(
        outcome_of(status, says_failure=is_failure),
        status,
        error=f'HTTP {status} with "success": false' if is_failure else None,
        retry_after=headers.get("Retry-After"),
        response=beginning[:RESPONSE_BYTES],
        date=headers.get("Date"),
    )


async def post_paper(pool: Pool, body: bytes, headers: Mapping[str, str]) -> Answer:
    """Keep what a destination would have got."""
    try:
        await pool.execute(_SQL["keep_paper"], headers["webhook-id"], dict(headers), body)
    except (*TRANSIENT_DB_ERRORS, asyncpg.PostgresError) as error:
        return _failed(describe(error), left=False)
    return Answer(Outcome.DELIVERED, 200, response=b"kept on paper")


def _failed(error: str, *, left: bool) -> Answer:
    """Once a byte may have left, nobody knows what the destination did."""
    return Answer(Outcome.UNKNOWN if left else Outcome.NOT_TAKEN, error=error)


async def _beginning(response: aiohttp.ClientResponse) -> bytes:
    """Read the beginning of the answer; a longer one costs its connection, not the time to read it."""
    kept = bytearray()
    content = response.content
    try:
        if content.is_eof() and content.total_bytes <= JUDGED_BYTES:
            kept += content.read_nowait()  # it came whole with its headers
        else:
            async with asyncio.timeout(_RESPONSE_SECONDS):
                while len(kept) < JUDGED_BYTES and (part := await content.read(JUDGED_BYTES - len(kept))):
                    kept += part
    # Fails open: the status is known, and what else is wrong with the answer does not change the outcome
    except Exception:  # noqa: BLE001 - as for the request
        response.close()
    finally:
        if not content.at_eof():
            response.close()
    return bytes(kept)
