"""Documents and comments name files of the repository that exist, and the glossary is in order."""

from __future__ import annotations

import re
from itertools import pairwise
from pathlib import Path

import pytest

from scripts import reference

ROOT = Path(__file__).resolve().parents[2]
DOCUMENTS = sorted(
    path for place in ("*.md", "docs/**/*.md", "roles/*/README.md") for path in ROOT.glob(place)
)
FOLDERS = (
    "app",
    "deploy",
    "group_vars",
    "images",
    "inventory",
    "monitoring",
    "playbooks",
    "requirements",
    "roles",
    "scripts",
)
SOURCES = sorted(
    path
    for folder in FOLDERS
    for path in (ROOT / folder).rglob("*")
    if path.suffix in {".css", ".html", ".js", ".py", ".sh", ".sql", ".yml"} or path.name == "Dockerfile"
)
NAMED = re.compile(rf"(?<![\w./{{}}-])(?:{'|'.join((*FOLDERS, 'docs', 'tests', 'benchmarks'))})/[\w./-]*\w")
MADE_LATER = "benchmarks/results/scratch"  # by a benchmark; it is ignored by git


FENCED = re.compile(r"^```.*?^```$", re.MULTILINE | re.DOTALL)


def anchors(text: str) -> set[str]:
    """Return the anchors of a document's headings, as they are made on the web."""
    headings = re.findall(r"^#+ (.+)$", FENCED.sub("", text), re.MULTILINE)
    return {re.sub(r"[^\w\- ]", "", heading.casefold()).replace(" ", "-") for heading in headings}


def missing(text: str) -> list[str]:
    return [
        name for name in NAMED.findall(text) if not (ROOT / name).exists() and not name.startswith(MADE_LATER)
    ]


@pytest.mark.parametrize("path", DOCUMENTS, ids=lambda path: path.relative_to(ROOT).as_posix())
def test_a_document_names_existing_files(path: Path) -> None:
    assert missing(path.read_text("utf-8")) == []


def test_sources_name_existing_files() -> None:
    found = {path.relative_to(ROOT).as_posix(): missing(path.read_text("utf-8")) for path in SOURCES}
    assert {path: names for path, names in found.items() if names} == {}


def test_a_missing_file_is_found() -> None:
    assert missing("see `app/main.py`, deploy/nothing.py and other/app/nothing.py") == ["deploy/nothing.py"]


def test_the_glossary_is_sorted() -> None:
    rows = re.findall(r"^\| ([^|]+?) \|", (ROOT / "docs" / "glossary.md").read_text("utf-8"), re.MULTILINE)
    terms = [term.casefold() for term in rows[1:] if not term.startswith("-")]
    assert len(terms) > 50
    assert [(one, other) for one, other in pairwise(terms) if one >= other] == []


def test_links_lead_to_documents_and_headings_that_exist() -> None:
    broken = []
    for document in DOCUMENTS:
        text = document.read_text("utf-8")
        for target, anchor in re.findall(r"\]\((?!https?:|mailto:)([^)#\s]*)(?:#([^)\s]+))?\)", text):
            found = document.parent / target if target else document
            if not found.exists() or (anchor and anchor not in anchors(found.read_text("utf-8"))):
                broken.append(f"{document.name}: {target}#{anchor}")
    assert broken == []


def test_the_tests_of_the_guarantees_exist() -> None:
    named = re.findall(
        r"`(tests/[\w/]+\.py)(?:::(\w+))?`", (ROOT / "docs" / "guarantees.md").read_text("utf-8")
    )
    assert len(named) > 30
    for path, function in named:
        assert f"def {function}" in (ROOT / path).read_text("utf-8"), (path, function)


def test_sources_refer_to_no_document_elsewhere() -> None:
    tests = [path for path in (ROOT / "tests").rglob("*.py") if path != Path(__file__).resolve()]
    paths = [*DOCUMENTS, *SOURCES, *tests]
    assert [path for path in paths if re.search(r"\b(?:SPEC|DESIGN)\b(?!IAL)", path.read_text("utf-8"))] == []


def test_the_reference_is_what_the_code_has() -> None:
    """`python -m scripts.reference` writes it."""
    assert reference.DOCUMENT.read_text("utf-8") == reference.document()


def test_every_variable_is_explained() -> None:
    rows = list(reference.variables(reference.EXAMPLE.read_text("utf-8")))
    assert len(rows) > 25
    assert [name for name, _, _, comment in rows if not comment] == []
