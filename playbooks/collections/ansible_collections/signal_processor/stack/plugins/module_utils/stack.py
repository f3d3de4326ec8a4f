"""What runs, what is defined, and what compose would change: for the modules in the collection."""

from __future__ import annotations

import json
import subprocess
import time
import urllib.error
import urllib.request
from pathlib import Path
from typing import TYPE_CHECKING, Any

from ansible_collections.signal_processor.stack.plugins.module_utils import replaced
from ansible_collections.signal_processor.stack.plugins.module_utils.onhost import edge
from ansible_collections.signal_processor.stack.plugins.module_utils.settings import volume_name

if TYPE_CHECKING:
    from collections.abc import Iterable

PROJECT, DATABASE = "trading-signal-processor", "postgres"  # compose's names of the stack and of a service
COMPOSE = "com.docker.compose."
OWN = "trading-signal-processor."
ADOPTED = ".run/adopted-volume"
UNKNOWN = "something without a checkout"
# Of /health that does not answer. `certificate` is its check of that name: status, reason, days_left, domain.
UNKNOWN_HEALTH: dict[str, Any] = {"status": "unhealthy", "version": "", "certificate": {}, "code": 0}
_DIRECT = urllib.request.build_opener(urllib.request.ProxyHandler({}))  # loopback is asked without a proxy


def docker(*argv: str, cwd: str | None = None, stdin: str | None = None) -> str:
    """Return stdout, also of a command that failed because one of several objects does not exist."""
    argv = ("docker", *argv)
    return subprocess.run(argv, capture_output=True, text=True, check=False, cwd=cwd, input=stdin).stdout


def log_lines(container: str, count: int) -> str:
    """Return the end of a container's log, what it wrote to either stream."""
    argv = ["docker", "logs", "--tail", str(count), container]
    return subprocess.run(
        argv, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True, errors="replace", check=False
    ).stdout


def fetch(url: str) -> tuple[int, bytes]:
    """Return status and body of the answer. Raises OSError."""
    try:
        with _DIRECT.open(url, timeout=3) as answer:
            return answer.status, answer.read()
    except urllib.error.HTTPError as error:
        return error.code, error.read()


def container_facts(raw: dict[str, Any]) -> dict[str, Any]:
    """Reduce `docker inspect` to what the roles read."""
    labels = raw["Config"]["Labels"] or {}
    bindings = raw["HostConfig"]["PortBindings"] or {}
    environment = dict(pair.partition("=")[::2] for pair in raw["Config"]["Env"] or [])
    return {
        "name": raw["Name"].lstrip("/"),
        "id": raw["Id"][:12],
        "state": raw["State"]["Status"],
        "health": (raw["State"].get("Health") or {}).get("Status", ""),
        "started_at": raw["State"]["StartedAt"],
        "restarts": raw["RestartCount"],
        "image": raw["Config"]["Image"],
        "image_id": raw["Image"],
        "version": environment.get("APP_VERSION", ""),
        "privileged": raw["HostConfig"]["Privileged"],
        "volumes": [mount["Name"] for mount in raw.get("Mounts") or [] if mount.get("Name")],
        "checkout": labels.get(f"{COMPOSE}project.working_dir", ""),
        "project": labels.get(f"{COMPOSE}project", ""),
        "service": labels.get(f"{COMPOSE}service", ""),
        "definition": labels.get(f"{COMPOSE}config-hash", ""),
        "ports": {
            inside.split("/")[0]: int(host[0]["HostPort"]) for inside, host in bindings.items() if host
        },
    }


def volume_facts(name: str) -> dict[str, Any]:
    """Return the volume's labels of interest; empty if there is no such volume."""
    found = json.loads(docker("volume", "inspect", name) or "[]")
    if not found:
        return {}
    labels = found[0]["Labels"] or {}
    # A volume without our label comes from the system this one replaces, which used the registry's image.
    return {
        "created": found[0]["CreatedAt"],
        "checkout": labels.get(f"{OWN}checkout", ""),
        "kind": labels.get(f"{OWN}kind", "registry"),
        "labelled": f"{OWN}kind" in labels,
    }


def public_port(containers: dict[str, dict[str, Any]]) -> int | None:
    """Return the port where clients ask: of the edge, or of the app of a version without one. Pure."""
    return next(
        (
            container["ports"][inside]
            for container in containers.values()
            for inside in ("8080", "80")
            if container["state"] == "running" and inside in container["ports"]
        ),
        None,
    )


