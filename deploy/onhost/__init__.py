"""What `run.py` does and keeps on a host: the processes of a run, its lock, the journal.

The very same files are here and, as `ansible.module_utils.onhost`, on hosts that are reached by Ansible (the
link in `playbooks/module_utils`). So: standard library only, and nothing that Python 3.9 does not know.
"""
