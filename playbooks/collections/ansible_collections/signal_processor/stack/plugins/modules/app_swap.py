"""Replace the app's container, or the edge's, stage by stage.

Behind the edge a stand-in serves meanwhile (`deploy/onhost/swap.py` decides the steps). Where a container is
replaced by one that takes over its port, `module_utils/successor.py` does that: a power cut at any moment
leaves one that the daemon starts.
"""

from __future__ import annotations

import os
from dataclasses import asdict, dataclass
from functools import cached_property
from typing import TYPE_CHECKING, Any

from ansible_collections.signal_processor.stack.plugins.module_utils import stack, successor
from ansible_collections.signal_processor.stack.plugins.module_utils.entry import Failure, Module
from ansible_collections.signal_processor.stack.plugins.module_utils.onhost import edge, leftovers, runs, swap
from ansible_collections.signal_processor.stack.plugins.module_utils.onhost.swap import (
    Container,
    Server,
    Step,
)
from ansible_collections.signal_processor.stack.plugins.module_utils.successor import (
    CREATE,
    LOG_LINES,
    insist,
    run,
    take_over,
)

if TYPE_CHECKING:
    from collections.abc import Callable

DOCUMENTATION = """
module: app_swap
short_description: One stage of the app's replacement by what is defined now
description:
  - C(state=proven) starts the stand-in, and waits until it is healthy; only where a healthy app is to be
    replaced. What is wrong with it is an answer, C(problem) with C(log); it is ended then.
  - C(state=covered) lets it serve in the app's place, as C(is_covered) says. A stack without an edge gets
    it by that; C(gap_ms) is how long nobody had the port.
  - C(state=replaced) replaces or starts the app. An edge that the definition does not have makes way for it;
    C(ends_maintenance) says whether maintenance was on.
  - C(state=returned) sends requests to the app again, and ends the stand-in.
  - C(state=edge) makes or replaces the edge where it is not as defined; C(gap_ms) as above.
  - If a new container cannot be started, or a new edge does not serve, the old one is started again, and the
    step fails.
options:
  state: {type: str, choices: [proven, covered, replaced, returned, edge], required: true}
  checkout: {type: path, required: true, description: The checkout whose lock the run must hold.}
  files: {type: list, elements: str, required: true, description: Compose files.}
  targets:
    type: dict
    default: {}
    description: C(stack.targets) of M(stack_facts), if it compared this definition with these images.
  replace: {type: bool, default: false, description: Replace the app (or the edge) even if it is in line.}
  dependencies: {type: bool, default: true, description: "Start what it depends on, too."}
"""

UP = ("up", "--detach", "--no-build", "--pull=never")
STEPS = 20  # more than any order of steps has
STAGES = ("proven", "covered", "replaced", "returned", "edge")
START_SECONDS = 15.0  # of an edge in nobody's place
ASK_HEALTH = (
    "exec 3<>/dev/tcp/127.0.0.1/80 && printf 'GET /health HTTP/1.0\\r\\nHost: localhost\\r\\n\\r\\n' >&3"
    " && head -n 1 <&3"
)
CHANGED = (" Created", " Recreated", " Started")


def problem_of(container: str) -> str:
    """Return why a container does not get healthy: how it ended, or what it answers to `/health`."""
    state = edge.inspect(container).get("State", {})
    if state.get("Status") != "running":
        return f"it ended by itself (exit code {state.get('ExitCode', 'unknown')})"
    answered = stack.docker("exec", container, "timeout", "10", "bash", "-c", ASK_HEALTH).split()
    return f"HTTP {answered[1]}" if len(answered) > 1 else "/health does not answer"


def compose_of(params: dict[str, Any]) -> list[str]:
    """Return `docker compose` with its files. Pure."""
    compose = ["docker", "compose", "--project-directory", params["checkout"]]
    return compose + [f"--file={file}" for file in params["files"]]


