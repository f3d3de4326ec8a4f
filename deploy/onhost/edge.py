"""The containers of a swap behind the edge: what is seen of them, and how a step is carried out."""

from __future__ import annotations

import contextlib
import http.client
import io
import json
import re
import subprocess
import tarfile
import time
from dataclasses import dataclass, replace
from typing import Any

from . import swap
from .swap import Container, Seen, Server, Step

APP, STANDIN, EDGE = "trading-signal-processor", "trading-signal-processor-standin", "trading-edge"
EDGE_SERVICE = "edge"  # as compose names it; the app's service has the name of its container
DEFINITION = "trading-signal-processor.definition"  # label of a stand-in: the hash of its definition
SERVICE = "com.docker.compose.service"
STATE = "/var/lib/edge/state.cfg"
PUBLIC = "80/tcp"  # of the app of a version without an edge
EDGE_PUBLIC = "8080/tcp"
DRAIN_SECONDS = 5
SERVING_SECONDS = 5.0  # a new edge needs less than one
WAIT_SECONDS = 60.0
REMOVED = frozenset({"dead", "removing"})
_ASK_SECONDS = 3.0
_PAUSE_SECONDS = 0.2
_ABSENT = re.compile("no such container", re.IGNORECASE)
_NO_FILE = re.compile("no such container|could not find the file|no such file", re.IGNORECASE)
_STEPS = 20  # more than any order of steps has


class EdgeError(Exception):
    """A step could not be carried out; the text says why."""


@dataclass(frozen=True)
class Wanted:
    """What the app's containers are to be made from: the hash of the definition, and the image's id."""

    definition: str = ""
    image_id: str = ""


def docker(*argv: str, timeout: float = 120) -> str:
    """Return what a docker command prints. Raises EdgeError with its last line if it fails."""
    try:
        done = subprocess.run(
            ["docker", *argv], capture_output=True, text=True, errors="replace", check=False, timeout=timeout
        )
    except (OSError, subprocess.TimeoutExpired) as error:
        raise EdgeError(f"docker {argv[0]} did not end: {type(error).__name__}") from error
    if done.returncode:
        lines = done.stderr.strip().splitlines() or [f"exit code {done.returncode}"]
        raise EdgeError(f"docker {argv[0]} failed: {lines[-1]}")
    return done.stdout


def inspect(name: str) -> dict[str, Any]:
    """Return the engine's description of a container; empty if there is none.

    Raises EdgeError if the engine does not say: a container that it does not describe may exist.
    """
    try:
        found = json.loads(docker("container", "inspect", name))
    except EdgeError as error:
        if _ABSENT.search(str(error)):
            return {}
        raise
    except ValueError as error:
        raise EdgeError(f"docker container inspect {name}: the output is not valid JSON") from error
    return dict(found[0]) if found else {}


def state_of(raw: dict[str, Any], *, has_passed_gate: bool = False) -> Container:
    """Return what a container is good for. Pure.

    One that ended by itself and was started again is not waited for, unless it has passed its gate since.
    """
    state = raw["State"] if raw else {}
    # A power cut may come while the engine removes one: that can only be removed.
    if not raw or state["Status"] in REMOVED:
        return Container.ABSENT
    if state["Status"] == "restarting":
        return Container.SICK
    if state["Status"] != "running":
        return Container.STOPPED
    health = (state.get("Health") or {}).get("Status", "healthy")
    if health == "starting":
        is_restarted = bool(raw.get("RestartCount")) and not has_passed_gate
        return Container.SICK if is_restarted else Container.STARTING
    return Container.HEALTHY if health == "healthy" else Container.SICK


def is_current(raw: dict[str, Any], wanted: Wanted, label: str) -> bool:
    """Whether a container was made from what is wanted. Pure."""
    if not raw:
        return False
    labels = raw["Config"]["Labels"] or {}
    return (labels.get(label), raw["Image"]) == (wanted.definition, wanted.image_id)


def traffic_in(text: str) -> Server:
    """Return whom the edge's state.cfg sends requests to: the app, unless it says otherwise. Pure."""
    found = re.search(r"^ *setenv EDGE_TRAFFIC (\w+)$", text, re.MULTILINE)
    return Server.STANDIN if found and found.group(1) == Server.STANDIN.value else Server.APP


def stored_traffic(edge: str) -> Server:
    """Read it from the edge's volume, also while it does not run. Raises EdgeError.

    Fails open: an edge that has stored nothing, or nothing legible, sends requests to the app.
    """
    try:
        done = subprocess.run(
            ["docker", "cp", f"{edge}:{STATE}", "-"], capture_output=True, check=False, timeout=30
        )
    except (OSError, subprocess.TimeoutExpired) as error:
        raise EdgeError(f"docker cp did not end: {type(error).__name__}") from error
    if done.returncode:
        why = done.stderr.decode(errors="replace").strip()
        if _NO_FILE.search(why):
            return Server.APP
        raise EdgeError(f"docker cp failed: {why or f'exit code {done.returncode}'}")
    try:
        with tarfile.open(fileobj=io.BytesIO(done.stdout)) as archive:
            member = archive.extractfile(archive.next() or "")
            return traffic_in(member.read().decode(errors="replace") if member else "")
    except (tarfile.TarError, KeyError):
        return Server.APP


def look(wanted: Wanted | None = None, *, has_passed_gate: bool = False) -> Seen:
    """Return the containers as they are at this moment. Raises EdgeError.

    `has_passed_gate`: the app that runs has.
    """
    wanted = wanted or Wanted()
    app, standin, edge = inspect(APP), inspect(STANDIN), inspect(EDGE)
    bindings = (app.get("HostConfig") or {}).get("PortBindings") or {}
    return Seen(
        app=state_of(app, has_passed_gate=has_passed_gate),
        standin=state_of(standin),
        edge=state_of(edge),
        traffic=stored_traffic(EDGE) if edge else Server.APP,
        is_direct=PUBLIC in bindings,
        is_app_current=is_current(app, wanted, "com.docker.compose.config-hash"),
        is_standin_current=is_current(standin, wanted, DEFINITION),
    )


