"""A simulated container engine: a `docker` that keeps containers in a file.

It has the commands of a swap. A started container is healthy, unless its image is one of `sick`, `hung`
(it never answers) or `ending` (it ends again and again). An edge with an image of `unfit` cannot start.
A `silent` engine describes no container.

Two containers cannot publish one port, and no command runs in a container that does not run. Clients are
answered on `public_port` as by the containers. Started as a program, this file is that `docker`; a test
with hundreds of commands has them carried out in its own process.
"""

from __future__ import annotations

import contextlib
import functools
import http.server
import io
import json
import os
import re
import subprocess
import sys
import threading
import zlib
from pathlib import Path
from typing import Any, BinaryIO

RUN_LABEL, COMPOSE = "trading-signal-processor.run", "com.docker.compose."
_run = subprocess.run
_LOOKS = ("container", "image", "cp", "ps", "logs", "system")


class EngineError(Exception):
    """The engine refused a command."""


class Cut(BaseException):
    """The power is cut, or the process that gave the command is killed."""


class Engine:
    """The containers, read from a file and written back."""

    def __init__(self, path: Path, stdin: BinaryIO, stdout: BinaryIO, stderr: BinaryIO) -> None:
        self.path, self._stdin, self._stdout, self._stderr = path, stdin, stdout, stderr
        self.state: dict[str, Any] = json.loads(path.read_text())

    @property
    def containers(self) -> dict[str, Any]:
        """Descriptions by name, as `docker inspect` has them."""
        found: dict[str, Any] = self.state["containers"]
        return found

    def say(self, text: str) -> None:
        """Print a line."""
        self._stdout.write(f"{text}\n".encode())

    def complain(self, text: str) -> None:
        """Print a line to the other stream."""
        self._stderr.write(f"{text}\n".encode())

    def save(self) -> None:
        """Write the containers back to the file."""
        self.path.write_text(json.dumps(self.state))

    def tick(self) -> None:
        """Count a change; a test may cut the power here."""
        self.state["ticks"] += 1
        if self.state["ticks"] == self.state["cut"]:
            raise Cut

    def refuse_after_cut(self) -> None:
        """Refuse every command after the cut."""
        if 0 < self.state["cut"] <= self.state["ticks"]:
            raise Cut

    def real(self, name: str) -> str:
        """Return the name of a container by its name or its id."""
        for found, one in self.containers.items():
            if name in (found, one["Id"]):
                return found
        raise EngineError(f"Error: No such container: {name}")

    def make(
        self, name: str, image: str, labels: dict[str, str], bindings: dict[str, Any], policy: str
    ) -> None:
        """Create a container without starting it."""
        if name in self.containers:
            raise EngineError(f'Error response from daemon: Conflict. The name "/{name}" is in use')
        self.state["made"] += 1
        self.containers[name] = {
            "Id": f"{self.state['made']:012x}",
            "Name": f"/{name}",
            "Image": self.state["images"][image],
            "RestartCount": 0,
            "State": {"Status": "created", "Running": False, "StartedAt": ""},
            "HostConfig": {"PortBindings": bindings, "Privileged": False, "RestartPolicy": policy},
            "NetworkSettings": {"Networks": {"default": {}}},
            "Config": {"Image": image, "Env": [], "Labels": labels},
        }
        self.tick()

    def start(self, name: str) -> None:
        """Start a container; refused where another one has its port."""
        one = self.containers[self.real(name)]
        if one["State"]["Status"] == "dead":
            raise EngineError("Error response from daemon: container is marked for removal")
        held = {
            host["HostPort"]
            for other in self.containers.values()
            if other is not one and other["State"]["Running"]
            for hosts in other["HostConfig"]["PortBindings"].values()
            for host in hosts
        }
        wanted = {host["HostPort"] for hosts in one["HostConfig"]["PortBindings"].values() for host in hosts}
        if held & wanted or name in self.state["broken"]:
            raise EngineError(f"Error response from daemon: cannot start {name}: port is allocated")
        is_sick = one["Image"] in {*self.state["sick"], *self.state["hung"]}
        one["State"] = {
            "Status": "restarting" if one["Image"] in self.state["ending"] else "running",
            "Running": True,
            "StartedAt": "",
            "Health": {"Status": "unhealthy" if is_sick else "healthy"},
        }
        self.tick()

    def stop(self, name: str) -> None:
        """Stop a container."""
        self.containers[self.real(name)]["State"] = {"Status": "exited", "Running": False, "StartedAt": ""}
        self.tick()

    def up(self, config: dict[str, Any], service: str, words: list[str]) -> None:
        """Carry out `docker compose up` of one service."""
        spec = config["services"][service]
        name, wanted = spec["container_name"], _digest(config, service)
        left = [one for one in self.containers if one.endswith(f"_{name}")]
        now = self.containers.get(name)
        if now is None and left:  # compose knows it by its labels
            self.start(left[0])
            return
        is_in_line = now is not None and (now["Config"]["Labels"][f"{COMPOSE}config-hash"], now["Image"]) == (
            wanted,
            self.state["images"][spec["image"]],
        )
        if not is_in_line or "--force-recreate" in words:
            labels = {f"{COMPOSE}service": service, f"{COMPOSE}config-hash": wanted, **spec.get("labels", {})}
            temporary = f"{now['Id']}_{name}" if now else name
            self.make(temporary, spec["image"], labels, _bindings(spec), "unless-stopped")
            if now is not None:
                self.stop(name)
                del self.containers[name]
                self.tick()
                self.containers[name] = self.containers.pop(temporary)
                self.tick()
            self.complain(" Container Recreated")
        if "--no-start" not in words and not self.containers[name]["State"]["Running"]:
            self.start(name)
            self.complain(" Container Started")

    def compose(self, words: list[str]) -> None:
        """Carry out a `docker compose` command."""
        config = json.load(self._stdin) if "-" in words else self.state["config"]
        if "--hash" in words:
            self.say("\n".join(f"{name} {_digest(config, name)}" for name in config["services"]))
        elif "config" in words:
            self.say(json.dumps(config))
        elif "--rm" in words:  # `edge choose`
            if self.state["images"][config["services"]["edge"]["image"]] in self.state["unfit"]:
                raise EngineError("edge: HAProxy cannot start")
            self.state["traffic"] = words[-1]
            self.tick()
        elif "run" in words:
            name, service = words[words.index("--name") + 1], words[-1]
            labels = dict(
                word.removeprefix("--label=").split("=") for word in words if word.startswith("--label=")
            )
            self.make(name, config["services"][service]["image"], labels, {}, "no")
            self.start(name)
        else:
            self.up(config, words[-1], words)

    def create(self) -> None:
        """Carry out `POST /containers/create?name=…` of the engine's API."""
        head = b""
        while not head.endswith(b"\r\n\r\n"):
            head += self._stdin.read(1)
        length = int(head.split(b"Content-Length: ")[1].split(b"\r\n")[0])
        made = json.loads(self._stdin.read(length))
        name = head.split(b"name=")[1].split(b" ")[0].decode()
        host = made["HostConfig"]
        self.make(name, made["Image"], made["Labels"], host["PortBindings"], host["RestartPolicy"])
        self._stdout.write(b"HTTP/1.1 201 Created\r\nContent-Length: 2\r\n\r\n{}")

    def inspect(self, words: list[str]) -> None:
        """Carry out `container inspect` and `image inspect`."""
        if words[0] == "volume":
            raise EngineError("Error response from daemon: get: no such volume")
        if words[0] == "image":
            images = self.state["images"]
            self.say(
                json.dumps([{"Id": images[name], "RepoTags": [name]} for name in words[2:] if name in images])
            )
            return
        one = self.containers[self.real(words[-1])]
        form = " ".join(words[2:-1])
        if "Health.Status" in form:
            self.say(one["State"]["Health"]["Status"])
        else:
            self.say(str(one["State"]["Running"]).lower() if form else json.dumps([one]))

    def carry_out(self, words: list[str]) -> None:
        """Carry out one command."""
        verb = words[0]
        if self.state["silent"] and verb in {"container", "cp"}:
            raise EngineError("Cannot connect to the Docker daemon. Is the docker daemon running?")
        if verb not in _LOOKS and "config" not in words:
            self.state["said"].append(" ".join(words))
        actions = {"compose": self.compose, "stop": self.halt, "start": self.begin, "cp": self.copy}
        if words[1:2] == ["inspect"]:
            self.inspect(words)
        elif verb in actions:
            actions[verb](words[1:])
        elif verb == "system":
            self.create()
        elif verb == "exec":
            self.execute(self.real(words[1]), words[2:])
        else:
            self.carry_out_further(words)

    def halt(self, words: list[str]) -> None:
        """Carry out `stop` of one container."""
        self.stop(words[-1])

    def begin(self, words: list[str]) -> None:
        """Carry out `start` of some containers."""
        for name in words:
            self.start(name)

    def copy(self, _words: list[str]) -> None:
        """Carry out `cp` of the edge's state.cfg."""
        if self.state["traffic"] is None:
            raise EngineError("Error response from daemon: Could not find the file in container")
        self._stdout.write(_archive(self.state["traffic"], self.state["maintenance"]))

    def execute(self, name: str, words: list[str]) -> None:
        """Carry out `exec`: a command of the edge, or a request to the application."""
        one = self.containers[name]
        if one["State"]["Status"] != "running":
            raise EngineError(f"Error response from daemon: container {one['Id']} is not running")
        if one["Image"] in self.state["hung"]:
            raise EngineError("edge: HAProxy does not answer")
        if words[0] == "timeout":
            self.say("HTTP/1.0 503 Service Unavailable")
        elif words[1] in {"traffic", "maintenance"}:
            self.state[words[1]] = words[2]
            self.tick()
        elif words[1] == "show":
            self.say(
                f"traffic={self.state['traffic']} maintenance={self.state['maintenance']} app=0 standin=0"
            )
        elif self.state["connected"]:
            raise EngineError("edge: requests are left")

    def list_containers(self, words: list[str]) -> None:
        """Carry out `ps`: running containers, or all; by a label, or by the exact name."""
        names = [
            name
            for name, one in self.containers.items()
            if one["State"]["Running"] or {"--all", "-a", "-aq"} & set(words)
        ]
        if "--filter" in words:
            kind, _, wanted = words[words.index("--filter") + 1].partition("=")
            label, _, value = wanted.partition("=")
            names = [
                name
                for name in names
                if (self.containers[name]["Config"]["Labels"].get(label) == value)
                or (kind == "name" and re.search(wanted, name))
            ]
        self.say("\n".join(names))

    def end(self, name: str, verb: str) -> None:
        """Carry out `kill` with a signal for an orderly end, or `wait` for that.

        An edge that hangs, or has requests, stays.
        """
        one = self.containers[name]
        if verb == "wait":
            if one["State"]["Running"]:
                raise EngineError("nobody waits for it any longer")
            return
        if one["State"]["Status"] != "running":
            raise EngineError(f"Error response from daemon: container {one['Id']} is not running")
        if one["Image"] not in self.state["hung"] and not self.state["connected"]:
            self.stop(name)

    def carry_out_further(self, words: list[str]) -> None:
        """Carry out `ps`, `kill`, `wait`, `rename`, `update`, `rm` and `logs`."""
        if words[0] == "ps":
            self.list_containers(words)
        elif words[0] in {"kill", "wait"}:
            self.end(self.real(words[-1]), words[0])
        elif words[0] == "rename":
            self.containers[words[2]] = self.containers.pop(self.real(words[1]))
            self.tick()
        elif words[0] == "update":
            policy = words[1].removeprefix("--restart=")
            for name in words[2:]:
                self.containers[self.real(name)]["HostConfig"]["RestartPolicy"] = policy
        elif words[0] == "logs":
            self.complain("its last words")  # what ends a program is on stderr
        else:
            for name in set(words[1:]) - {"--force"}:
                found = next((real for real, one in self.containers.items() if name in (real, one["Id"])), "")
                if found and ("--force" in words or not self.containers[found]["State"]["Running"]):
                    del self.containers[found]
                    self.tick()


