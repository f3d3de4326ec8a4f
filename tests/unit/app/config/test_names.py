"""Names that people give: normalised, distinct, and usable in a URL."""

from __future__ import annotations

import unicodedata

import pytest
from hypothesis import given
from hypothesis import strategies as st

from app.config.names import alike, check_plain, mistakable, normal


@pytest.mark.parametrize(
    "name",
    [
        *("", " ", "\u3000", ".", "..", " .. ", "a/../b", "./a", "a\u202eb", "\u2066x\u2069", "a\u200bb"),
        *("a\0b", "a\nb", "a\x85b", "a\u2028b", "\ufeffa", "a\ud800"),
    ],
)
def test_an_invalid_name_is_refused(name: str) -> None:
    with pytest.raises(ValueError, match="must not"):
        normal(name)


@pytest.mark.parametrize(
    ("name", "kept"),
    [
        (" top gainers ", "top gainers"),
        ("Ac\u0327a\u0303o", "Ação"),
        ("a/b", "a/b"),
        ("...", "..."),
        ("\u00a0日本", "日本"),
    ],
)
def test_a_valid_name_is_unchanged(name: str, kept: str) -> None:
    assert normal(name) == kept


@given(st.text(max_size=40))
def test_normalisation_is_idempotent(name: str) -> None:
    try:
        kept = normal(name)
    except ValueError:
        return
    assert normal(kept) == kept == kept.strip() == unicodedata.normalize("NFC", kept)
    assert alike(kept, f" {unicodedata.normalize('NFD', kept)} ")


@pytest.mark.parametrize(
    ("one", "other", "same"),
    [
        ("Gainers", "gainers", True),
        ("a  b", "a b", True),
        ("ação", "ac\u0327a\u0303o", True),
        ("a", "b", False),
    ],
)
def test_which_names_count_as_alike(one: str, other: str, *, same: bool) -> None:
    assert alike(one, other) is same


@pytest.mark.parametrize(
    "name", ["ana", "Ana Conceição", "Łukasz O'Neil", "bot-1_b (at home)", "a.b+c@example.com"]
)
def test_a_plain_name(name: str) -> None:
    check_plain(name)


@pytest.mark.parametrize(
    "name",
    [
        "\N{CYRILLIC SMALL LETTER A}na",
        "\N{GREEK SMALL LETTER OMICRON}lga",
        "\N{FULLWIDTH LATIN SMALL LETTER A}na",
        "\N{LATIN SMALL LETTER ALPHA}na",
        "\N{MATHEMATICAL BOLD SMALL A}na",
        "a\N{NO-BREAK SPACE}b",
        "a\N{EM SPACE}b",
        "a\N{COMBINING CYRILLIC MILLIONS SIGN}",
        "a\N{HYPHEN}b",
        "ana\N{LATIN LETTER DENTAL CLICK}",
        "a/b",
        'a"b',
    ],
)
def test_a_name_that_may_be_mistaken_is_refused(name: str) -> None:
    with pytest.raises(ValueError, match="Latin letters"):
        check_plain(name)


@pytest.mark.parametrize(
    ("one", "other", "same"),
    [
        ("Ana", "ana", True),
        ("ana  b", "ana b", True),
        ("aná", "ana", True),
        ("adm\N{LATIN SMALL LETTER DOTLESS I}n", "admin", True),
        ("Iris", "lris", True),
        ("bot1", "botl", True),
        ("b0t", "bot", True),
        ("ana", "anna", False),
        ("bot 2", "bot 3", False),
    ],
)
def test_which_names_may_be_mistaken(one: str, other: str, *, same: bool) -> None:
    assert mistakable(one, other) is mistakable(other, one) is same
