"""Alarms: the conditions that a person should act on."""
