"""Replace the app's container so that a power cut at any moment leaves one that the daemon starts.

`docker compose up` removes the old container before it starts the new one, which the daemon does not start
after a boot because it never ran. Here both exist until the new one runs. The old one, though stopped, has
the restart policy `always` until then.

Compose makes the new one as another service, because a service with a `container_name` cannot have two
containers. A copy of that gets the labels by which compose knows it later.
"""

from __future__ import annotations

import http.client
import json
import os
import signal
import subprocess
import time
from typing import Any, BinaryIO, cast

from ansible.module_utils import stack
from ansible.module_utils.entry import Failure, Module
from ansible.module_utils.onhost import leftovers, runs

DOCUMENTATION = """
module: app_swap
short_description: Start the app as it is defined now, in the place of the container that runs
description:
  - Where none runs, or the one that runs is in line, it does what C(docker compose up) does.
  - If the new container cannot be started, the old one is started again, and the step fails.
options:
  checkout: {type: path, required: true, description: The checkout whose lock the run must hold.}
  files: {type: list, elements: str, required: true, description: Compose files.}
  service: {type: str, required: true, description: Name of the app's service.}
  container: {type: str, required: true, description: Name of its container.}
  replace: {type: bool, default: false, description: Replace it even if it is in line.}
  dependencies: {type: bool, default: true, description: "Start what it depends on, too."}
"""

UP = ("up", "--detach", "--no-build", "--pull=never")
CREATE = ("up", "--no-start", "--no-recreate", "--no-build", "--pull=never")
ATTEMPTS, PAUSE = 5, 0.5
CHANGED = (" Created", " Recreated", " Started")


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


def inspect(container: str) -> dict[str, Any]:
    """Return the engine's description of a container; empty if there is none."""
    found = json.loads(stack.docker("container", "inspect", container) or "[]")
    return dict(found[0]) if found else {}


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


def make_next(
    params: dict[str, Any], config: dict[str, Any], definition: str, name: str, run_id: str
) -> None:
    """Make the new container, which does not run yet, as `name`. Raises Failure."""
    service, checkout, files = params["service"], params["checkout"], params["files"]
    template = f"{params['container']}.template-{run_id}"
    compose = ["docker", "compose", "--project-directory", checkout, "--file", "-"]
    document = json.dumps(sibling(config, service, template, run_id))
    stack.docker("rm", name)  # of a playbook that was started by hand, and killed
    try:
        run([*compose, *CREATE, f"{service}-next"], stdin=document)
        made = copy_of(inspect(template), service, params["container"], definition, files)
        post(f"/containers/create?name={name}", made)
    finally:
        stack.docker("rm", "--force", template)


def swap(old: str, new: str, container: str) -> None:
    """Stop the old container and start the new one in its place. Raises Failure if that does not start."""
    # Between stop and start nobody interrupts: who ends a step asks first, and waits a while.
    let_in = signal.pthread_sigmask(signal.SIG_BLOCK, {signal.SIGINT, signal.SIGTERM, signal.SIGHUP})
    try:
        insist(["docker", "update", "--restart=always", old])
        try:
            run(["docker", "stop", old])
            run(["docker", "start", new])
        except Failure:
            stack.docker("rm", "--force", new)
            stack.docker("start", old)
            stack.docker("update", "--restart=unless-stopped", old)
            raise
        run(["docker", "rm", "--force", old])
        insist(["docker", "rename", new, container])
    finally:
        signal.pthread_sigmask(signal.SIG_SETMASK, let_in)


def compose_up(params: dict[str, Any]) -> bool:
    """Let compose start it; whether that changed anything. Raises Failure."""
    compose = ["docker", "compose", "--project-directory", params["checkout"]]
    compose += [f"--file={file}" for file in params["files"]]
    options = ["--no-deps"] * (not params["dependencies"]) + ["--force-recreate"] * params["replace"]
    said = run([*compose, *UP, *options, params["service"]])
    # A container that was stopped on purpose had another policy meanwhile.
    insist(["docker", "update", "--restart=unless-stopped", params["container"]])
    return any(word in said for word in CHANGED)


def answer(params: dict[str, Any]) -> dict[str, Any]:
    """Replace it, or start it. Raises Failure."""
    old = inspect(params["container"])
    if not old or not old["State"]["Running"]:
        return {"changed": compose_up(params)}
    config = stack.resolved(params["checkout"], params["files"])
    target = stack.wanted(config, params["checkout"])[params["service"]]
    differs = stack.difference(stack.container_facts(old), target)
    if not params["replace"] and differs not in {"definition", "image"}:
        return {"changed": compose_up(params)}
    run_id = os.environ.get(leftovers.MARK) or "by-hand"
    new = runs.successor(params["container"], run_id)
    make_next(params, config, target["definition"], new, run_id)
    swap(old["Id"], new, params["container"])
    return {"changed": True}


MODULE = Module(
    answer,
    {
        "checkout": {"type": "path", "required": True},
        "files": {"type": "list", "elements": "str", "required": True},
        "service": {"type": "str", "required": True},
        "container": {"type": "str", "required": True},
        "replace": {"type": "bool", "default": False},
        "dependencies": {"type": "bool", "default": True},
    },
    fenced=lambda params: str(params["checkout"]),
)


if __name__ == "__main__":
    MODULE.run()