def health_of(containers: dict[str, dict[str, Any]]) -> dict[str, Any]:
    """Ask for /health as clients do."""
    port = public_port(containers)
    if port is None:
        return {**UNKNOWN_HEALTH, "status": "absent"}
    try:
        code, body = fetch(f"http://127.0.0.1:{port}/health")
    except OSError:
        return UNKNOWN_HEALTH
    try:
        document = json.loads(body)
        certificate = (document.get("checks") or {}).get("certificate") or {}  # none from an earlier version
        found = {
            "status": str(document["status"]),
            "version": str(document["version"]),
            "certificate": dict(certificate),
        }
    except (ValueError, KeyError, TypeError, AttributeError):
        found = UNKNOWN_HEALTH
    return {**found, "code": code}


def is_in_maintenance(container: dict[str, Any], health: dict[str, Any]) -> bool:
    """Whether the edge answers instead of the app. It is asked only where clients get a 503."""
    if container.get("state") != "running" or health["code"] != 503:
        return False
    return edge.is_in_maintenance(docker("exec", container["name"], "edge", "show"))


def is_of(project: str, service: str, container: dict[str, Any]) -> bool:
    """Whether compose made the container for this service. The project alone is a label of the image, too."""
    return bool(
        container["definition"] and (container["project"], container["service"]) == (project, service)
    )


def is_adopted(checkout: Path, volume: str) -> bool:
    """Whether a run has noted that it adopted this volume."""
    try:
        return (checkout / ADOPTED).read_text().strip() == volume
    except OSError:
        return False


def foreign(
    checkout: Path,
    containers: dict[str, dict[str, Any]],
    volume_name: str,
    volume: dict[str, Any],
    project: str,
) -> list[dict[str, Any]]:
    """List what another checkout made. Labels cannot change: a file remembers an adopted volume.

    `adoptable`: compose can replace it, because it made it for this service of this project.
    """
    here = {str(checkout), str(checkout.resolve())}
    found: list[dict[str, Any]] = [
        {
            "what": f"container {container['name']}",
            "owner": container["checkout"] or UNKNOWN,
            "name": container["name"],
            "adoptable": is_of(project, service, container),
        }
        for service, container in containers.items()
        if container["checkout"] not in here or not is_of(project, service, container)
    ]
    if volume and volume["checkout"] not in here and not is_adopted(checkout, volume_name):
        owner = volume["checkout"] or UNKNOWN
        found.append(
            {"what": f"volume {volume_name}", "owner": owner, "name": volume_name, "adoptable": True}
        )
    return found


def resolved(project_dir: str, files: list[str], settings: str = "") -> dict[str, Any]:
    """Return the definition as compose resolves it now; empty where it cannot be read.

    `settings` is a folder whose .env counts instead of the checkout's.
    """
    folder = settings or project_dir
    compose = ["compose", "--project-directory", folder]
    compose += [part for file in files for part in ("-f", file)]
    found = json.loads(docker(*compose, "config", "--format", "json", cwd=folder) or "{}")
    return dict(found if folder == project_dir else moved(found, folder, project_dir))


def moved(value: Any, folder: str, project_dir: str) -> Any:  # noqa: ANN401  # any JSON value
    """Return a resolved definition with the paths that it has in another project directory. Pure."""
    if isinstance(value, dict):
        return {key: moved(one, folder, project_dir) for key, one in value.items()}
    if isinstance(value, list):
        return [moved(one, folder, project_dir) for one in value]
    is_below = isinstance(value, str) and (value == folder or value.startswith(f"{folder}/"))
    return project_dir + value[len(folder) :] if is_below else value


def wanted(config: dict[str, Any], project_dir: str) -> dict[str, dict[str, str]]:
    """Return, per service, the hash of its definition and the id of its image as compose uses them now."""
    # Hashes of the resolved definition: those of the files leave env_file out and would always differ.
    # All values are in it: today's .env is not read, which may be the very file that a backup is to replace.
    argv = ("compose", "--env-file", "/dev/null", "--project-directory", project_dir)
    argv += ("-f", "-", "config", "--hash", "*")
    hashes = dict(line.split() for line in docker(*argv, stdin=json.dumps(config)).splitlines())
    images = {name: service["image"] for name, service in config["services"].items()}
    found = json.loads(docker("image", "inspect", *images.values()) or "[]")
    ids = {tag: image["Id"] for image in found for tag in image["RepoTags"]}
    return {
        name: {"definition": hashes[name], "image_id": ids.get(image, "")} for name, image in images.items()
    }


def difference(now: dict[str, Any], target: dict[str, str]) -> str:
    """Say what of a container differs from its definition, in a word; empty where it is in line. Pure."""
    if not now:
        return "absent"
    if now["definition"] != target.get("definition"):
        return "definition"
    if now["image_id"] != target["image_id"]:
        return "image"
    if now["state"] != "running":
        return "stopped"
    return "unhealthy" if now["health"] == "unhealthy" else ""


