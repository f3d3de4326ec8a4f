"""`make faults`: a controller is suspended in an update, another one takes over, the first one resumes.

The first works over SSH, as a laptop does; the second runs on the host itself.
"""

from __future__ import annotations

import contextlib
import json
import time
from typing import IO, TYPE_CHECKING

import pytest

from tests.hosts.checkout import PROJECT, install
from tests.hosts.fleet import INVENTORY, Fleet
from tests.hosts.host import Host
from tests.hosts.ready import start_ready
from tests.hosts.stack import APP
from tests.hosts.upstream import Upstream

if TYPE_CHECKING:
    from collections.abc import Iterator

NAME = "one"
# The lock's age is measured by the host's clock: make its last heartbeat older than two minutes.
AGED = """
import json, pathlib
path = pathlib.Path(".run/lock")
holder = json.loads(path.read_text())
holder["seen"]["at"] -= 200
path.write_text(json.dumps(holder))
"""
HEARTBEAT_SECONDS = 10  # within this time a heartbeat ends that had reached the host before
# The first run's output when it is suspended, and whether the old app has ended by then.
PHASES = {
    "in the build": ("config_backup: Back up the configuration", False),
    "before the swap": ("compose: Start the stand-in", False),
    "between stop and start": ("compose: Send requests to the stand-in", True),
    "before the record": ("health: Ask the app for its health", False),
}
ENDINGS = "timeout 600 docker events --filter event=die --format '{{.Actor.Attributes.name}}'"


@pytest.fixture(scope="module")
def fleet(ready_image: str, source: bytes) -> Iterator[Fleet]:
    """Prepare a host with the stack, and the one that deploys to it."""
    with Host(ready_image, "laptop") as laptop, start_ready(ready_image, source, NAME) as host:
        install(laptop, source)
        fleet = Fleet(laptop, {NAME: host}, source)
        host.run(f"git -C {PROJECT} remote set-url origin git://{laptop.address}/source.git").require()
        yield fleet


def _read_until(lines: IO[str], wanted: str) -> str:
    """Read lines until one contains, or is, the text; return all of them."""
    seen = ""
    for line in lines:
        seen += line
        if line == wanted or (wanted[-1] != "\n" and wanted in line):
            return seen
    raise AssertionError(f"'{wanted.strip()}' never came:\n{seen}")


@contextlib.contextmanager
def suspended(controller: Host) -> Iterator[None]:
    """Stop every process of the run on this host; continue them at the end of the block."""
    controller.run("pkill -STOP -f '[a]nsible|[r]un.py'").require()
    try:
        yield
    finally:
        controller.run("pkill -CONT -f '[a]nsible|[r]un.py'").require()


@pytest.mark.parametrize("phase", PHASES)
def test_a_run_that_resumes_after_a_take_over_changes_nothing_more(fleet: Fleet, phase: str) -> None:
    """It ends 5 with the reason. One version serves, the record is right, no good version is marked bad."""
    stack = fleet.stacks[NAME]
    step, has_ended = PHASES[phase]
    commit = Upstream(fleet.controller).push({"app/news.txt": f"{phase}\n"})
    line = f"python3 run.py --quickupdate -i {INVENTORY} --limit {NAME}"
    with stack.host.spawn(ENDINGS) as endings, fleet.controller.spawn(line, folder=PROJECT) as asleep:
        assert endings.stdout is not None
        assert asleep.stdout is not None
        watcher = endings.stdout.readline().strip()
        seen = _read_until(asleep.stdout, step)
        if has_ended:
            _read_until(endings.stdout, f"{APP}\n")
        # All of it, as when the lid is closed; processes on the host continue.
        with suspended(fleet.controller):
            stack.host.run(f"kill {watcher}").require()
            time.sleep(HEARTBEAT_SECONDS)
            stack.host.write("/root/aged.py", AGED)
            stack.host.run("python3 /root/aged.py", folder=PROJECT).require()
            taken = stack.run_py("--quickupdate").require()
            assert "took over the lock of --quickupdate" in taken.output
            before = stack.containers()
            record = stack.host.read(f"{PROJECT}/.run/versions.json")
        seen += asleep.stdout.read()
    assert asleep.returncode == 5, seen
    assert "was taken over by --quickupdate" in seen
    assert (stack.containers(), stack.host.read(f"{PROJECT}/.run/versions.json")) == (before, record)
    assert stack.health()["version"] == commit[:12]
    found = json.loads(record)
    assert found["current"] == commit[:12]
    assert not [one for one in found["versions"] if one["state"] == "bad"]
    names = stack.host.run("docker ps --all --format '{{.Names}}'").require().stdout.split()
    assert sorted(names) == ["trading-db", "trading-edge", APP]
