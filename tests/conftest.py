"""Fixtures that every kind of test shares: an engine, a database, a browser, hosts with the stack on them."""

from __future__ import annotations

import contextlib
import os
import shutil
import signal
from ctypes.util import find_library
from pathlib import Path
from typing import TYPE_CHECKING

import pytest
from hypothesis import HealthCheck, settings

from tests.hosts.checkout import source_archive
from tests.hosts.docker import CommandFailedError, has_image
from tests.hosts.edge import unpack_haproxy
from tests.hosts.engine import Engine
from tests.hosts.images import install_packages
from tests.hosts.postgres import TestServer
from tests.hosts.ready import FirstDeployment, deploy_from_nothing, image_name, start_ready
from tests.hosts.sharing import one_at_a_time
from tests.hosts.stack import Stack

if TYPE_CHECKING:
    from collections.abc import Iterator

CHECKOUT = Path(__file__).resolve().parent.parent

# The duration of an example depends on the machine's load, not on the code.
settings.register_profile("any machine", deadline=None, suppress_health_check=[HealthCheck.too_slow])
settings.load_profile("any machine")

MAKING_READY = one_at_a_time("ready-image")

# Fast before slow, so that a small mistake does not show after ten minutes.
KINDS = ("unit", "controller", "api", "browser", "molecule", "flows", "chaos", "fleet", "faults")

# Files of these kinds keep a worker for minutes. The longest begin first: at the end all wait for the last.
ON_HOSTS = ("molecule", "flows", "chaos")
MINUTES = 5  # of a file without the mark `minutes`

# A test that hangs fails, and does not keep a worker from the others: far beyond what any needs.
LONGEST_SECONDS = dict.fromkeys(KINDS, 1800) | dict.fromkeys(("unit", "controller", "api", "browser"), 600)


class FailuresAtOnce:
    """Names each failed test when it fails: a run that somebody ends has no summary."""

    def __init__(self, config: pytest.Config) -> None:
        self._config = config

    def pytest_runtest_logreport(self, report: pytest.TestReport) -> None:
        """Print the name of a test that failed and the line of its error."""
        reporter = self._config.pluginmanager.get_plugin("terminalreporter")
        if report.failed and reporter is not None:
            crash = getattr(report.longrepr, "reprcrash", None)
            message = (crash.message if crash else str(report.longrepr)).partition("\n")[0]
            reporter.write_line(f"\nfailed in {report.when}: {report.nodeid}: {message}"[:300])


def pytest_configure(config: pytest.Config) -> None:
    """Let signals reach the programs under test, even where this run is to survive them.

    A run in the background, or under `nohup`, ignores some, and programs inherit that. They do not inherit a
    handler: with one that does nothing the run survives, and what it starts has the signal's usual effect.
    """
    if not hasattr(config, "workerinput"):
        config.pluginmanager.register(FailuresAtOnce(config))
    if signal.getsignal(signal.SIGINT) is signal.SIG_IGN:
        signal.signal(signal.SIGINT, signal.default_int_handler)
    if config.getoption("numprocesses", None) and not hasattr(config, "workerinput"):
        return  # the workers inherit what is ignored, and start the programs
    for number in (signal.SIGHUP, signal.SIGTERM, signal.SIGQUIT):
        if signal.getsignal(number) is signal.SIG_IGN:
            signal.signal(number, lambda *_: None)


def pytest_xdist_auto_num_workers() -> int:
    """Return one more than the number of cores: many tests wait. A second more, and browsers are too slow."""
    return (os.cpu_count() or 1) + 1


def pytest_collection_modifyitems(config: pytest.Config, items: list[pytest.Item]) -> None:
    """Run the kinds of tests in the order of KINDS, each within its time; the order within a file stays.

    In parallel runs one worker begins with the bare machine: all hosts come from the image it makes.
    """
    beside = hasattr(config, "workerinput")
    for item in items:
        item.add_marker(pytest.mark.timeout(LONGEST_SECONDS[kind_of(item)]))
    items.sort(
        key=lambda item: (
            not (beside and item.path.name == "test_bare_machine.py"),
            KINDS.index(ON_HOSTS[0] if kind_of(item) in ON_HOSTS else kind_of(item)),
            -minutes_of(item) if kind_of(item) in ON_HOSTS else 0,
            KINDS.index(kind_of(item)),
        )
    )


