"""The parser process: for any input the caller gets a list or a reason within the time limit."""

from __future__ import annotations

import asyncio
import contextlib
import gzip
import os
import signal
import sys
from pathlib import Path
from typing import TYPE_CHECKING

import psutil
import pytest
from hypothesis import HealthCheck, example, given, settings
from hypothesis import strategies as st

from app.screener.parsing import child
from app.screener.parsing.answers import Job, parse
from app.screener.parsing.parser import LARGEST_BYTES, Parser
from app.screener.parsing.tickers import BlockedError, ProviderError, is_list_ticker
from app.signals.reasons import from_json
from tests.unit.app.screener.pages import boxover_row, page, tickers

if TYPE_CHECKING:
    from collections.abc import Callable

PAGE = page(boxover_row, tickers(20)).encode()
# parsed in the application's own process each of these would stop its event loop for up to minutes
DEEP = {
    "formats": b"<font><b><i>" * 22_000,
    "tables": b"<table><tr><td>Ticker" * 90_000,
    "blocks": b"<div>" * 400_000,
    "formats across paragraphs": (b"<font>" * 200 + b"</p>") * 1_500,
}


def ended(pid: int) -> bool:
    """Return whether the process has ended and was reaped."""
    return not psutil.pid_exists(pid)


async def until_ended(pid: int) -> None:
    """Wait until the process has ended; fail after 20 s."""
    with contextlib.suppress(psutil.NoSuchProcess):
        await asyncio.to_thread(psutil.Process(pid).wait, 20)


async def test_a_page_and_a_file_are_read_by_one_child() -> None:
    async with Parser() as parser:
        assert (await parser.read(Job("page"), PAGE)).tickers == tickers(20)
        first = parser.pid
        assert (await parser.read(Job("file"), b"NVDA\nAAPL")).tickers == ["NVDA", "AAPL"]
        assert parser.pid == first
    assert first is not None
    assert ended(first)


@pytest.mark.parametrize("content", DEEP.values(), ids=list(DEEP))
async def test_a_page_that_cannot_be_read_in_time_is_refused_while_the_loop_goes_on(content: bytes) -> None:
    turns = 0

    async def count() -> None:
        nonlocal turns
        while True:
            turns += 1
            await asyncio.sleep(0)

    async with Parser() as parser:
        await parser.read(Job("page"), PAGE)
        pid, counting = parser.pid, asyncio.create_task(count())
        with pytest.raises(ProviderError, match=r"inside one another|took more than 5 s"):
            await parser.read(Job("page"), content)
        counting.cancel()
        assert turns > 100
        assert pid is not None
        assert parser.pid == pid or ended(pid)
        assert (await parser.read(Job("page"), PAGE)).tickers == tickers(20)


async def test_a_cell_without_an_end_is_refused_by_its_line() -> None:
    content = b'No.,Ticker,Company\r\n1,NVDA,"' + b"x" * 200_000
    async with Parser() as parser:
        for job in (Job("export"), Job("file")):
            with pytest.raises(ProviderError, match="line 2 is not valid CSV"):
                await parser.read(job, content)


async def test_more_than_2_mb_are_refused_unread() -> None:
    async with Parser() as parser:
        with pytest.raises(ProviderError, match="larger than 2 MB"):
            await parser.read(Job("page"), b" " * (LARGEST_BYTES + 1))
        assert parser.pid is None


@pytest.mark.parametrize("sent", [signal.SIGKILL, signal.SIGTERM, signal.SIGSEGV])
async def test_a_child_that_ends_fails_one_refresh_at_most(sent: signal.Signals) -> None:
    async with Parser() as parser:
        await parser.read(Job("page"), PAGE)
        first = parser.pid
        assert first is not None
        os.kill(first, signal.SIGSTOP)  # so that it is certain to be inside the job
        reading = asyncio.create_task(parser.read(Job("page"), PAGE))
        await asyncio.sleep(0.05)
        os.kill(first, sent)
        with contextlib.suppress(ProcessLookupError):  # asyncio may have waited for it already
            os.kill(first, signal.SIGCONT)
        with pytest.raises(ProviderError, match="the process that reads it ended"):
            await reading
        assert ended(first)
        assert (await parser.read(Job("page"), PAGE)).tickers == tickers(20)


async def test_a_child_that_ended_between_two_jobs_is_replaced() -> None:
    async with Parser() as parser:
        await parser.read(Job("page"), PAGE)
        first = parser.pid
        assert first is not None
        os.kill(first, signal.SIGKILL)
        await until_ended(first)
        # the event loop may notice the end later than the test: then at most one job fails
        with contextlib.suppress(ProviderError):
            await parser.read(Job("page"), PAGE)
        assert (await parser.read(Job("page"), PAGE)).tickers == tickers(20)
        assert parser.pid != first


async def test_an_abandoned_job_leaves_no_process() -> None:
    parser = Parser()
    await parser.read(Job("page"), PAGE)
    pid = parser.pid
    assert pid is not None
    reading = asyncio.create_task(parser.read(Job("page"), DEEP["blocks"]))
    await asyncio.sleep(0.1)
    reading.cancel()
    with pytest.raises(asyncio.CancelledError):
        await reading
    assert ended(pid)
    assert parser.pid is None
    await parser.close()


