"""The container that comes in another one's place, so that a power cut leaves one that the daemon starts.

Both exist until the new one runs: `docker compose up` removes the old container before it starts the new one,
which the daemon does not start after a boot because it never ran. The old one, though stopped, has the
restart policy `always` until then.

Compose makes the new one as another service, because a service with a `container_name` cannot have two
containers. A copy of that gets the labels by which compose knows it later.
"""

from __future__ import annotations

import contextlib
import http.client
import json
import signal
import subprocess
import time
from typing import Any, BinaryIO, cast

from ansible_collections.signal_processor.stack.plugins.module_utils import stack
from ansible_collections.signal_processor.stack.plugins.module_utils.entry import Failure
from ansible_collections.signal_processor.stack.plugins.module_utils.onhost import edge, runs

CREATE = ("up", "--no-start", "--no-recreate", "--no-build", "--pull=never")
ATTEMPTS, PAUSE = 5, 0.5
LOG_LINES = 30
SOFT_STOP_SECONDS = 0.2  # what the edge's requests under way get, while new ones are refused


def run(argv: list[str], *, stdin: str | None = None) -> str:
    """Return stderr of a command. Raises Failure with the line that says why it failed."""
    done = subprocess.run(argv, input=stdin, capture_output=True, text=True, errors="replace", check=False)
    if done.returncode:
        lines = [line for line in done.stderr.splitlines() if line.strip()]
        # The engine's own words come first; what follows only says which command failed.
        errors = [line for line in lines if line.lower().startswith("error")]
        why = (errors or lines[-1:] or [f"exit code {done.returncode}"])[0]
        raise Failure(f"{' '.join(argv[:2])} failed: {why.strip()}")
    return done.stderr


def insist(argv: list[str]) -> None:
    """Change a container that may be in a restart loop. Raises Failure.

    The engine refuses an update or a new name while it starts the container again: ask a few times.
    """
    for _ in range(ATTEMPTS - 1):
        if subprocess.run(argv, capture_output=True, check=False).returncode == 0:
            return
        time.sleep(PAUSE)
    run(argv)


class _Pipe:
    """What `http.client` needs of a socket."""

    def __init__(self, stream: BinaryIO) -> None:
        self._stream = stream

    def makefile(self, *_: object) -> BinaryIO:
        return self._stream


def post(path: str, document: dict[str, Any]) -> None:
    """Send a request to the engine that the docker client talks to. Raises Failure."""
    body = json.dumps(document).encode()
    head = f"POST {path} HTTP/1.1\r\nHost: docker\r\nContent-Type: application/json\r\nConnection: close\r\n"
    argv = ["docker", "system", "dial-stdio"]
    try:
        with subprocess.Popen(argv, stdin=subprocess.PIPE, stdout=subprocess.PIPE) as client:
            stdin, stdout = cast("BinaryIO", client.stdin), cast("BinaryIO", client.stdout)
            # Kept open until the answer is there: the engine drops the request of a client that hangs up.
            with stdin:
                stdin.write(f"{head}Content-Length: {len(body)}\r\n\r\n".encode() + body)
                stdin.flush()
                answer = http.client.HTTPResponse(cast("Any", _Pipe(stdout)))
                answer.begin()
                said = answer.read().decode(errors="replace")
    except (http.client.HTTPException, OSError) as error:
        raise Failure(f"The Docker engine gave no answer to POST {path}: {error}") from error
    if answer.status >= 300:
        raise Failure(f"The Docker engine refused POST {path}: {said.strip()}")


def sibling(config: dict[str, Any], service: str, name: str, run_id: str) -> dict[str, Any]:
    """Return the definition with the service under another name, so that compose makes one more. Pure."""
    one = {**config["services"][service], "container_name": name}
    one["labels"] = {**(one.get("labels") or {}), runs.LABEL: run_id}
    others = {key: value for key, value in config["services"].items() if key != service}
    return {**config, "services": {**others, f"{service}-next": one}}


