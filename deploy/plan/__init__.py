"""What a flow is going to do, step by step, and what became of it. Pure.

The playbooks report what decides (role `plan`, `facts.py` here); `flows.py` makes the ordered steps of it.
`--check` shows that list; a run makes the same list before its first step and says at its end what went
otherwise.
"""
