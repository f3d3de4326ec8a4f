"""JSON lines on stdout, for our log events and those of libraries."""

import logging
import re
import sys
from collections.abc import Iterable, Mapping, MutableMapping
from contextlib import suppress
from datetime import UTC, datetime
from typing import Any, TextIO, cast

import msgspec
import structlog

from app.errors import trace

_encode = msgspec.json.Encoder(enc_hook=str).encode
_NOT_ASCII = re.compile(r"[^\x00-\x7e]")


def escaped(line: str) -> str:
    """Escape characters that a terminal obeys or a reader cannot see: C1, bidi and invisible characters.

    JSON escapes the controls below 0x20 by itself; its own escapes are used for the rest, so the values stay.
    """
    return line if line.isascii() and "\x7f" not in line else _NOT_ASCII.sub(_escape, line)


def _escape(found: re.Match[str]) -> str:
    if found[0].isprintable():
        return found[0]
    units = found[0].encode("utf-16-be", "surrogatepass")
    return "".join(f"\\u{units[at]:02x}{units[at + 1]:02x}" for at in range(0, len(units), 2))


def _line(_logger: object, _method: str, event: MutableMapping[str, Any]) -> str:
    """Render with time, level and event first: a person reads the start of a line."""
    line = {"time": event.pop("time"), "level": event.pop("level"), "event": event.pop("event")}
    line.update(
        (key, value) for key, value in event.items() if not key.startswith("_") and key != "color_message"
    )
    return escaped(_encode(line).decode())


def _exception(_logger: object, _method: str, event: MutableMapping[str, Any]) -> MutableMapping[str, Any]:
    """Render a traceback without the texts of foreign exceptions, which may hold secrets."""
    found = event.pop("exc_info", None)
    if isinstance(found, tuple):
        found = found[1]
    elif found and not isinstance(found, BaseException):
        found = sys.exc_info()[1]
    if event.get("logger") == "uvicorn.error" and str(event["event"]).startswith("Traceback"):
        # Starlette hands the traceback of a failed start or end on as text, while it handles the exception
        event["event"], found = "the application could not start or end in order", sys.exc_info()[1]
    if found:
        event["exception"] = trace(found)
    if event.get("logger") == "asyncio":  # the lines after its first hold the exception's text
        event["event"] = str(event["event"]).partition("\n")[0]
    if event.get("logger") == "py.warnings":  # FILE:LINE: CLASS, without the library's text
        event["event"] = ": ".join(str(event["event"]).split(": ")[:2])
    return event


class _Output:
    """A stream for log lines that never raises; None where the process was started without one.

    Fails open: a line that cannot be written is dropped. Alerts are stored and orders leave without it.
    """

    def __init__(self, stream: TextIO | None) -> None:
        self._stream = stream

    def write(self, text: str) -> None:
        """Write text; drop it where the stream is closed, its reader is gone, or the disk is full."""
        if self._stream is not None:
            with suppress(OSError, ValueError):
                self._stream.write(text)

    def flush(self) -> None:
        if self._stream is not None:
            with suppress(OSError, ValueError):
                self._stream.flush()


def write_lines(event: str, rows: Iterable[Mapping[str, object]]) -> None:
    """Write an INFO line for each (not empty) row in one go: intake logs thousands of signals a second."""
    if not structlog.get_logger().is_enabled_for(logging.INFO):
        return
    time = datetime.now(UTC).isoformat().replace("+00:00", "Z")
    head = _encode({"time": time, "level": "info", "event": event})[:-1]
    output = _Output(sys.stdout)
    output.write(escaped(b"".join(b"%b,%b\n" % (head, _encode(row)[1:]) for row in rows).decode()))
    output.flush()


def configure(level: str) -> None:
    """Send structlog's and the standard library's records to stdout, one JSON object a line."""
    output = _Output(sys.stdout)
    stamp = structlog.processors.TimeStamper(fmt="iso", utc=True, key="time")
    shared: list[structlog.typing.Processor] = [
        structlog.contextvars.merge_contextvars,
        structlog.processors.add_log_level,
        stamp,
    ]
    structlog.configure(
        processors=[*shared, _exception, _line],
        wrapper_class=structlog.make_filtering_bound_logger(level),
        logger_factory=structlog.WriteLoggerFactory(file=cast("TextIO", output)),
        cache_logger_on_first_use=False,
    )
    handler = logging.StreamHandler(output)
    handler.setFormatter(
        structlog.stdlib.ProcessorFormatter(
            foreign_pre_chain=[*shared, structlog.stdlib.ExtraAdder(), structlog.stdlib.add_logger_name],
            processors=[_exception, _line],
        )
    )
    # At DEBUG libraries write whole requests, and with them the tokens in their headers.
    for_libraries = max(logging.INFO, logging.getLevelNamesMapping()[level])
    logging.basicConfig(handlers=[handler], level=for_libraries, force=True)
    for name in ("uvicorn", "uvicorn.error", "uvicorn.asgi"):
        logger = logging.getLogger(name)
        logger.handlers.clear()
        logger.propagate = True
        logger.setLevel(logging.NOTSET)
    # uvicorn's own access log holds paths and queries, and with them secrets; app.web.middleware writes ours
    logging.getLogger("uvicorn.access").disabled = True
    # their lines may hold parts of the URLs of notifications
    for name in ("apprise", "urllib3"):
        logging.getLogger(name).disabled = True
    logging.captureWarnings(capture=True)
