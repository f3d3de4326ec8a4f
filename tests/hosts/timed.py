"""Tests that measure time: a machine that did not keep time proves nothing, so they are run again."""

from __future__ import annotations

import asyncio
import functools
import time
from typing import TYPE_CHECKING, ParamSpec

import pytest

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable

P = ParamSpec("P")

TICK_SECONDS = 0.05
LATE_SECONDS = 0.25  # a pause of this process that counts as not keeping time


class LateMachineError(AssertionError):
    """An assertion failed while the machine let this process wait; the test is run again."""


def timed(test: Callable[P, Awaitable[None]]) -> Callable[P, Awaitable[None]]:
    """Decorate a test whose assertions are about seconds.

    A failure counts only if the machine kept time meanwhile, or if it did not four more times.
    """

    @functools.wraps(test)
    async def run(*arguments: P.args, **named: P.kwargs) -> None:
        latest = 0.0

        async def watch() -> None:
            nonlocal latest
            while True:
                due = time.monotonic() + TICK_SECONDS
                await asyncio.sleep(TICK_SECONDS)
                latest = max(latest, time.monotonic() - due)

        watching = asyncio.create_task(watch())
        try:
            await test(*arguments, **named)
        except AssertionError as error:
            if latest > LATE_SECONDS:
                message = f"this process was {latest:.2f} s late; {error}"
                raise LateMachineError(message) from error
            raise
        finally:
            watching.cancel()

    marked: Callable[P, Awaitable[None]] = pytest.mark.flaky(reruns=4, only_rerun=LateMachineError.__name__)(
        run
    )
    return marked
