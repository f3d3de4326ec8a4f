"""The stages of a swap on a simulated engine: what serves after each, and what is left at the end."""

from __future__ import annotations

import os
import uuid
from typing import TYPE_CHECKING, Any

import pytest

from deploy.onhost import runs
from tests.unit.engine import Cut, World, public_port
from tests.unit.playbooks.modules import load

if TYPE_CHECKING:
    from pathlib import Path

APP, STANDIN, EDGE = "trading-signal-processor", "trading-signal-processor-standin", "trading-edge"
RUN = uuid.uuid4().hex[:12]  # processes with this mark are ended: those of another test run are not
PORT = public_port()
SERVES = {EDGE: [PORT], APP: ["8008"]}
STAGES = ("proven", "covered", "replaced", "returned", "edge")
IMAGES = {
    "app:old": "sha256:old",
    "app:new": "sha256:new",
    "edge:1": "sha256:edge1",
    "edge:2": "sha256:edge2",
}


def config(version: str = "new", *, edge: str = "1") -> dict[str, Any]:
    """Return the stack's definition; without `edge` that of an earlier version."""
    public = {"target": 8080 if edge else 80, "published": PORT}
    operations = {"target": 8008, "published": "8008"}
    services: dict[str, Any] = {
        APP: {
            "image": f"app:{version}",
            "container_name": APP,
            "ports": [operations] if edge else [public, operations],
        }
    }
    if edge:
        services["edge"] = {"image": f"edge:{edge}", "container_name": EDGE, "ports": [public]}
    return {"name": "stack", "services": services}


class Deployment:
    """Runs stages of the module on the simulated engine."""

    def __init__(self, folder: Path) -> None:
        self.world = World(folder)

    def run(self, state: str, *, replace: bool = False) -> dict[str, Any]:
        """Carry out one stage."""
        params = {
            "state": state,
            "checkout": "/srv",
            "files": ["/srv/docker-compose.yml"],
            "targets": {},
            "replace": replace,
            "dependencies": True,
        }
        return dict(load("app_swap").answer(params))

    def deploy(self, definition: dict[str, Any], *, replace: bool = False) -> dict[str, dict[str, Any]]:
        """Carry out all stages and return their results."""
        self.world.change(config=definition)
        # Only an adopted stack replaces the edge on demand.
        return {state: self.run(state, replace=replace and state != "edge") for state in STAGES}


