"""Give the stack's folders their modes and owners, and leave what git tracks as it is (SPEC §6)."""

from __future__ import annotations

from pathlib import Path

from ansible.module_utils.basic import AnsibleModule
from ansible.module_utils.tree import in_line

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


def main() -> None:
    """Run the module."""
    module = AnsibleModule(
        argument_spec={
            "path": {"type": "path", "required": True},
            "rules": {"type": "list", "elements": "dict", "required": True},
        },
        supports_check_mode=True,
    )
    try:
        changed = in_line(Path(module.params["path"]), module.params["rules"], check=module.check_mode)
    except PermissionError as error:
        module.fail_json(
            msg=f"The mode of {error.filename} cannot be set by this user: it belongs to somebody else. "
            f"Type: sudo chown -R $(id -u) {error.filename}, or run this as root."
        )
    module.exit_json(changed=bool(changed), paths=changed[:20])


if __name__ == "__main__":
    main()
