"""The Portuguese documents are in step with the English ones: same outline, same commands, same tables."""

from __future__ import annotations

import re
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parents[2]
DOCS = ROOT / "docs"
TRANSLATED = sorted(path.name for path in (DOCS / "pt-BR").iterdir())

# The table of measured figures is in one document only, and so are remarks on what makes a table.
FIGURES = re.compile(r"<!-- benchmarks:begin.*benchmarks:end -->|<!--.*?-->", re.DOTALL)
SHAPES = {
    "headings": r"^#+ ",
    "table rows": r"^\|",
    "list items": r"^(?:\*|\d+\.) ",
    "what is code": r"`[^`\n]+`",
    "commands": r"^(?:curl|docker|make test|python3|secret=|sed -n|token=).*?(?=\s+#|$)",
}


@pytest.mark.parametrize("name", TRANSLATED)
@pytest.mark.parametrize("shape", SHAPES)
def test_a_translation_has_all_of_it(name: str, shape: str) -> None:
    original = DOCS / name if (DOCS / name).exists() else ROOT / name
    english, portuguese = (
        re.findall(SHAPES[shape], FIGURES.sub("", path.read_text("utf-8")), re.MULTILINE)
        for path in (original, DOCS / "pt-BR" / name)
    )
    if shape == "what is code":  # sentences may turn
        assert set(english) ^ set(portuguese) <= {"`.env`"}
    else:
        assert portuguese == english


def test_there_are_some() -> None:
    assert TRANSLATED == [
        "README.md",
        "moving-over.md",
        "operations.md",
        "security.md",
        "tradingview.md",
        "tutorial.md",
    ]
