"""The live line under load, cut and asleep (SPEC §15).

Deadlines are five times SPEC's figures; with `-s` the figures are printed. For ten minutes of load:

    PAGE_LOAD_SECONDS=600 .venv-dev/bin/python -m pytest -s tests/browser/test_live.py -k heavy
"""

from __future__ import annotations

import asyncio
import os
import re
import sys
import time
from statistics import median
from typing import TYPE_CHECKING

from playwright.async_api import expect

from tests.browser.conftest import CHECKOUT

if TYPE_CHECKING:
    from playwright.async_api import CDPSession, Page, WebSocket

    from tests.browser.conftest import Application

SOON = 2500  # ms; SPEC: 500 ms
LONGEST_TASK = 500  # ms; SPEC: 100 ms
LOAD_SECONDS = int(os.environ.get("PAGE_LOAD_SECONDS", "30"))
RATE = 500
SETTLED = """([id, count]) => document.getElementById(`signal-${id}`)
    && document.querySelector("[data-metric=received]").textContent === String(count)"""
WATCH_TASKS = """
    window.longTasks = [];
    const note = (list) => longTasks.push(...list.getEntries().map((task) => Math.round(task.duration)));
    new PerformanceObserver(note).observe({ type: "longtask" });
"""


def listen(page: Page) -> list[float]:
    """The moments at which the page hears something, from its next connection on."""
    heard: list[float] = []

    def connected(line: WebSocket) -> None:
        line.on("framereceived", lambda _: heard.append(time.monotonic()))

    page.on("websocket", connected)
    return heard


async def memory(devtools: CDPSession) -> tuple[int, int]:
    """Bytes of the heap that are in use after a collection, and elements alive."""
    await devtools.send("HeapProfiler.collectGarbage")
    used = (await devtools.send("Runtime.getHeapUsage"))["usedSize"]
    return int(used), int((await devtools.send("Memory.getDOMCounters"))["nodes"])


async def test_a_signal_appears_and_its_card_counts_at_once(
    signed_in: Page, application: Application
) -> None:
    took = []
    for count in range(1, 6):
        await quiet(signed_in)
        started = time.monotonic()
        signal_id = await asyncio.to_thread(application.post, ticker=f"NEW{count}", action="buy")
        await signed_in.wait_for_function(SETTLED, arg=[signal_id, count], timeout=10 * SOON)
        took.append((time.monotonic() - started) * 1000)
        await expect(signed_in.locator(f"[id='signal-{signal_id}']")).to_contain_text("Rejected")
    assert median(took) < SOON
    sys.stdout.write(f"\nappeared and counted after {', '.join(f'{each:.0f}' for each in took)} ms\n")


async def quiet(page: Page) -> None:
    """Until two signs of life in a row, 2 s apart: nothing waits for the page's turn of four a second."""
    await page.evaluate("""() => new Promise((resolve) => {
        let before = null;
        const heard = ({ detail }) => {
            if (before === "status_update" && detail.type === before) {
                document.removeEventListener("live", heard);
                resolve();
            }
            before = detail.type;
        };
        document.addEventListener("live", heard);
    })""")


