"""The admin page in the system's Chromium, and how much memory it holds."""

from __future__ import annotations

import contextlib
import shutil
from ctypes.util import find_library
from typing import TYPE_CHECKING

from playwright.sync_api import sync_playwright

from benchmarks.application import ADMIN_TOKEN
from tests.hosts.images import install_packages

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

    from benchmarks.application import Application


@contextlib.contextmanager
def open_page(application: Application) -> Iterator[Callable[[], float]]:
    """Sign in and keep the page live; yield a function that returns its heap in MB after a collection."""
    with sync_playwright() as playwright:
        browser = playwright.chromium.launch(
            executable_path=_chromium(), args=["--no-sandbox", "--disable-gpu"]
        )
        page = browser.new_page(base_url=application.url)
        page.goto("/admin")
        page.get_by_label("Admin token").fill(ADMIN_TOKEN)
        page.get_by_role("button", name="Sign in").click()
        page.locator("#connection[data-state=live]").wait_for()
        session = page.context.new_cdp_session(page)

        def heap() -> float:
            session.send("HeapProfiler.collectGarbage")
            used: int = session.send("Runtime.getHeapUsage")["usedSize"]
            return used / 1e6

        yield heap
        browser.close()


def _chromium() -> str:
    found = shutil.which("chromium")
    if found is None or find_library("atomic") is None:
        install_packages("chromium", "libatomic1")
        found = shutil.which("chromium")
    if found is None:
        raise RuntimeError("the package chromium brought no program of that name")
    return found
