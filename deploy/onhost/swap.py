"""The swap of the app behind the edge: which step comes next, from what is seen on the host. Pure.

A swap passes these states. In each of them something serves, also after a power cut:

    settled     the edge sends to the app; there is no stand-in
    trying      the edge sends to the app; the stand-in, of the new version, is not proven yet
    covered     the edge sends to the stand-in; the app may be the old one, none, or the new one
    returned    the edge sends to the app, which is the new one; the stand-in ends

The app of a version without an edge publishes the port itself (`is_direct`). The edge takes the port over
when the stand-in is proven, and so begins in the state `covered`.

A flow asks `cover` for one step after the other, replaces the app, and asks `give_back` when the new one has
passed its gate. A run that finds a swap half-way calls `settle`. Each looks again after every step, so that
nothing has to be remembered.
"""

from __future__ import annotations

from dataclasses import dataclass, replace
from enum import Enum


class Container(Enum):
    """What a container is good for."""

    ABSENT = "absent"
    STOPPED = "stopped"  # also one that was made and never ran
    STARTING = "starting"
    HEALTHY = "healthy"
    SICK = "sick"  # it runs and its health check fails, or it ends again and again


class Server(Enum):
    """Whom the edge sends requests to; the words are those of the command `edge traffic`."""

    APP = "app"
    STANDIN = "standin"


class Step(Enum):
    """One change on the host. Each may be carried out again if it was cut off."""

    CREATE_STANDIN = "create the stand-in"
    START_STANDIN = "start the stand-in"
    END_STANDIN = "end the stand-in"  # its requests first
    START_APP = "start the app"
    REMOVE_APP = "remove the app"
    START_EDGE = "start the edge"
    REMOVE_EDGE = "remove the edge"
    MOVE_PORT = "move the port from the app to the edge"  # the edge sends to the stand-in from its start
    TO_STANDIN = "send requests to the stand-in"
    TO_APP = "send requests to the app"
    WAIT = "wait until a container is healthy or sick"


class StandinError(Exception):
    """The stand-in does not become healthy: nothing may be replaced."""


@dataclass(frozen=True)
class Seen:
    """The containers at one moment. `STARTING` is for one that may still become healthy."""

    app: Container
    standin: Container
    edge: Container
    traffic: Server = Server.APP  # what the edge has stored, also while it does not run
    is_direct: bool = False  # the app's container publishes the port itself
    is_app_current: bool = False  # made from the definition and the image that are wanted
    is_standin_current: bool = False


_RUNNING = frozenset({Container.STARTING, Container.HEALTHY, Container.SICK})


def is_served(seen: Seen) -> bool:
    """Whether requests reach a healthy container now."""
    if seen.is_direct and seen.app in _RUNNING:
        return seen.app is Container.HEALTHY
    if seen.edge is not Container.HEALTHY:
        return False
    return (seen.app if seen.traffic is Server.APP else seen.standin) is Container.HEALTHY


def settle(seen: Seen) -> Step | None:
    """Return the next step that puts a swap in order which nobody carries on; None if all is in order.

    The app's own container serves in the end if it can. What serves is not touched before another one does.
    """
    if seen.is_direct:
        return _settle_direct(seen)
    if seen.edge is Container.STOPPED:
        return Step.START_EDGE
    if seen.edge is Container.ABSENT:
        return _start_app(seen)
    return _settle_app(seen) if seen.traffic is Server.APP else _settle_standin(seen)


def _settle_direct(seen: Seen) -> Step | None:
    """The app is of a version without an edge, or was about to make way for one."""
    if seen.app in _RUNNING:
        if seen.edge is not Container.ABSENT:
            return Step.REMOVE_EDGE
        if seen.app is Container.STARTING:
            return Step.WAIT
        return Step.END_STANDIN if seen.standin is not Container.ABSENT else None
    if seen.edge in {Container.STARTING, Container.HEALTHY} and seen.traffic is Server.STANDIN:
        if Container.STARTING in {seen.edge, seen.standin}:
            return Step.WAIT
        if seen.standin is Container.HEALTHY:
            return Step.REMOVE_APP
    # An edge that does not serve makes way again, too.
    return Step.REMOVE_EDGE if seen.edge is not Container.ABSENT else Step.START_APP


