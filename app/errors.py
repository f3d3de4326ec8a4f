"""What is told to the operator in a message instead of a traceback: the end of the program, or a refusal."""


class RefusedError(Exception):
    """What a person asked for is not done. The text says why, and what to do next.

    It is the answer (`admin/problems.py` knows the statuses) and the line in the actions log, in English;
    `admin/reasons.py` tells it in the reader's language.
    """


class NoSuchError(RefusedError):
    """What was named is not there."""


class ConflictError(RefusedError):
    """It can be asked for, but not as things stand now."""


class ConfigurationError(Exception):
    """A variable or a configuration file is wrong: one line with what, where, what is allowed (exit 78)."""


class ConfigFileError(ConfigurationError, RefusedError):
    """A configuration file is wrong. `place` is the value's path in it, `line` counts from 1, if known."""

    def __init__(self, file: str, reason: str, *, place: str = "", line: int | None = None) -> None:
        self.file, self.reason, self.place, self.line = file, reason, place, line
        where = [f"config/{file}", f"line {line}" if line else "", place]
        super().__init__(": ".join(part for part in (*where, reason) if part))


class MigrationError(Exception):
    """The schema could not be brought up to date; the text says why and what to do (exit 1)."""
