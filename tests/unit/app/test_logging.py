"""A log line is JSON without control characters, and without the text of a library's exception."""

from __future__ import annotations

import json
import subprocess
import sys

import aiohttp
import asyncpg
import pytest
from hypothesis import given
from hypothesis import strategies as st

from app import logging
from app.errors import RefusedError, describe, trace
from app.signals.reasons import ReasonCode

SECRET = "S3CRET"
CLOSED = "connection closed without an answer"
ODD = "\x1b[2J\x9b2J\x7f\x85\u202egnp\u2066\u200f\u2028\u2029\u00ad\ufeff\U000e0041"


@given(st.text())
def test_every_value_survives_and_no_control_does(text: str) -> None:
    shown = logging.escaped(json.dumps({"event": text}, ensure_ascii=False))
    assert all(character.isprintable() for character in shown)
    assert json.loads(shown) == {"event": text}


def test_every_logger_escapes() -> None:
    code = f"""
import logging as standard
import structlog
from app import logging
logging.configure("INFO")
odd = {ODD!r}
structlog.get_logger("x").info("ours", ticker=odd, **{{odd: 1}})
standard.getLogger("library").warning("theirs %s", odd)
logging.write_lines("signal received", [{{"ticker": odd}}, {{"ticker": "ação"}}])
"""
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, check=True)
    out = done.stdout.decode()
    assert all(character.isprintable() or character == "\n" for character in out)
    found = [json.loads(line) for line in out.splitlines()]
    assert found[0]["ticker"] == found[2]["ticker"] == ODD
    assert found[1]["event"] == f"theirs {ODD}"
    assert found[3]["ticker"] == "ação"
    assert "ação" in out


def test_a_warning_is_a_line_without_its_text() -> None:
    code = f"""
import warnings
from app import logging
logging.configure("INFO")
warnings.warn("{SECRET}", UserWarning)
"""
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, check=True)
    (line,) = done.stdout.decode().splitlines()
    assert json.loads(line)["event"] == "<string>:5: UserWarning"
    assert (SECRET in line, done.stderr) == (False, b"")


def test_a_traceback_holds_no_text_of_foreign_exceptions() -> None:
    code = """
import asyncio, logging as standard, structlog
from app import logging
from app.errors import RefusedError
from app.signals.refusals import RefusalCode
logging.configure("INFO")
log = structlog.get_logger("x")
secret = "S3" + "CRET"
class Odd(Exception):
    def __str__(self):
        raise RuntimeError(secret)
for error in (ValueError(secret), OSError(111, secret), KeyError(secret), Odd(secret)):
    try:
        try:
            raise error
        except Exception as cause:
            raise RuntimeError(secret) from cause
    except Exception:
        log.exception("failed")
        standard.getLogger("library").exception("failed")
try:
    raise RefusedError(RefusalCode.NUL)
except RefusedError:
    log.exception("refused")
async def lost():
    asyncio.get_running_loop().create_task(fail())
    await asyncio.sleep(0)
    await asyncio.sleep(0)
async def fail():
    raise ValueError(secret)
asyncio.run(lost())
"""
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, check=True)
    out = done.stdout.decode() + done.stderr.decode()
    assert SECRET not in out
    found = [json.loads(line) for line in out.splitlines()]
    assert "(ConnectionRefusedError, ECONNREFUSED)" in found[2]["exception"]
    assert 'File "<string>", line' in found[0]["exception"]
    assert "RefusedError: must not contain NUL" in found[8]["exception"]
    assert found[9]["event"] == "Task exception was never retrieved"


def postgres_errors() -> list[type[asyncpg.PostgresError]]:
    """Every class of error that PostgreSQL's client knows."""
    found, todo = list[type[asyncpg.PostgresError]](), [asyncpg.PostgresError]
    while todo:
        kind = todo.pop()
        found.append(kind)
        todo += kind.__subclasses__()
    return found


@pytest.mark.parametrize("kind", postgres_errors(), ids=lambda kind: kind.__name__)
def test_an_error_of_postgresql_is_its_class_and_state(kind: type[asyncpg.PostgresError]) -> None:
    error = kind(SECRET)
    for name in ("message", "detail", "hint", "query", "where", "table_name", "constraint_name"):
        setattr(error, name, SECRET)
    words = describe(error)
    assert kind.__name__ in words
    assert SECRET not in words
    assert SECRET not in trace(error)
    state = getattr(kind, "sqlstate", None)
    assert not isinstance(state, str) or len(state) != 5 or state in words


@pytest.mark.parametrize(
    ("error", "words"),
    [
        (ConnectionRefusedError(111, SECRET), "connection refused (ConnectionRefusedError, ECONNREFUSED)"),
        (ConnectionResetError(104, SECRET), "connection reset (ConnectionResetError, ECONNRESET)"),
        (OSError(28, SECRET, SECRET), "disk full (OSError, ENOSPC)"),
        (OSError(SECRET), "OSError"),
        (OSError(99_999, SECRET), "OSError"),
        (aiohttp.ClientOSError(None, SECRET), "connection reset (ClientOSError)"),
        (aiohttp.ClientOSError(99_999, SECRET), "ClientOSError"),
        (aiohttp.InvalidURL(SECRET, SECRET), "URL not valid (InvalidURL)"),
        (
            aiohttp.ServerDisconnectedError(SECRET),
            "connection closed without an answer (ServerDisconnectedError)",
        ),
        (aiohttp.ClientPayloadError(SECRET), "answer not readable as HTTP (ClientPayloadError)"),
        (UnicodeEncodeError("idna", SECRET, 0, 1, SECRET), "text not encodable (UnicodeEncodeError)"),
        (type(SECRET, (ValueError,), {})(SECRET), "ValueError"),
        (RefusedError(ReasonCode.OTHER, text=SECRET), "RefusedError"),
        (ZeroDivisionError(), "ZeroDivisionError"),
    ],
)
def test_how_an_exception_is_described(error: Exception, words: str) -> None:
    assert describe(error) == words
