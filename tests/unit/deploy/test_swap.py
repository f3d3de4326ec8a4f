"""The swap behind the edge: every initial state, and an interruption at every point."""

from __future__ import annotations

import itertools
from dataclasses import dataclass, field, replace
from typing import TYPE_CHECKING

import pytest

from deploy.onhost import swap
from deploy.onhost.swap import Container, Seen, Server, Step

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

ABSENT, STOPPED, STARTING, HEALTHY, SICK = Container
RUNNING = {STARTING, HEALTHY, SICK}
STEADY = Seen(app=HEALTHY, standin=ABSENT, edge=HEALTHY)
BEFORE_THE_EDGE = Seen(app=HEALTHY, standin=ABSENT, edge=ABSENT, is_direct=True)


# What each step changes, one thing after the other.
CHANGES: dict[Step, list[dict[str, object]]] = {
    Step.CREATE_STANDIN: [{"standin": STOPPED, "is_standin_current": True}, {"standin": STARTING}],
    Step.START_STANDIN: [{"standin": STARTING}],
    Step.END_STANDIN: [{"standin": STOPPED}, {"standin": ABSENT, "is_standin_current": False}],
    Step.START_APP: [{"app": STARTING}],
    Step.REMOVE_APP: [{"app": ABSENT, "is_direct": False}],
    Step.START_EDGE: [{"edge": STARTING}],
    Step.REMOVE_EDGE: [{"edge": ABSENT}],
    Step.MOVE_PORT: [  # the daemon starts the app, though it was stopped, until the edge runs
        {"traffic": Server.STANDIN},
        {"edge": STOPPED},
        {"app": STOPPED},
        {"edge": STARTING},
        {"edge": HEALTHY},
        {"app": ABSENT, "is_direct": False},
    ],
    Step.TO_STANDIN: [{"traffic": Server.STANDIN}],
    Step.TO_APP: [{"traffic": Server.APP}],
}


# As compose replaces the app, for any earlier container.
REPLACEMENT: list[dict[str, object]] = [
    {"app": STOPPED},
    {"app": ABSENT, "is_direct": False},
    {"app": STOPPED, "is_app_current": True},
    {"app": STARTING},
]


@dataclass
class World:
    """A host, changed by steps and power cuts. A container that starts becomes healthy if it is `good`."""

    seen: Seen
    is_app_good: bool = True
    is_standin_good: bool = True
    is_edge_good: bool = True
    restarts: set[str] = field(default_factory=set)  # stopped, and started by the daemon all the same

    def change(self, **members: object) -> None:
        self.seen = replace(self.seen, **members)  # type: ignore[arg-type]  # names and values of Seen

    def wait(self) -> None:
        """Let every starting container become healthy or unhealthy."""
        if self.seen.app is STARTING:
            self.change(app=HEALTHY if self.is_app_good else SICK)
        if self.seen.standin is STARTING:
            self.change(standin=HEALTHY if self.is_standin_good else SICK)
        if self.seen.edge is STARTING:
            self.change(edge=HEALTHY if self.is_edge_good else SICK)

    def cut_power(self) -> None:
        """Cut the power, then start the containers that the daemon starts after the boot."""
        for name in ("app", "standin", "edge"):
            if getattr(self.seen, name) in RUNNING or name in self.restarts:
                self.change(**{name: STARTING})
        self.wait()

    def carry_out(self, step: Step) -> Iterator[None]:
        """Carry out the step; yield in the middle, where it can be interrupted."""
        if step is Step.WAIT:
            self.wait()
            return
        changes = CHANGES[step]
        for number, change in enumerate(changes):
            if number:
                yield
            self.restarts = {"app"} if step is Step.MOVE_PORT and number in {1, 2} else set()
            self.change(**change)

    def follow(self, decide: Callable[[Seen], Step | None]) -> Iterator[Step]:
        """Carry out all steps; yield at each point where the host can be interrupted."""
        for _ in range(20):
            step = decide(self.seen)
            if step is None:
                return
            for _ in self.carry_out(step):
                yield step
            yield step
        raise AssertionError(f"it never ends: {self.seen}")


