"""Providers without a network: `list:`, `file:`, and what the others refuse before a request."""

from __future__ import annotations

import os
from typing import TYPE_CHECKING

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from yarl import URL

from app.screener.pace import Pace
from app.screener.parsing.parser import Parser
from app.screener.providers import ProviderError, Request, check, provider_of, tokens
from app.screener.providers.finviz import open_client

if TYPE_CHECKING:
    from pathlib import Path

SECRET = "pa55word-in-another-file"


async def fetch(url: str, folder: Path) -> list[str]:
    async with open_client() as http, Parser() as parser:
        request = Request(url, 500, 500, folder, http, Pace(lambda: None), parser)
        return (await provider_of(url).fetch(request)).tickers


async def test_a_list_keeps_its_order_and_drops_repetitions(tmp_path: Path) -> None:
    assert await fetch("list: nvda,AAPL, ,aapl,BRK.B", tmp_path) == ["NVDA", "AAPL", "BRK.B"]
    assert await fetch("list:NASDAQ:NVDA,nyse:ibm", tmp_path) == ["NVDA", "IBM"]


@pytest.mark.parametrize("url", ["list:", "list: , ", "list:AA PL", "list:<b>", "list:" + "A" * 21])
async def test_a_list_without_a_ticker_or_with_something_else_fails(url: str, tmp_path: Path) -> None:
    with pytest.raises(ProviderError):
        await fetch(url, tmp_path)


async def test_a_file_is_read_from_the_configuration_folder(tmp_path: Path) -> None:
    (tmp_path / "top.csv").write_bytes(b"\xef\xbb\xbfTicker\r\nNVDA\r\n")
    assert await fetch("file:top.csv", tmp_path) == ["NVDA"]
    (tmp_path / "TOP.CSV").write_text("AAPL")
    assert await fetch("FILE:TOP.CSV", tmp_path) == ["AAPL"]


@pytest.mark.parametrize(
    "name",
    [
        "../top.csv", "/etc/passwd", ".env", "a/b.csv", "", "a\0b", ".csv", "..csv", "a.csv\n", "a.csv/",
        "webhook_config.json", "watch.txt", "top.csv.json", "top.csv ", "top", "C:\\top.csv", "top.csv\0.txt",
        "a" * 300 + ".csv",
    ],
)  # fmt: skip
async def test_only_a_plain_name_of_a_csv_file_is_opened(name: str, tmp_path: Path) -> None:
    (tmp_path / "webhook_config.json").write_text(f'{{"url": "https://bridge.example/{SECRET}"}}')
    with pytest.raises(ProviderError, match="plain name") as refused:
        await fetch(f"file:{name}", tmp_path)
    assert SECRET not in str(refused.value)
    with pytest.raises(ProviderError, match="plain name"):
        check(f"file:{name}", allow_other_hosts=False)


async def test_a_link_is_followed_to_a_csv_file_inside_the_folder_only(tmp_path: Path) -> None:
    outside, folder = tmp_path / "outside.csv", tmp_path / "config"
    outside.write_text("AAPL")
    (folder / "data").mkdir(parents=True)
    (folder / "data" / "real.csv").write_text("NVDA")
    (folder / "webhook_config.json").write_text(SECRET)
    for name, target in {
        "inside.csv": folder / "data" / "real.csv",
        "outside.csv": outside,
        "json.csv": folder / "webhook_config.json",
        "circle.csv": folder / "circle.csv",
        "nothing.csv": folder / "missing.csv",
    }.items():
        (folder / name).symlink_to(target)
    assert await fetch("file:inside.csv", folder) == ["NVDA"]
    for name in ("outside.csv", "json.csv", "circle.csv", "nothing.csv"):
        with pytest.raises(ProviderError, match=rf"config/{name} (must not be a link|cannot be read)"):
            await fetch(f"file:{name}", folder)