def compose_up(params: dict[str, Any]) -> bool:
    """Let compose start it; whether that changed anything. Raises Failure."""
    edge.remove_remains()
    options = ["--no-deps"] * (not params["dependencies"]) + ["--force-recreate"] * params["replace"]
    said = run([*compose_of(params), *UP, *options, edge.APP])
    # A container that was stopped on purpose had another policy meanwhile.
    insist(["docker", "update", "--restart=unless-stopped", edge.APP])
    return any(word in said for word in CHANGED)


def create_standin(params: dict[str, Any], wanted: edge.Wanted, run_id: str) -> None:
    """Start the stand-in; the daemon starts it again after a boot. Raises Failure."""
    edge.remove_remains()
    labels = [f"--label={runs.LABEL}={run_id}", f"--label={edge.DEFINITION}={wanted.definition}"]
    options = ["run", "--detach", "--no-deps", "-T", *labels, "--name", edge.STANDIN]
    run([*compose_of(params), *options, edge.APP])
    insist(["docker", "update", "--restart=unless-stopped", edge.STANDIN])


def choose(params: dict[str, Any], server: Server, run_id: str) -> None:
    """Say whom an edge that does not run sends requests to when it starts.

    Raises Failure, also if it could not start on this machine, by its configuration or the files it may open.
    """
    once = ["run", "--rm", "--no-deps", "-T", f"--label={runs.LABEL}={run_id}"]
    run([*compose_of(params), *once, edge.EDGE_SERVICE, "edge", "choose", server.value])


def move_port(params: dict[str, Any], run_id: str) -> int:
    """Let the edge, which is new, take the port over from the app; as `take_over`. Raises Failure."""
    choose(params, Server.STANDIN, run_id)
    run([*compose_of(params), *CREATE, "--no-deps", edge.EDGE_SERVICE])
    return take_over(edge.APP, edge.EDGE, edge.EDGE)


def bring_edge_in_line(swapping: Swap) -> dict[str, Any]:
    """Make or replace the edge where it is not as defined. Raises Failure."""
    params = swapping.params
    target = swapping.targets[edge.EDGE_SERVICE]
    now = edge.inspect(edge.EDGE)
    if not now or not now["State"]["Running"]:
        edge.remove_remains()
        # The volume may still say what was chosen when the stack was stopped in a swap.
        choose(params, Server.APP, swapping.run_id)
        run([*compose_of(params), *UP, "--no-deps", edge.EDGE_SERVICE])
        if why := edge.why_not_serving(edge.EDGE, START_SECONDS):
            raise Failure(f"The edge was started and does not serve: {why}")
        return {"changed": True}
    # One that is unhealthy, or ends again and again, is made anew, too.
    if not params["replace"] and not stack.difference(stack.container_facts(now), target):
        return {"changed": False}
    new = swapping.make_next(edge.EDGE_SERVICE, edge.EDGE)
    return {"changed": True, "gap_ms": take_over(now["Id"], new, edge.EDGE, replaces_edge=True)}