def minutes_of(item: pytest.Item) -> int:
    """Return how long the test's file takes, about, as it declares."""
    mark = item.get_closest_marker("minutes")
    return int(mark.args[0]) if mark else MINUTES


def kind_of(item: pytest.Item) -> str:
    """Return which of KINDS the test is."""
    return item.path.relative_to(CHECKOUT / "tests").parts[0]


@pytest.fixture(scope="session")
def engine() -> Iterator[Engine]:
    """Yield a Docker engine on this machine, installed and started if there is none."""
    with Engine(CHECKOUT) as running:
        yield running


@pytest.fixture(scope="session")
def database_server(request: pytest.FixtureRequest) -> Iterator[TestServer]:
    """Yield a PostgreSQL server: the one at TEST_DATABASE_URL, or a container of the product's image."""
    with contextlib.ExitStack() as stack:
        base_url = os.environ.get("TEST_DATABASE_URL")
        if base_url is None:
            running: Engine = request.getfixturevalue("engine")
            base_url = stack.enter_context(
                running.postgres("fsync=off", "max_wal_size=256MB", in_memory=True)
            )
        yield stack.enter_context(TestServer(base_url, CHECKOUT))


@pytest.fixture
def database_url(database_server: TestServer) -> Iterator[str]:
    """Yield the address of an empty, migrated database of this test (`postgresql://…`)."""
    name = database_server.create()
    yield database_server.url(name)
    database_server.drop(name)


@pytest.fixture(scope="session")
def chromium_path() -> str:
    """Return the system's Chromium; Debian's package is installed where there is none.

    With it comes the library that Playwright's driver needs and a small Debian does not have.
    """
    found = shutil.which("chromium")
    if found is None or find_library("atomic") is None:
        install_packages("chromium", "libatomic1")
        found = shutil.which("chromium")
    assert found, "the package chromium brought no program of that name"
    return found


@pytest.fixture(scope="session")
def haproxy(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Return a folder for PATH with Debian 13's `haproxy`; the engine's packages make apt know it."""
    try:
        return unpack_haproxy(tmp_path_factory.mktemp("haproxy"))
    except CommandFailedError:
        request.getfixturevalue("engine")
        return unpack_haproxy(tmp_path_factory.mktemp("haproxy"))


@pytest.fixture(scope="session")
def source() -> bytes:
    """Return the code under test as an archive that hosts clone."""
    return source_archive(CHECKOUT)


@pytest.fixture(scope="session")
def first_deployment(engine: Engine, source: bytes) -> FirstDeployment:  # noqa: ARG001 - hosts run on it
    """Deploy the stack on a bare machine."""
    with MAKING_READY:
        return deploy_from_nothing(source, image_name(CHECKOUT))


@pytest.fixture(scope="session")
def ready_image(engine: Engine, request: pytest.FixtureRequest) -> str:  # noqa: ARG001 - hosts run on it
    """Return the image of a host with a deployed stack; it is reused by later test runs."""
    image = image_name(CHECKOUT)
    with MAKING_READY:
        if not has_image(image):
            deployment: FirstDeployment = request.getfixturevalue("first_deployment")
            deployment.result.require()
    return image


@pytest.fixture(scope="module")
def stack(ready_image: str, source: bytes, request: pytest.FixtureRequest) -> Iterator[Stack]:
    """Yield a stack on its own host for the tests of one module, which restore its state."""
    purpose = request.module.__name__.rpartition(".")[2].removeprefix("test_").replace("_", "-")
    with start_ready(ready_image, source, purpose) as host:
        yield Stack(host)
