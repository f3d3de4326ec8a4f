"""Every refusal has a code and a text in every language; no text of a library reaches a response."""

from __future__ import annotations

import ast
import asyncio
import errno
import json
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest
from fastapi import FastAPI
from fastapi.exceptions import RequestValidationError
from hypothesis import example, given
from hypothesis import strategies as st
from pydantic import BaseModel, TypeAdapter, ValidationError
from starlette.responses import Response

import app
from app.admin.routes.configuration import SystemValues, WebhookValues
from app.admin.routes.database import ClearOrder
from app.admin.routes.strategies import NewStrategy
from app.alarms.routes import Settlement
from app.decision.routes import Trigger
from app.errors import ConfigFileError, ConflictError, RefusedError, file_failure
from app.orders.routes import ReplayRequest
from app.positions.routes import ClosePosition, MarkClosed, SellIndividual
from app.signals.reasons import CODES, Reason, from_json, stored_reason
from app.signals.refusals import RefusalCode
from app.web import problems
from app.web.dependencies import Cursor, Limit, Ticker
from app.web.faults import ACTION_PATTERN, fault_of
from app.web.locale import Preferences, current
from app.web.patterns import translate
from app.web.reasons import render

if TYPE_CHECKING:
    from collections.abc import Iterator

SOURCES = Path(app.__file__).parent
MODELS: tuple[type[BaseModel], ...] = (
    *(SystemValues, WebhookValues, NewStrategy, ClearOrder, Settlement, Trigger, ReplayRequest),
    *(ClosePosition, MarkClosed, SellIndividual),
)
PARAMETERS = (Limit, Cursor, Ticker)
NAMES = sorted({name for model in MODELS for name in model.model_fields})
TEXTS = st.text(max_size=50) | st.sampled_from(
    ["A\0", "\ud800", "7", "2026-11-22T10:00:00", "0001-01-01T00:00:00+23:59", "sells_failed", "x" * 4001]
)
JSON = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | TEXTS,
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.sampled_from(NAMES), inner, max_size=3),
    max_leaves=6,
)
AWARE = "must be a time with its offset from UTC, like 2026-11-22T10:00:00Z"


@pytest.fixture
def portuguese() -> Iterator[None]:
    """A reader of Portuguese."""
    token = current.set(Preferences(language="pt-BR"))
    yield
    current.reset(token)


def test_every_code_is_used() -> None:
    used = {
        node.attr
        for path in SOURCES.rglob("*.py")
        for node in ast.walk(ast.parse(path.read_text("utf-8")))
        if isinstance(node, ast.Attribute) and isinstance(node.value, ast.Name)
        if node.value.id == "RefusalCode"
    }
    assert {code.name for code in RefusalCode} - used == set()


def test_no_two_refusals_share_a_code() -> None:
    assert len({code.value for code in CODES}) == len(CODES)


def kinds_of(refusal: type[RefusedError]) -> Iterator[type[RefusedError]]:
    """Yield all subclasses, direct and indirect."""
    for kind in refusal.__subclasses__():
        yield kind
        yield from kinds_of(kind)


