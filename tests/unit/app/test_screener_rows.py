"""Watchlists and exports in every form that people and platforms save them in."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from app.screener.parsing.rows import has_head, read_export, read_watchlist
from app.screener.parsing.tickers import SourceError, is_ticker


@pytest.mark.parametrize(
    "text",
    [
        "NVDA\nAAPL\n",
        "Ticker\nNVDA\nAAPL\n",
        "Symbol\nNVDA\nAAPL\n",
        "SYMBOL\r\nNVDA\r\nAAPL\r\n",
        '"Symbol"\n"NVDA"\n"AAPL"\n',
        'No.,Ticker,Company\n1,NVDA,"NVIDIA, Corp"\n2,AAPL,Apple\n',
        'Nr;Symbol;Firma\n1;NVDA;"NVIDIA; Corp"\n2;AAPL;Apple, Inc\n',
        "No.\tSymbol\tName\n1\tNVDA\tNVIDIA, Corp\n2\tAAPL\tApple\n",
        "No.|Ticker|Name\n1|NVDA|a\n2|AAPL|b\n",
        "Ativo;Nome\nNVDA;Nvidia\nAAPL;Apple\n",
        "Código\nNVDA\nAAPL",
        "\r\n\r\nticker\r\n\r\nNVDA\r\nAAPL",
        "nvda,x\naapl\n",
        "NVDA,132.50\nAAPL,190\n",
        "NVDA;Nvidia Corp\nAAPL;Apple, Inc\n",
        "NVDA,AAPL",
        "NVDA,AAPL\n",
        "NVDA, AAPL ,nvda,\n\n",
        "NVDA;AAPL",
        "NVDA\tAAPL",
        "NVDA|AAPL",
        '"NVDA", "AAPL"',
        "NASDAQ:NVDA,NASDAQ:AAPL",
        "NASDAQ:NVDA\nNASDAQ:AAPL\n",
        "###CHIPS,NASDAQ:NVDA,###PHONES,NASDAQ:AAPL",
        "###CHIPS\nNASDAQ:NVDA\n###PHONES\nNASDAQ:AAPL\n",
        "###Chips\n\nNVDA\n\n###Phones\nAAPL\n",
        '# my list, of "today\nNVDA\n  # more\nAAPL\n',
        "sep=;\nTicker;Price\nNVDA;1,5\nAAPL;2,5\n",
        "sep=,\nNVDA,AAPL\n",
        "NVDA\rAAPL\r",
        "symbol,exchange\nNASDAQ:NVDA,NASDAQ\nNASDAQ:AAPL,NASDAQ\n",
        "NVDA\nNVDA\nAAPL\nnvda\n",
    ],
)  # fmt: skip
def test_a_watchlist_is_read_in_the_form_it_was_saved_in(text: str) -> None:
    assert read_watchlist(text) == ["NVDA", "AAPL"]


def test_symbols_of_several_lines_and_sections_are_all_read() -> None:
    text = "###TECH\nNASDAQ:AAPL,NASDAQ:MSFT\n###OIL\nNYSE:XOM,NYSE:BRK.B\n"
    assert read_watchlist(text) == ["AAPL", "MSFT", "XOM", "BRK.B"]


@pytest.mark.parametrize("head", ["SYMBOL", "Ticker", "symbols"])
def test_a_first_line_that_names_the_column_is_a_head_and_no_ticker(head: str) -> None:
    assert read_watchlist(f"{head}\nNVDA\n") == ["NVDA"]
    with pytest.raises(SourceError, match="no tickers"):
        read_watchlist(f"{head},Company,Price\n")


@pytest.mark.parametrize("text", ["AAPL,MSFT\nNVDA,TSLA\n", "AAPL;US\nMSFT;US\n", "NASDAQ:AAPL,MSFT\nNVDA\n"])
def test_several_columns_of_tickers_without_a_head_are_not_guessed(text: str) -> None:
    with pytest.raises(SourceError, match="names the column Ticker"):
        read_watchlist(text)


@pytest.mark.parametrize(
    ("text", "place"),
    [
        ("NVDA\nAA PL\n", "line 2, column 1"),
        ("\n\nTicker;Name\nNVDA;x\n<b>;y\n", "line 5, column 1"),
        ("AAPL,NVDA,not one", "line 1, column 3"),
        ("# words\nAAPL\n\nhttps://bridge.example/secret\n", "line 4, column 1"),
        ("AAPL,MSFT;NVDA", "line 1, column 2"),
    ],
)
def test_a_cell_that_is_not_a_ticker_is_named_by_its_place(text: str, place: str) -> None:
    with pytest.raises(SourceError) as refused:
        read_watchlist(text)
    assert str(refused.value) == f"{place} is not a ticker: use 1 to 20 of A-Z 0-9 . -"


@pytest.mark.parametrize("text", ["", "\ufeff"[1:], "\n \n", "###only\n", "# only\n", "sep=;\n", ",,,\n;\n"])
def test_a_watchlist_of_nothing_has_no_tickers(text: str) -> None:
    with pytest.raises(SourceError, match=r"no tickers|not a ticker"):
        read_watchlist(text)


REASONS = (
    "line , column  is not a ticker: use  to  of A-Z - . -",
    "line  is not valid CSV",
    "no tickers in it",
    (
        "several columns could hold the tickers: write a first line that names the column Ticker, "
        "or one ticker a line"
    ),
    "the export has no column Ticker: is FINVIZ_ELITE_AUTH right?",
    "the export breaks off in the middle of a row",
)
WORDS = st.text(max_size=12) | st.sampled_from(
    [
        "AAPL",
        "NASDAQ:NVDA",
        "Ticker",
        "Symbol",
        ",",
        ";",
        "\t",
        "|",
        '"',
        "\n",
        "\r",
        "###x",
        "#",
        "sep=;",
        "\0",
    ]
)


@given(st.lists(WORDS, max_size=40))
def test_whatever_is_read_gives_tickers_or_an_error_that_does_not_quote_it(words: list[str]) -> None:
    text = "".join(words)
    for read in (read_watchlist, read_export):
        try:
            found = read(text)
        except SourceError as error:
            fixed = "".join(letter for letter in str(error) if not letter.isdigit())
            assert fixed in REASONS
            continue
        assert found
        assert len(found) == len(set(found))
        assert all(is_ticker(ticker) for ticker in found)


TICKERS = st.lists(
    st.from_regex(r"[A-Z]{1,5}(\.[A-Z])?", fullmatch=True), min_size=1, max_size=20, unique=True
)


@given(
    TICKERS.filter(lambda found: not {"TICKER", "SYMBOL", "ATIVO", "PAPEL"} & set(found)),
    st.sampled_from(",;\t|"),
    st.sampled_from(["\n", "\r\n"]),
    st.sampled_from(["", '"']),
)
def test_a_list_comes_back_from_every_form(tickers: list[str], separator: str, end: str, quote: str) -> None:
    cells = [f"{quote}{ticker}{quote}" for ticker in tickers]
    symbols = [f"NASDAQ:{ticker}" for ticker in tickers]
    for text in (
        separator.join(cells),
        end.join(cells),
        end.join(["Symbol", *cells]),
        end.join([f"No.{separator}Symbol", *(f"{n}{separator}{cell}" for n, cell in enumerate(cells))]),
        separator.join(symbols),
        end.join(symbols),
    ):
        assert read_watchlist(text) == tickers


def test_an_export_is_read_by_its_column() -> None:
    text = 'No.,Ticker,Company\r\n1,NVDA,"NVIDIA, Corp"\r\n2,AAPL,Apple\r\n'
    assert read_export(text) == ["NVDA", "AAPL"]
    assert has_head(text)
    assert not has_head("Too Many Requests, try later")


@pytest.mark.parametrize(
    ("text", "reason"),
    [
        ("", "no column Ticker"),
        ("<html><title>Login</title></html>", "FINVIZ_ELITE_AUTH"),
        ("No.,Ticker,Company\r\n", "no tickers"),
        ("No.,Ticker,Company\r\n1,NVDA,N\r\n2,AA", "breaks off"),
        ("No.,Ticker,Company\r\n1,<b>,N\r\n", "line 2, column 2 is not a ticker"),
    ],
)
def test_an_export_that_is_none_says_why(text: str, reason: str) -> None:
    with pytest.raises(SourceError, match=reason):
        read_export(text)