@pytest.fixture
def deployment(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Deployment:
    """Create an engine with the images and no containers."""
    monkeypatch.setenv("PATH", f"{tmp_path}{os.pathsep}{os.environ['PATH']}")
    made = Deployment(tmp_path)
    monkeypatch.setattr("subprocess.run", made.world.run)
    made.world.set(images=IMAGES)
    return made


def versions(deployment: Deployment) -> dict[str, str]:
    """Return the images of the containers."""
    return {name: one["Config"]["Image"] for name, one in deployment.world["containers"].items()}


def test_a_first_deployment(deployment: Deployment) -> None:
    done = deployment.deploy(config())
    assert deployment.world.running == SERVES
    assert {state for state in STAGES if done[state]["changed"]} == {"replaced", "edge"}


def test_a_stack_that_was_stopped_in_a_swap_serves_again(deployment: Deployment) -> None:
    """The volume of the edge still sends the requests to the stand-in."""
    deployment.world.change(traffic="standin")
    deployment.deploy(config())
    assert (deployment.world.running, deployment.world["traffic"]) == (SERVES, "app")


def test_an_update_in_its_stages(deployment: Deployment) -> None:
    deployment.deploy(config("old"))
    deployment.world.change(config=config())
    seen = {}
    for state in STAGES:
        deployment.run(state)
        seen[state] = (
            set(deployment.world.running),
            deployment.world["traffic"],
            versions(deployment)[APP],
        )
    assert seen == {
        "proven": ({APP, EDGE, STANDIN}, "app", "app:old"),
        "covered": ({APP, EDGE, STANDIN}, "standin", "app:old"),
        "replaced": ({APP, EDGE, STANDIN}, "standin", "app:new"),
        "returned": ({APP, EDGE}, "app", "app:new"),
        "edge": ({APP, EDGE}, "app", "app:new"),
    }
    assert deployment.world["containers"].keys() == {APP, EDGE}


def test_the_stand_in_is_started_again_after_a_power_cut_and_carries_the_runs_id(
    deployment: Deployment, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("TRADING_SIGNAL_PROCESSOR_RUN", RUN)
    deployment.deploy(config("old"))
    deployment.world.change(config=config())
    deployment.run("proven")
    standin = deployment.world["containers"][STANDIN]
    assert standin["HostConfig"]["RestartPolicy"] == "unless-stopped"
    assert standin["Config"]["Labels"]["trading-signal-processor.run"] == RUN


def test_status_lists_a_stand_in_next_to_the_services(deployment: Deployment) -> None:
    """Status may run during a swap, or after an interrupted one."""
    deployment.deploy(config("old"))
    deployment.world.change(config=config())
    deployment.run("proven")
    raw = deployment.world["containers"]
    stack = load("module_utils.stack")
    services = {name: stack.container_facts(raw[name]) for name in (APP, EDGE)}
    assert [one["name"] for one in stack.summary(services, raw)] == [APP, EDGE, STANDIN]
    del raw[STANDIN]
    assert [one["name"] for one in stack.summary(services, raw)] == [APP, EDGE]


def test_where_nothing_changed_nothing_is_done(deployment: Deployment) -> None:
    deployment.deploy(config())
    before = deployment.world["containers"]
    done = deployment.deploy(config())
    assert not any(one["changed"] for one in done.values())
    assert deployment.world["containers"] == before


def test_an_app_in_line_is_replaced_on_demand(deployment: Deployment) -> None:
    deployment.deploy(config())
    before = deployment.world["containers"][APP]["Id"]
    done = deployment.deploy(config(), replace=True)
    assert deployment.world["containers"][APP]["Id"] != before
    assert (deployment.world.running, deployment.world["traffic"]) == (SERVES, "app")
    assert done["covered"]["is_covered"]


def test_a_stack_without_an_edge_gets_one(deployment: Deployment) -> None:
    """The stand-in is healthy before the port moves, and both containers exist until it has."""
    deployment.deploy(config("old", edge=""))
    assert deployment.world.running == {APP: sorted([PORT, "8008"])}
    deployment.world.change(config=config())
    deployment.run("proven")
    assert deployment.world.running == {APP: sorted([PORT, "8008"]), STANDIN: []}
    covered = deployment.run("covered")
    assert (covered["changed"], covered["is_covered"]) == (True, True)
    assert covered["gap_ms"] >= 0
    assert (deployment.world.running, deployment.world["traffic"]) == ({EDGE: [PORT], STANDIN: []}, "standin")
    said = [line for line in deployment.world["said"] if not line.startswith("compose")]
    moves = [
        f"update --restart=always {APP}",
        f"stop {APP}",
        f"start {EDGE}",
        f"exec {EDGE} edge show",
        f"rm --force {APP}",
    ]
    assert said[said.index(moves[0]) :] == moves
    for state in ("replaced", "returned", "edge"):
        deployment.run(state)
    assert (deployment.world.running, deployment.world["traffic"]) == (SERVES, "app")


def test_an_edge_that_cannot_start_leaves_the_app_with_its_port(deployment: Deployment) -> None:
    deployment.deploy(config("old", edge=""))
    deployment.world.change(config=config(), broken=[EDGE])
    deployment.run("proven")
    with pytest.raises(load("app_swap").Failure, match="cannot start trading-edge"):
        deployment.run("covered")
    assert deployment.world.running == {APP: sorted([PORT, "8008"]), STANDIN: []}
    assert deployment.world["containers"][APP]["HostConfig"]["RestartPolicy"] == "unless-stopped"


def test_both_errors_are_named_where_the_app_does_not_restart_either(deployment: Deployment) -> None:
    deployment.deploy(config("old", edge=""))
    deployment.world.change(config=config())
    deployment.run("proven")
    deployment.world.change(broken=[EDGE, APP])
    with pytest.raises(
        load("app_swap").Failure,
        match=f"cannot start {EDGE}.*does not start again either.*cannot start {APP}",
    ):
        deployment.run("covered")
    assert deployment.world["containers"][APP]["HostConfig"]["RestartPolicy"] == "always"


# What keeps a new edge from serving, by the engine's name for it, and the message.
NO_EDGE = {
    "unfit": "HAProxy cannot start",  # before anything is stopped for it
    "ending": "does not serve: docker exec failed: .* is not running",
    "hung": "does not serve: docker exec failed: edge: HAProxy does not answer",
}


@pytest.fixture
def impatient(monkeypatch: pytest.MonkeyPatch) -> None:
    """Probe an edge only once: these would not serve later either."""
    real = load("app_swap").edge.why_not_serving
    monkeypatch.setattr(load("app_swap").edge, "why_not_serving", lambda name, *_: real(name, 0))


@pytest.mark.usefixtures("impatient")
@pytest.mark.parametrize("how", NO_EDGE)
def test_a_first_edge_that_does_not_serve_leaves_the_app_with_its_port(
    deployment: Deployment, how: str
) -> None:
    """On a machine where a container may open 1,024 files HAProxy ends at once."""
    deployment.deploy(config("old", edge=""))
    deployment.world.change(config=config(), **{how: ["sha256:edge1"]})
    deployment.run("proven")
    with pytest.raises(load("app_swap").Failure, match=NO_EDGE[how]):
        deployment.run("covered")
    assert deployment.world.running == {APP: sorted([PORT, "8008"]), STANDIN: []}
    assert deployment.world["containers"][APP]["HostConfig"]["RestartPolicy"] == "unless-stopped"
    assert deployment.world.answer_clients() == 200


@pytest.mark.usefixtures("impatient")
@pytest.mark.parametrize("how", ["ending", "hung"])
def test_a_new_edge_that_does_not_serve_is_replaced_by_the_old_one(deployment: Deployment, how: str) -> None:
    deployment.deploy(config())
    deployment.world.change(config=config(edge="2"), **{how: ["sha256:edge2"]})
    with pytest.raises(load("app_swap").Failure, match=NO_EDGE[how]):
        deployment.run("edge")
    assert (deployment.world.running, versions(deployment)[EDGE]) == (SERVES, "edge:1")
    assert deployment.world["containers"][EDGE]["HostConfig"]["RestartPolicy"] == "unless-stopped"
    assert deployment.world.answer_clients() == 200


@pytest.mark.usefixtures("impatient")
def test_a_new_edge_that_answers_503_is_replaced_by_the_old_one_unless_maintenance_is_on(
    deployment: Deployment,
) -> None:
    deployment.deploy(config())
    containers = deployment.world["containers"]
    containers[APP]["State"]["Health"]["Status"] = "unhealthy"
    deployment.world.change(config=config(edge="2"), containers=containers)
    with pytest.raises(load("app_swap").Failure, match=f"port {PORT} answers 503"):
        deployment.run("edge")
    assert versions(deployment)[EDGE] == "edge:1"
    deployment.world.change(maintenance="on")
    deployment.run("edge")
    assert versions(deployment)[EDGE] == "edge:2"


@pytest.mark.parametrize("how", ["ending", "hung"])
@pytest.mark.usefixtures("impatient")
def test_the_next_flow_recreates_an_unhealthy_edge(deployment: Deployment, how: str) -> None:
    """In an update before requests go to the stand-in; in any other flow at the end."""
    for after in (config(), config("old")):
        deployment.deploy(config("old"))
        containers = deployment.world["containers"]
        edge = containers[EDGE]
        edge["State"] |= {"Status": "restarting"} if how == "ending" else {"Health": {"Status": "unhealthy"}}
        deployment.world.change(containers=containers)
        deployment.deploy(after)
        assert (deployment.world.running, deployment.world["traffic"]) == (SERVES, "app")
        assert deployment.world["containers"][EDGE]["Id"] != edge["Id"]
        assert deployment.world.answer_clients() == 200


@pytest.mark.parametrize("how", ["ending", "hung", "stopped"])
def test_an_edge_that_does_not_serve_is_left_for_a_version_without_one(
    deployment: Deployment, how: str
) -> None:
    deployment.deploy(config())
    containers = deployment.world["containers"]
    containers[EDGE]["State"] |= {
        "ending": {"Status": "restarting"},
        "hung": {"Health": {"Status": "unhealthy"}},
        "stopped": {"Status": "exited", "Running": False},
    }[how]
    deployment.world.change(
        containers=containers, hung=["sha256:edge1"] if how == "hung" else [], config=config("old", edge="")
    )
    deployment.run("proven")
    deployment.run("replaced")
    assert deployment.world.running == {APP: sorted([PORT, "8008"])}
    assert deployment.world["containers"].keys() == {APP}


def test_maintenance_ends_with_the_edge(deployment: Deployment) -> None:
    """A version without an edge cannot turn it off, and the volume keeps it until the next edge."""
    deployment.deploy(config())
    deployment.world.change(maintenance="on")
    done = deployment.deploy(config("old", edge=""))
    assert (done["replaced"]["ends_maintenance"], deployment.world["maintenance"]) == (True, "off")
    assert not deployment.deploy(config("new", edge=""))["replaced"]["ends_maintenance"]


def test_an_app_that_was_started_again_and_passed_its_gate_gets_its_requests_back(
    deployment: Deployment,
) -> None:
    """The engine's own health check may pass later."""
    deployment.deploy(config("old"))
    deployment.world.change(config=config())
    for state in ("proven", "covered", "replaced"):
        deployment.run(state)
    containers = deployment.world["containers"]
    containers[APP]["RestartCount"] = 1
    containers[APP]["State"]["Health"]["Status"] = "starting"
    deployment.world.change(containers=containers)
    deployment.run("returned")
    assert (deployment.world.running, deployment.world["traffic"]) == (SERVES, "app")


def test_an_app_that_is_unhealthy_after_its_gate_is_a_failure(deployment: Deployment) -> None:
    deployment.deploy(config("old"))
    deployment.world.change(config=config())
    for state in ("proven", "covered", "replaced"):
        deployment.run(state)
    containers = deployment.world["containers"]
    containers[APP]["State"]["Health"]["Status"] = "unhealthy"
    deployment.world.change(containers=containers)
    with pytest.raises(load("app_swap").Failure, match="The stand-in still serves"):
        deployment.run("returned")
    assert (set(deployment.world.running), deployment.world["traffic"]) == ({APP, EDGE, STANDIN}, "standin")


def test_an_app_that_gets_sick_once_its_stand_in_is_healthy_is_covered(deployment: Deployment) -> None:
    for before in (config("old"), config("old", edge="")):
        deployment.deploy(before)
        deployment.world.change(config=config())
        deployment.run("proven")
        containers = deployment.world["containers"]
        containers[APP]["State"]["Health"]["Status"] = "unhealthy"
        deployment.world.change(containers=containers)
        assert deployment.run("covered")["is_covered"]
        assert deployment.world.answer_clients() == 200
        for state in ("replaced", "returned", "edge"):
            deployment.run(state)
        assert deployment.world.running == SERVES
        deployment.deploy(config("old", edge=""))


def test_an_unavailable_engine_removes_no_container_from_the_facts(deployment: Deployment) -> None:
    """Otherwise an edge that is not described would be created again over the one that serves."""
    deployment.deploy(config())
    deployment.world.change(config=config("old"), silent=True)
    for state in STAGES:
        with pytest.raises(load("app_swap").Failure, match="Cannot connect to the Docker daemon"):
            deployment.run(state, replace=True)
    deployment.world.change(silent=False)
    assert deployment.world.running == SERVES


def test_the_port_moves_back_to_a_version_without_an_edge(deployment: Deployment) -> None:
    deployment.deploy(config())
    done = deployment.deploy(config("old", edge=""))
    assert deployment.world.running == {APP: sorted([PORT, "8008"])}
    assert deployment.world["containers"].keys() == {APP}
    assert {state for state in STAGES if done[state]["changed"]} == {"replaced"}


def test_an_unhealthy_stand_in_is_removed_and_nothing_else_is_changed(deployment: Deployment) -> None:
    deployment.deploy(config("old"))
    before = deployment.world["containers"]
    deployment.world.change(config=config(), sick=["sha256:new"])
    found = deployment.run("proven")
    assert (found["problem"], found["log"]) == ("HTTP 503", "its last words\n")
    assert deployment.world["containers"] == before


def test_a_new_app_that_fails_its_gate_is_replaced_by_the_old_one_while_the_stand_in_serves(
    deployment: Deployment,
) -> None:
    deployment.deploy(config("old"))
    deployment.world.change(config=config())
    for state in ("proven", "covered", "replaced"):
        deployment.run(state)
    deployment.world.change(config=config("old"))
    deployment.run("replaced", replace=True)
    assert (set(deployment.world.running), deployment.world["traffic"]) == ({APP, EDGE, STANDIN}, "standin")
    for state in ("returned", "edge"):
        deployment.run(state)
    assert (deployment.world.running, versions(deployment)[APP]) == (SERVES, "app:old")


def test_an_app_that_is_sick_and_its_successor_exist_until_one_of_them_runs(
    deployment: Deployment, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """No stand-in replaces an app that does not serve: after a power cut one of both starts.

    The run that takes over leaves one of them.
    """
    monkeypatch.setenv("TRADING_SIGNAL_PROCESSOR_RUN", RUN)
    for point in range(1, 100):
        deployment.world.set(images=IMAGES)
        deployment.deploy(config("old"))
        deployment.world.change(config=config(), sick=["sha256:old"], ticks=0, cut=point)
        try:
            deployment.run("replaced")
        except (Cut, load("app_swap").Failure):
            assert deployment.world["ticks"] == point
        else:
            break
        deployment.world.cut_power()
        assert ["8008"] in deployment.world.running.values(), point
        runs.sweep(tmp_path, RUN)
        assert deployment.world.running == SERVES, point
    assert 4 < point < 99
    assert (deployment.world.running, versions(deployment)[APP]) == (SERVES, "app:new")


@pytest.mark.parametrize("name", [APP, STANDIN, EDGE])
def test_a_container_that_the_engine_was_removing_blocks_nothing(deployment: Deployment, name: str) -> None:
    """After a power cut at that point such a container can neither be started nor replaced."""
    deployment.deploy(config("old"))
    if name == STANDIN:
        deployment.world.change(config=config())
        deployment.run("proven")
    containers = deployment.world["containers"]
    containers[name]["State"] = {"Status": "dead", "Running": False, "StartedAt": ""}
    deployment.world.change(containers=containers)
    deployment.deploy(config())
    assert (deployment.world.running, versions(deployment)[APP]) == (SERVES, "app:new")


def test_a_new_image_of_the_edge(deployment: Deployment) -> None:
    """The old one, though stopped, is started after a power cut until the new one runs."""
    deployment.deploy(config())
    done = deployment.deploy(config(edge="2"))
    assert {state for state in STAGES if done[state]["changed"]} == {"edge"}
    assert done["edge"]["gap_ms"] >= 0
    assert (deployment.world.running, versions(deployment)[EDGE]) == (SERVES, "edge:2")
    said = deployment.world["said"]
    first = next(number for number, line in enumerate(said) if line.startswith("update --restart=always"))
    assert [line.split()[0] for line in said[first:]] == [
        "update",
        "kill",
        "wait",
        "stop",
        "start",
        "exec",
        "rm",
        "rename",
    ]
    assert "--signal=USR1" in said[first + 1]


def test_an_adopted_edge_is_recreated(deployment: Deployment) -> None:
    """Only a new container changes the label that names its checkout."""
    deployment.deploy(config())
    before = deployment.world["containers"][EDGE]["Id"]
    assert deployment.run("edge", replace=True)["changed"]
    assert deployment.world["containers"][EDGE]["Id"] != before
    assert deployment.world.running == SERVES


def is_served(world: World) -> bool:
    """Return whether a request reaches the app's container: directly, or through the edge."""
    running = world.running
    if PORT in running.get(EDGE, ()):
        target = STANDIN if world["traffic"] == "standin" else APP
        return target in running
    return any(PORT in ports for ports in running.values())


SWAPS = {
    "an update": (config("old"), config()),
    "a first edge": (config("old", edge=""), config()),
    "a new edge": (config("old"), config(edge="2")),
    "back to a version without an edge": (config(), config("old", edge="")),
}


@pytest.mark.parametrize("name", SWAPS)
def test_after_a_power_cut_at_any_point_something_serves_without_help(
    deployment: Deployment, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, name: str
) -> None:
    """The run that takes over leaves only the app serving, or the stand-in where no app is left."""
    monkeypatch.setenv("TRADING_SIGNAL_PROCESSOR_RUN", RUN)
    before, after = SWAPS[name]
    for point in range(1, 100):
        deployment.world.set(images=IMAGES)
        deployment.deploy(before)
        deployment.world.change(ticks=0, cut=point)
        try:
            deployment.deploy(after)
        except (Cut, load("app_swap").Failure):
            assert deployment.world["ticks"] == point
        else:
            break
        deployment.world.cut_power()
        seen = deployment.world.running, deployment.world["traffic"]
        assert is_served(deployment.world), (point, seen)
        runs.sweep(tmp_path, RUN)
        assert is_served(deployment.world), (point, seen, deployment.world.running)
        assert APP in deployment.world.running or STANDIN in deployment.world.running, (point, seen)
        assert not (APP in deployment.world.running and STANDIN in deployment.world.running), (point, seen)
        deployment.deploy(after)
        has_edge = "edge" in after["services"]
        assert deployment.world.running == (SERVES if has_edge else {APP: sorted([PORT, "8008"])}), (
            point,
            seen,
        )
        assert not has_edge or deployment.world["traffic"] == "app", (point, seen)
    assert 8 < point < 99
