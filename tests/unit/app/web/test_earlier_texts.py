"""Sentences that earlier versions stored are shown in today's words, in every language.

`earlier_texts.json` has the English templates of two released versions, by today's key.
"""

from __future__ import annotations

import json
import re
from pathlib import Path
from typing import TYPE_CHECKING

import pytest

from app.signals.reasons import Reason, ReasonCode, stored_reason
from app.web.locale import LANGUAGES, Preferences, current
from app.web.patterns import translate
from app.web.reasons import explain
from app.web.texts import catalogue, text

if TYPE_CHECKING:
    from collections.abc import Iterator

VERSIONS = json.loads(Path(__file__).with_name("earlier_texts.json").read_text("utf-8"))
SENTENCES = sorted({(key, words) for texts in VERSIONS.values() for key, words in texts.items()})
CODES: dict[str, ReasonCode] = {code.value: code for code in ReasonCode}
# what fills the places of a sentence; of a reason within a reason the sentence of before
BEFORE = {"reason": "the destination took it", "what": "no answer in 3 s"}
NOW = {"reason": "delivered", "what": "timed out after 3 s"}


@pytest.fixture(params=LANGUAGES)
def language(request: pytest.FixtureRequest) -> Iterator[str]:
    """The reader's language."""
    token = current.set(Preferences(language=request.param))
    yield request.param
    current.reset(token)


def filled(words: str, values: dict[str, str]) -> dict[str, str]:
    """A value for each place of the sentence."""
    return {name: values.get(name, f"X{name}") for name in re.findall(r"\{(\w+)\}", words)}


@pytest.mark.usefixtures("language")
@pytest.mark.parametrize(("key", "words"), SENTENCES)
def test_a_sentence_of_before_is_shown_in_the_words_of_today(key: str, words: str) -> None:
    today = {name: translate(value) for name, value in filled(words, NOW).items()}
    assert translate(words.format(**filled(words, BEFORE))) == text(key, **today)


@pytest.mark.parametrize(
    ("code", "words"),
    [
        (CODES[key[7:]], words)
        for key, words in SENTENCES
        if key.startswith("reason.") and "{why}" not in words
    ],
)
def test_a_row_of_before_keeps_its_code(code: ReasonCode, words: str) -> None:
    params = filled(words, BEFORE)
    assert stored_reason(words.format(**params), code.value, params) == Reason(code, **params)


def test_a_row_of_before_within_a_row_of_today(language: str) -> None:
    failed = "the destination did not take it: HTTP 503; it is tried again"
    shown = {
        "en": "expired; last: not accepted: HTTP 503; will be retried",
        "pt-BR": "venceu; por último: não aceito pelo destino: HTTP 503; será tentado de novo",
    }[language]
    last = {"code": "not_accepted", "params": {"what": {"code": "http_status", "params": {"status": 503}}}}
    assert explain(f"expired; last: {failed}", "expired", {"reason": last}) == shown
    assert explain(f"expired; last: {failed}", "expired", {"reason": failed}) == shown
    assert explain(f"too old; last: {failed}", None, None) == shown


@pytest.mark.usefixtures("language")
@pytest.mark.parametrize(
    "hostile", ["a: " * 600 + "b", "a: " * 500_000, "too old; last: " * 100, "x (entry " * 9_999]
)
def test_an_imported_text_may_be_anything(hostile: str) -> None:
    assert translate(hostile).endswith(hostile[-1])


def test_every_text_of_before_has_a_key() -> None:
    assert {key for texts in VERSIONS.values() for key in texts} - catalogue("en").keys() == set()
