"""Give the stack's folders their modes and owners, and leave what git tracks as it is (SPEC §6)."""

from __future__ import annotations

import os
import stat
import subprocess
from pathlib import Path
from typing import TYPE_CHECKING, Any

from ansible.module_utils.basic import AnsibleModule

if TYPE_CHECKING:
    from collections.abc import Iterator

DOCUMENTATION = """
module: tree_modes
short_description: Modes and owners of whole folders in one pass
options:
  path: {type: path, required: true, description: The checkout.}
  rules:
    type: list
    elements: dict
    required: true
    description: "Entries {path, folders, files, owner}: octal strings; owner a user id, -1 leaves it."
"""


def tracked(root: Path) -> set[str]:
    """Return what git tracks; a changed mode there would make the tree dirty."""
    argv = ["git", "-c", f"safe.directory={root}", "-C", str(root), "ls-files", "-z"]
    try:
        return set(subprocess.run(argv, capture_output=True, text=True, check=False).stdout.split("\0"))
    except FileNotFoundError:
        return set()


def entries(path: Path) -> Iterator[Path]:
    """Yield the path and everything below it; links are neither followed nor yielded."""
    if path.is_symlink() or not path.exists():
        return
    yield path
    if path.is_dir():
        for folder, folders, files in os.walk(path):
            yield from (
                entry for name in [*folders, *files] if not (entry := Path(folder, name)).is_symlink()
            )


def apply(entry: Path, rule: dict[str, Any], *, check: bool) -> bool:
    """Bring one entry in line; return whether it was not. A file that ends meanwhile is nobody's business."""
    try:
        now = entry.stat()
        wanted = int(rule["folders"] if stat.S_ISDIR(now.st_mode) else rule["files"], 8)
        owner = int(rule.get("owner", -1))
        wrong_mode, wrong_owner = stat.S_IMODE(now.st_mode) != wanted, owner not in (-1, now.st_uid)
        if not check and wrong_mode:
            entry.chmod(wanted)
        if not check and wrong_owner:
            os.chown(entry, owner, owner)
    except FileNotFoundError:
        return False
    return wrong_mode or wrong_owner


def main() -> None:
    """Run the module."""
    module = AnsibleModule(
        argument_spec={
            "path": {"type": "path", "required": True},
            "rules": {"type": "list", "elements": "dict", "required": True},
        },
        supports_check_mode=True,
    )
    root = Path(module.params["path"])
    kept = tracked(root)
    changed = []
    try:
        for rule in module.params["rules"]:
            for entry in entries(root / rule["path"]):
                name = str(entry.relative_to(root))
                if name not in kept and apply(entry, rule, check=module.check_mode):
                    changed.append(name)
    except PermissionError as error:
        module.fail_json(
            msg=f"The mode of {error.filename} cannot be set by this user: it belongs to somebody else. "
            f"Type: sudo chown -R $(id -u) {error.filename}, or run this as root."
        )
    module.exit_json(changed=bool(changed), paths=changed[:20])


if __name__ == "__main__":
    main()
