"""Which signals are sent on, and why."""