def _digest(config: dict[str, Any], service: str) -> str:
    return f"{zlib.crc32(json.dumps(config['services'][service], sort_keys=True).encode()):08x}"


def _bindings(spec: dict[str, Any]) -> dict[str, Any]:
    return {f"{port['target']}/tcp": [{"HostPort": port["published"]}] for port in spec.get("ports", [])}


def _archive(traffic: str, maintenance: str) -> bytes:
    """Return the archive that `docker cp` writes of the edge's state.cfg."""
    import tarfile  # a tenth of the time that most commands take

    text = f"global\n    setenv EDGE_TRAFFIC {traffic}\n    setenv EDGE_MAINTENANCE {maintenance}\n".encode()
    file = io.BytesIO()
    with tarfile.open(fileobj=file, mode="w") as tar:
        member = tarfile.TarInfo("state.cfg")
        member.size = len(text)
        tar.addfile(member, io.BytesIO(text))
    return file.getvalue()


class _Client(http.server.BaseHTTPRequestHandler):
    """Answers as the container with the public port of the newest engine; not at all where none has it."""

    worlds: list[World] = []  # noqa: RUF012  # one for all requests

    def do_GET(self) -> None:
        """Answer a client's request."""
        if status := self.worlds[-1].answer_clients():
            body = b'{"detail": "the application does not answer at the moment; try again"}'
            self.send_response(status)
            self.send_header("Content-Length", str(len(body)))
            self.end_headers()
            self.wfile.write(body)
        else:
            self.close_connection = True

    def log_message(self, *_: object) -> None:
        """Log nothing."""


