"""Whatever is refused is told in every language: read from the code, so that no new one is forgotten."""

from __future__ import annotations

import ast
import errno
import os
from pathlib import Path
from typing import TYPE_CHECKING, Any

import msgspec
import pytest
from pydantic import BaseModel, TypeAdapter, ValidationError

import app
from app.admin.routes.configuration import BuySellSeconds, WebhookValues
from app.admin.routes.database import ClearOrder
from app.admin.routes.strategies import StrategyValues
from app.alarms import targets
from app.config import value_words
from app.config.destination_url import fault_of
from app.config.model import Strategy, SystemConfig, WebhookConfig
from app.decision import reprocessing
from app.decision.routes import Trigger
from app.errors import RefusedError
from app.orders.routes import ReplayRequest
from app.positions.routes import ClosePosition, MarkClosed, SellIndividual
from app.screener.pace import too_often
from app.screener.providers import finviz
from app.transfer import history, importing, spreadsheet
from app.web import authentication, patterns, texts
from app.web.locale import Preferences, current
from app.web.patterns import translate
from app.web.problems import in_words
from app.web.texts import catalogue

if TYPE_CHECKING:
    from collections.abc import Iterator

APP = Path(app.__file__).parent
# who says it, and at which place of its arguments
SPEAKERS = {
    **dict.fromkeys(("NoSuchError", "ConflictError", "BrokenFileError", "UndeliveredError"), 0),
    **dict.fromkeys(("NoExportError", "TooLargeError", "NotWrittenError", "Unreadable"), 0),
    **dict.fromkeys(("ProviderError", "BlockedError"), 0),
    **dict.fromkeys(("ConfigFileError", "_reject"), 1),
    "translate": 0,
}
# who says it to nobody else: elsewhere a ValueError is a defect, or stops the start
WITH_VALUE_ERRORS = ("masking.py", "history.py", "importing.py", "routes.py", "names.py")
SAME_IN_EVERY_LANGUAGE = {"7: HTTP 7", "7: 7", "config/7: 7", "77", "7"}
WRONG_DESTINATIONS = ("x", "http://a b", "http://a:0", "http://[::1", "http://a..b", "http://\u0444@a")
NAMES: tuple[object, ...] = ("", "x" * 101, "\n", [], {})  # of a strategy, each wrong in another way
VALUES = "refusal.value."  # the words of the libraries that check values


@pytest.fixture
def keys_told(monkeypatch: pytest.MonkeyPatch) -> Iterator[set[str]]:
    """The keys of the texts that are told, to a reader of Portuguese."""
    used: set[str] = set()
    text = texts.text

    def noting(key: str, **values: object) -> str:
        used.add(key)
        return text(key, **values)

    monkeypatch.setattr(patterns, "text", noting)
    token = current.set(Preferences(language="pt-BR"))
    yield used
    current.reset(token)


def said_in(path: Path) -> Iterator[str]:
    """The refusals that a module says, each part that is filled in as a 7."""
    for function in ast.walk(ast.parse(path.read_text("utf-8"))):
        if not isinstance(function, ast.FunctionDef | ast.AsyncFunctionDef):
            continue
        names = {
            each.targets[0].id: each.value
            for each in ast.walk(function)
            if isinstance(each, ast.Assign) and isinstance(each.targets[0], ast.Name)
        }
        for call in ast.walk(function):
            if isinstance(call, ast.Call) and (place := speaks_at(call, path)) is not None:
                node = call.args[place]
                yield from words_of(names.get(node.id, node) if isinstance(node, ast.Name) else node)


def speaks_at(call: ast.Call, path: Path) -> int | None:
    """Where the call's arguments hold a refusal; None if it is none."""
    name = call.func.id if isinstance(call.func, ast.Name) else getattr(call.func, "attr", "")
    place = SPEAKERS.get(name)
    if name == "ValueError" and path.name in WITH_VALUE_ERRORS:
        place = 0
    if name == "__init__" and path.name in {"manual_orders.py", "replay.py"}:
        place = 0
    return place if place is not None and len(call.args) > place else None


