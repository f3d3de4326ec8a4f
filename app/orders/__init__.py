"""Approved signals on their way to the destination, each attempt written down (SPEC §10)."""