async def test_the_child_ends_with_its_parent_and_knows_no_secret() -> None:
    program = (
        "import asyncio, sys\n"
        "from app.screener.parsing.answers import Job\n"
        "from app.screener.parsing.parser import Parser\n"
        "async def main():\n"
        "    parser = Parser()\n"
        "    await parser.read(Job('file'), b'AAPL')\n"
        "    print(parser.pid, flush=True)\n"
        "    await asyncio.sleep(600)\n"
        "asyncio.run(main())\n"
    )
    root = Path(child.__file__).parents[3]
    parent = await asyncio.create_subprocess_exec(
        sys.executable, "-c", program,
        cwd=root, stdout=asyncio.subprocess.PIPE,
        env={**os.environ, "FINVIZ_ELITE_AUTH": "s3cret"},
    )  # fmt: skip
    assert parent.stdout is not None
    pid = int(await parent.stdout.readline())
    running = psutil.Process(pid)
    assert "s3cret" not in str(running.environ())
    assert running.rlimit(psutil.RLIMIT_AS) == (child.MEMORY_BYTES, child.MEMORY_BYTES)
    assert await asyncio.to_thread(Path(f"/proc/{pid}/oom_score_adj").read_text) == "1000\n"
    parent.kill()
    await parent.wait()
    await until_ended(pid)


@pytest.mark.parametrize(
    ("job", "content", "words"),
    [
        (Job("export"), b"<title>Too Many Requests</title>", "Too Many Requests"),
        (Job("export"), b"Too Many Requests", "Too Many Requests"),
        (Job("page"), b"Too Many Requests", "Too Many Requests"),
        (Job("page", media_type="text/plain"), b"Rate limit exceeded", "Too Many Requests"),
        (Job("page", media_type="text/csv"), b"Too Many Requests", "Too Many Requests"),
    ],
)
async def test_a_block_by_the_site_is_reported_as_such(job: Job, content: bytes, words: str) -> None:
    async with Parser() as parser:
        with pytest.raises(BlockedError, match=words):
            await parser.read(job, content)


@pytest.mark.parametrize("media_type", ["text/csv", "text/html", "application/octet-stream", ""])
def test_a_table_is_recognised_by_its_content_not_its_content_type(media_type: str) -> None:
    found = parse(Job("page", media_type=media_type), b"\xef\xbb\xbfNo.,Ticker\r\n1,NVDA\r\n2,AAPL\r\n")
    assert (found.tickers, found.table, found.last) == (["NVDA", "AAPL"], True, True)


@pytest.mark.parametrize(
    "job",
    [Job("export"), Job("export", media_type="text/csv"), Job("page", media_type="text/csv"), Job("page")],
)
@pytest.mark.parametrize("content", [b'"Ticker"\r\n"AAPL"\r\n"MSFT"\r\n', b"\xef\xbb\xbfTicker\nAAPL\nMSFT"])
def test_a_table_of_one_column_is_a_table(job: Job, content: bytes) -> None:
    found = parse(job, content)
    assert (found.tickers, found.table, found.error) == (["AAPL", "MSFT"], True, None)


def test_a_page_is_recognised_by_its_content_not_its_content_type() -> None:
    found = parse(Job("page", media_type="text/csv"), b"\r\n" + PAGE)
    assert (found.tickers, found.table) == (tickers(20), False)


def spoiled(content: bytes) -> Callable[[list[tuple[float, bytes]]], bytes]:
    """Return the content with junk inserted."""

    def spoil(cuts: list[tuple[float, bytes]]) -> bytes:
        found = content
        for place, junk in cuts:
            start = int(place * len(found))
            found = found[:start] + junk + found[start + 20 * len(junk) :]
        return found

    return spoil


CUTS = st.lists(st.tuples(st.floats(0, 1), st.binary(max_size=20)), max_size=4)
CONTENTS = (
    st.binary(max_size=2_000)
    | CUTS.map(spoiled(PAGE))
    | CUTS.map(spoiled(b"No.,Ticker\r\n1,NVDA\r\n2,AAPL\r\n"))
    | st.text(max_size=200).map(str.encode)
)
JOBS = st.builds(
    Job,
    kind=st.sampled_from(["file", "export", "page"]),
    first=st.sampled_from([1, 21, 481]),
    media_type=st.sampled_from(["", "text/html", "text/csv", "text/plain"]),
)


@settings(deadline=None, suppress_health_check=[HealthCheck.too_slow])
@given(job=JOBS, content=CONTENTS)
@example(job=Job("page"), content=gzip.compress(b"<title>never unpacked"))
def test_any_bytes_give_tickers_or_a_reason(job: Job, content: bytes) -> None:
    found = parse(job, content)
    assert bool(found.error) is not bool(found.tickers)
    assert not found.error or len(str(from_json(*found.error))) < 200
    assert all(is_list_ticker(ticker) for ticker in found.tickers)