def is_in_maintenance(shown: str) -> bool:
    """Return whether `edge show` says that the edge answers instead of the app. Pure."""
    return " maintenance=on " in f" {shown.strip()} "


def why_not_serving(name: str, seconds: float = SERVING_SECONDS) -> str:
    """Return why an edge that was started does not serve after so many seconds; empty as soon as it does.

    It serves if its commands are answered, and a request to the published port by the app, or by the edge
    during maintenance.
    """
    until = time.monotonic() + seconds
    while why := _why_not_serving(name):
        if time.monotonic() > until:
            return why
        time.sleep(_PAUSE_SECONDS)
    return ""


def _why_not_serving(name: str) -> str:
    try:
        raw = inspect(name)
        shown = docker("exec", name, "edge", "show", timeout=_ASK_SECONDS)
    except EdgeError as error:
        return str(error)
    bindings = (raw.get("HostConfig") or {}).get("PortBindings") or {}
    for host in bindings.get(EDGE_PUBLIC) or []:
        port = int(host["HostPort"])
        address = host.get("HostIp") or "127.0.0.1"
        client = http.client.HTTPConnection(
            "127.0.0.1" if address in {"0.0.0.0", "::"} else address,  # noqa: S104  # nothing is bound to it
            port,
            timeout=_ASK_SECONDS,
        )
        try:
            client.request("GET", "/health")
            answer = client.getresponse()
            status, body = answer.status, answer.read()
        except (OSError, http.client.HTTPException) as error:
            return f"port {port} does not answer: {type(error).__name__}"
        finally:
            client.close()
        if status >= 500 and b'"version"' not in body and not is_in_maintenance(shown):
            return f"port {port} answers {status} instead of the app's health"
    return ""


def drain(server: Server) -> None:
    """Wait until a server has no request left, or `DRAIN_SECONDS`: a page's live connection stays."""
    try:
        docker("exec", EDGE, "edge", "drain", server.value, str(DRAIN_SECONDS))
    except EdgeError:
        return  # requests are left: who ends it gives them their time


def send_to(server: Server) -> None:
    """Send requests to a server from now on, and wait until the other one has none left."""
    docker("exec", EDGE, "edge", "traffic", server.value)
    drain(Server.APP if server is Server.STANDIN else Server.STANDIN)


def end(name: str) -> None:
    """End a container in order, and remove it. Raises EdgeError."""
    with contextlib.suppress(EdgeError):  # it may be gone, or end by itself at this moment
        docker("stop", name)
    docker("rm", "--force", name)


def remove_remains() -> None:
    """Remove what a power cut or a killed `docker compose up` leaves, and what the next one would fail over.

    That is an app under a temporary name, which never ran, and what the engine was about to remove.
    """
    listing = docker("ps", "--all", "--format", "{{.Names}}", "--filter", f"label={SERVICE}={APP}").split()
    remains = [name for name in listing if re.fullmatch(f"[0-9a-f]{{12}}_{APP}", name)]
    remains += [
        name for name in (APP, STANDIN, EDGE) if inspect(name).get("State", {}).get("Status") in REMOVED
    ]
    if remains:
        docker("rm", "--force", *remains)


def wait(wanted: Wanted | None = None) -> Seen:
    """Wait until no container starts any more; one that never gets that far is sick. Raises EdgeError."""
    until = time.monotonic() + WAIT_SECONDS
    while True:
        seen = look(wanted)
        if Container.STARTING not in {seen.app, seen.standin, seen.edge}:
            return seen
        if time.monotonic() > until:
            sick = {
                name: Container.SICK
                for name in ("app", "standin", "edge")
                if getattr(seen, name) is Container.STARTING
            }
            return replace(seen, **sick)  # type: ignore[arg-type]  # all are containers
        time.sleep(_PAUSE_SECONDS)


def carry_out(step: Step) -> None:
    """Take a step that needs no definition. Raises EdgeError."""
    if step is Step.END_STANDIN:
        end(STANDIN)
    elif step is Step.START_STANDIN:
        docker("start", STANDIN)
    elif step is Step.START_APP:
        docker("start", APP)
        docker("update", "--restart=unless-stopped", APP)  # another one while it was stopped on purpose
    elif step is Step.REMOVE_APP:
        docker("rm", "--force", APP)
    elif step is Step.START_EDGE:
        docker("start", EDGE)
    elif step is Step.REMOVE_EDGE:
        docker("rm", "--force", EDGE)
    elif step in {Step.TO_APP, Step.TO_STANDIN}:
        send_to(Server.APP if step is Step.TO_APP else Server.STANDIN)
    else:
        raise EdgeError(f"{step.value}: this needs the stack's definition")


def settle(label: str, run_id: str) -> list[str]:
    """Put the swap in order that a run was cut off in; the steps that were taken. Raises EdgeError.

    The stand-in of a swap has the run's id as `label`; that of another run is not touched.
    """
    taken: list[str] = []
    standin = inspect(STANDIN)
    if not standin or (standin["Config"]["Labels"] or {}).get(label) != run_id:
        return taken
    seen = look()
    for _ in range(_STEPS):
        step = swap.settle(seen)
        if step is None:
            return taken
        if step is Step.WAIT:
            seen = wait()
            continue
        carry_out(step)
        taken.append(step.value)
        seen = look()
    raise EdgeError(f"the swap could not be put in order: {', '.join(taken)}")
