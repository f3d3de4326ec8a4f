"""The controller behind `run.py`: one flag becomes one playbook run, watched and summed up.

`cli` and everything it imports at module level use the standard library only: they answer `--help` and usage
errors before the environment exists. What needs Ansible or rich is imported by `flow`, inside `.venv`.
"""
