"""Sources without a network: `list:`, `file:`, and what the others refuse before they ask (SPEC §12)."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest

from app.screener.pace import Pace
from app.screener.sources import Request, SourceError, source_of, table
from app.screener.sources.finviz import open_client

if TYPE_CHECKING:
    from pathlib import Path


async def fetch(url: str, folder: Path) -> list[str]:
    async with open_client() as http:
        request = Request(url, 500, folder, http, Pace(lambda: None))
        return await source_of(url).fetch(request)


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


@pytest.mark.parametrize("url", ["ftp:x", "AAPL,NVDA", "//finviz.com/screener.ashx"])
def test_an_unknown_source_says_what_can_be_used(url: str) -> None:
    with pytest.raises(SourceError, match=r"list:AAPL,NVDA or file:NAME\.csv"):
        source_of(url)


@pytest.mark.parametrize(
    ("url", "kind"),
    [
        ("https://finviz.com/screener.ashx?v=111", "html"),
        ("HTTPS://finviz.com/screener?v=111", "html"),
        ("https://elite.finviz.com/export.ashx?v=111", "csv"),
        ("https://elite.finviz.com/export?v=111", "csv"),
    ],
)
def test_a_url_is_read_as_pages_or_as_an_export(url: str, kind: str) -> None:
    assert source_of(url).kind == kind


@pytest.mark.parametrize(
    "url",
    [
        "http://finviz.com/screener.ashx",
        "https://finviz.com.evil.example/screener.ashx",
        "https://evilfinviz.com/screener.ashx",
        "https://user:finviz.com@127.0.0.1/screener.ashx",
        "http://169.254.169.254/latest",
        "https:///screener.ashx",
    ],
)
async def test_only_https_on_the_screeners_own_domain_is_asked(url: str, tmp_path: Path) -> None:
    with pytest.raises(SourceError, match=r"only https:// on finviz\.com is asked"):
        await fetch(url, tmp_path)


async def test_a_url_that_is_none_is_an_error_of_the_source(tmp_path: Path) -> None:
    with pytest.raises(SourceError, match="cannot be read"):
        await fetch("https://[finviz.com/screener.ashx", tmp_path)


@pytest.mark.parametrize(
    ("url", "reason"),
    [
        ("https://elite.finviz.com/export.ashx?v=111&auth=token", "must not hold auth"),
        ("https://elite.finviz.com/export.ashx?v=111", "FINVIZ_ELITE_AUTH is not set"),
    ],
)
async def test_the_exports_token_comes_from_the_environment_only(
    url: str, reason: str, tmp_path: Path
) -> None:
    with pytest.raises(SourceError, match=reason):
        await fetch(url, tmp_path)