@dataclass
class Swap:
    """A swap of this run: what is wanted, and the steps towards it."""

    params: dict[str, Any]
    run_id: str
    gap_ms: int | None = None  # how long nobody had the port

    @cached_property
    def config(self) -> dict[str, Any]:
        """The stack's definition as compose resolves it; asked for only where it is needed."""
        return stack.resolved(self.params["checkout"], self.params["files"])

    @cached_property
    def targets(self) -> dict[str, dict[str, str]]:
        """By service, as `stack.wanted` has them."""
        return self.params["targets"] or stack.wanted(self.config, self.params["checkout"])

    @property
    def has_edge(self) -> bool:
        """Whether the definition has one: those of earlier versions have none."""
        return edge.EDGE_SERVICE in self.targets

    @property
    def wanted(self) -> edge.Wanted:
        """What the app's container is to be made from."""
        return edge.Wanted(**self.targets[edge.APP])

    def make_next(self, service: str, container: str) -> str:
        """Make the service's new container, which does not run yet; its name. Raises Failure."""
        return successor.make(
            self.config,
            service,
            container,
            definition=self.targets[service]["definition"],
            checkout=self.params["checkout"],
            files=self.params["files"],
            run_id=self.run_id,
        )

    def follow(
        self,
        decide: Callable[[swap.Seen], Step | None],
        *,
        until: frozenset[Step],
        has_passed_gate: bool = False,
    ) -> set[Step]:
        """Take the steps that are decided, but none of `until`; those that were taken. Raises Failure."""
        taken: set[Step] = set()
        seen = edge.look(self.wanted, has_passed_gate=has_passed_gate)
        for _ in range(STEPS):
            step = decide(seen)
            if step is None or step in until:
                return taken
            if step is Step.WAIT:
                seen = edge.wait(self.wanted)
                continue
            self._take(step)
            taken.add(step)
            seen = edge.look(self.wanted, has_passed_gate=has_passed_gate)
        raise Failure(f"The swap does not come to an end: {seen}")

    def _take(self, step: Step) -> None:
        if step is Step.CREATE_STANDIN:
            create_standin(self.params, self.wanted, self.run_id)
        elif step is Step.MOVE_PORT:
            self.gap_ms = move_port(self.params, self.run_id)
        else:
            edge.carry_out(step)

    def prove(self) -> dict[str, Any]:
        """Start the stand-in; an answer says what is wrong with it. Raises Failure."""
        try:
            self.follow(swap.cover, until=SWITCHES)
        except swap.StandinError:
            log = stack.log_lines(edge.STANDIN, LOG_LINES)
            found = {"changed": False, "problem": problem_of(edge.STANDIN), "log": log}
            edge.end(edge.STANDIN)
            return found
        return {"changed": False, "problem": ""}

    def cover(self) -> dict[str, Any]:
        """Let the stand-in serve; it changed something if the edge was made for that. Raises Failure."""
        self.replace_sick_edge()
        try:
            taken = self.follow(swap.cover, until=frozenset())
        except swap.StandinError as error:
            raise Failure("The stand-in was healthy, and is not any more: nothing was replaced") from error
        is_covered = edge.look(self.wanted).traffic is Server.STANDIN
        gap = {} if self.gap_ms is None else {"gap_ms": self.gap_ms}
        return {"changed": Step.MOVE_PORT in taken, "is_covered": is_covered, **gap}

    def give_back(self) -> bool:
        """Let the app serve, and end the stand-in; whether there was one. Raises Failure."""
        self.replace_sick_edge()
        taken = self.follow(swap.give_back, until=frozenset(), has_passed_gate=True)
        seen = edge.look(self.wanted, has_passed_gate=True)
        if seen.edge not in {Container.ABSENT, Container.STOPPED} and seen.traffic is Server.STANDIN:
            raise Failure(
                f"The stand-in still serves: the app passed its gate, and is {seen.app.value} by now. "
                f"Correct what its log shows, then deploy again"
            )
        return bool(taken)

    def replace_sick_edge(self) -> None:
        """Make an edge anew that takes no commands, before one is given to it. Raises Failure."""
        if edge.state_of(edge.inspect(edge.EDGE)) is Container.SICK:
            bring_edge_in_line(self)


SWITCHES = frozenset({Step.TO_STANDIN, Step.MOVE_PORT})


def replace_uncovered(swapping: Swap) -> bool:
    """Replace an app in whose place no stand-in serves: it is sick, or publishes the port. Raises Failure."""
    params = swapping.params
    old = edge.inspect(edge.APP)
    if not old or not old["State"]["Running"]:
        return compose_up(params)
    differs = stack.difference(stack.container_facts(old), asdict(swapping.wanted))
    if not params["replace"] and differs not in {"definition", "image"}:
        return compose_up(params)
    new = swapping.make_next(edge.APP, edge.APP)
    take_over(old["Id"], new, edge.APP)
    return True


