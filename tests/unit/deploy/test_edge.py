"""The steps of a swap as docker commands, and how a run that takes over completes a swap."""

from __future__ import annotations

import uuid
from typing import TYPE_CHECKING, Any

import pytest

from deploy.onhost import edge, runs
from deploy.onhost.edge import APP, EDGE, STANDIN
from deploy.onhost.swap import Container, Server
from tests.unit.engine import World

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path

# Processes with the mark of a run are ended: those of another test run are not.
RUN, OTHER = uuid.uuid4().hex[:12], "b" * 12


def container(
    status: str = "running",
    health: str = "healthy",
    *,
    run: str = "",
    restarts: int = 0,
    public: bool = False,
) -> dict[str, Any]:
    """Return a container as the engine describes it."""
    return {
        "Id": "",
        "Image": "sha256:new",
        "RestartCount": restarts,
        "State": {"Status": status, "Running": status == "running", "Health": {"Status": health}},
        "HostConfig": {"PortBindings": {"80/tcp": [{"HostPort": "80"}]} if public else {}},
        "Config": {"Labels": {runs.LABEL: run} if run else {}},
    }


@pytest.fixture
def world(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> World:
    """Return a simulated engine."""
    made = World(tmp_path)
    monkeypatch.setattr("subprocess.run", made.run)
    return made


NAMES = {"app": APP, "standin": STANDIN, "edge": EDGE}


def named(containers: dict[str, dict[str, Any]]) -> dict[str, dict[str, Any]]:
    """Return the containers by name, each with its own id."""
    return {NAMES[name]: {**one, "Id": name} for name, one in containers.items()}


TO_APP = [f"exec {EDGE} edge traffic app", f"exec {EDGE} edge drain standin 5"]
TO_STANDIN = [f"exec {EDGE} edge traffic standin", f"exec {EDGE} edge drain app 5"]
END = [f"stop {STANDIN}", f"rm --force {STANDIN}"]
START_APP = [f"start {APP}", f"update --restart=unless-stopped {APP}"]


@pytest.mark.parametrize(
    ("traffic", "containers", "commands"),
    [
        # interrupted before the stand-in got requests
        ("app", {"app": container(), "standin": container(run=RUN), "edge": container()}, END),
        # after that, with the old app or the new one
        ("standin", {"app": container(), "standin": container(run=RUN), "edge": container()}, TO_APP + END),
        # between the app's end and its start
        (
            "standin",
            {"app": container("created"), "standin": container(run=RUN), "edge": container()},
            START_APP + TO_APP + END,
        ),
        # the app is missing or unhealthy: the stand-in continues to serve
        ("standin", {"standin": container(run=RUN), "edge": container()}, []),
        (
            "standin",
            {"app": container(health="unhealthy"), "standin": container(run=RUN), "edge": container()},
            [],
        ),
        # the app got its requests back, and ended
        (
            "app",
            {"app": container(health="unhealthy"), "standin": container(run=RUN), "edge": container()},
            TO_STANDIN,
        ),
        # while the port moved to the edge: before, and after
        (
            "standin",
            {"app": container(public=True), "standin": container(run=RUN), "edge": container("created")},
            [f"rm --force {EDGE}", *END],
        ),
        (
            "standin",
            {"app": container("exited", public=True), "standin": container(run=RUN), "edge": container()},
            [f"rm --force {APP}"],
        ),
        (None, {"app": container(public=True), "standin": container(run=RUN)}, END),
        # a stand-in of another run is its own
        ("standin", {"app": container(), "standin": container(run=OTHER), "edge": container()}, []),
    ],
)
def test_a_run_that_takes_over_completes_the_swap(
    tmp_path: Path,
    world: World,
    traffic: str | None,
    containers: dict[str, dict[str, Any]],
    commands: list[str],
) -> None:
    world.set(named(containers), traffic=traffic)
    ended = runs.sweep(tmp_path, RUN)
    assert world["said"] == commands
    assert bool(ended) is bool(commands)


def test_a_connected_page_does_not_prevent_the_removal_of_the_stand_in(tmp_path: Path, world: World) -> None:
    found = {"app": container(), "standin": container(run=RUN), "edge": container()}
    world.set(named(found), traffic="standin", connected=True)
    runs.sweep(tmp_path, RUN)
    assert world["said"] == TO_APP + END


@pytest.mark.parametrize(
    ("raw", "state"),
    [
        ({}, Container.ABSENT),
        (container("created"), Container.STOPPED),
        (container("exited"), Container.STOPPED),
        (container("dead"), Container.ABSENT),  # it can only be removed
        (container("removing"), Container.ABSENT),
        (container(), Container.HEALTHY),
        (container(health="unhealthy"), Container.SICK),
        (container(health="starting"), Container.STARTING),
        (container(health="starting", restarts=1), Container.SICK),  # it ended by itself
        (container("restarting"), Container.SICK),
        ({"State": {"Status": "running"}}, Container.HEALTHY),  # it has no health check
    ],
)
def test_the_health_of_a_container(raw: dict[str, Any], state: Container) -> None:
    assert edge.state_of(raw) is state


@pytest.mark.parametrize(
    ("text", "server"),
    [
        ("global\n    setenv EDGE_TRAFFIC standin\n", Server.STANDIN),
        ("global\n    setenv EDGE_TRAFFIC app\n", Server.APP),
        ("global\n    setenv EDGE_TRAFFIC standi", Server.APP),
        ("", Server.APP),
    ],
)
def test_which_server_the_edge_sends_requests_to(text: str, server: Server) -> None:
    assert edge.traffic_in(text) is server


@pytest.mark.parametrize("look", [lambda: edge.inspect(APP), lambda: edge.stored_traffic(EDGE)])
def test_an_unavailable_engine_does_not_count_as_an_absent_container(
    world: World, look: Callable[[], object]
) -> None:
    world.set(silent=True)
    with pytest.raises(edge.EdgeError, match="Cannot connect to the Docker daemon"):
        look()
    world.set()
    assert look() in ({}, Server.APP)


def test_a_run_that_takes_over_removes_nothing_where_the_engine_does_not_answer(
    tmp_path: Path, world: World
) -> None:
    found = named({"app": container(run=RUN)})
    world.set({runs.successor(APP, RUN): found[APP], **named({"app": container("exited")})}, silent=True)
    runs.sweep(tmp_path, RUN)
    assert APP in world["containers"]


@pytest.mark.parametrize(("hung", "kept"), [([], "next"), (["sha256:new"], "edge")])
def test_a_new_edge_that_does_not_serve_is_removed_after_an_interrupted_run(
    tmp_path: Path, world: World, monkeypatch: pytest.MonkeyPatch, hung: list[str], kept: str
) -> None:
    real = edge.why_not_serving
    monkeypatch.setattr(edge, "why_not_serving", lambda name: real(name, 0))
    new = runs.successor(EDGE, RUN)
    old = {**container("exited"), "Image": "sha256:old", "Id": "edge"}
    world.set({EDGE: old, new: {**container(), "Id": "next"}, **named({"app": container()})}, hung=hung)
    runs.sweep(tmp_path, RUN)
    assert world["containers"].keys() == {EDGE, APP}
    assert (world["containers"][EDGE]["Id"], set(world.running)) == (kept, {EDGE, APP})
