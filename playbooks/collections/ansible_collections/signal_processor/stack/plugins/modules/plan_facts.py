"""What a flow is going to find: everything that decides its steps, at one moment. Changes nothing.

The plan of `--check` and the one that a run notes at its start are made from this. Each answer comes from the
code that decides when the step is carried out.
"""

from __future__ import annotations

import subprocess
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

from ansible_collections.signal_processor.stack.plugins.module_utils import stack, tree, versions
from ansible_collections.signal_processor.stack.plugins.module_utils.entry import Failure, Module
from ansible_collections.signal_processor.stack.plugins.module_utils.git_checkout import GitError, names
from ansible_collections.signal_processor.stack.plugins.module_utils.onhost import edge

DOCUMENTATION = """
module: plan_facts
short_description: The stack and its definition, its folders, its versions, its schema and its images
description:
  - Returns C(stack) as M(stack_facts) does with C(compare), and C(seen).
options:
  services: {type: dict, required: true, description: "Service name to {container, ...}."}
  volume: {type: str, required: true, description: "The database's volume, unless .env names another one."}
  leaving: {type: list, elements: str, default: [], description: Containers and volumes that count as absent.}
  project_dir: {type: path, required: true, description: The checkout.}
  files: {type: list, elements: str, required: true, description: Compose files.}
  settings: {type: path, default: "", description: A folder whose .env counts instead of the checkout's.}
  rules: {type: list, elements: dict, required: true, description: Modes and owners, as for M(tree_modes).}
  version: {type: str, required: true, description: The version that is deployed.}
  commit: {type: str, default: "", description: Its commit.}
  tree: {type: str, default: "", description: "Commit whose migrations count; empty: the checkout as it is."}
  withdraw: {type: bool, default: false, description: The version before is left on purpose.}
  keep: {type: int, required: true, description: Versions whose images are kept.}
"""

BASES = tuple(f"trading-signal-processor/base-{role}" for role in ("python", "postgres", "edge"))
MIGRATIONS = "app/db/migrations"
APPLIED = "SELECT migration_id FROM _pogo_migration"


def password(config: dict[str, Any], container: str) -> str:
    """Say whether the database's container was made with the password of .env: same, differs or unknown."""
    listing = stack.docker(
        "container", "inspect", "--format", "{{range .Config.Env}}{{println .}}{{end}}", container
    )
    had = dict(line.partition("=")[::2] for line in listing.splitlines()).get("POSTGRES_PASSWORD")
    if had is None or not config:
        return "unknown"
    wanted = config["services"][stack.DATABASE]["environment"]["POSTGRES_PASSWORD"]
    return "same" if wanted == had else "differs"


def known_migrations(root: Path, commit: str) -> set[str] | None:
    """Return the migrations of the commit, or of the checkout as it is; None where neither is here."""
    try:
        files = (
            names(root, "ls-tree", "-r", "-z", "--name-only", "--full-tree", commit, "--", MIGRATIONS)
            if commit
            else [path.name for path in (root / MIGRATIONS).iterdir()]
        )
    except (GitError, FileNotFoundError):
        return None
    return {Path(name).stem for name in files if name.endswith(".sql")}


def applied_migrations(container: dict[str, Any]) -> set[str] | None:
    """Return the migrations that the database has; None where it does not answer."""
    if container.get("state") != "running":
        return None
    psql = ["psql", "-U", "postgres", "-d", "trading_signals", "-qAtXc", APPLIED]
    done = subprocess.run(
        ["docker", "exec", container["name"], *psql], capture_output=True, text=True, check=False
    )
    return set(done.stdout.split()) if done.returncode == 0 else None


def record(root: Path, built: dict[str, str], params: dict[str, Any]) -> dict[str, Any]:
    """Return what noting this version will come to: whether all is noted, and whose images go."""
    image_id = built.get(params["version"], "")
    entry = {"version": params["version"], "commit": params["commit"], "image_id": image_id, "state": "good"}
    found = versions.load(root)
    after = versions.noted(found, entry, live=True, withdraw=params["withdraw"])
    return {
        "settled": versions.settled(found, entry),
        "removes": [one for one in versions.to_remove(after, params["keep"]) if one in built],
    }


def images() -> dict[str, list[str]]:
    """Return the names of the project's other images: those of older bases, and ids without a name."""
    older = []
    for base in BASES:
        found = versions.images_of(base)
        older += [
            f"{base}:{tag}" for tag, one in found.items() if tag != "<none>" and one != found.get("current")
        ]
    label = f"label={stack.COMPOSE}project={stack.PROJECT}"
    nameless = stack.docker("images", "--quiet", "--filter", "dangling=true", "--filter", label).split()
    return {"older_bases": older, "nameless": nameless}


def rubbish(root: Path) -> list[str]:
    """Return what `--rebuild` counts as temporary: see roles/project/tasks/tidy.yml."""
    data = root / "data"
    found = list(data.iterdir()) if data.is_dir() else []
    return [str(path.relative_to(root)) for path in [*found, *(root / "backups").rglob("*.partial")]]


def answer(params: dict[str, Any]) -> dict[str, Any]:
    """Look at everything. Raises Failure."""
    root = Path(params["project_dir"])
    found = stack.look(
        params["services"],
        params["volume"],
        params["settings"] or params["project_dir"],
        leaving=params["leaving"],
    )
    container = found["containers"].get(stack.DATABASE, {})
    # What Docker is asked takes a tenth of a second each, and most of that is waiting.
    with ThreadPoolExecutor() as beside:
        has = beside.submit(applied_migrations, container)
        of_app = beside.submit(versions.images_of, edge.APP)
        others = beside.submit(images)
        config = stack.resolved(params["project_dir"], params["files"], params["settings"])
        # Without .env nothing can be resolved: it is made first, with other secrets, and everything after it.
        targets = (
            stack.wanted(config, params["project_dir"]) if config else {one: {} for one in params["services"]}
        )
    known, applied, built = known_migrations(root, params["tree"]), has.result(), of_app.result()
    try:
        seen = {
            "image": params["version"] in built,
            "modes": tree.in_line(root, params["rules"], check=True),
            "password": password(config, params["services"][stack.DATABASE]["container"]),
            "migrations": sorted(known) if known is not None else None,
            "applied": sorted(applied) if applied is not None else None,
            "record": record(root, built, params),
            "images": {"app": [tag for tag in built if tag != "<none>"], **others.result()},
            "rubbish": rubbish(root),
        }
    except (OSError, ValueError) as error:
        raise Failure(
            f"What lies in {root} cannot be read: {error}. Correct that, then run this again."
        ) from error
    changed = stack.differences(found["containers"], targets)
    found |= {"changed": changed, "targets": targets if config else {}}
    return {"changed": False, "stack": found, "seen": seen}


MODULE = Module(
    answer,
    {
        "volume": {"type": "str", "required": True},
        "version": {"type": "str", "required": True},
        "services": {"type": "dict", "required": True},
        "project_dir": {"type": "path", "required": True},
        "files": {"type": "list", "elements": "str", "required": True},
        "rules": {"type": "list", "elements": "dict", "required": True},
        "settings": {"type": "path", "default": ""},
        "leaving": {"type": "list", "elements": "str", "default": []},
        "commit": {"type": "str", "default": ""},
        "tree": {"type": "str", "default": ""},
        "withdraw": {"type": "bool", "default": False},
        "keep": {"type": "int", "required": True},
    },
    looks=True,
)


if __name__ == "__main__":
    MODULE.run()
