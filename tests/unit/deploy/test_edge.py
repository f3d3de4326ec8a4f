"""The steps of a swap as docker commands, and what a run that takes over does with what it finds."""

from __future__ import annotations

import base64
import io
import json
import os
import sys
import tarfile
from typing import TYPE_CHECKING, Any

import pytest

from deploy.onhost import edge, runs
from deploy.onhost.edge import APP, EDGE, STANDIN
from deploy.onhost.swap import Container, Server

if TYPE_CHECKING:
    from pathlib import Path

RUN, OTHER = "a" * 12, "b" * 12

# Keeps containers in a file, as far as the steps of a swap ask for them.
DOCKER = """#!{python}
import base64, json, sys
path = "{folder}/world.json"
world = json.load(open(path))
containers, words = world["containers"], sys.argv[1:]
world["said"].append(" ".join(words))
json.dump(world, open(path, "w"))
def missing(name):
    if name not in containers:
        sys.exit(f"Error: No such container: {{name}}")
if words[:2] == ["container", "inspect"]:
    missing(words[-1])
    one = containers[words[-1]]
    if "--format" in words:
        print(str(one["State"]["Status"] == "running").lower())
    else:
        print(json.dumps([one]))
elif words[0] == "cp":
    if world["archive"] is None:
        sys.exit("Error: no such file")
    sys.stdout.buffer.write(base64.b64decode(world["archive"]))
elif words[0] == "exec" and words[2:4] == ["edge", "traffic"]:
    world["archive"] = world["archives"][words[4]]
elif words[0] == "exec":
    sys.exit(world["drain"])
elif words[0] == "ps":
    for name, one in containers.items():
        if one["Config"]["Labels"].get("trading-signal-processor.run") == words[-1].rpartition("=")[2]:
            print(name)
elif words[0] == "stop":
    missing(words[-1])
    containers[words[-1]]["State"]["Status"] = "exited"
elif words[0] == "start":
    missing(words[-1])
    containers[words[-1]]["State"]["Status"] = "running"
elif words[0] == "rm":
    for name in words[2:]:
        containers.pop(name, None)
json.dump(world, open(path, "w"))
"""


def archive(traffic: str) -> str:
    """What `docker cp` writes of the edge's state.cfg, as base64."""
    text = f"global\n    setenv EDGE_TRAFFIC {traffic}\n    setenv EDGE_MAINTENANCE off\n".encode()
    file = io.BytesIO()
    with tarfile.open(fileobj=file, mode="w") as tar:
        member = tarfile.TarInfo("state.cfg")
        member.size = len(text)
        tar.addfile(member, io.BytesIO(text))
    return base64.b64encode(file.getvalue()).decode()


def container(
    status: str = "running",
    health: str = "healthy",
    *,
    run: str = "",
    restarts: int = 0,
    public: bool = False,
) -> dict[str, Any]:
    """A container as the engine describes it."""
    return {
        "Image": "sha256:new",
        "RestartCount": restarts,
        "State": {"Status": status, "Health": {"Status": health}},
        "HostConfig": {"PortBindings": {"80/tcp": [{"HostPort": "80"}]} if public else {}},
        "Config": {"Labels": {runs.LABEL: run} if run else {}},
    }


class World:
    """The containers of a host behind a `docker` on PATH."""

    def __init__(self, folder: Path) -> None:
        self._path = folder / "world.json"
        program = folder / "docker"
        program.write_text(DOCKER.format(python=sys.executable, folder=folder))
        program.chmod(0o755)

    def set(self, traffic: str | None, containers: dict[str, dict[str, Any]], *, drain: int = 0) -> None:
        names = {"app": APP, "standin": STANDIN, "edge": EDGE}
        archives = {name: archive(name) for name in ("app", "standin")}
        world = {
            "containers": {names[name]: one for name, one in containers.items()},
            "archives": archives,
            "archive": traffic and archives[traffic],
            "drain": drain,
            "said": [],
        }
        self._path.write_text(json.dumps(world))

    @property
    def changes(self) -> list[str]:
        """The commands that were given, but for those that only look."""
        said: list[str] = json.loads(self._path.read_text())["said"]
        looks = ("container inspect", "cp ", "ps ")
        return [line for line in said if not line.startswith(looks)]


@pytest.fixture
def world(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> World:
    monkeypatch.setenv("PATH", f"{tmp_path}{os.pathsep}{os.environ['PATH']}")
    return World(tmp_path)


TO_APP = [f"exec {EDGE} edge traffic app", f"exec {EDGE} edge drain standin 5"]
TO_STANDIN = [f"exec {EDGE} edge traffic standin", f"exec {EDGE} edge drain app 5"]
END = [f"stop {STANDIN}", f"rm --force {STANDIN}"]
START_APP = [f"start {APP}", f"update --restart=unless-stopped {APP}"]


@pytest.mark.parametrize(
    ("traffic", "containers", "commands"),
    [
        # cut off before the stand-in got requests
        ("app", {"app": container(), "standin": container(run=RUN), "edge": container()}, END),
        # after that, with the old app or the new one
        ("standin", {"app": container(), "standin": container(run=RUN), "edge": container()}, TO_APP + END),
        # between the app's end and its start
        (
            "standin",
            {"app": container("created"), "standin": container(run=RUN), "edge": container()},
            START_APP + TO_APP + END,
        ),
        # the app is gone, or sick: the stand-in serves on
        ("standin", {"standin": container(run=RUN), "edge": container()}, []),
        (
            "standin",
            {"app": container(health="unhealthy"), "standin": container(run=RUN), "edge": container()},
            [],
        ),
        # the app got its requests back, and died
        (
            "app",
            {"app": container(health="unhealthy"), "standin": container(run=RUN), "edge": container()},
            TO_STANDIN,
        ),
        # while the edge was to take the port over: before, and after
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
def test_a_run_that_takes_over_puts_the_swap_in_order(
    tmp_path: Path,
    world: World,
    traffic: str | None,
    containers: dict[str, dict[str, Any]],
    commands: list[str],
) -> None:
    world.set(traffic, containers)
    ended = runs.sweep(tmp_path, RUN)
    assert world.changes == commands
    assert bool(ended) is bool(commands)


def test_a_page_that_stays_connected_does_not_keep_the_stand_in(tmp_path: Path, world: World) -> None:
    found = {"app": container(), "standin": container(run=RUN), "edge": container()}
    world.set("standin", found, drain=3)
    runs.sweep(tmp_path, RUN)
    assert world.changes == TO_APP + END


@pytest.mark.parametrize(
    ("raw", "state"),
    [
        ({}, Container.ABSENT),
        (container("created"), Container.STOPPED),
        (container("exited"), Container.STOPPED),
        (container("dead"), Container.STOPPED),
        (container(), Container.HEALTHY),
        (container(health="unhealthy"), Container.SICK),
        (container(health="starting"), Container.STARTING),
        (container(health="starting", restarts=1), Container.SICK),  # it ended by itself
        (container("restarting"), Container.SICK),
        ({"State": {"Status": "running"}}, Container.HEALTHY),  # it has no health check
    ],
)
def test_what_a_container_is_good_for(raw: dict[str, Any], state: Container) -> None:
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
def test_whom_the_edge_sends_requests_to(text: str, server: Server) -> None:
    assert edge.traffic_in(text) is server