def copy_of(
    template: dict[str, Any], service: str, container: str, definition: str, files: list[str]
) -> dict[str, Any]:
    """Return what the engine needs to make the service's container out of its sibling's. Pure."""
    labels = {key: value for key, value in template["Config"]["Labels"].items() if key != runs.LABEL}
    labels |= {
        f"{stack.COMPOSE}service": service,
        f"{stack.COMPOSE}config-hash": definition,
        f"{stack.COMPOSE}project.config_files": ",".join(files),
    }
    config = {
        key: value for key, value in template["Config"].items() if key not in {"Hostname", "MacAddress"}
    }
    networks = template["NetworkSettings"]["Networks"]
    return {
        **config,
        "Labels": labels,
        "HostConfig": template["HostConfig"],
        "NetworkingConfig": {
            "EndpointsConfig": {name: {"Aliases": [container, service]} for name in networks}
        },
    }


def make(
    config: dict[str, Any],
    service: str,
    container: str,
    *,
    definition: str,
    checkout: str,
    files: list[str],
    run_id: str,
) -> str:
    """Make the service's new container, which does not run yet; return its name. Raises Failure.

    `config` is the stack's definition as compose resolves it, `definition` the hash of the service's.
    """
    name, template = runs.successor(container, run_id), f"{container}.template-{run_id}"
    compose = ["docker", "compose", "--project-directory", checkout, "--file", "-"]
    document = json.dumps(sibling(config, service, template, run_id))
    stack.docker("rm", name)  # of a playbook that was started by hand, and killed
    try:
        run([*compose, *CREATE, f"{service}-next"], stdin=document)
        made = copy_of(edge.inspect(template), service, container, definition, files)
        post(f"/containers/create?name={name}", made)
    finally:
        stack.docker("rm", "--force", template)
    return name


def stop(container: str, *, is_edge: bool) -> None:
    """Stop a container that another one replaces. Raises Failure.

    Requests that an edge has end in order, within a moment: until then nobody has the port.
    """
    if is_edge:
        with contextlib.suppress(edge.EdgeError):  # it may not run
            edge.docker("kill", "--signal=USR1", container)
            edge.docker("wait", container, timeout=SOFT_STOP_SECONDS)
    run(["docker", "stop", *(["-t", "0"] if is_edge else []), container])


def insist_on_serving(new: str) -> None:
    """Raises Failure if an edge that was started does not serve within some seconds."""
    if why := edge.why_not_serving(new):
        said = stack.log_lines(new, LOG_LINES).strip().splitlines()
        raise Failure(f"The new edge does not serve: {why}{f' ({said[-1]})' if said else ''}")


def start_again(old: str, error: Failure) -> None:
    """Start the container that was to be replaced. Raises Failure with both reasons if that fails, too."""
    try:
        insist(["docker", "start", old])
        insist(["docker", "update", "--restart=unless-stopped", old])
    except Failure as again:
        raise Failure(f"{error}. The container before it does not start again either: {again}") from error


def take_over(old: str, new: str, container: str, *, replaces_edge: bool = False) -> int:
    """Stop the old container and start the new one in its place; how many milliseconds neither ran.

    Raises Failure if the new one does not start, or is an edge that does not serve: the old one runs again.
    """
    # Between stop and start nobody interrupts: who ends a step asks first, and waits a while.
    let_in = signal.pthread_sigmask(signal.SIG_BLOCK, {signal.SIGINT, signal.SIGTERM, signal.SIGHUP})
    try:
        insist(["docker", "update", "--restart=always", old])
        try:
            begun = time.monotonic()
            stop(old, is_edge=replaces_edge)
            run(["docker", "start", new])
            gap = round((time.monotonic() - begun) * 1000)
            if container == edge.EDGE:
                insist_on_serving(new)
        except Failure as error:
            stack.docker("rm", "--force", new)
            start_again(old, error)
            raise
        run(["docker", "rm", "--force", old])
        if new != container:
            insist(["docker", "rename", new, container])
        return gap
    finally:
        signal.pthread_sigmask(signal.SIG_SETMASK, let_in)
