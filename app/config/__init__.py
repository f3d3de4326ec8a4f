"""The current configuration: its types, its files, and the revision that all processes share."""
