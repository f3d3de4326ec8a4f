"""Look at the stack: containers, volume, orphans, health, what compose would change. Changes nothing."""

from __future__ import annotations

import json
import subprocess
import time
import urllib.error
import urllib.request
from pathlib import Path
from typing import Any

from ansible.module_utils.basic import AnsibleModule

DOCUMENTATION = """
module: stack_facts
short_description: Containers, volume and health of the stack as they are at this moment
options:
  project: {type: str, required: true, description: Name of the compose project.}
  services: {type: dict, required: true, description: "Service name to {container, ...}."}
  app: {type: str, required: true, description: Name of the application's service.}
  volume: {type: str, required: true, description: Name of the database's volume.}
  checkout: {type: path, description: This checkout; another one's things are listed as C(foreign).}
  compare: {type: bool, default: false, description: Compare with the definition, too.}
  project_dir: {type: path, description: Folder of the compose files.}
  files: {type: list, elements: str, default: [], description: Compose files.}
"""

COMPOSE = "com.docker.compose."
OWN = "trading-signal-processor."
ADOPTED = ".run/adopted-volume"
UNKNOWN = "something without a checkout"


def docker(*argv: str, cwd: str | None = None, stdin: str | None = None) -> str:
    """Return stdout, also of a command that failed because one of several objects does not exist."""
    argv = ("docker", *argv)
    return subprocess.run(argv, capture_output=True, text=True, check=False, cwd=cwd, input=stdin).stdout


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
        "checkout": labels.get(f"{COMPOSE}project.working_dir", ""),
        "project": labels.get(f"{COMPOSE}project", ""),
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
    }


def health_of(container: dict[str, Any]) -> dict[str, Any]:
    """Ask the running application itself, by the port its container publishes."""
    if container.get("state") != "running" or "80" not in container["ports"]:
        return {"status": "absent", "version": "", "code": 0}
    url = f"http://127.0.0.1:{container['ports']['80']}/health"
    try:
        with urllib.request.urlopen(url, timeout=3) as answer:
            code, body = answer.status, answer.read()
    except urllib.error.HTTPError as error:
        code, body = error.code, error.read()
    except OSError:
        return {"status": "unhealthy", "version": "", "code": 0}
    try:
        document = json.loads(body)
        return {"status": str(document["status"]), "version": str(document["version"]), "code": code}
    except (ValueError, KeyError, TypeError):
        return {"status": "unhealthy", "version": "", "code": code}


def foreign(
    checkout: Path, containers: dict[str, dict[str, Any]], volume_name: str, volume: dict[str, Any]
) -> list[dict[str, str]]:
    """List what another checkout made. Labels cannot change: a file remembers an adopted volume."""
    here = {str(checkout), str(checkout.resolve())}
    found = [
        {"what": f"container {container['name']}", "owner": container["checkout"] or UNKNOWN}
        for container in containers.values()
        if container["checkout"] not in here
    ]
    if volume and volume["checkout"] not in here and not (checkout / ADOPTED).exists():
        found.append({"what": f"volume {volume_name}", "owner": volume["checkout"] or UNKNOWN})
    return found


def wanted(module: AnsibleModule) -> dict[str, dict[str, str]]:
    """Return, per service, the hash of its definition and the id of its image as compose uses them now."""
    compose = ("compose", "--project-directory", module.params["project_dir"])
    files = [part for file in module.params["files"] for part in ("-f", file)]
    definition = docker(*compose, *files, "config", "--format", "json", cwd=module.params["project_dir"])
    # Hashes of the resolved definition: those of the files leave env_file out and would always differ.
    lines = docker(*compose, "-f", "-", "config", "--hash", "*", stdin=definition).splitlines()
    hashes = dict(line.split() for line in lines)
    config = json.loads(definition)
    images = {name: service["image"] for name, service in config["services"].items()}
    found = json.loads(docker("image", "inspect", *images.values()) or "[]")
    ids = {tag: image["Id"] for image in found for tag in image["RepoTags"]}
    return {
        name: {"definition": hashes[name], "image_id": ids.get(image, "")} for name, image in images.items()
    }


def main() -> None:
    """Run the module."""
    module = AnsibleModule(
        argument_spec={
            "project": {"type": "str", "required": True},
            "services": {"type": "dict", "required": True},
            "app": {"type": "str", "required": True},
            "volume": {"type": "str", "required": True},
            "checkout": {"type": "path"},
            "compare": {"type": "bool", "default": False},
            "project_dir": {"type": "path"},
            "files": {"type": "list", "elements": "str", "default": []},
        },
        supports_check_mode=True,
        required_if=[("compare", True, ("project_dir", "files"))],
    )
    services, project = module.params["services"], module.params["project"]
    mine = docker("ps", "-aq", "--no-trunc", "--filter", f"label={COMPOSE}project={project}").split()
    names = [service["container"] for service in services.values()]
    raw = json.loads(docker("container", "inspect", *dict.fromkeys([*names, *mine])) or "[]")
    by_name = {entry["Name"].lstrip("/"): entry for entry in raw}
    containers = {
        service: container_facts(by_name[spec["container"]])
        for service, spec in services.items()
        if spec["container"] in by_name
    }
    labels = {name: entry["Config"]["Labels"] or {} for name, entry in by_name.items()}
    orphans = [
        name
        for name, label in labels.items()
        if label.get(f"{COMPOSE}project") == project
        and label.get(f"{COMPOSE}oneoff") != "True"
        and label.get(f"{COMPOSE}service") not in services
    ]
    changed = []
    if module.params["compare"]:
        for service, target in wanted(module).items():
            now = containers.get(service, {})
            same = all(now.get(key) == value for key, value in target.items())
            if not (same and now["state"] == "running" and now["health"] != "unhealthy"):
                changed.append(service)
    volume = volume_facts(module.params["volume"])
    checkout = module.params["checkout"]
    module.exit_json(
        changed=False,
        stack={
            "containers": containers,
            "summary": [
                {key: container[key] for key in ("name", "state", "health", "image")}
                for container in containers.values()
            ],
            "volume": volume,
            "foreign": foreign(Path(checkout), containers, module.params["volume"], volume)
            if checkout
            else [],
            "orphans": sorted(orphans),
            "changed": changed,
            "health": health_of(containers.get(module.params["app"], {})),
            "now": time.time(),
        },
    )


if __name__ == "__main__":
    main()