def every_state() -> Iterator[Seen]:
    """Yield every possible state; an app and an edge cannot both publish the port."""
    for app, standin, edge, traffic, is_direct in itertools.product(
        Container, Container, Container, Server, (False, True)
    ):
        if is_direct and (app is ABSENT or (app in RUNNING and edge in RUNNING)):
            continue
        yield Seen(app=app, standin=standin, edge=edge, traffic=traffic, is_direct=is_direct)


@pytest.mark.parametrize("is_app_good", [True, False])
@pytest.mark.parametrize("is_standin_good", [True, False])
@pytest.mark.parametrize("is_edge_good", [True, False])
def test_every_state_is_completed(*, is_app_good: bool, is_standin_good: bool, is_edge_good: bool) -> None:
    """It ends; the serving container is never removed; at the end one that can serve does, the app first."""
    for seen in every_state():
        world = World(seen, is_app_good, is_standin_good, is_edge_good)
        was_served = swap.is_served(seen)
        steps = []
        for step in world.follow(swap.settle):
            steps.append(step)
            assert swap.is_served(world.seen) or not was_served, (seen, steps)
            was_served = swap.is_served(world.seen)
        end = world.seen
        has_way = end.edge is HEALTHY or end.is_direct
        if has_way and HEALTHY in {end.app, end.standin}:
            assert swap.is_served(end), (seen, steps, end)
        if end.app is HEALTHY:
            assert end.standin is ABSENT, (seen, steps, end)
            assert end.traffic is Server.APP or end.edge is ABSENT, (seen, steps, end)
        if seen.app is not ABSENT and is_app_good and seen.app is not SICK and has_way:
            assert end.app is HEALTHY or end.standin is HEALTHY, (seen, steps, end)


def test_an_app_is_not_removed_for_an_edge_that_does_not_serve() -> None:
    """A run is interrupted while the port moves to the edge."""
    seen = Seen(STOPPED, standin=HEALTHY, edge=STARTING, traffic=Server.STANDIN, is_direct=True)
    for is_edge_good in (True, False):
        world = World(seen, is_edge_good=is_edge_good)
        steps = list(world.follow(swap.settle))
        assert (Step.REMOVE_APP in steps) is is_edge_good
        world.wait()
        assert swap.is_served(world.seen) or is_edge_good, (steps, world.seen)


def test_the_only_container_stays() -> None:
    """Also an unhealthy one: the database may be unavailable."""
    for seen in every_state():
        world = World(seen, is_app_good=False, is_standin_good=False)
        for _ in world.follow(swap.settle):
            pass
        if seen.edge is not ABSENT and (seen.app, seen.standin) != (ABSENT, ABSENT):
            assert {world.seen.app, world.seen.standin} - {ABSENT, STOPPED}, (seen, world.seen)


def flow(world: World) -> Iterator[Step | None]:
    """Yield the steps of a flow with a new version, None while the app is replaced. Raises StandinError."""
    yield from world.follow(swap.cover)
    for change in REPLACEMENT[2 * (world.seen.app is ABSENT) :]:
        world.change(**change)
        yield None
    world.wait()
    if world.seen.app is HEALTHY:
        yield from world.follow(swap.give_back)


@pytest.mark.parametrize(
    ("app", "standin", "traffic", "step"),
    [
        (HEALTHY, HEALTHY, Server.STANDIN, Step.TO_APP),
        (STARTING, HEALTHY, Server.STANDIN, Step.TO_APP),
        (HEALTHY, HEALTHY, Server.APP, Step.END_STANDIN),
        (ABSENT, HEALTHY, Server.STANDIN, None),
        (SICK, HEALTHY, Server.STANDIN, None),
        (STOPPED, HEALTHY, Server.APP, Step.TO_STANDIN),
        (SICK, SICK, Server.STANDIN, Step.TO_APP),
        (HEALTHY, ABSENT, Server.APP, None),
    ],
)
def test_only_an_app_that_serves_gets_its_requests_back(
    app: Container, standin: Container, traffic: Server, step: Step | None
) -> None:
    assert swap.give_back(Seen(app=app, standin=standin, edge=HEALTHY, traffic=traffic)) is step


