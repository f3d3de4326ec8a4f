"""Decisions: which signals are sent on, and the reprocessing of rejected buys."""
