"""Request HEARTBEAT_URL every minute while all is well: a service elsewhere notices when it stops."""

import asyncio
from collections.abc import Callable

import aiohttp
import structlog

from app.errors import describe

log = structlog.get_logger(__name__)

EVERY_SECONDS = 60.0
FIRST_SECONDS = 5.0
_BEAT_SECONDS = 10.0
_TIMEOUT = aiohttp.ClientTimeout(total=10)


async def run(url: str, is_all_well: Callable[[], bool], beat: Callable[[], None]) -> None:
    """Ask the URL while `is_all_well`; failures are logged, without the URL."""
    wait = FIRST_SECONDS
    async with aiohttp.ClientSession(timeout=_TIMEOUT, cookie_jar=aiohttp.DummyCookieJar()) as http:
        while True:
            beat()
            await asyncio.sleep(min(wait, _BEAT_SECONDS))
            wait -= min(wait, _BEAT_SECONDS)
            if wait > 0:
                continue
            if not is_all_well():
                wait = FIRST_SECONDS
                continue
            wait = EVERY_SECONDS
            try:
                async with http.get(url) as answer:
                    if answer.status >= 400:
                        log.warning("heartbeat not accepted", http_status=answer.status)
            except (aiohttp.ClientError, TimeoutError, ValueError) as error:
                log.warning("heartbeat not sent", error=describe(error))
