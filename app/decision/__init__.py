"""Which signals are sent on, and why (SPEC §9)."""
