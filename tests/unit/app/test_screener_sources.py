"""The sources that need no network: `list:` and `file:` (SPEC §12)."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest

from app.screener.sources import SourceError, source_of, table

if TYPE_CHECKING:
    from pathlib import Path


async def fetch(url: str, folder: Path) -> list[str]:
    source, place = source_of(url)
    return await source.fetch(place, folder)


async def test_a_list_keeps_its_order_and_drops_repetitions(tmp_path: Path) -> None:
    assert await fetch("list: nvda,AAPL, ,aapl,BRK.B", tmp_path) == ["NVDA", "AAPL", "BRK.B"]


@pytest.mark.parametrize("url", ["list:", "list: , ", "list:AA PL", "list:<b>", "list:" + "A" * 21])
async def test_a_list_without_a_ticker_or_with_something_else_fails(url: str, tmp_path: Path) -> None:
    with pytest.raises(SourceError):
        await fetch(url, tmp_path)


@pytest.mark.parametrize(
    "text",
    [
        "NVDA\nAAPL\n",
        "Ticker\nNVDA\nAAPL\n",
        'No.,Ticker,Company\n1,NVDA,"NVIDIA, Corp"\n2,AAPL,Apple\n',
        "\ufeffticker;\r\n\r\nNVDA\r\nAAPL".replace(";", ""),
        "nvda,x\naapl\n",
    ],
)
def test_a_table_is_read_by_its_ticker_column_or_its_first(text: str) -> None:
    assert table.read(text.removeprefix("\ufeff"), "top.csv") == ["NVDA", "AAPL"]


async def test_a_file_is_read_from_the_configuration_folder(tmp_path: Path) -> None:
    (tmp_path / "top.csv").write_bytes(b"\xef\xbb\xbfTicker\r\nNVDA\r\n")
    assert await fetch("file:top.csv", tmp_path) == ["NVDA"]


@pytest.mark.parametrize("name", ["../top.csv", "/etc/passwd", ".env", "a/b.csv", "", "a\0b"])
async def test_only_a_plain_name_is_opened(name: str, tmp_path: Path) -> None:
    with pytest.raises(SourceError, match="plain name"):
        await fetch(f"file:{name}", tmp_path)


@pytest.mark.parametrize(
    ("content", "reason"),
    [(None, "cannot be read"), (b"", "no tickers"), (b"\xff\xfe", "no UTF-8"), (b"A" * 1_000_001, "larger")],
)
async def test_a_file_that_cannot_be_used_says_why(
    content: bytes | None, reason: str, tmp_path: Path
) -> None:
    if content is not None:
        (tmp_path / "top.csv").write_bytes(content)
    with pytest.raises(SourceError, match=rf"config/top\.csv.*{reason}"):
        await fetch("file:top.csv", tmp_path)


@pytest.mark.parametrize("url", ["https://finviz.com/screener.ashx?v=111", "ftp:x", "AAPL,NVDA"])
def test_an_unknown_source_says_what_can_be_used(url: str) -> None:
    with pytest.raises(SourceError, match=r"use list:AAPL,NVDA or file:NAME\.csv"):
        source_of(url)
