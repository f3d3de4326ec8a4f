"""Documents, docstrings, comments, names of tests and messages use the words of docs/glossary.md."""

from __future__ import annotations

import ast
import io
import json
import re
import tokenize
from collections import Counter
from pathlib import Path
from typing import TYPE_CHECKING

import pytest

if TYPE_CHECKING:
    from collections.abc import Iterator

ROOT = Path(__file__).resolve().parents[2]

# Each private word, and the words of the field in its place.
WORDS = {
    r"told|tells?|telling": "log, report, announce, show; sent",
    r"(?:for|not) ever(?! \w+ed)": "permanently, without limit",
    r"whoever": "the process, client or person that",
    r"nobody knows": "unknown",
    r"left alone": "circuit open; not changed",
    r"besides?": "next to, in addition to, compared with",
    r"stands(?! (?:for|in for)\b)": "is, is written, runs",
    r"on (?:its|their) way": "pending, in flight",
    r"doors?": "authentication",
    r"guards?": "check, authentication",
    r"stor(?:y|ies)": "timeline",
    r"knobs?": "extra variables",
    r"mend(?:s|ed|ing)?": "correct, repair",
    r"rehears\w*": "stand-in",
    r"guests?": "host, container",
    r"comes? home": "returns",
    r"last words": "last log lines, summary",
    r"sign of life|signs of life": "heartbeat",
    r"wakes? up too late": "resumes after a take-over",
    r"(?<!there )is no (?:json|number)": "is not valid JSON, not a number",
    r"too dear": "too expensive",
    r"list in force": "current list",
    r"DATABASE_AWAY": "TRANSIENT_DB_ERRORS",
}
PRIVATE = re.compile(rf"(?<![\w-])(?:{'|'.join(WORDS)})(?![\w-])", re.IGNORECASE)

# Of messages to people: texts in code with a blank, values in YAML, and the page's texts. Words that may
# also be plain English there are left out.
MESSAGE_WORDS = (
    r"(?:for|not) ever(?! \w+ed)",
    r"whoever",
    r"nobody (?:knows|can tell)",
    r"left alone",
    r"besides?",
    r"stands(?! (?:for|in for)\b)",
    r"on (?:its|their) way",
    r"last words",
    r"signs? of life",
    r"too dear",
    r"list in force",
)
PRIVATE_IN_MESSAGES = re.compile(rf"(?<![\w-])(?:{'|'.join(MESSAGE_WORDS)})(?![\w-])", re.IGNORECASE)
PRIVATE_IN_PORTUGUESE = re.compile(
    r"\b(?:sinal de vida|ningu[eé]m sabe|a caminho|deixad[oa] em paz|[uú]ltimas palavras)\b",
    re.IGNORECASE,
)
# The texts of earlier versions are in these files, too: stored rows have them.
EARLIER_TEXTS = {"app/signals/reasons.py", "app/signals/refusals.py"}

# A file or folder that may have such words, and why.
EXCEPTIONS = {
    "app/orders/": "not swept yet: its statements move in another change",
    "app/db/migrations/": "an applied migration is never edited",
    "docs/faults.md": "quotes the names of steps, as the last `make faults` recorded them",
    "group_vars/": "not swept yet",
    "playbooks/": "not swept yet",
    "roles/": "not swept yet",
    "tests/hosts/receiver.py": "`told` is a key of its answers",
}

COMMENT = {
    ".css": r"/\*.*?\*/",
    ".html": r"\{#.*?#\}|<!--.*?-->",
    ".js": r"/\*.*?\*/|(?:^|\s)//.*?$",
    ".sh": r"(?:^|\s)#.*?$",
    ".sql": r"--.*?$",
    ".toml": r"(?:^|\s)#.*?$",
    ".yml": r"(?:^|\s)#.*?$",
    ".j2": r"\{#.*?#\}|(?:^|\s)#.*?$",
}
FOLDERS = (
    ".config",
    "app",
    "benchmarks",
    "config",
    "deploy",
    "docs",
    "group_vars",
    "images",
    "inventory",
    "monitoring",
    "playbooks",
    "requirements",
    "roles",
    "scripts",
    "tests",
)
SCRIPTS = {"Dockerfile", "Makefile", ".env.example"}
FOREIGN = ("app/admin/static/vendor/", "docs/pt-BR/")  # other people's files, and another language


def prose_of_python(source: str) -> Iterator[str]:
    """Yield docstrings, comments and the names of tests, these with blanks between their words."""
    for node in ast.walk(ast.parse(source)):
        if isinstance(node, ast.Module | ast.ClassDef | ast.FunctionDef | ast.AsyncFunctionDef):
            yield ast.get_docstring(node) or ""
            if not isinstance(node, ast.Module) and node.name.lower().startswith("test"):
                yield node.name.replace("_", " ")
    for token in tokenize.generate_tokens(io.StringIO(source).readline):
        if token.type == tokenize.COMMENT:
            yield token.string


def prose_of(path: str, text: str) -> str:
    """Return the prose of a file: a document as a whole, of code the comments; without code in backticks."""
    suffix = Path(path).suffix
    if suffix == ".py":
        prose = "\n".join(prose_of_python(text))
    elif suffix == ".md":
        prose = re.sub(r"^```.*?^```$", "", text, flags=re.MULTILINE | re.DOTALL)
    elif pattern := COMMENT.get(suffix) or (COMMENT[".sh"] if Path(path).name in SCRIPTS else ""):
        prose = "\n".join(re.findall(pattern, text, re.MULTILINE | (re.DOTALL if "*" in pattern[:6] else 0)))
    else:
        prose = ""
    return one_line(re.sub(r"`[^`\n]*`", "", prose))


