"""The operator's files: an error is reported with its line, and writing keeps everything else."""

from __future__ import annotations

import json
import stat
from typing import TYPE_CHECKING

import pytest

from app.config import files
from app.config.files import line_of
from app.config.model import FINVIZ_FILE, SYSTEM_FILE, WEBHOOK_FILE
from app.errors import ConfigFileError
from app.settings import Settings

if TYPE_CHECKING:
    from pathlib import Path

SETTINGS = Settings(database_url="postgresql://nowhere/none")

_TEXT = """{
  "active": "two, with { and ]",
  "strategies": [
    {"name": "one", "url": "list:A"},
    {
      "name": "two",
      "url": "list:B",
      "top_n": 0
    }
  ], "retry_seconds": [1,
    2]
}"""


@pytest.mark.parametrize(
    ("place", "line"),
    [
        ("", 1),
        ("active", 2),
        ("strategies", 3),
        ("strategies[0]", 4),
        ("strategies[0].url", 4),
        ("strategies[1]", 5),
        ("strategies[1].top_n", 8),
        ("strategies[1].missing", 5),
        ("strategies[7].top_n", 3),
        ("retry_seconds[1]", 11),
        ("unknown", 1),
    ],
)
def test_a_place_is_found_on_its_line(place: str, line: int) -> None:
    assert line_of(_TEXT, place) == line


@pytest.mark.parametrize(
    ("name", "content", "line", "words"),
    [
        (WEBHOOK_FILE, b'{\n"timeout": 5,\n}', 3, "is not valid JSON"),
        (WEBHOOK_FILE, b'{\n"timeout": "five"\n}', 2, "timeout"),
        (WEBHOOK_FILE, b'{\n\n"retry_unknown": {"buy": 1}}', 3, "retry_unknown.buy"),
        (WEBHOOK_FILE, b'{\n"url": "ftp://x"}', 2, "http"),
        (WEBHOOK_FILE, b'{"timeout": NaN}', 1, "NaN"),
        (WEBHOOK_FILE, b'{"mine": {"name": "1e999",\n"value": [-1e999]}}', 2, "-1e999 is not a number"),
        (SYSTEM_FILE, b'{"mine": \n1e999}', 2, "1e999 is not a number that can be stored"),
        (FINVIZ_FILE, b'{\n"mine": ' + b"1" * 5000 + b"}", 2, "is not a number that can be stored"),
        *(
            (WEBHOOK_FILE, b'{\n"url": %b}' % url, 2, "url: must be an http:// or https:// URL")
            for url in (b"false", b"0", b"[]", b"{}", b"7", b"true")
        ),
        (WEBHOOK_FILE, b"[]", None, "object"),
        (WEBHOOK_FILE, b"", 1, "is not valid JSON: check quotes, commas and brackets"),
        (WEBHOOK_FILE, b"[" * 100_000, None, "nested too deeply"),
        (WEBHOOK_FILE, b"\xff{}", None, "UTF-8 text"),
        (SYSTEM_FILE, b'{"note": "\\ud800"}', None, "UTF-8 text"),
        (SYSTEM_FILE, b'{"duplicate_buys":\n"sometimes"}', 2, "duplicate_buys"),
        (FINVIZ_FILE, b'{"active": "none"}', 1, "top-gainers"),
        (FINVIZ_FILE, b'{"strategies": [\n{"name": "a\\u0000", "url": "list:A"}]}', 2, "name"),
        (FINVIZ_FILE, b'{"strategies": [{"name": "a", "url": "list:A"},\n\n{"name": "b"}]}', 3, "url"),
    ],
)
def test_a_wrong_file_is_named_with_line_and_reason(
    tmp_path: Path, name: str, content: bytes, line: int | None, words: str
) -> None:
    (tmp_path / name).write_bytes(content)
    with pytest.raises(ConfigFileError) as raised:
        files.load(tmp_path, SETTINGS)
    assert (raised.value.file, raised.value.line) == (name, line)
    assert str(raised.value).startswith(f"config/{name}: ")
    assert words in str(raised.value)


def test_files_with_a_byte_order_mark_and_crlf_are_read(tmp_path: Path) -> None:
    (tmp_path / SYSTEM_FILE).write_bytes(b'\xef\xbb\xbf{"retention_days": 7}\r\n')
    assert files.load(tmp_path, SETTINGS).system.retention_days == 7


def test_a_file_that_cannot_be_read_is_a_problem(tmp_path: Path) -> None:
    (tmp_path / SYSTEM_FILE).mkdir()
    with pytest.raises(ConfigFileError, match="cannot be read"):
        files.load(tmp_path, SETTINGS)


def test_writing_keeps_unknown_keys_order_and_mode(tmp_path: Path) -> None:
    path = tmp_path / WEBHOOK_FILE
    path.write_text('{"zebra": [1, {"é": null}], "timeout": 3, "a": "last"}')
    path.chmod(0o640)
    document = files.load(tmp_path, SETTINGS).documents[WEBHOOK_FILE]
    content = files.write(tmp_path, WEBHOOK_FILE, {**document, "timeout": 4})
    assert path.read_bytes() == content
    assert list(json.loads(content).items()) == [("zebra", [1, {"é": None}]), ("timeout", 4), ("a", "last")]
    assert stat.S_IMODE(path.stat().st_mode) == 0o640
    assert [each.name for each in tmp_path.iterdir()] == [WEBHOOK_FILE]


def test_only_the_owner_can_read_a_new_file(tmp_path: Path) -> None:
    files.write(tmp_path, SYSTEM_FILE, {"delivery_paused": True})
    assert stat.S_IMODE((tmp_path / SYSTEM_FILE).stat().st_mode) == 0o600


def test_a_failed_write_leaves_the_old_file(tmp_path: Path) -> None:
    (tmp_path / SYSTEM_FILE).mkdir()
    with pytest.raises(files.NotWrittenError, match="nothing was changed"):
        files.write(tmp_path, SYSTEM_FILE, {})
    with pytest.raises(files.NotWrittenError, match="nothing was changed"):
        files.write(tmp_path / "gone", SYSTEM_FILE, {})
    assert [each.name for each in tmp_path.iterdir()] == [SYSTEM_FILE]
