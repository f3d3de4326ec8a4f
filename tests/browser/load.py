"""A separate process that posts signals: `python -m tests.browser.load URL RATE SECONDS`.

It prints after a second, and at the end, how many signals were accepted.
"""

from __future__ import annotations

import asyncio
import sys

from tests.hosts.load import stream

TICKERS = [f"T{number}" for number in range(40)]


async def main(url: str, rate: float, seconds: float) -> None:
    """Post for a second first, so that the measurement starts from a page with signals."""

    async def nothing() -> None:
        pass

    taken: set[str] = set()  # the second run begins with what the first one sent: duplicates
    for length in (1.0, seconds):
        sent = await stream(
            f"{url}/webhook/in", "", tickers=TICKERS, rate=rate, seconds=length, midway=nothing
        )
        taken.update(sent.accepted.values())
        sys.stdout.write(f"{len(taken)}\n")
        sys.stdout.flush()


if __name__ == "__main__":
    asyncio.run(main(sys.argv[1], float(sys.argv[2]), float(sys.argv[3])))
