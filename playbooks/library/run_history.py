"""Read the journal of a checkout (SPEC §2, --history). Changes nothing."""

from __future__ import annotations

from pathlib import Path

from ansible.module_utils.basic import AnsibleModule
from ansible.module_utils.onhost import journal, lock

DOCUMENTATION = """
module: run_history
short_description: The last runs on a checkout, newest first
description: [Leaves them in C(host_report.history); C(running) marks the one that holds the lock.]
options:
  path: {type: path, required: true, description: The checkout.}
  count: {type: int, default: 50, description: How many.}
"""


def main() -> None:
    """Run the module."""
    module = AnsibleModule(
        argument_spec={
            "path": {"type": "path", "required": True},
            "count": {"type": "int", "default": 50},
        },
        supports_check_mode=True,
    )
    project = Path(module.params["path"])
    try:
        found = journal.runs(project, module.params["count"])
        holder = lock.look(project) or {}
    except OSError as error:
        module.fail_json(msg=f"The journal in {project}/{lock.FOLDER} cannot be read: {error}.")
    for run in found:
        run["running"] = run["run_id"] == holder.get("run_id") and not holder["dead"]
    module.exit_json(changed=False, ansible_facts={"host_report": {"history": found}})


if __name__ == "__main__":
    main()