@functools.cache
def public_port() -> str:
    """Start the server for clients once, and return its port."""
    server = http.server.ThreadingHTTPServer(("127.0.0.1", 0), _Client)
    threading.Thread(target=server.serve_forever, daemon=True).start()
    return str(server.server_port)


class World:
    """The engine, with the controls of a test."""

    def __init__(self, folder: Path) -> None:
        self._path = folder / "engine.json"
        _Client.worlds.append(self)
        program = folder / "docker"
        program.write_text(f'#!/bin/sh\nENGINE={self._path} exec {sys.executable} -I -S {__file__} "$@"\n')
        program.chmod(0o755)
        self.set()

    def set(self, containers: dict[str, dict[str, Any]] | None = None, **members: Any) -> None:
        """Begin with these containers; other members of the engine are set by name."""
        state = {
            "containers": containers or {},
            "config": {},
            "images": {},
            "traffic": None,
            "maintenance": "off",
            "sick": [],
            "hung": [],
            "ending": [],
            "unfit": [],
            "silent": False,
            "broken": [],
            "connected": False,
            "made": 0,
            "ticks": 0,
            "cut": 0,
            "said": [],
            **members,
        }
        self._path.write_text(json.dumps(state))

    def change(self, **members: Any) -> None:
        """Set other members of the engine, and drop its output so far."""
        state = {**json.loads(self._path.read_text()), "said": [], **members}
        self._path.write_text(json.dumps(state))

    def __getitem__(self, member: str) -> Any:
        return json.loads(self._path.read_text())[member]

    def run(self, argv: list[str], **options: Any) -> subprocess.CompletedProcess[Any]:
        """`subprocess.run`, with this engine as `docker`."""
        if argv[0] != "docker":
            return _run(argv, **options)
        given = options.get("input") or b""
        stdin = io.BytesIO(given.encode() if isinstance(given, str) else given)
        out = io.BytesIO()
        err = out if options.get("stderr") is subprocess.STDOUT else io.BytesIO()
        code = _carry_out(Engine(self._path, stdin, out, err), list(argv[1:]))
        found = [stream.getvalue() for stream in (out, err)]
        if options.get("text"):
            return subprocess.CompletedProcess(argv, code, *(each.decode() for each in found))
        return subprocess.CompletedProcess(argv, code, *found)

    def carry_out(self, *words: str) -> None:
        """Run one command."""
        assert self.run(["docker", *words]).returncode == 0

    def cut_power(self) -> None:
        """Cut the power, then start what the daemon starts after the boot, by its restart policy."""
        self.change(ticks=0, cut=0)
        engine = Engine(self._path, io.BytesIO(), io.BytesIO(), io.BytesIO())
        due = [
            name
            for name, one in engine.containers.items()
            if (one["State"]["Running"] and one["HostConfig"]["RestartPolicy"] != "no")
            or one["HostConfig"]["RestartPolicy"] == "always"
        ]
        for one in engine.containers.values():
            one["State"] = {"Status": "exited", "Running": False, "StartedAt": ""}
        for name in due:
            with contextlib.suppress(EngineError):  # another container has its port
                engine.start(name)
        engine.save()

    def answer_clients(self) -> int:
        """Return the status that a client gets; 0 for none."""
        state = json.loads(self._path.read_text())
        living = {
            name: one
            for name, one in state["containers"].items()
            if one["State"]["Status"] == "running" and one["Image"] not in state["hung"]
        }
        named = (name for name, ports in self.running.items() if public_port() in ports and name in living)
        name = next(named, None)
        if name is None:
            return 0
        if "8080/tcp" in living[name]["HostConfig"]["PortBindings"]:
            if state["maintenance"] == "on":
                return 503
            name = f"trading-signal-processor{'-standin' * (state['traffic'] == 'standin')}"
        is_healthy = living.get(name, {}).get("State", {}).get("Health", {}).get("Status") == "healthy"
        return 200 if is_healthy else 503

    @property
    def running(self) -> dict[str, list[str]]:
        """Return the running containers by name, with the ports that each publishes."""
        return {
            name: sorted(
                host["HostPort"] for hosts in one["HostConfig"]["PortBindings"].values() for host in hosts
            )
            for name, one in self["containers"].items()
            if one["State"]["Running"]
        }


def _carry_out(engine: Engine, words: list[str]) -> int:
    try:
        engine.refuse_after_cut()
        engine.carry_out(words)
    except EngineError as error:
        engine.complain(str(error))
        return 1
    except Cut:
        if __name__ == "__main__":
            return 137
        raise
    finally:
        engine.save()
    return 0


def main() -> None:
    """Act as the program `docker`."""
    streams = (sys.stdin.buffer, sys.stdout.buffer, sys.stderr.buffer)
    sys.exit(_carry_out(Engine(Path(os.environ["ENGINE"]), *streams), sys.argv[1:]))


if __name__ == "__main__":
    main()