async def test_a_heavy_load_is_four_messages_a_second_and_leaves_the_page_calm(
    signed_in: Page, application: Application
) -> None:
    heard = listen(signed_in)
    await signed_in.add_init_script(WATCH_TASKS)
    await signed_in.reload()
    await signed_in.locator("#connection[data-state=live]").wait_for()
    devtools = await signed_in.context.new_cdp_session(signed_in)
    load = await asyncio.create_subprocess_exec(
        *[sys.executable, "-m", "tests.browser.load", application.url, str(RATE), str(LOAD_SECONDS)],
        cwd=CHECKOUT,
        stdout=asyncio.subprocess.PIPE,
    )
    assert load.stdout is not None
    assert int(await load.stdout.readline()) > 0
    warm_bytes, warm_nodes = await memory(devtools)
    taken = int(await load.stdout.readline())
    assert await load.wait() == 0
    await quiet(signed_in)
    status = await signed_in.evaluate("fetch('/admin/status').then((answer) => answer.json())")
    received = status["metrics"]["received"]  # on a busy machine some were taken that nobody waited for
    assert received >= taken > 0
    await expect(signed_in.locator("[data-metric=received]")).to_have_text(f"{received:,}")
    used, nodes = await memory(devtools)
    tasks = await signed_in.evaluate("longTasks")
    crowded = min(fifth - first for first, fifth in zip(heard, heard[4:], strict=False))
    sys.stdout.write(
        f"\n{taken} signals in {LOAD_SECONDS + 1} s: {len(heard)} messages, "
        f"four took {crowded:.2f} s at the least, longest task {max(tasks, default=0)} ms, "
        f"heap {warm_bytes >> 10} → {used >> 10} KiB, nodes {warm_nodes} → {nodes}\n"
    )
    # the server keeps 1.05 s between a message and the fourth after it; a busy machine may hand one over late
    assert crowded > 0.8
    assert max(tasks, default=0) < LONGEST_TASK
    assert used < warm_bytes + (4 << 20)  # a kilobyte kept of each signal would be 15 MB
    assert nodes < 2 * warm_nodes


async def test_without_a_network_the_page_says_how_old_it_is_and_comes_back_whole(
    signed_in: Page, application: Application
) -> None:
    await signed_in.evaluate("window.neverReloaded = true")
    await signed_in.context.set_offline(True)
    await signed_in.evaluate("dispatchEvent(new Event('offline'))")
    connection, stale = signed_in.locator("#connection"), signed_in.locator("#stale")
    await expect(connection).to_have_attribute("data-state", "lost", timeout=10 * SOON)
    await expect(stale).to_contain_text(re.compile(r"\d+ s old"), timeout=6 * SOON)
    missed = await asyncio.to_thread(application.post, ticker="MISSED", action="buy")
    await signed_in.context.set_offline(False)
    await expect(connection).to_have_attribute("data-state", "live", timeout=4 * SOON)
    await expect(stale).to_be_hidden()
    await signed_in.wait_for_function(SETTLED, arg=[missed, 1], timeout=SOON)
    assert await signed_in.evaluate("window.neverReloaded")


async def test_a_tab_that_slept_is_whole_again_when_it_wakes(
    signed_in: Page, application: Application
) -> None:
    devtools = await signed_in.context.new_cdp_session(signed_in)
    await devtools.send("Page.setWebLifecycleState", {"state": "frozen"})
    missed = await asyncio.to_thread(application.post, ticker="MISSED", action="buy")
    application.stop()
    application.start()
    await devtools.send("Page.setWebLifecycleState", {"state": "active"})
    await signed_in.wait_for_function(SETTLED, arg=[missed, 1], timeout=4 * SOON)
    await expect(signed_in.locator("#connection")).to_have_attribute("data-state", "live")


async def test_what_one_does_is_left_alone_while_signals_arrive(
    signed_in: Page, application: Application
) -> None:
    """Focus in a row, a filter half typed, an open story: all survive the next signal."""
    first = application.post(ticker="FIRST", action="buy")
    await signed_in.goto("/admin/page/signals")
    typed = signed_in.get_by_label("Ticker")
    await typed.fill("NV")
    second = application.post(ticker="SECOND", action="buy")
    await expect(signed_in.locator(f"[id='signal-{second}']")).to_be_visible(timeout=SOON)
    await expect(typed).to_have_value("NV")
    await expect(typed).to_be_focused()
    link = signed_in.locator(f"[id='signal-{first}'] a")
    await link.press("Enter")
    story = signed_in.get_by_role("dialog")
    await expect(story).to_contain_text("FIRST")
    third = application.post(ticker="THIRD", action="buy")
    await expect(signed_in.locator(f"[id='signal-{third}']")).to_be_attached(timeout=SOON)
    await expect(story).to_be_visible()
    await signed_in.keyboard.press("Escape")
    await expect(link).to_be_focused()
