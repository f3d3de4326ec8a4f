"""What ends the program with a message for the operator instead of a traceback."""


class ConfigurationError(Exception):
    """A variable or a configuration file is wrong: one line with what, where, what is allowed (exit 78)."""


class MigrationError(Exception):
    """The schema could not be brought up to date; the text says why and what to do (exit 1)."""
