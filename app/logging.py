"""JSON lines on stdout, ours and the libraries' alike (SPEC §17)."""

import logging
import sys
from collections.abc import Iterable, Mapping, MutableMapping
from datetime import UTC, datetime
from typing import Any

import msgspec
import structlog

_encode = msgspec.json.Encoder(enc_hook=str).encode


def _line(_logger: object, _method: str, event: MutableMapping[str, Any]) -> str:
    """Render with time, level and event first: a person reads the start of a line."""
    line = {"time": event.pop("time"), "level": event.pop("level"), "event": event.pop("event")}
    line.update(
        (key, value) for key, value in event.items() if not key.startswith("_") and key != "color_message"
    )
    return _encode(line).decode()


def write_lines(event: str, rows: Iterable[Mapping[str, object]]) -> None:
    """Write an INFO line for each (not empty) row in one go: intake logs thousands of signals a second."""
    if not structlog.get_logger().is_enabled_for(logging.INFO):
        return
    time = datetime.now(UTC).isoformat().replace("+00:00", "Z")
    head = _encode({"time": time, "level": "info", "event": event})[:-1]
    sys.stdout.write(b"".join(b"%b,%b\n" % (head, _encode(row)[1:]) for row in rows).decode())
    sys.stdout.flush()


def configure(level: str) -> None:
    """Send structlog's and the standard library's records to stdout, one JSON object a line."""
    stamp = structlog.processors.TimeStamper(fmt="iso", utc=True, key="time")
    shared: list[structlog.typing.Processor] = [
        structlog.contextvars.merge_contextvars,
        structlog.processors.add_log_level,
        stamp,
    ]
    structlog.configure(
        processors=[*shared, structlog.processors.format_exc_info, _line],
        wrapper_class=structlog.make_filtering_bound_logger(level),
        logger_factory=structlog.WriteLoggerFactory(file=sys.stdout),
        cache_logger_on_first_use=False,
    )
    handler = logging.StreamHandler(sys.stdout)
    handler.setFormatter(
        structlog.stdlib.ProcessorFormatter(
            foreign_pre_chain=[*shared, structlog.stdlib.ExtraAdder(), structlog.stdlib.add_logger_name],
            processors=[structlog.processors.format_exc_info, _line],
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
    # uvicorn's own access log holds paths and queries, and with them secrets; app.ops.access writes ours
    logging.getLogger("uvicorn.access").disabled = True