def test_every_refusal_has_its_http_status() -> None:
    statuses = {
        kind.__name__: kind.http_status for kind in kinds_of(RefusedError) if kind.__module__[:4] == "app."
    }
    assert {status for status in statuses.values() if status // 100 not in {4, 5}} == set()
    assert statuses["NoExportError"] == statuses["ConfigFileError"] == 422
    assert (statuses["TooLargeError"], statuses["NotWrittenError"]) == (413, 500)


def wrong(kind: Any, value: object) -> list[dict[str, Any]]:
    """Return pydantic's error for a value."""
    adapter = TypeAdapter(kind)
    try:
        adapter.validate_python(value)
    except ValidationError as error:
        return [dict(each) for each in error.errors(include_url=False)]
    return []


def answer_to(errors: list[dict[str, Any]], language: Any) -> str:
    """Return the response body for an invalid request."""
    server = FastAPI()
    problems.install(server, lambda status, _: Response(status_code=status))
    token = current.set(Preferences(language=language))
    try:
        answer: Any = server.exception_handlers[RequestValidationError]
        found: Response = asyncio.run(answer(None, RequestValidationError(errors)))
    finally:
        current.reset(token)
    return bytes(found.body).decode()


@given(st.sampled_from([*MODELS, *PARAMETERS]), JSON | st.dictionaries(st.sampled_from(NAMES), JSON))
@example(Settlement, {"code": "sells_failed", "subject": "", "until": "2026-11-22T10:00:00Z"})
@example(Settlement, {"code": "sells_failed", "subject": "A", "until": "0001-01-01T00:00:00+23:59"})
@example(MarkClosed, {"reason": "\0", "position_id": "7"})
@example(MarkClosed, {"reason": "x" * 501})
@example(ReplayRequest, {"ids": ["7"] * 501, "ticker": "A\0"})
@example(Limit, 501)
def test_no_text_of_pydantic_reaches_an_answer(kind: Any, value: object) -> None:
    errors = wrong(kind, value)
    if not errors:
        return
    english, portuguese = (json.loads(answer_to(errors, language))["detail"] for language in ("en", "pt-BR"))
    for error, words, palavras in zip(errors, english, portuguese, strict=True):
        assert (words["type"], words["msg"]) == (error["type"], str(fault_of(error)))
        assert words["msg"] != palavras["msg"]
        assert error["msg"] not in words["msg"]
        assert "error" not in words.get("ctx", {})


@pytest.mark.parametrize(
    ("kind", "value", "words"),
    [
        (Limit, 0, "must be at least 1"),
        (Cursor, 2**63, "must be at most 9223372036854775807"),
        (Limit, "many", "must be a whole number, not 'many'"),
        (Ticker, "A\0", "must be a ticker of 1 to 40 printable characters"),
        (MarkClosed, {"position_id": "x", "reason": " "}, "must be a UUID; must not be empty"),
        (MarkClosed, {}, "is required; is required"),
        (ReplayRequest, {"confirm": 1.5}, "must be a whole number, not 1.5"),
        (ReplayRequest, {"ids": [], "ticker": 7}, "must not be empty; must be a text, not a whole number"),
        (ReplayRequest, {"status": "lost"}, "must be one of: failed, expired"),
        (Trigger, {"tickers": ["A"] * 501}, "must have at most 500 entries"),
        (Trigger, {"dry_run": []}, "must be true or false, not a list"),
        (WebhookValues, {"what": 1}, "is not a known field"),
        (WebhookValues, [], "must be an object, not a list"),
        (WebhookValues, {"retry_seconds": "x" * 99}, "must be a list, not a text"),
        (Settlement, {"code": "sells_failed", "subject": "A", "until": "soon"}, AWARE),
    ],
)  # fmt: skip
def test_a_value_of_a_request_is_refused_in_plain_words(kind: Any, value: object, words: str) -> None:
    assert "; ".join(str(fault_of(error)) for error in wrong(kind, value)) == words


def test_an_unlisted_error_has_a_message_of_ours() -> None:
    assert str(fault_of({"type": "string_pattern_mismatch", "ctx": {"pattern": ACTION_PATTERN}})) == (
        "must be 1 to 40 characters a-z . -"
    )
    assert str(fault_of({"type": "json_invalid", "ctx": {"error": "Expecting value"}})) == (
        "is not valid JSON in UTF-8"
    )
    short = {"type": "string_too_short", "ctx": {"min_length": 8}}
    assert str(fault_of(short)) == "must have at least 8 characters"
    assert str(fault_of({"type": "callable_type"})) == "is not valid here"


@pytest.mark.usefixtures("portuguese")
def test_a_refusal_within_a_refusal_is_translated_too() -> None:
    kind, given_ = Reason(RefusalCode.VALUE_KIND_WHOLE), Reason(RefusalCode.VALUE_KIND_TEXT)
    fault = Reason(RefusalCode.VALUE_KIND, kind=kind, given=given_)
    file = ConfigFileError("webhook_config.json", fault, place="timeout", line=2)
    refused = ConflictError(RefusalCode.FILE_WRONG, reason=file.reason)
    shown = (
        "config/webhook_config.json: linha 2: timeout: deve ser um número inteiro, não um texto; "
        "o arquivo não é sobrescrito: corrija-o antes"
    )
    assert render(refused.reason) == shown
    assert translate(str(refused)) == shown  # a row of the previous version, which stores no code
    assert stored_reason(*refused.reason.columns()) == refused.reason


@pytest.mark.usefixtures("portuguese")
@pytest.mark.parametrize(
    "number", [errno.ENOSPC, errno.EACCES, errno.EROFS, errno.ENOENT, errno.EISDIR, errno.ENOTDIR, errno.EIO]
)
def test_why_a_file_is_not_written_is_translated(number: int) -> None:
    why = file_failure(OSError(number, "S3CRET"))
    refused = RefusedError(RefusalCode.NOT_WRITTEN, file="/x/y", why=why)
    assert "S3CRET" not in str(refused)
    assert render(refused.reason).startswith("/x/y não pode ser gravado (")
    assert (render(why) == str(why)) is (number == errno.EIO)
    assert from_json(*refused.reason.columns()[1:]) == refused.reason
