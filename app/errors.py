"""Exceptions whose text is a message to a person, and what is shown of all others.

The text of a library's exception may hold a URL with its token, a row's content, a host's name or a password.
So it is never shown: words, class names and error numbers are. Pure.
"""

import errno
import re
import ssl
import traceback
from collections.abc import Iterator
from typing import ClassVar

from app.signals.reasons import Parameter, Reason, ReasonCode
from app.signals.refusals import Code, RefusalCode


class ReasonError(Exception):
    """An exception that is a reason; its text is the reason's English one."""

    def __init__(self, code: Code, /, **parameters: Parameter) -> None:
        self.reason = Reason(code, **parameters)
        super().__init__(str(self.reason))


class WrongValueError(ReasonError, ValueError):
    """A value is not allowed. The caller that knows its place adds it."""


class RefusedError(ReasonError):
    """A person's request is not carried out. The reason says why, and what to do next.

    It is the answer, with the class's `http_status`, and is stored in the actions log. Every class that is
    raised has a status, its own or its base's.
    """

    http_status: ClassVar[int]


class NoSuchError(RefusedError):
    """What was named does not exist."""

    http_status = 404


class ConflictError(RefusedError):
    """The request is valid, but not in the current state."""

    http_status = 409


class ConfigurationError(Exception):
    """A variable or a configuration file is wrong: one line with what, where, what is allowed (exit 78)."""


class ConfigFileError(ConfigurationError, RefusedError):
    """A configuration file is wrong. `place` is the value's path in it, `line` counts from 1, if known."""

    http_status = 422

    def __init__(self, file: str, fault: Reason, *, place: str = "", line: int | None = None) -> None:
        self.file, self.fault, self.place, self.line = file, fault, place, line
        reason = Reason(RefusalCode.AT, place=place, reason=fault) if place else fault
        reason = Reason(RefusalCode.LINE, line=line, reason=reason) if line else reason
        RefusedError.__init__(self, RefusalCode.AT, place=f"config/{file}", reason=reason)


class MigrationError(Exception):
    """The schema could not be brought up to date; the text says why and what to do (exit 1)."""


# Exceptions of ours have texts that were written to be shown.
_OURS = (ReasonError, ConfigurationError, MigrationError)
# The names of classes are code: those of these packages may be shown, others by their nearest base class.
_NAMED = frozenset({"aiohttp", "app", "asyncio", "asyncpg", "builtins", "idna", "msgspec", "socket", "ssl"})
_SQLSTATE = re.compile(r"[0-9A-Z]{5}")
_MOST_CAUSES = 10
# By the name of the class or of one of its bases, so that no client has to be imported for its exceptions.
_CODES = {
    "ClientConnectorDNSError": ReasonCode.HOST_NOT_FOUND,
    "gaierror": ReasonCode.HOST_NOT_FOUND,
    "ClientSSLError": ReasonCode.NOT_SECURE,
    "SSLError": ReasonCode.NOT_SECURE,
    "ServerFingerprintMismatch": ReasonCode.NOT_SECURE,
    "InvalidURL": ReasonCode.URL_NOT_VALID,
    "ServerDisconnectedError": ReasonCode.CLOSED,
    "ClientResponseError": ReasonCode.NOT_HTTP,
    "ClientPayloadError": ReasonCode.NOT_HTTP,
    "UnicodeError": ReasonCode.NOT_ENCODABLE,
}
_ERRNO_CODES = {
    errno.ECONNREFUSED: ReasonCode.CONNECTION_REFUSED,
    errno.ECONNRESET: ReasonCode.CONNECTION_RESET,
    errno.EPIPE: ReasonCode.CONNECTION_RESET,
    errno.EHOSTUNREACH: ReasonCode.HOST_UNREACHABLE,
    errno.ENETUNREACH: ReasonCode.NETWORK_UNREACHABLE,
    errno.ETIMEDOUT: ReasonCode.TIMED_OUT,
    errno.EMFILE: ReasonCode.TOO_MANY_FILES,
    errno.ENOSPC: ReasonCode.DISK_FULL,
}
_FILE_CODES = {
    errno.ENOSPC: RefusalCode.NO_SPACE,
    errno.EACCES: RefusalCode.NOT_PERMITTED,
    errno.EROFS: RefusalCode.READ_ONLY,
    errno.ENOENT: RefusalCode.NO_FILE,
    errno.EISDIR: RefusalCode.A_FOLDER,
    errno.ENOTDIR: RefusalCode.NOT_A_FOLDER,
}


def describe(error: BaseException) -> str:
    """Return what happened in plain words, then class and code in brackets: for a log, a page.

    Example: `connection refused (ClientConnectorError, ECONNREFUSED)`.
    """
    return str(failure(error))


def failure(error: BaseException) -> Reason:
    """Return what happened as a reason; its English text is that of `describe`."""
    name, number, code = class_name(error), _code(error), _reason_code(error)
    if code is None:
        return Reason(ReasonCode.OTHER, text=f"{name} ({number})" if number else name)
    return Reason(code, code=f"{name}, {number}" if number else name)


def file_failure(error: OSError) -> Reason:
    """Return why a file cannot be read or written."""
    code = _FILE_CODES.get(error.errno) if error.errno else None
    return Reason(code) if code else failure(error)


def class_name(error: BaseException) -> str:
    """Return the exception's class, or its nearest base class that may be shown."""
    return next(kind.__name__ for kind in type(error).__mro__ if kind.__module__.partition(".")[0] in _NAMED)


def trace(error: BaseException) -> str:
    """Return a traceback whose last lines are `describe`: for the log, without the exception's own text."""
    lines = list[str]()
    for number, cause in enumerate(_chain(error)):
        if number:
            lines.append("The cause of the exception above:")
        lines += [line.rstrip("\n") for line in traceback.format_tb(cause.__traceback__)]
        lines.append(f"{class_name(cause)}: {cause}" if isinstance(cause, _OURS) else describe(cause))
    return "\n".join(lines)


def _chain(error: BaseException) -> Iterator[BaseException]:
    one: BaseException | None = error
    for _ in range(_MOST_CAUSES):
        if one is None:
            return
        yield one
        one = one.__cause__ or (None if one.__suppress_context__ else one.__context__)


def _code(error: BaseException) -> str:
    state = getattr(error, "sqlstate", None)
    if isinstance(state, str):
        return state if _SQLSTATE.fullmatch(state) else ""
    return errno.errorcode.get(_errno(error), "")


def _errno(error: BaseException) -> int:
    """Return the error number; a client's connection error has it in its `os_error`."""
    inner = getattr(error, "os_error", error)
    if not isinstance(inner, OSError) or isinstance(inner, ssl.SSLError):  # OpenSSL's numbers are its own
        return 0
    return inner.errno if isinstance(inner.errno, int) else 0


def _reason_code(error: BaseException) -> ReasonCode | None:
    names = (kind.__name__ for kind in type(error).__mro__)
    found = next((_CODES[name] for name in names if name in _CODES), None)
    found = found or _ERRNO_CODES.get(_errno(error))
    if not found and type(error).__name__ == "ClientOSError" and not _errno(error):
        return ReasonCode.CONNECTION_RESET  # the client began to write when the connection was closing
    return found