def words_of(node: ast.expr) -> Iterator[str]:
    """A text as it stands in the code; nothing for what another place has said."""
    if isinstance(node, ast.Constant) and isinstance(node.value, str):
        yield node.value
    elif isinstance(node, ast.JoinedStr):
        yield "".join(str(part.value) if isinstance(part, ast.Constant) else "7" for part in node.values)


def refused_by(kind: Any, *values: object) -> Iterator[str]:
    """What the libraries say of values that do not fit."""
    for value in values:
        try:
            if isinstance(kind, type) and issubclass(kind, msgspec.Struct):
                msgspec.convert(value, kind)
            elif isinstance(kind, type) and issubclass(kind, BaseModel):
                kind.model_validate(value)
            else:
                TypeAdapter(kind).validate_python(value)
        except msgspec.ValidationError as error:
            message, _, place = str(error).partition(" - at `$.")
            yield value_words.in_words(message, kind, place.rstrip("`"))
        except ValidationError as error:
            yield from (in_words(each["msg"]) for each in error.errors())
        else:
            pytest.fail(f"{kind} takes {value}")


def whole(kind: type[msgspec.Struct], **changes: object) -> dict[str, object]:
    """Values that fit, but for the changes."""
    fits = {
        Strategy: {
            "name": "x", "url": "list:A", "description": "", "top_n": 1, "refresh_interval_sec": 1,
            "max_age_seconds": 1, "reprocess_enabled": True, "reprocess_window_seconds": 0,
            "reprocess_max_age_seconds": 0, "respect_sell_chronology_enabled": True,
            "sell_chronology_window_seconds": 0,
        },
        SystemConfig: {
            "duplicate_buys": "forward", "partial_exits": "close", "unmatched_exits": "reject",
            "retention_days": 1,
            "engine_paused": False, "delivery_paused": False, "intake_paused": False,
        },
    }  # fmt: skip
    return {**fits[kind], **changes}


def test_no_refusal_of_ours_is_left_in_english(keys_told: set[str]) -> None:
    said = {words for path in APP.rglob("*.py") for words in said_in(path)} - SAME_IN_EVERY_LANGUAGE
    said |= {
        authentication.NO_TOKEN_SET,
        authentication.FOREIGN,
        *ast_constants(APP / "web" / "authentication.py", "_NEEDED", "_WRONG"),
    }
    said |= {reprocessing._NO_CANDIDATE, reprocessing._NOT_LISTED}  # noqa: SLF001
    said |= {too_often("https://finviz.com/screener.ashx", top_n=100, refresh_interval_sec=1)}
    said |= {
        "7; next request in 7 s",
        "no connection in 7 s",
    }
    said |= {fault_of(url) for url in WRONG_DESTINATIONS}
    said |= {"on probation: 90% of the list has changed; it becomes current when 2 more refreshes agree"}
    said |= {words for _, words in finviz._ERROR_WORDS} | {"the response is not valid HTTP"}  # noqa: SLF001
    troubles = (errno.ENOSPC, errno.EACCES, errno.EROFS, errno.ENOENT, errno.EISDIR, errno.ENOTDIR)
    said |= {os.strerror(trouble) for trouble in troubles}
    said |= {"config/system_config.json: line 3: retention_days: is required"}
    said |= {f"{column}: {words}" for column, words in history._ALLOWED.items()}  # noqa: SLF001
    said |= {targets.NOT_KNOWN, targets.NOT_ACCEPTED, targets.NO_ANSWER}
    said |= {history._NOT_TEXT, history._OUT_OF_RANGE, "must not be in the future"}  # noqa: SLF001
    said |= {spreadsheet._NOT_CSV, str(spreadsheet._TooLongError()), importing._NOT_STORABLE}  # noqa: SLF001
    assert len(said) > 80
    assert {words for words in said if translate(words) == words} == set()
    ours = {key for key in catalogue() if key.startswith("refusal.") and not key.startswith(VALUES)}
    assert ours - keys_told == set()  # and nothing is translated that nobody says


