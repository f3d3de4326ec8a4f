"""What `run.py` does and keeps on a host: the processes of a run, its lock, the journal.

The very same files are here and, among the module_utils of our collection, on hosts that are reached by
Ansible (a link there leads here). So: standard library only, and nothing that Python 3.9 does not know.
"""
