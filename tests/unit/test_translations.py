"""The Portuguese documents are in step with the English ones: same outline, same commands, same tables."""

from __future__ import annotations

import re
from pathlib import Path

import pytest

DOCS = Path(__file__).resolve().parents[2] / "docs"
TRANSLATED = sorted(path.name for path in (DOCS / "pt-BR").iterdir())

SHAPES = {
    "headings": r"^#+ ",
    "table rows": r"^\|",
    "list items": r"^\* ",
    "what is code": r"`[^`\n]+`",
    "commands": r"^(?:docker|python3) .*?(?=\s+#|$)",
}


@pytest.mark.parametrize("name", TRANSLATED)
@pytest.mark.parametrize("shape", SHAPES)
def test_a_translation_has_all_of_it(name: str, shape: str) -> None:
    english, portuguese = (
        re.findall(SHAPES[shape], path.read_text("utf-8"), re.MULTILINE)
        for path in (DOCS / name, DOCS / "pt-BR" / name)
    )
    if shape == "what is code":  # sentences may turn
        assert set(english) ^ set(portuguese) <= {"`.env`"}
    else:
        assert portuguese == english


def test_there_are_some() -> None:
    assert TRANSLATED == ["moving-over.md", "operations.md", "security.md", "tradingview.md"]
