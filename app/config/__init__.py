"""The configuration in force: its types, its files, and the revision that processes agree on."""
