"""`make faults`: containers that crash, and a machine that reboots, recover without help."""

from __future__ import annotations

import time
from dataclasses import asdict
from typing import TYPE_CHECKING

import pytest

from tests.faults.results import Line
from tests.hosts.probe import Probe
from tests.hosts.stack import APP, DATABASE, EDGE

if TYPE_CHECKING:
    from collections.abc import Callable

    from tests.hosts.host import Host
    from tests.hosts.stack import Stack

TRIES = 10
BACK_SECONDS = 30.0
GIVE_UP_SECONDS = 120.0
# The engine doubles its delay before each restart of a container that ran for less than this.
STEADY_SECONDS = 10
CONTAINERS = (APP, DATABASE, EDGE)


def _kill(container: str) -> Callable[[Host], None]:
    """End a container's process as a crash does: after `docker kill` the engine would not start it again."""

    def deed(host: Host) -> None:
        pid = host.run(f"docker inspect --format '{{{{.State.Pid}}}}' {container}").require().stdout
        host.run(f"kill -KILL {pid}").require()

    return deed


def _restart_daemon(host: Host) -> None:
    host.stop_engine()
    host.boot()


def _restart_containers(host: Host) -> None:
    host.run(f"docker restart {' '.join(CONTAINERS)}", timeout=300).require()


def _cut_power(host: Host) -> None:
    """Kill all processes of the host, and boot it."""
    host.run("pkill --signal KILL --inverse -x sleep")
    host.boot()


def _settle(stack: Stack) -> None:
    """Wait until all containers are healthy."""
    look = f"docker inspect --format '{{{{.State.Health.Status}}}}' {' '.join(CONTAINERS)}"
    stack.host.run(f'until [ "$({look} | sort -u)" = healthy ]; do sleep 0.2; done').require()


def _wait_for_steady(stack: Stack) -> None:
    """Wait until each repetition begins alike: the engine restarts every container without a delay."""
    _settle(stack)
    started = "docker inspect --format '{{.State.StartedAt}}' " + " ".join(CONTAINERS)
    ages = f"{started} | while read -r at; do echo $(($(date +%s) - $(date -d $at +%s))); done"
    stack.host.run(
        f'until [ "$({ages} | sort -n | head -1)" -gt {STEADY_SECONDS} ]; do sleep 0.2; done'
    ).require()


@pytest.mark.parametrize(
    ("what", "deed", "ends"),
    [
        ("the edge is killed", _kill(EDGE), (EDGE,)),
        ("the app is killed", _kill(APP), (APP,)),
        ("the database is killed", _kill(DATABASE), (DATABASE,)),
        ("the daemon is restarted", _restart_daemon, CONTAINERS),
        ("all containers are restarted", _restart_containers, CONTAINERS),
        ("the power is cut", _cut_power, CONTAINERS),
    ],
    ids=["edge", "app", "database", "daemon", "containers", "power"],
)
def test_port_80_answers_again(
    stack: Stack,
    record_property: Callable[[str, object], None],
    what: str,
    deed: Callable[[Host], None],
    ends: tuple[str, ...],
) -> None:
    """Within 30 s, every time."""
    longest = [_seconds_away(stack, deed, ends) for _ in range(TRIES)]
    late = [f"{seconds:.1f} s" for seconds in longest if seconds > BACK_SECONDS]
    record_property("line", asdict(Line("recovery", (what, str(TRIES), f"{max(longest):.1f}"), late)))
    assert not late, f"{what}: {longest}"


def _seconds_away(stack: Stack, deed: Callable[[Host], None], ends: tuple[str, ...]) -> float:
    """Return the longest time without an answer, from before the deed until the container runs again."""
    _wait_for_steady(stack)
    before = stack.containers()
    with Probe(stack.health_url) as probe:
        while not probe.answered:
            time.sleep(0.1)
        deed(stack.host)
        give_up = time.monotonic() + GIVE_UP_SECONDS
        while any(stack.containers().get(name, before[name]) == before[name] for name in ends):
            assert time.monotonic() < give_up, f"not running again: {stack.containers()}"
        _settle(stack)
        answered = probe.answered
        while probe.answered < answered + 5:
            assert time.monotonic() < give_up, "the port does not answer"
            time.sleep(0.1)
    return probe.longest_gap