def leave_edge(swapping: Swap) -> bool:
    """Let the app of a version without an edge take the port from the edge that is left. Raises Failure.

    Its operations port is the app's that runs: that ends before. The stand-in serves until the port moves. An
    edge that does not take commands is left all the same. Maintenance ends, since nothing could turn it off
    then; returns whether it was on.
    """
    new = swapping.make_next(edge.APP, edge.APP)
    is_covered = edge.state_of(edge.inspect(edge.STANDIN)) is Container.HEALTHY and is_sent_to_standin()
    if not is_covered and edge.inspect(edge.APP):
        insist(["docker", "update", "--restart=always", edge.APP])
    was_in_maintenance = edge.is_in_maintenance(stack.docker("exec", edge.EDGE, "edge", "show"))
    if was_in_maintenance:
        stack.docker("exec", edge.EDGE, "edge", "maintenance", "off")
    stack.docker("stop", edge.APP)
    try:
        take_over(edge.EDGE, new, new, replaces_edge=True)
    except Failure:
        stack.docker("start", edge.APP)
        if was_in_maintenance:
            stack.docker("exec", edge.EDGE, "edge", "maintenance", "on")
        raise
    stack.docker("rm", "--force", edge.APP)
    insist(["docker", "rename", new, edge.APP])
    insist(["docker", "update", "--restart=unless-stopped", edge.APP])
    return was_in_maintenance


def is_sent_to_standin() -> bool:
    """Send requests to the stand-in; whether the edge did that."""
    try:
        edge.send_to(Server.STANDIN)
    except edge.EdgeError:
        return False
    return True


def replaced(swapping: Swap) -> dict[str, Any]:
    """Replace or start the app; whether that changed anything. Raises Failure and EdgeError."""
    if swapping.has_edge:
        seen = edge.look(swapping.wanted)
        is_covered = seen.traffic is Server.STANDIN and seen.standin is Container.HEALTHY
        return {"changed": compose_up(swapping.params) if is_covered else replace_uncovered(swapping)}
    ends_maintenance = False
    if edge.inspect(edge.EDGE):
        ends_maintenance = leave_edge(swapping)
        changed = True
    else:
        changed = replace_uncovered(swapping)
    if edge.inspect(edge.STANDIN):
        edge.end(edge.STANDIN)
    return {"changed": changed, "ends_maintenance": ends_maintenance}


def carry_out(swapping: Swap) -> dict[str, Any]:
    """Carry out one stage. Raises Failure and EdgeError."""
    params, state = swapping.params, swapping.params["state"]
    if state == "replaced":
        return replaced(swapping)
    is_due = params["replace"] or not edge.look(swapping.wanted).is_app_current
    if state == "proven":
        return swapping.prove() if is_due else {"changed": False, "problem": ""}
    if not swapping.has_edge:
        return {"changed": False}
    if state == "covered" and is_due:
        return swapping.cover()
    if state == "returned":
        return {"changed": swapping.give_back()}
    return bring_edge_in_line(swapping) if state == "edge" else {"changed": False}


def answer(params: dict[str, Any]) -> dict[str, Any]:
    """Carry out one stage. Raises Failure."""
    run_id = os.environ.get(leftovers.MARK) or "by-hand"
    try:
        return carry_out(Swap(params, run_id))
    except edge.EdgeError as error:
        raise Failure(str(error)) from error


MODULE = Module(
    answer,
    {
        "checkout": {"type": "path", "required": True},
        "files": {"type": "list", "elements": "str", "required": True},
        "state": {"type": "str", "choices": list(STAGES), "required": True},
        "targets": {"type": "dict", "default": {}},
        "replace": {"type": "bool", "default": False},
        "dependencies": {"type": "bool", "default": True},
    },
    fenced=lambda params: str(params["checkout"]),
)


if __name__ == "__main__":
    MODULE.run()
