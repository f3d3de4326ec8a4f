"""One request to the destination and its answer: headers (pure), then HTTP, or a table for paper."""

import asyncio
from collections.abc import Mapping
from datetime import datetime
from types import SimpleNamespace
from typing import NamedTuple

import aiohttp
import asyncpg
from standardwebhooks import Webhook

from app.db.errors import TRANSIENT_DB_ERRORS
from app.db.pool import Pool
from app.errors import failure
from app.orders import repository
from app.orders.connections import EarnedReuseConnector
from app.orders.policy import READ_BYTES, decompress, is_whole, outcome_of, says_failure
from app.signals.reasons import Reason, ReasonCode
from app.signals.statuses import Outcome

RESPONSE_BYTES = 2048
_RESPONSE_SECONDS = 1.0  # for the rest of an answer whose status alone decides the outcome


class Answer(NamedTuple):
    """An attempt's outcome and the stored part of the answer.

    `error` says what happened, where the HTTP status does not. `retry_after` and `date` are the headers of
    these names, as received.
    """

    outcome: Outcome
    http_status: int | None = None
    error: Reason | None = None
    retry_after: str | None = None
    response: bytes = b""
    date: str | None = None


def make_headers(*, webhook_id: str, body: bytes, sent_at: datetime, signing_secret: str) -> dict[str, str]:
    """Return the headers to send, as Standard Webhooks defines them.

    `sent_at` is the attempt's start, UTC. With an empty secret the request is not signed.

    Raises:
        UnicodeDecodeError: a body that is not UTF-8 cannot be signed.
    """
    named = {
        "content-type": "application/json",
        "accept-encoding": "identity",  # the answer is stored as received
        "user-agent": "trading-signal-processor",
        "webhook-id": webhook_id,
        "webhook-timestamp": str(int(sent_at.timestamp())),
    }
    if signing_secret:
        named["webhook-signature"] = Webhook(signing_secret).sign(webhook_id, sent_at, body.decode())
    return named


def open_client() -> aiohttp.ClientSession:
    """Return the HTTP client that all senders share. Needs a running event loop; the caller closes it."""
    trace = aiohttp.TraceConfig()
    trace.on_request_headers_sent.append(_headers_sent)
    return aiohttp.ClientSession(
        connector=EarnedReuseConnector(),
        cookie_jar=aiohttp.DummyCookieJar(),
        timeout=aiohttp.ClientTimeout(total=None),  # post_http sets a timeout over the whole request
        auto_decompress=False,
        headers={"Accept-Encoding": "identity"},  # the stored part of an answer should be readable
        trace_configs=[trace],
    )


async def _headers_sent(
    _session: aiohttp.ClientSession, context: SimpleNamespace, _: aiohttp.TraceRequestHeadersSentParams
) -> None:
    context.trace_request_ctx.is_sent = True


async def post_http(
    client: aiohttp.ClientSession, url: str, body: bytes, headers: Mapping[str, str], timeout_seconds: float
) -> Answer:
    """Send the body. No redirect is followed; at most 64 KB of the answer are read, and 2 KB stored.

    An error before the request is sent means not accepted, an error after it an unknown outcome. Once the
    status is known, it decides the outcome; an error while reading the body does not. The body of a 2xx is
    awaited within `timeout_seconds` too, because it may say that the order was not accepted.
    """
    deadline = asyncio.get_running_loop().time() + timeout_seconds
    progress = SimpleNamespace(is_sent=False)
    try:
        async with asyncio.timeout_at(deadline):
            response = await client.post(
                url, data=body, headers=headers, allow_redirects=False, trace_request_ctx=progress
            )
    except TimeoutError:
        code = ReasonCode.NO_ANSWER if progress.is_sent else ReasonCode.NO_CONNECTION
        return _failed(Reason(code, seconds=f"{timeout_seconds:g}"), is_sent=progress.is_sent)
    # any class: a URL, a header or an answer can make the client raise almost any exception
    except Exception as error:  # noqa: BLE001 - the outcome follows from `is_sent` alone
        return _failed(failure(error), is_sent=progress.is_sent)
    return await _answer_of(response, deadline)


async def _answer_of(response: aiohttp.ClientResponse, deadline: float) -> Answer:
    status, headers = response.status, response.headers
    is_success = 200 <= status < 300
    until = asyncio.get_running_loop().time() + _RESPONSE_SECONDS
    read = await _beginning(response, max(deadline, until) if is_success else until)
    beginning = decompress(read, headers.get("Content-Encoding", ""))
    is_failure = is_success and says_failure(beginning)
    return Answer(
        outcome_of(status, says_failure=is_failure),
        status,
        error=Reason(ReasonCode.SAYS_FAILURE, status=status) if is_failure else None,
        retry_after=headers.get("Retry-After"),
        response=beginning[:RESPONSE_BYTES],
        date=headers.get("Date"),
    )


async def post_paper(pool: Pool, body: bytes, headers: Mapping[str, str]) -> Answer:
    """Store the request that a live destination would have received."""
    try:
        await repository.store_paper_delivery(
            pool, webhook_id=headers["webhook-id"], headers=dict(headers), body=body
        )
    except (*TRANSIENT_DB_ERRORS, asyncpg.PostgresError) as error:
        return _failed(failure(error), is_sent=False)
    return Answer(Outcome.DELIVERED, 200, response=b"kept on paper")


def _failed(error: Reason, *, is_sent: bool) -> Answer:
    """Return the outcome of a failed request: unknown once a byte may have been sent, else not accepted."""
    return Answer(Outcome.UNKNOWN if is_sent else Outcome.NOT_TAKEN, error=error)


async def _beginning(response: aiohttp.ClientResponse, until: float) -> bytes:
    """Read the beginning of the answer, at most until this moment of the event loop's clock."""
    kept = bytearray()
    content = response.content
    try:
        if content.is_eof() and content.total_bytes <= READ_BYTES:
            kept += content.read_nowait()  # all of it arrived with the headers
        else:
            await _read(response, kept, until)
    # Fails open: the status is known, and an error in the body does not change the outcome.
    except Exception:  # noqa: BLE001 - as for the request
        response.close()
    finally:
        if not content.at_eof():
            response.close()
    return bytes(kept)


async def _read(response: aiohttp.ClientResponse, kept: bytearray, until: float) -> None:
    """Append what arrives to `kept`. A destination may keep the connection open after a whole JSON value."""
    loop = asyncio.get_running_loop()
    encoding = response.headers.get("Content-Encoding", "")
    while len(kept) < READ_BYTES:
        try:
            async with asyncio.timeout_at(min(until, loop.time() + _RESPONSE_SECONDS)):
                part = await response.content.read(READ_BYTES - len(kept))
        except TimeoutError:
            if loop.time() >= until or is_whole(decompress(bytes(kept), encoding)):
                return
            continue
        if not part:
            return
        kept += part