async def test_neither_a_pipe_nor_a_folder_is_waited_for(tmp_path: Path) -> None:
    os.mkfifo(tmp_path / "pipe.csv")
    (tmp_path / "folder.csv").mkdir()
    for name in ("pipe.csv", "folder.csv"):
        with pytest.raises(ProviderError, match=rf"config/{name} (must be a regular file|cannot be read)"):
            await fetch(f"file:{name}", tmp_path)


@pytest.mark.parametrize(
    ("content", "reason"),
    [
        (None, "cannot be read"),
        (b"", "no tickers"),
        (b"\xff\xfe", "must be UTF-8"),
        (b"A" * 1_000_001, "larger"),
        (f"AAPL\n{SECRET} {SECRET}\n".encode(), "line 2, column 1 is not a ticker"),
    ],
)
async def test_an_unusable_file_is_refused_with_the_reason(
    content: bytes | None, reason: str, tmp_path: Path
) -> None:
    if content is not None:
        (tmp_path / "top.csv").write_bytes(content)
    with pytest.raises(ProviderError, match=rf"config/top\.csv.*{reason}") as refused:
        await fetch("file:top.csv", tmp_path)
    assert SECRET.upper() not in str(refused.value).upper()


@pytest.mark.parametrize("url", ["ftp:x", "AAPL,NVDA", "//finviz.com/screener.ashx"])
def test_an_unknown_source_is_refused_with_the_allowed_ones(url: str) -> None:
    with pytest.raises(ProviderError, match=r"list:AAPL,NVDA or file:NAME\.csv"):
        provider_of(url)


@pytest.mark.parametrize("url", ["auth=s3cret", "?auth=s3cret:x", "elite.finviz.com/export?auth=s3cret"])
def test_what_is_not_a_scheme_is_not_shown(url: str) -> None:
    with pytest.raises(ProviderError) as refused:
        provider_of(url)
    assert "s3cret" not in str(refused.value)


@pytest.mark.parametrize(
    ("url", "kind"),
    [
        ("https://finviz.com/screener.ashx?v=111", "html"),
        ("HTTPS://finviz.com/screener?v=111", "html"),
        ("https://finviz.com/exporter/screener?v=111", "html"),
        ("https://elite.finviz.com/export.ashx?v=111", "csv"),
        ("https://elite.finviz.com/export?v=111", "csv"),
        ("https://elite.finviz.com/export/screener?v=111", "csv"),
        ("https://elite.finviz.com/Export/Screener/?v=111", "csv"),
    ],
)
def test_a_url_is_read_as_pages_or_as_an_export(url: str, kind: str) -> None:
    assert provider_of(url).kind == kind


@pytest.mark.parametrize(
    "url",
    [
        "http://finviz.com/screener.ashx",
        "https://finviz.com.evil.example/screener.ashx",
        "https://evilfinviz.com/screener.ashx",
        "https://user:finviz.com@127.0.0.1/screener.ashx",
        "https://finviz.com@127.0.0.1/screener.ashx",
        "https://finviz.com:8443/screener.ashx",
        "http://169.254.169.254/latest",
        "https:///screener.ashx",
    ],
)
async def test_only_https_on_the_screeners_own_domain_is_requested(url: str, tmp_path: Path) -> None:
    with pytest.raises(ProviderError, match=r"must be an https:// URL on finviz\.com"):
        await fetch(url, tmp_path)


async def test_a_url_that_is_none_is_an_error_of_the_source(tmp_path: Path) -> None:
    with pytest.raises(ProviderError, match="is not a valid URL"):
        await fetch("https://[finviz.com/screener.ashx", tmp_path)


@pytest.mark.parametrize(
    ("url", "reason"),
    [
        ("https://elite.finviz.com/export.ashx?v=111&auth=token", "must not contain auth"),
        ("https://elite.finviz.com/export/screener?v=111&AUTH=token", "must not contain auth"),
        ("https://elite.finviz.com/export.ashx?v=111&%61uth=token", "must not contain auth"),
        ("https://elite.finviz.com/export.ashx?v=111", "FINVIZ_ELITE_AUTH is not set"),
        ("https://elite.finviz.com/export/screener?v=111", "FINVIZ_ELITE_AUTH is not set"),
    ],
)
async def test_the_exports_token_comes_from_the_environment_only(
    url: str, reason: str, tmp_path: Path
) -> None:
    with pytest.raises(ProviderError, match=reason):
        await fetch(url, tmp_path)