def _start_app(seen: Seen) -> Step | None:
    """There is no edge, and the app publishes nothing: the containers of a stack that is not whole."""
    if seen.app is Container.STOPPED:
        return Step.START_APP
    return Step.END_STANDIN if seen.standin is not Container.ABSENT else None


def _settle_app(seen: Seen) -> Step | None:
    if seen.app is Container.ABSENT:
        return _settle_without_app(seen)
    if seen.app is not Container.HEALTHY:
        if seen.standin is Container.HEALTHY:
            return Step.TO_STANDIN
        if seen.app is Container.STOPPED:
            return Step.START_APP
        if Container.STARTING in {seen.app, seen.standin}:
            return Step.WAIT
    return Step.END_STANDIN if seen.standin is not Container.ABSENT else None


def _settle_standin(seen: Seen) -> Step | None:
    if seen.app is Container.ABSENT:
        return _settle_without_app(seen)
    if seen.app is Container.STOPPED:
        return Step.START_APP
    if seen.app is Container.STARTING:
        return Step.WAIT
    if seen.app is Container.SICK:
        if seen.standin is Container.HEALTHY:
            return None  # it serves on: the next flow replaces the app
        if seen.standin is Container.STARTING:
            return Step.WAIT
    return Step.TO_APP


def _settle_without_app(seen: Seen) -> Step | None:
    """Keep the stand-in until the next flow brings the app. A sick one may get healthy with its database."""
    if seen.standin is Container.STOPPED:
        return Step.START_STANDIN
    if seen.traffic is Server.APP and seen.standin in _RUNNING:
        return Step.TO_STANDIN
    return Step.TO_APP if seen.traffic is Server.STANDIN and seen.standin is Container.ABSENT else None


def cover(seen: Seen) -> Step | None:
    """Return the next step until the stand-in serves in the app's place; None when it does.

    A healthy stand-in of the version to come serves also if the app got sick meanwhile. Else there is nothing
    to cover where no healthy app serves.

    Raises:
        StandinError: it does not become healthy. Nothing that serves was touched.
    """
    has_edge = seen.edge in _RUNNING
    if seen.traffic is Server.STANDIN and has_edge and seen.standin is Container.HEALTHY:
        return None
    has_way = seen.is_direct or has_edge
    if seen.is_standin_current and seen.standin is Container.HEALTHY and has_way:
        return Step.MOVE_PORT if seen.is_direct else Step.TO_STANDIN
    # A sick edge is replaced before it is needed.
    if seen.app is not Container.HEALTHY or not is_served(
        replace(seen, edge=Container.HEALTHY) if has_edge else seen
    ):
        return None
    if seen.standin is Container.ABSENT:
        return Step.CREATE_STANDIN
    if not seen.is_standin_current:
        return Step.END_STANDIN
    if seen.standin is Container.STARTING:
        return Step.WAIT
    raise StandinError


def give_back(seen: Seen) -> Step | None:
    """Return the next step, once the app has passed its gate, until it serves and the stand-in is gone.

    Where there is no such app the run has failed, and a healthy stand-in serves on.
    """
    if seen.app not in {Container.STARTING, Container.HEALTHY} and seen.standin is Container.HEALTHY:
        return Step.TO_STANDIN if seen.traffic is Server.APP else None
    # An edge that does not run is given its choice when it is started.
    if seen.traffic is Server.STANDIN and seen.edge in _RUNNING:
        return Step.TO_APP
    return Step.END_STANDIN if seen.standin is not Container.ABSENT else None
