"""`-e/--extra-vars` and the extra variables of the options, as JSON files for ansible-playbook.

Files and not arguments: everyone on the machine can read arguments, and Ansible 2.19 wants real booleans in
conditions.
"""

from __future__ import annotations

import json
from pathlib import Path
from typing import TYPE_CHECKING, Any

from deploy import vault

if TYPE_CHECKING:
    from collections.abc import Sequence

    from deploy.actions import Action
    from deploy.request import Request

_BOOLEANS = {"true": True, "false": False}


class ExtraVarsError(Exception):
    """A `-e` that cannot be understood; one line for the operator (exit 2)."""


def parse(text: str) -> dict[str, Any]:
    """Variables of one `-e`: a JSON object, or `k=v k2='v 2'`. In the latter true and false are booleans.

    Raises ExtraVarsError. `@file` is not handled here: `arguments` hands it to Ansible as it is.
    """
    if text.lstrip().startswith("{"):
        try:
            found = json.loads(text)
        except json.JSONDecodeError as error:
            raise ExtraVarsError(f"-e {text}: not valid JSON: {error}") from error
        return dict(found)

    from ansible.errors import AnsibleError  # noqa: PLC0415 - costs half a second, and few runs have -e
    from ansible.parsing.splitter import parse_kv  # noqa: PLC0415

    try:
        pairs = parse_kv(text)
    except AnsibleError as error:
        raise ExtraVarsError(f"-e {text}: {error}") from error
    if not pairs or "_raw_params" in pairs:
        raise ExtraVarsError(f"-e {text}: write k=v, a JSON object, or @file")
    return {key: _BOOLEANS.get(str(value).lower(), str(value)) for key, value in pairs.items()}


# The variable for what a flow's flag takes.
ARGUMENTS = {
    "rollback": "versions_wanted",
    "restore": "database_restore_file",
    "restore_config": "config_backup_wanted",
    "import_legacy": "legacy_source",
    "maintenance": "compose_maintenance",
}

# The variable for where a path that its flag takes begins.
_FOLDERS = {
    "restore": "database_restore_folder",
    "restore_config": "config_backup_folder",
    "import_legacy": "legacy_folder",
}


def extra_variables(request: Request, action: Action) -> dict[str, Any]:
    """Return what the controller passes to every playbook (the contract in docs/architecture.md)."""
    found: dict[str, Any] = {"run_id": request.run_id, "run_flow": action.name, **action.extra_variables}
    if request.install_docker:
        found["docker_install"] = True
    if request.adopt:
        found["project_adopt"] = True
    if action.name in ARGUMENTS:
        found[ARGUMENTS[action.name]] = request.argument
    if not request.rollback:
        found["versions_no_rollback"] = True
    if request.checkout:
        found["run_checkout"] = request.checkout
    if request.commit:
        found["source_commit"] = request.commit
    if action.name in _FOLDERS:
        found[_FOLDERS[action.name]] = str(Path.cwd())
    if request.keep:
        found["database_keep"] = request.keep
    if request.no_dump:
        found["database_no_dump"] = True
    return found


def values(given: Sequence[str]) -> dict[str, Any]:
    """All variables of the command line, those in files included, merged. Raises ExtraVarsError."""
    from ansible.errors import AnsibleError  # noqa: PLC0415

    merged = check(given)
    for text in given:
        if text.startswith("@"):
            try:
                merged.update(vault.loader().load_from_file(text[1:]) or {})
            except (AnsibleError, ValueError, TypeError) as error:
                raise ExtraVarsError(f"-e {text}: cannot be read: {error}") from error
    return merged


def check(given: Sequence[str]) -> dict[str, Any]:
    """All variables typed on the command line, merged. Raises ExtraVarsError, also for a missing `@file`."""
    merged: dict[str, Any] = {}
    for text in given:
        if text.startswith("@"):
            if not Path(text[1:]).is_file():
                raise ExtraVarsError(f"-e {text}: no such file")
        else:
            merged.update(parse(text))
    return merged


def arguments(own: dict[str, Any], given: Sequence[str], folder: Path) -> list[str]:
    """`-e @file` arguments in order of precedence: our own first, so that what the operator typed wins.

    `folder` must be private (0700); the files are written there, 0600.
    """
    files: list[str] = []
    sources: list[dict[str, Any] | str] = [own, *given]
    for position, item in enumerate(sources):
        if isinstance(item, str) and item.startswith("@"):
            files.append(str(Path(item[1:]).resolve()))
            continue
        path = folder / f"extra-vars-{position}.json"
        path.touch(mode=0o600)
        path.write_text(json.dumps(parse(item) if isinstance(item, str) else item), "utf-8")
        files.append(str(path))
    return [argument for name in files for argument in ("-e", f"@{name}")]