TRUSTED = [
    "https://finviz.com/export.ashx",
    "https://ELITE.FinViz.com:443/export/screener?v=111",
    "https://ﬁnviz.com/export.ashx",  # a ligature: the name that is resolved is Finviz's own
]
STRANGE = [
    "http://elite.finviz.com/export.ashx",
    "https://elite.finviz.com:8443/export.ashx",
    "https://elite.finviz.com./export.ashx",
    "https://finviz.com@evil.example/export.ashx",
    "https://user@elite.finviz.com/export.ashx",
    "https://evil.example/elite.finviz.com/export.ashx",
    "https://evil.example?x=.finviz.com/export.ashx",
    "https://evil.example#.finviz.com/export.ashx",
    "https://finviz.com.evil.example/export.ashx",
    "https://xfinviz.com/export.ashx",
    "https://fіnviz.com/export.ashx",  # noqa: RUF001  # a Cyrillic letter
    "https://127.0.0.1/export.ashx",
]


@pytest.mark.parametrize("url", TRUSTED + STRANGE)
def test_the_token_is_added_for_finviz_over_https_only(url: str) -> None:
    assert ("s3cret" in str(tokens.added(URL(url), "s3cret"))) is (url in TRUSTED)


@pytest.mark.parametrize("url", STRANGE)
@pytest.mark.parametrize(
    "query",
    [
        *("auth=s3cret", "v=1&AUTH=s3cret", "a%75th=s3cret", " auth=s3cret"),
        *("v=1;auth=s3cret", "v=1&amp;Auth=s3cret", "v=1%3Bauth=s3cret", "auth=a;s3cret"),
    ],
)
def test_a_typed_token_is_refused_for_every_other_place(url: str, query: str) -> None:
    whole = URL(url).with_fragment(None)
    offered = f"{whole}{'&' if whole.query_string else '?'}{query}"
    for page in (offered, offered.replace("export.ashx", "screener.ashx")):
        with pytest.raises(ProviderError) as refused:
            check(page, allow_other_hosts=True)
        assert "must not contain auth" in str(refused.value)
        assert "s3cret" not in str(refused.value)


@pytest.mark.parametrize(
    ("url", "token", "bare"),
    [
        ("https://finviz.com/a?v=1&auth=s3cret&o=2", "s3cret", "https://finviz.com/a?v=1&o=2"),
        ("https://finviz.com/a?v=1;auth=s3cret&o=2", "s3cret", "https://finviz.com/a?v=1&o=2"),
        ("https://finviz.com/a?v=1;w=2;auth=a;b", "a;b", "https://finviz.com/a?v=1%3Bw%3D2"),
        ("https://finviz.com/a?v=1;author=x", None, "https://finviz.com/a?v=1;author=x"),
        ("https://finviz.com/a?v=1", None, "https://finviz.com/a?v=1"),
    ],
)
def test_a_typed_token_is_removed_from_the_url(url: str, token: str | None, bare: str) -> None:
    found, rest = tokens.split(URL(url))
    assert found == token
    assert dict(rest.query) == dict(URL(bare).query)
    assert "s3cret" not in str(rest)


@settings(deadline=None)
@given(host=st.text(st.characters(codec="utf-8"), max_size=30), scheme=st.sampled_from(["http", "https"]))
def test_no_spelling_of_a_host_gets_the_token_unless_it_is_finviz(host: str, scheme: str) -> None:
    for spelled in (host, f"{host}finviz.com", f"finviz.com{host}", f"elite.finviz.com{host}finviz.com"):
        try:
            url = URL(f"{scheme}://{spelled}/export.ashx")
        except ValueError:
            continue
        if "s3cret" in str(tokens.added(url, "s3cret")):
            asked = url.raw_host or ""
            assert (url.scheme, url.port) == ("https", 443)
            assert asked == "finviz.com" or asked.endswith(".finviz.com")
