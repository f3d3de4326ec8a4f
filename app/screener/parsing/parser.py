"""Parse files and pages in a child process, so that no content can block this one or exhaust its memory.

The child is started with the first job and kept. It is killed when a job takes too long or is abandoned, and
when the parser is closed; the next job starts another one.
"""

import asyncio
import contextlib
import os
import sys
from asyncio.subprocess import DEVNULL, PIPE, Process
from pathlib import Path
from types import TracebackType
from typing import Self

import msgspec

import app
from app.screener.parsing.answers import Job, Parsed
from app.screener.parsing.child import LENGTHS, READY
from app.screener.parsing.tickers import BlockedError, ProviderError
from app.signals.reasons import Reason, from_json
from app.signals.refusals import RefusalCode

LARGEST_BYTES = 2_000_000
PARSE_SECONDS = 5.0
_START_SECONDS = 20.0

_COMMAND = (sys.executable, "-B", "-E", "-s", "-m", "app.screener.parsing.child")
_ROOT = Path(app.__file__).resolve().parents[1]
_INHERITED = ("PATH", "LD_LIBRARY_PATH", "LANG")  # nothing of .env


class Parser:
    """One child process, one job at a time. Close it, or use it as a context manager."""

    def __init__(self) -> None:
        self._child: Process | None = None
        self._lock = asyncio.Lock()

    async def __aenter__(self) -> Self:
        """Return itself; the child is started with the first job."""
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        """Close the parser."""
        await self.close()

    @property
    def pid(self) -> int | None:
        """Return the child's process id; None while there is no child."""
        return self._child.pid if self._child is not None else None

    async def read(self, job: Job, content: bytes) -> Parsed:
        """Return the tickers of the content.

        Raises:
            ProviderError: it has no list, is larger than 2 MB, takes more than 5 s, or ends the child.
            BlockedError: it is a challenge page.
        """
        if len(content) > LARGEST_BYTES:
            raise ProviderError(RefusalCode.LARGER, most=LARGEST_BYTES // 1_000_000)
        async with self._lock:
            found = await self._run(job, content)
        if found.error:
            # Fails closed: an error that is not understood gives no list; exits need none.
            reason = from_json(*found.error) or Reason(RefusalCode.READ_ENDED)
            raise (BlockedError if found.blocked else ProviderError)(reason.code, **reason.parameters)
        return found

    async def close(self) -> None:
        """Kill the child, if there is one, and wait until it has ended."""
        child, self._child = self._child, None
        if child is None:
            return
        with contextlib.suppress(ProcessLookupError):
            child.kill()
        await child.wait()

    async def _run(self, job: Job, content: bytes) -> Parsed:
        is_answered = False
        try:
            child = await self._running()
            async with asyncio.timeout(PARSE_SECONDS):
                found = await _exchange(child, job, content)
            is_answered = True
        except TimeoutError as error:
            raise ProviderError(RefusalCode.READ_SLOWLY, seconds=f"{PARSE_SECONDS:g}") from error
        except (OSError, EOFError) as error:
            raise ProviderError(RefusalCode.READ_ENDED) from error
        finally:
            if not is_answered:
                await self.close()
        return found

    async def _running(self) -> Process:
        """Return the child; start it if there is none, or it has ended."""
        if self._child is not None and self._child.returncode is not None:
            await self.close()
        if self._child is None:
            self._child = await asyncio.create_subprocess_exec(
                *_COMMAND,
                stdin=PIPE,
                stdout=PIPE,
                stderr=DEVNULL,  # a traceback may quote the content
                cwd=_ROOT,
                env={name: os.environ[name] for name in _INHERITED if name in os.environ},
                start_new_session=True,  # an interrupt from a terminal must reach the application only
            )
            async with asyncio.timeout(_START_SECONDS):
                await _received(self._child, len(READY))
        return self._child


async def _exchange(child: Process, job: Job, content: bytes) -> Parsed:
    described = msgspec.json.encode(job)
    if child.stdin is None:
        raise EOFError("the child was started without a pipe")
    child.stdin.writelines((LENGTHS.pack(len(described), len(content)), described, content))
    await child.stdin.drain()
    length, _ = LENGTHS.unpack(await _received(child, LENGTHS.size))
    return msgspec.json.decode(await _received(child, length), type=Parsed)


async def _received(child: Process, length: int) -> bytes:
    if child.stdout is None:
        raise EOFError("the child was started without a pipe")
    return await child.stdout.readexactly(length)