def kinds_of(refusal: type[RefusedError]) -> Iterator[type[RefusedError]]:
    """Every class below this one."""
    for kind in refusal.__subclasses__():
        yield kind
        yield from kinds_of(kind)


def test_every_refusal_has_its_http_status() -> None:
    statuses = {
        kind.__name__: kind.http_status for kind in kinds_of(RefusedError) if kind.__module__[:4] == "app."
    }
    assert {status for status in statuses.values() if status // 100 not in {4, 5}} == set()
    assert statuses["NoExportError"] == statuses["ConfigFileError"] == 422
    assert (statuses["UndeliveredError"], statuses["NotWrittenError"]) == (409, 500)


def ast_constants(path: Path, *names: str) -> Iterator[str]:
    """Texts that a module keeps under these names."""
    for node in ast.parse(path.read_text("utf-8")).body:
        if (
            isinstance(node, ast.Assign)
            and isinstance(node.targets[0], ast.Name)
            and node.targets[0].id in names
        ):
            yield str(ast.literal_eval(node.value))


def test_no_refusal_of_a_wrong_value_is_left_in_english(keys_told: set[str]) -> None:
    said = [
        *refused_by(Strategy, *(whole(Strategy, top_n=value) for value in (0, 501, "many", None))),
        *refused_by(Strategy, *(whole(Strategy, name=wrong) for wrong in NAMES)),
        *refused_by(Strategy, *(whole(Strategy, description=wrong) for wrong in (7, 1.5, True))),
        *refused_by(SystemConfig, whole(SystemConfig, duplicate_buys="both")),
        *refused_by(WebhookConfig, {"timeout": 0}, {"timeout": 61}, {"retry_seconds": []}),
        *refused_by(WebhookConfig, {"retry_seconds": [1] * 51}, {"timeout": "soon"}, {"retry_seconds": 7}),
        in_words("String should match pattern '^[a-z.-]{1,40}$'"),
        *refused_by(SellIndividual, {"ticker": "A\0"}, {"ticker": 7}, {}),
        *refused_by(ClosePosition, {"position_id": "none"}),
        *refused_by(MarkClosed, {"reason": " "}, {"reason": "x" * 501}, {"reason": "\0"}),
        *refused_by(ReplayRequest, {"ids": []}, {"ids": ["none"] * 501}, {"confirm": -1}, {"confirm": 501}),
        *refused_by(ReplayRequest, {"ticker": "A\0"}, {"status": "lost"}, {"confirm": 1.5}),
        *refused_by(Trigger, {"tickers": ["A\0"]}, {"tickers": []}, {"tickers": "A"}, {"dry_run": "perhaps"}),
        *refused_by(StrategyValues, {"top_n": "many"}, {"url": 7}, {"what": 1}, {"top_n": []}),
        *refused_by(StrategyValues, {"reprocess_enabled": 7}, {"reprocess_enabled": []}),
        *refused_by(WebhookValues, {"timeout": "soon"}, {"timeout": []}, {"retry_seconds": 7}),
        *refused_by(BuySellSeconds, {"buy": "soon"}),
        *refused_by(ClearOrder, {"confirm": "yes"}, {}),
        "JSON decode error",
    ]
    assert [words for words in said if translate(words) == words] == []
    assert {key for key in catalogue() if key.startswith(VALUES)} - keys_told == set()


def test_a_refusal_within_a_refusal_is_told_too(keys_told: set[str]) -> None:
    assert translate("config/webhook_config.json: line 2: timeout: must be more than 0") == (
        "config/webhook_config.json: linha 2: timeout: deve ser maior que 0"
    )
    full = "/x/y cannot be written (No space left on device), and nothing was changed: free space, or make "
    assert translate(f"{full}the folder writable for the application, and try again").startswith(
        "/x/y não pode ser gravado (não há espaço no disco), e nada foi alterado: "
    )
    assert (
        translate("a sentence of somebody else with: missing") == "a sentence of somebody else with: missing"
    )
    assert keys_told >= {"refusal.line", "refusal.value.above", "refusal.disk_full"}
