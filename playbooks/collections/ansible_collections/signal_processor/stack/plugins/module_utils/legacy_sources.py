"""The replaced system as a source: what SOURCE of `--import-legacy` is, and whether it is that system."""

from __future__ import annotations

import contextlib
import json
import re
from pathlib import Path
from typing import TYPE_CHECKING, Any

from ansible_collections.signal_processor.stack.plugins.module_utils import replaced
from ansible_collections.signal_processor.stack.plugins.module_utils.legacy_dumps import (
    CLUSTER,
    DATABASE,
    DUMPS,
    SourceError,
    docker,
    manifest_of,
)
from ansible_collections.signal_processor.stack.plugins.module_utils.onhost import runs

if TYPE_CHECKING:
    from collections.abc import Iterable, Sequence

COMPOSE = "com.docker.compose."
OWN_KIND = "trading-signal-processor.kind"  # a label of each volume that a flow made
STOPPED = (
    ".run/replaced-stopped.json"  # restart policies of what a run stopped, until it runs again or is gone
)
SETTINGS = ".env"
SCREENER_FILES = ("finviz_config.json", "config/finviz_config.json")
DEFINITIONS = ("docker-compose.yml", "docker-compose.yaml", "compose.yaml", "compose.yml")


def find(source: str, folder: str, checkout: Path) -> dict[str, Any]:
    """Return what SOURCE is: a file or a folder as seen from `folder`, else a container or a compose project.

    Raises SourceError.
    """
    path = Path(folder, source)
    if path.is_file():
        about = manifest_of(path)
        folder = Path(about["folder"]) if about.get("folder") else None
        return {"kind": "dump", "path": str(path.resolve()), **_files(folder), "what": str(path)}
    if path.is_dir():
        return _of_folder(path, checkout)
    if "/" in source:
        raise SourceError("there is no such file or folder")
    return _of_name(source, checkout)


def _inspected(*filters: str) -> list[dict[str, Any]]:
    ids = docker("ps", "--all", "--quiet", "--no-trunc", *filters).split()
    found: list[dict[str, Any]] = json.loads(docker("container", "inspect", *ids)) if ids else []
    return found


def _labels(raw: dict[str, Any]) -> dict[str, str]:
    return dict(raw["Config"]["Labels"] or {})


def _is_of(raw: dict[str, Any], checkout: Path) -> bool:
    """Whether a container is of this checkout's stack, or was made by one of its flows. Pure."""
    labels = _labels(raw)
    here = labels.get(f"{COMPOSE}project.working_dir", "") in {str(checkout), str(checkout.resolve())}
    return here or runs.LABEL in labels


def project_of(folder: Path) -> str:
    """Return the name of the compose project in a folder: as its files say, else by the folder's name."""
    with contextlib.suppress(OSError):
        text = (folder / SETTINGS).read_text(errors="replace")
        if found := re.search(r"^COMPOSE_PROJECT_NAME[ \t]*=[ \t]*['\"]?([a-z0-9_-]+)", text, re.MULTILINE):
            return found[1]
    for name in DEFINITIONS:
        with contextlib.suppress(OSError):
            text = (folder / name).read_text(errors="replace")
            if found := re.search(r"^name:[ \t]*['\"]?([a-z0-9_-]+)", text, re.MULTILINE):
                return found[1]
    return re.sub(r"[^a-z0-9_-]", "", folder.name.lower()).lstrip("_-")


def _of_folder(folder: Path, checkout: Path) -> dict[str, Any]:
    places = dict.fromkeys((str(folder), str(folder.resolve())))  # compose notes the path as it was typed
    folder = folder.resolve()
    if folder == checkout.resolve():
        raise SourceError("it is this checkout itself, not that of the replaced system")
    if (folder / "toc.dat").exists():
        raise SourceError(
            "it is a dump in the format `directory`: make one in the format `custom` (pg_dump -Fc)"
        )
    label = f"label={COMPOSE}project.working_dir="
    containers = [raw for place in places for raw in _inspected("--filter", f"{label}{place}")]
    if containers:
        return _stack(containers, folder)
    volume = f"{project_of(folder)}_postgres_data"
    try:
        docker("volume", "inspect", volume)
    except SourceError as error:
        raise SourceError(
            f"no container was made from it, and there is no volume {volume}: start that stack once, or give "
            "the name of its database's container, or a pg_dump"
        ) from error
    return {**_nothing_runs(), **_files(folder), "volume": volume, "what": f"volume {volume}"}


def _of_name(name: str, checkout: Path) -> dict[str, Any]:
    """Return the stack that has a container of this name, or whose compose project has it."""
    exact = [raw for raw in _inspected("--filter", f"name=^{name}$") if not _is_of(raw, checkout)]
    labels = _labels(exact[0]) if exact else {f"{COMPOSE}project": name}
    project, folder = labels.get(f"{COMPOSE}project"), labels.get(f"{COMPOSE}project.working_dir")
    if exact and not project:
        return _stack(exact, None)
    containers = [
        raw
        for raw in _inspected("--filter", f"label={COMPOSE}project={project}")
        if not _is_of(raw, checkout) and folder in {None, _labels(raw).get(f"{COMPOSE}project.working_dir")}
    ]
    if not containers:
        return _dumped_before(name, checkout)
    folder = _labels(containers[0]).get(f"{COMPOSE}project.working_dir")
    return _stack(containers, Path(folder) if folder else None)


