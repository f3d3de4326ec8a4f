"""Approved signals on their way to the destination: every attempt is written down before it is made."""