@pytest.mark.parametrize("start", [STEADY, BEFORE_THE_EDGE], ids=["with an edge", "before the edge"])
def test_the_steps_of_a_swap(start: Seen) -> None:
    world = World(start)
    steps = [step for step, _ in itertools.groupby(flow(world))]
    assert steps == [
        Step.CREATE_STANDIN,
        Step.WAIT,
        Step.MOVE_PORT if start.is_direct else Step.TO_STANDIN,
        None,
        Step.TO_APP,
        Step.END_STANDIN,
    ]
    assert world.seen == replace(STEADY, is_app_current=True)


@pytest.mark.parametrize("start", [STEADY, BEFORE_THE_EDGE], ids=["with an edge", "before the edge"])
@pytest.mark.parametrize("is_new_good", [True, False], ids=["good", "bad"])
def test_after_a_power_cut_at_any_point_something_serves_without_help(
    start: Seen, *, is_new_good: bool
) -> None:
    """The next run completes the swap, and at each moment something serves."""
    points = 0
    for point in itertools.count(1):
        world = World(start)
        for passed, reached in enumerate(flow(world), 1):
            step = reached
            world.is_app_good = is_new_good or not world.seen.is_app_current
            if passed == point:
                break
        else:
            break
        points += 1
        world.cut_power()
        assert swap.is_served(world.seen), (step, point, world.seen)
        for later in world.follow(swap.settle):
            assert swap.is_served(world.seen), (step, later, world.seen)
        if is_new_good and world.seen.app is not ABSENT:
            assert (world.seen.app, world.seen.standin) == (HEALTHY, ABSENT), (step, world.seen)
    assert points >= 8


@pytest.mark.parametrize("start", [STEADY, BEFORE_THE_EDGE], ids=["with an edge", "before the edge"])
def test_after_a_run_that_ends_at_any_point_something_serves(start: Seen) -> None:
    """Without a power cut: only a step that moves the port has a moment without service."""
    world = World(start)
    for step in flow(world):
        if step is not Step.MOVE_PORT:
            assert swap.is_served(world.seen), step


@pytest.mark.parametrize("start", [STEADY, BEFORE_THE_EDGE], ids=["with an edge", "before the edge"])
def test_an_unhealthy_stand_in_ends_the_flow_without_changes(start: Seen) -> None:
    world = World(start, is_standin_good=False)
    with pytest.raises(swap.StandinError):
        list(flow(world))
    assert (world.seen.app, world.seen.traffic, swap.is_served(world.seen)) == (HEALTHY, Server.APP, True)
    list(world.follow(swap.settle))
    assert world.seen == start


def test_a_new_app_that_fails_its_gate_leaves_the_stand_in_serving() -> None:
    world = World(STEADY)
    for _ in flow(world):
        world.is_app_good = not world.seen.is_app_current
    assert (world.seen.app, world.seen.standin, world.seen.traffic) == (SICK, HEALTHY, Server.STANDIN)
    assert swap.settle(world.seen) is None
    world.change(is_app_current=False)  # back to the previous version
    world.is_app_good = True
    list(flow(world))
    assert world.seen == replace(STEADY, is_app_current=True)


def test_another_stand_in_is_not_trusted() -> None:
    """A dead run's stand-in may be of another version."""
    seen = replace(STEADY, standin=HEALTHY)
    assert swap.cover(seen) is Step.END_STANDIN


@pytest.mark.parametrize("app", [ABSENT, STOPPED, STARTING, SICK])
@pytest.mark.parametrize("is_direct", [True, False])
def test_a_stand_in_that_is_healthy_serves_although_the_app_is_sick_by_now(
    app: Container, *, is_direct: bool
) -> None:
    edge = ABSENT if is_direct else HEALTHY
    seen = Seen(app, HEALTHY, edge, is_direct=is_direct, is_standin_current=True)
    assert swap.cover(seen) is (Step.MOVE_PORT if is_direct else Step.TO_STANDIN)
    assert swap.cover(replace(seen, is_standin_current=False)) is None


@pytest.mark.parametrize("app", [ABSENT, STOPPED, STARTING, SICK])
def test_where_nothing_serves_no_stand_in_is_started(app: Container) -> None:
    """A stand-in could not become healthy either where the database is away, and would cost the time."""
    assert swap.cover(replace(STEADY, app=app)) is None
