"""The real application as a process of its own, and Chromium in front of it."""

from __future__ import annotations

import contextlib
import json
import os
import signal
import subprocess
import sys
import threading
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any
from urllib.request import Request, urlopen

import pytest
import pytest_asyncio
from playwright.async_api import async_playwright, expect

from tests.hosts.ports import free_port

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Iterator

    from playwright.async_api import Browser, Page

HERE = Path(__file__).resolve().parent
CHECKOUT = HERE.parent.parent
ADMIN_TOKEN = "admin-token-of-the-tests"
STARTED = "Uvicorn running on"
TOP_N = ("NVDA", "AAPL")
CHROMIUM_FLAGS = [
    "--no-sandbox",
    "--disable-gpu",
    "--disable-quic",
    "--no-first-run",
    "--disable-background-networking",
    "--disable-component-update",
    "--disable-sync",
]

# The page shows a change within half a second. A machine on which another worker builds images is slower.
expect.set_options(timeout=20_000)


@dataclass
class Application:
    """`python -m app serve` on a free loopback port, in paper, with a fixed Top-N."""

    environment: dict[str, str]
    port: int
    process: subprocess.Popen[str] | None = field(default=None)

    @property
    def url(self) -> str:
        """Return its base URL."""
        return f"http://127.0.0.1:{self.port}"

    @property
    def database_url(self) -> str:
        """Return the URL of its database."""
        return self.environment["DATABASE_URL"]

    def start(self) -> None:
        """Start it and return when it listens."""
        command = [sys.executable, "-m", "app", "serve"]
        self.process = subprocess.Popen(
            command,
            cwd=CHECKOUT,
            env=self.environment,
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            text=True,
        )
        log = self.process.stdout
        assert log is not None
        said: list[str] = []
        for line in log:
            said.append(line)
            if STARTED in line:
                break
        else:
            pytest.fail("the application did not start:\n" + "".join(said))
        threading.Thread(target=lambda: list(log), daemon=True).start()  # a full pipe would stop it

    def stop(self) -> None:
        """End it as `docker stop` does."""
        if self.process is not None:
            self.process.terminate()
            assert (
                self.process.wait(timeout=15) == -signal.SIGTERM
            )  # uvicorn ends in order, then by the signal
            self.process = None

    def post(self, **fields: Any) -> str:
        """Post a signal as a trader's alert, and return its id."""
        request = Request(f"{self.url}/webhook/in", json.dumps(fields).encode(), method="POST")  # noqa: S310  # loopback
        with urlopen(request, timeout=10) as answer:  # noqa: S310  # loopback
            assert answer.status == 202
            return str(json.load(answer)["signal_id"])


@contextlib.contextmanager
def serving(database_url: str, folder: Path, **environment: str) -> Iterator[Application]:
    """Run an application whose configuration files and `data/` are in `folder`."""
    port = free_port()
    running = Application(
        {
            "PATH": os.environ["PATH"],
            "DATABASE_URL": database_url,
            "ADMIN_TOKEN": ADMIN_TOKEN,
            "CONFIG_DIR": str(folder),
            "DATA_DIR": str(folder / "data"),
            "SERVER_PORT": str(port),
            "PROMETHEUS_PORT": str(free_port()),
            **environment,
        },
        port,
    )
    running.start()
    yield running
    running.stop()


def choose(folder: Path, *tickers: str) -> None:
    """Make a fixed list the active strategy's source."""
    strategy = {"name": "test", "url": "list:" + ",".join(tickers)}
    document = {"active": "test", "strategies": [strategy]}
    (folder / "finviz_config.json").write_text(json.dumps(document), "utf-8")


@pytest.fixture
def application(database_url: str, tmp_path: Path) -> Iterator[Application]:
    """Run one application for the test, in paper."""
    choose(tmp_path, *TOP_N)
    with serving(database_url, tmp_path) as running:
        yield running


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """Run these tests in one event loop: a browser that tests share belongs to the loop that started it."""
    one_loop = pytest.mark.asyncio(loop_scope="session")
    for item in items:
        if item.path.is_relative_to(HERE) and pytest_asyncio.is_async_test(item):
            item.add_marker(one_loop, append=False)


@pytest_asyncio.fixture(scope="module", loop_scope="session")
async def browser(chromium_path: str) -> AsyncIterator[Browser]:
    """Start the system's Chromium, headless, for the tests of a file; each has a profile of its own."""
    async with async_playwright() as playwright:
        launched = await playwright.chromium.launch(executable_path=chromium_path, args=CHROMIUM_FLAGS)
        yield launched
        await launched.close()


@pytest_asyncio.fixture(loop_scope="session")
async def page(browser: Browser, application: Application) -> AsyncIterator[Page]:
    """Open a page of a fresh browser profile; requests to other hosts and console errors fail the test."""
    context = await browser.new_context(base_url=application.url)
    opened = await context.new_page()
    complaints: list[str] = []
    opened.on("pageerror", lambda error: complaints.append(str(error)))
    opened.on(
        "console",
        lambda message: (
            complaints.append(message.text) if "Content Security Policy" in message.text else None
        ),
    )
    opened.on(
        "request",
        lambda request: (
            complaints.append(request.url) if not request.url.startswith(application.url) else None
        ),
    )
    yield opened
    await context.close()
    assert complaints == []


@pytest_asyncio.fixture(loop_scope="session")
async def signed_in(page: Page) -> Page:
    """Sign in, and wait until the page is live."""
    await page.goto("/admin")
    await page.get_by_label("Admin token").fill(ADMIN_TOKEN)
    await page.get_by_role("button", name="Sign in").click()
    await page.locator("#connection[data-state=live]").wait_for()
    return page
