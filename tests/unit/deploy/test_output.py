"""Streams that cannot fail, over real pipes and devices."""

from __future__ import annotations

import io
import os
import threading
from typing import TYPE_CHECKING, TextIO, cast

import pytest

from deploy.output import Output, is_gone

if TYPE_CHECKING:
    from pathlib import Path


def over(descriptor: int, **how: str) -> Output:
    return Output(cast("TextIO", os.fdopen(descriptor, "w", **how)))  # type: ignore[call-overload]


def test_what_works_is_written_at_once(tmp_path: Path) -> None:
    file = tmp_path / "file"
    out = Output(file.open("w", encoding="utf-8"))
    assert out.write("one") == 3
    assert file.read_text("utf-8") == "one"
    out.writelines(["two", "three"])
    out.flush()
    assert file.read_text("utf-8") == "onetwothree"
    assert (is_gone(cast("TextIO", out)), out.isatty()) == (False, False)


def test_after_the_reader_has_gone_nothing_raises() -> None:
    reader, writer = os.pipe()
    os.close(reader)
    out = over(writer)
    for _ in range(3):
        assert out.write("text\n") == 5
        out.flush()
    assert is_gone(cast("TextIO", out))
    out.close()  # type: ignore[operator]  # flushes what is buffered: to the null device


def test_a_full_device_and_a_closed_stream_raise_nothing() -> None:
    full = over(os.open("/dev/full", os.O_WRONLY))
    full.write("x")
    assert is_gone(cast("TextIO", full))
    closed = io.StringIO()
    closed.close()
    out = Output(closed)
    out.write("x")
    assert (out.is_gone, out.isatty()) == (True, False)


def test_a_nonblocking_pipe_loses_no_text() -> None:
    """The rest is written as soon as the reader is ready."""
    reader, writer = os.pipe()
    os.set_blocking(writer, False)
    text, found = "0123456789" * 40_000, bytearray()

    def read() -> None:
        while chunk := os.read(reader, 4096):
            found.extend(chunk)

    thread = threading.Thread(target=read)
    out = over(writer)
    thread.start()
    out.write(text)
    out.close()  # type: ignore[operator]
    thread.join()
    os.close(reader)
    assert found.decode() == text


@pytest.mark.parametrize("text", ["\udc80", "→", "é"])
def test_a_character_that_cannot_be_shown_is_replaced(text: str) -> None:
    reader, writer = os.pipe()
    out = over(writer, encoding="ascii", errors="replace")
    out.write(text)
    assert os.read(reader, 10) == b"?"
    os.close(reader)
    out.close()  # type: ignore[operator]