def one_line(text: str) -> str:
    """Join lines, without the marks of comments, so that a word of two parts is found over a line's end."""
    return re.sub(r"\s*\n\s*(?:#|--|//|\*)?\s*", " ", text)


def files() -> Iterator[Path]:
    yield from (path for path in ROOT.iterdir() if path.is_file())
    for folder in FOLDERS:
        yield from (path for path in (ROOT / folder).rglob("*") if path.is_file())


def private_words() -> dict[str, Counter[str]]:
    """Return the private words of every file that has any."""
    found = {}
    for path in files():
        name = path.relative_to(ROOT).as_posix()
        if name.startswith(FOREIGN):
            continue
        if path.suffix in {".py", ".md", *COMMENT} or path.name in SCRIPTS:
            words = Counter(
                match[0].lower() for match in PRIVATE.finditer(prose_of(name, path.read_text("utf-8")))
            )
            if words:
                found[name] = words
    return found


def exception_of(path: str) -> str:
    return next((place for place in EXCEPTIONS if path == place or path.startswith(place)), "")


def messages_of_python(source: str) -> Iterator[str]:
    """Yield the texts of several words, without docstrings; the parts of an f-string one by one."""
    tree = ast.parse(source)
    documented = (ast.Module, ast.ClassDef, ast.FunctionDef, ast.AsyncFunctionDef)
    docstrings = {
        id(node.body[0].value)
        for node in ast.walk(tree)
        if isinstance(node, documented) and node.body and isinstance(node.body[0], ast.Expr)
    }
    for node in ast.walk(tree):
        if isinstance(node, ast.Constant) and isinstance(node.value, str) and id(node) not in docstrings:
            yield node.value if " " in node.value else ""


def messages_of(path: str, text: str) -> str:
    """Return what a person may read of a file's values: messages, names of tasks, texts of the page."""
    suffix = Path(path).suffix
    if suffix == ".py":
        return one_line("\n".join(messages_of_python(text)))
    if suffix == ".yml":
        return one_line(re.sub(COMMENT[".yml"], "", text, flags=re.MULTILINE))
    return "\n".join(json.loads(text).values()) if "/texts/" in path and suffix == ".json" else ""


def test_messages_have_no_private_words() -> None:
    found = {}
    for folder in ("app", "deploy", "playbooks", "roles", "group_vars", "monitoring"):
        for path in (ROOT / folder).rglob("*"):
            name = path.relative_to(ROOT).as_posix()
            if (
                path.suffix not in {".py", ".yml", ".json"}
                or name in EARLIER_TEXTS
                or name.startswith(FOREIGN)
            ):
                continue
            private = PRIVATE_IN_PORTUGUESE if "/pt-BR/" in name else PRIVATE_IN_MESSAGES
            if words := [match[0] for match in private.finditer(messages_of(name, path.read_text("utf-8")))]:
                found[name] = words
    assert found == {}


@pytest.mark.parametrize(
    ("path", "text"),
    [
        ("a.py", "raise Failure(f'{host}: no sign of life for {silent:.0f} s')"),
        ("a.py", "log('nobody ' 'can tell')"),
        ("a.yml", "- name: Load it beside the database"),
        ("app/web/texts/en/a.json", '{"a": "It is left alone."}'),
    ],
)
def test_a_private_word_of_a_message_is_found(path: str, text: str) -> None:
    assert PRIVATE_IN_MESSAGES.search(messages_of(path, text))


@pytest.mark.parametrize(
    ("path", "text"),
    [
        ("a.py", '"""It is left alone."""'),
        ("a.py", "beside = x['beside']  # beside the place"),
        ("a.yml", "a: 1 # for ever"),
        ("app/a.json", '{"a": "beside it"}'),
    ],
)
def test_names_and_comments_are_no_messages(path: str, text: str) -> None:
    assert not PRIVATE_IN_MESSAGES.search(messages_of(path, text))


@pytest.fixture(scope="module")
def found() -> dict[str, Counter[str]]:
    return private_words()


def test_prose_has_no_private_words(found: dict[str, Counter[str]]) -> None:
    assert {path: dict(words) for path, words in found.items() if not exception_of(path)} == {}


def test_every_exception_is_needed(found: dict[str, Counter[str]]) -> None:
    unused = set(EXCEPTIONS) - {exception_of(path) for path in found}
    assert {place for place in unused if (ROOT / place).exists()} == set()


@pytest.mark.parametrize(
    ("path", "text"),
    [
        ("a.py", '"""Whoever asks."""'),
        ("a.py", "x = 1  # nobody knows"),
        ("a.py", "def test_who_is_told() -> None: ..."),
        ("a.sql", "SELECT 1 -- on its way"),
        ("a.sh", "x=1 # the door"),
        ("a.css", "/* beside\n it */"),
        ("a.js", "run(); // for ever"),
        ("a.html", "{# the story #}"),
        ("a.yml", "a: 1 # the guard"),
        ("Dockerfile", "# left alone"),
        ("a.md", "It stands here."),
        ("a.py", "# nobody\n# knows\nx = 1"),
    ],
)
def test_a_private_word_is_found(path: str, text: str) -> None:
    assert PRIVATE.search(prose_of(path, text))


@pytest.mark.parametrize(
    ("path", "text"),
    [
        ("a.py", "told = 'for ever'"),
        ("a.py", "x = 1  # see `story.js`"),
        ("a.py", "def told() -> None: ..."),
        ("a.sql", "SELECT 'beside'"),
        ("a.md", "`X` stands for a name; there is no number.\n```\ntell\n```"),
    ],
)
def test_identifiers_and_code_are_no_prose(path: str, text: str) -> None:
    assert not PRIVATE.search(prose_of(path, text))