def _dumped_before(name: str, checkout: Path) -> dict[str, Any]:
    """Return the last dump that a run made of a stack of this name; it had removed the containers since."""
    for dump in sorted((checkout / DUMPS).glob("*.dump"), reverse=True):
        if name in manifest_of(dump).get("names", []):
            return {**find(str(dump), "", checkout), "what": f"{dump}, which was made of {name}"}
    raise SourceError(
        "there is no file, folder, container or compose project of that name; give the folder of the "
        "replaced system, the name of its database's container (trading-db), or a pg_dump of it"
    )


def with_stopped(source: dict[str, Any], checkout: Path) -> dict[str, Any]:
    """Return a stack with `cut_off`: what a killed run had stopped, noted in `note`. It counts as running."""
    try:
        noted = json.loads((checkout / STOPPED).read_bytes())
    except (OSError, ValueError):
        noted = {}
    policies = {name: policy for name, policy in noted.items() if name in source["remove"]}
    cut_off = [name for name in policies if name not in source["stop"]]
    return {
        **source,
        "note": str(checkout / STOPPED),
        "cut_off": cut_off,
        "stop": [*source["stop"], *cut_off],
        "policies": source["policies"] | policies,
    }


def _nothing_runs() -> dict[str, Any]:
    return {
        "kind": "stack",
        "container": "",
        "is_running": False,
        "image": "",
        "names": [],
        "remove": [],
        "stop": [],
        "policies": {},
        "ports": [],
    }


def _stack(containers: Sequence[dict[str, Any]], folder: Path | None) -> dict[str, Any]:
    """Return what is to be known of a stack from its containers. Raises SourceError."""
    servers = {
        raw["Id"]: (mount.get("Name") or mount["Source"])
        for raw in containers
        for mount in raw["Mounts"]
        if mount["Destination"] == CLUSTER
    }
    if len(servers) != 1:
        names = ", ".join(raw["Name"].lstrip("/") for raw in containers)
        found = "none" if not servers else f"{len(servers)}"
        raise SourceError(f"of its containers ({names}) {found} has a database in {CLUSTER}: give a pg_dump")
    (server,) = (raw for raw in containers if raw["Id"] in servers)
    name = server["Name"].lstrip("/")
    made_by_compose = [raw for raw in containers if _labels(raw).get(f"{COMPOSE}project")]
    running = [raw for raw in containers if raw["State"]["Running"]]
    return {
        "kind": "stack",
        "what": f"container {name}",
        "container": name,
        "is_running": server["State"]["Running"],
        "image": server["Image"],
        "volume": servers[server["Id"]],
        "names": sorted({name, *(_labels(raw).get(f"{COMPOSE}project", name) for raw in containers)}),
        "remove": [raw["Name"].lstrip("/") for raw in made_by_compose],
        "stop": [raw["Name"].lstrip("/") for raw in running if raw is not server],
        "policies": {
            raw["Name"].lstrip("/"): raw["HostConfig"]["RestartPolicy"]["Name"] or "no" for raw in running
        },
        "ports": sorted(
            int(binding["HostPort"])
            for raw in running
            for bindings in (raw["HostConfig"]["PortBindings"] or {}).values()
            for binding in bindings or []
            if binding["HostPort"].isdigit()
        ),
        **_files(folder),
    }


def _files(folder: Path | None) -> dict[str, Any]:
    """Return the folder and its files that are read."""
    if folder is None:
        return {"folder": "", "settings": "", "screener": ""}
    screener = next((folder / name for name in SCREENER_FILES if (folder / name).is_file()), None)
    settings = folder / SETTINGS
    return {
        "folder": str(folder),
        "settings": str(settings) if settings.is_file() else "",
        "screener": str(screener) if screener else "",
    }


def require_old(psql: Iterable[str]) -> None:
    """Check that a running database is that of the replaced system. Raises SourceError."""
    if docker(*psql, "-X", "-qAtc", replaced.HAS_OLD_TABLES).strip() != "t":
        raise SourceError(f"its database {DATABASE} is not one of the replaced system: no signals.signal_id")


def require_old_volume(volume: str, image: str) -> None:
    """Check that the volume of a server that does not run is that of the replaced system. Raises SourceError.

    Fails open: one that cannot be read is known once it is dumped.
    """
    labels: dict[str, str] = {}
    with contextlib.suppress(SourceError):  # a folder that is mounted is no volume
        labels = json.loads(docker("volume", "inspect", "--format", "{{json .Labels}}", volume)) or {}
    if OWN_KIND in labels:
        raise SourceError(f"its volume {volume} is one of this system")
    if replaced.in_volume(volume, image) is False:
        raise SourceError(f"its volume {volume} has no database of the replaced system")
