"""What people read uses the words of docs/glossary.md: the words of before are gone, in both languages."""

from __future__ import annotations

import re

import pytest

from app.web.texts import catalogue

# How earlier versions said it; each as a whole word, whatever its case.
OLD_WORDS = {
    "en": (
        "left alone",
        "keeps failing",
        "took it",
        "nobody knows",
        "too old",
        "on its way",
        "on their way",
        "watch",
        "mend",
        "steer",
        "in force",
        "tries",
        "last try",
        "told",
        "tell",
        "allowed is",
        "is no number",
        "is no json",
        "blanks",
        "too dear",
        "for ever",
        "beside",
        "whoever",
        "last words",
    ),
    "pt-BR": (
        "deixado em paz",
        "conduzir",
        "comandos",
        "posto",
        "pedidos por minuto",
        "visões",
        "rodada",
        "recepção",
        "ninguém sabe",
        "a caminho",
        "quem quer que",
    ),
}


def old_words_in(text: str, words: tuple[str, ...]) -> list[str]:
    """The old words in a text."""
    return [word for word in words if re.search(rf"(?<!\w){re.escape(word)}(?!\w)", text, re.IGNORECASE)]


@pytest.mark.parametrize("language", ["en", "pt-BR"])
def test_the_words_of_before_are_gone(language: str) -> None:
    texts = catalogue("pt-BR" if language == "pt-BR" else "en")
    found = {key: old_words_in(text, OLD_WORDS[language]) for key, text in texts.items()}
    assert {key: words for key, words in found.items() if words} == {}


def test_an_old_word_is_found_as_a_word_only() -> None:
    assert old_words_in("It is LEFT ALONE beside the road", OLD_WORDS["en"]) == ["left alone", "beside"]
    assert old_words_in("Recommended, retries, postos", OLD_WORDS["en"] + OLD_WORDS["pt-BR"]) == []


@pytest.mark.parametrize("language", ["en", "pt-BR"])
def test_sentences_are_short(language: str) -> None:
    """At most 25 words each; a place that a value fills counts as one."""
    texts = catalogue("pt-BR" if language == "pt-BR" else "en")
    long = {
        key: sentence
        for key, text in texts.items()
        for sentence in re.split(r"(?<=[.!?:;])\s+", text)
        if len(sentence.split()) > 25
    }
    assert long == {}