def differences(containers: dict[str, dict[str, Any]], targets: dict[str, dict[str, str]]) -> dict[str, str]:
    """Return, per service that is not in line, what of it differs. Pure."""
    found = {service: difference(containers.get(service, {}), target) for service, target in targets.items()}
    return {service: word for service, word in found.items() if word}


def replaced_system(
    containers: dict[str, dict[str, Any]], volume: str, facts: dict[str, Any], image: str, *, is_mine: bool
) -> dict[str, str]:
    """Say where the tables of the replaced system are that a flow would work on: `place`, empty if nowhere.

    A server that runs is asked. The volume is read if no flow of ours has made it, none adopted it, and no
    server that has it answered. Fails closed: `unread` is one that could not be read.
    """
    server, nowhere = containers.get(DATABASE, {}), {"place": "", "unread": ""}
    has_answered = False
    if server.get("state") == "running":
        answer = replaced.in_container(server["name"])
        if answer:
            return {**nowhere, "place": f"container {server['name']}"}
        has_answered = answer is False and volume in server["volumes"]
    if not facts or facts["labelled"] or is_mine or has_answered:
        return nowhere
    answer = replaced.in_volume(volume, image)
    if answer is None:
        return {**nowhere, "unread": volume}
    return {**nowhere, "place": f"volume {volume}" if answer else ""}


def _app(by_name: dict[str, dict[str, Any]], container: str) -> dict[str, Any] | None:
    """Return the app's container: by its name, or the running one that a swap cut off half-way has left."""
    named = by_name.get(container)
    if named and named["State"]["Running"]:
        return named
    successors = (
        entry
        for name, entry in by_name.items()
        if name.startswith(f"{container}.next-")
        and (entry["Config"]["Labels"] or {}).get(f"{COMPOSE}service") == edge.APP
        and entry["State"]["Running"]
    )
    return next(successors, named)


def summary(
    containers: dict[str, dict[str, Any]], by_name: dict[str, dict[str, Any]]
) -> list[dict[str, str]]:
    """Return what is shown of the services' containers, and of a stand-in where there is one. Pure."""
    shown = list(containers.values())
    if edge.STANDIN in by_name:
        shown.append(container_facts(by_name[edge.STANDIN]))
    return [{key: one[key] for key in ("name", "state", "health", "image")} for one in shown]


def look(
    services: dict[str, dict[str, Any]],
    volume: str,
    settings: str | None,
    checkout: str | None = None,
    image: str = "",
    leaving: Iterable[str] = (),
) -> dict[str, Any]:
    """Return the stack as it is at this moment; with a checkout also what another one made.

    `volume` is the one that counts where the .env in the folder `settings` names none. What is `leaving`
    (names of containers and volumes) counts as absent: the flow removes it, or leaves it to its owner.
    """
    volume = volume_name(settings, volume) if settings else volume
    mine = docker("ps", "-aq", "--no-trunc", "--filter", f"label={COMPOSE}project={PROJECT}").split()
    names = [service["container"] for service in services.values()]
    raw = json.loads(docker("container", "inspect", *dict.fromkeys([*names, *mine])) or "[]")
    named = {entry["Name"].lstrip("/"): entry for entry in raw}
    by_name = {name: entry for name, entry in named.items() if name not in leaving}
    labels = {name: entry["Config"]["Labels"] or {} for name, entry in by_name.items()}
    containers = {
        service: container_facts(found)
        for service, spec in services.items()
        if (
            found := by_name.get(spec["container"])
            if service != edge.APP
            else _app(by_name, spec["container"])
        )
    }
    orphans = [
        name
        for name, label in labels.items()
        if label.get(f"{COMPOSE}project") == PROJECT
        and label.get(f"{COMPOSE}config-hash")  # else not compose's, but made by hand from our image
        and label.get(f"{COMPOSE}oneoff") != "True"
        and label.get(f"{COMPOSE}service") not in services
    ]
    found = {} if volume in leaving else volume_facts(volume)
    health = health_of(containers)
    return {
        "containers": containers,
        "summary": summary(containers, by_name),
        "volume": found,
        "volume_name": volume,
        "foreign": foreign(Path(checkout), containers, volume, found, PROJECT) if checkout else [],
        "replaced_system": replaced_system(
            containers, volume, found, image, is_mine=is_adopted(Path(checkout), volume)
        )
        if checkout
        else {},
        "orphans": sorted(orphans),
        "health": health,
        "maintenance": is_in_maintenance(containers.get(edge.EDGE_SERVICE, {}), health),
        "now": time.time(),
    }
