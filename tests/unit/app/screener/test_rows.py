"""Watchlists and exports in every form that people and platforms save them in."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from app.screener.parsing.rows import has_head, read_export, read_watchlist
from app.screener.parsing.tickers import ProviderError, is_list_ticker


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
    with pytest.raises(ProviderError, match="no tickers"):
        read_watchlist(f"{head},Company,Price\n")


@pytest.mark.parametrize(
    "text",
    [
        "AAPL,US,NASDAQ\nMSFT,US,NASDAQ",
        "AAPL,BUY\nMSFT,SELL",
        "AAPL;US\nMSFT;US\n",
        "AAPL,NVDA\nMSFT,TSLA\n",
        "AAPL,NVDA\nMSFT\n",
        "AAPL,Stock\nMSFT,ETF\n",
        "AAPL,Ativo\nMSFT,Ativo\n",
        "AAPL,code\nMSFT,code\n",
        "aapl,buy\nmsft,sell\n",
        "AAPL,\nMSFT,US\n",
        "NASDAQ:AAPL,US\nNASDAQ:MSFT,US\n",
        "NASDAQ:AAPL,BUY\nMSFT,SELL\n",
    ],
)
def test_the_first_of_several_columns_is_the_list(text: str) -> None:
    assert read_watchlist(text) == ["AAPL", "MSFT"]


@pytest.mark.parametrize(
    ("text", "tickers"),
    [
        ("AAPL,US,NASDAQ", ["AAPL", "US", "NASDAQ"]),
        ("aapl,msft", ["AAPL", "MSFT"]),
        ("7203,6758", ["7203", "6758"]),
        ("AAPL,NASDAQ:MSFT", ["AAPL", "MSFT"]),
        ("BRK-B,x y", ["BRK-B"]),
        ("NVDA,NVIDIA Corp", ["NVDA"]),
        ('NVDA,"NVIDIA, Corp"', ["NVDA"]),
        ("NVDA,Nvidia", ["NVDA"]),
        ("NVDA,132.50", ["NVDA"]),
        ("NVDA,US,132.50", ["NVDA"]),
        ("NVDA,US,Nvidia Corp", ["NVDA"]),
    ],
)
def test_a_single_line_is_a_list_or_a_ticker_with_remarks(text: str, tickers: list[str]) -> None:
    assert read_watchlist(text) == tickers


HEADS = (
    "Code", "Instrument", "Sym", "Symbols", "Stock", "Stocks", "Tickers", "Papel", "Código", "Ativo",
    "Co\u0301digo", "CODE", "code", "Ativos",
)  # fmt: skip


@pytest.mark.parametrize("head", HEADS)
@pytest.mark.parametrize(
    "text",
    [
        "{head},Name\nAAPL,Apple\nMSFT,Microsoft\n",
        "No.;{head};Price\n1;AAPL;1,5\n2;MSFT;2,5\n",
        "Watchlist\n\n{head},Last\nAAPL,1\nMSFT,2\n",
        "Watchlist,,\n,,\n{head},Last,EPS\nAAPL,1,2\nMSFT,2,3\n",
        "My list; of 2026\n{head}\tName\nAAPL\tApple\nMSFT\tMicrosoft\n",
        "Account,123\n{head},Last\nAAPL,1\nMSFT,2\n",
        "WATCHLIST\n{head}|Name\nAAPL|Apple\nMSFT|Microsoft\n",
        "{head},Last\nAAPL,1\n{head},Last\nMSFT,2\n",
        "{head},Last\nAAPL,1\nMSFT,2\nTotal,3\n",
        "{head},Last,Name\nAAPL,1,x\nMSFT,2,y\nGrand Total,3,\n",
    ],
)
def test_a_head_of_several_columns_names_the_list_below_titles_too(text: str, head: str) -> None:
    assert read_watchlist(text.format(head=head)) == ["AAPL", "MSFT"]


@pytest.mark.parametrize(
    ("text", "tickers"),
    [
        ("SYM\nAAPL\n", ["SYM", "AAPL"]),
        ("SYM,Symbotic Inc\nAAPL,Apple Inc\n", ["SYM", "AAPL"]),
        ("SYM,52.10\nAAPL,190\n", ["SYM", "AAPL"]),
        ("AAPL,Apple Inc\nSYM,Symbotic Inc\n", ["AAPL", "SYM"]),
        ("AAPL\nSYMBOL\nMSFT\n", ["AAPL", "SYMBOL", "MSFT"]),
        ("AAPL,1\nSYMBOL,2\n", ["AAPL", "SYMBOL"]),
        ("AAPL\nMSFT\nSymbol,Last\nTSLA,1\n", ["AAPL", "MSFT", "SYMBOL", "TSLA"]),
        ("Symbol,Last,Name\nAAPL,1,Apple\nTOTAL,2,Total SE\n", ["AAPL", "TOTAL"]),
        ("Symbol,Last\nTOTAL,1\nAAPL,2\n", ["TOTAL", "AAPL"]),
        ("Symbol,Last\nAAPL,1\nSUM,2\n", ["AAPL", "SUM"]),
        ("Symbol\nAAPL\nTOTAL\n", ["AAPL", "TOTAL"]),
        ("Symbol,Ticker\nx1,AAPL\n", ["AAPL"]),
        ("My watchlist\nSymbol\nAAPL\n", ["AAPL"]),
    ],
)
def test_a_ticker_is_not_lost_to_a_head_a_title_or_a_sum(text: str, tickers: list[str]) -> None:
    assert read_watchlist(text) == tickers


@pytest.mark.parametrize("text", ["NASDAQ:AAPL,MSFT\nNVDA\n", "NASDAQ:AAPL,NASDAQ:MSFT\nNYSE:XOM,IBM\n"])
def test_lines_of_symbols_that_form_no_table_are_not_guessed(text: str) -> None:
    with pytest.raises(ProviderError, match="names the column Ticker"):
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
    with pytest.raises(ProviderError) as refused:
        read_watchlist(text)
    assert str(refused.value) == f"{place} is not a ticker: use 1 to 20 of A-Z 0-9 . -"


@pytest.mark.parametrize("text", ["", "\ufeff"[1:], "\n \n", "###only\n", "# only\n", "sep=;\n", ",,,\n;\n"])
def test_an_empty_watchlist_has_no_tickers(text: str) -> None:
    with pytest.raises(ProviderError, match=r"no tickers|not a ticker"):
        read_watchlist(text)


@pytest.mark.parametrize(
    "text",
    [
        "#,Ticker\n1,NVDA\n2,AAPL\n",
        "#;Symbol;Name\n1;NVDA;Nvidia\n2;AAPL;Apple\n",
        "#\tTicker\n1\tNVDA\n2\tAAPL\n",
        '"#","Ticker"\n"1","NVDA"\n"2","AAPL"\n',
        "# , Ticker\n1,NVDA\n2,AAPL\n",
        "# a comment, Ticker\n#,Ticker\n# another\n1,NVDA\n2,AAPL\n",
    ],
)
def test_a_head_that_begins_with_a_number_sign_is_a_head(text: str) -> None:
    assert read_watchlist(text) == ["NVDA", "AAPL"]


@pytest.mark.parametrize(
    "text",
    [
        "1,NVDA\n2,AAPL\n3,MSFT\n",
        "0;NVDA\n1;AAPL\n",
        "1,NASDAQ:NVDA\n2,NASDAQ:AAPL\n",
        "1,Nvidia,NVDA\n2,Apple,AAPL\n",
        "2026-11-28,NVDA\n2026-11-28,AAPL\n",
        "20261128,NVDA\n20261128,AAPL\n",
        "28.11.2026,Nvidia\n28.11.2026,Apple\n",
        "190.5,NVDA\n400,AAPL\n",
        "10:30,NASDAQ:NVDA\n10:31,NASDAQ:AAPL\n",
        "WATCHLIST\n1,NVDA\n2,AAPL\n",
    ],
)
def test_ranks_dates_and_prices_in_the_first_column_are_no_tickers(text: str) -> None:
    with pytest.raises(ProviderError, match="the first column holds numbers or dates"):
        read_watchlist(text)


@pytest.mark.parametrize(
    ("text", "tickers"),
    [
        ("7203\n6758\n", ["7203", "6758"]),
        ("7203,Toyota Motor\n6758,Sony\n", ["7203", "6758"]),
        ("7203,TYO\n6758,TYO\n9984,TYO\n", ["7203", "6758", "9984"]),
        ("7203,2500\n6758,3000\n", ["7203", "6758"]),
        ("AAPL,US\n7203,JP\nMSFT,US\n", ["AAPL", "7203", "MSFT"]),
        ("Ticker,Exchange\n7203,TYO\n0700,HKG\n", ["7203", "0700"]),
    ],
)
def test_tickers_of_digits_are_read(text: str, tickers: list[str]) -> None:
    assert read_watchlist(text) == tickers


REASONS = (
    "line , column  is not a ticker: use  to  of A-Z - . -",
    "line  is not valid CSV",
    "it has no tickers",
    (
        "several columns could hold the tickers: write a first line that names the column Ticker, "
        "or one ticker a line"
    ),
    (
        "the first column holds numbers or dates: write a first line that names the column Ticker, "
        "or one ticker a line"
    ),
    "the export has no column Ticker: is FINVIZ_ELITE_AUTH right?",
    "the export ends in the middle of a row",
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
        except ProviderError as error:
            fixed = "".join(letter for letter in str(error) if not letter.isdigit())
            assert fixed in REASONS
            continue
        assert found
        assert len(found) == len(set(found))
        assert all(is_list_ticker(ticker) for ticker in found)


REMARKS = st.text("ABab 01.;|\t", max_size=8) | st.sampled_from(
    ["US", "BUY", "Stock", "Ativo", "Code", "sym"]
)
TABLES = st.lists(
    st.tuples(st.from_regex(r"[A-Z]{1,5}[0-9]?", fullmatch=True), st.lists(REMARKS, max_size=3)),
    min_size=2,
    max_size=20,
    unique_by=lambda row: row[0],
).filter(lambda rows: not {row[0].lower() for row in rows} & {"ticker", "symbol", "ativo", "papel"})


@given(TABLES)
def test_the_first_column_of_any_table_of_tickers_is_read(rows: list[tuple[str, list[str]]]) -> None:
    text = "\n".join(",".join([ticker, *remarks]) for ticker, remarks in rows)
    assert read_watchlist(text) == [ticker for ticker, _ in rows]


TICKERS = st.lists(
    st.from_regex(r"[A-Z]{1,5}(\.[A-Z])?", fullmatch=True), min_size=1, max_size=20, unique=True
)


@given(
    TICKERS.filter(lambda found: not {"TICKER", "SYMBOL", "ATIVO", "PAPEL", "TOTAL", "SOMA"} & set(found)),
    st.sampled_from(",;\t|"),
    st.sampled_from(["\n", "\r\n"]),
    st.sampled_from(["", '"']),
)
def test_a_list_is_read_back_from_every_form(
    tickers: list[str], separator: str, end: str, quote: str
) -> None:
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
    "text", ['"Ticker"\r\n"NVDA"\r\n"AAPL"\r\n', "Ticker\nNVDA\nAAPL", "\nticker\nNVDA\nAAPL"]
)
def test_an_export_may_have_one_column_only(text: str) -> None:
    assert has_head(text)
    assert read_export(text) == ["NVDA", "AAPL"]


@pytest.mark.parametrize(
    ("text", "reason"),
    [
        ("", "no column Ticker"),
        ("<html><title>Login</title></html>", "FINVIZ_ELITE_AUTH"),
        ("No.,Ticker,Company\r\n", "no tickers"),
        ("No.,Ticker,Company\r\n1,NVDA,N\r\n2,AA", "ends in the middle"),
        ("No.,Ticker,Company\r\n1,<b>,N\r\n", "line 2, column 2 is not a ticker"),
    ],
)
def test_an_invalid_export_is_refused_with_the_reason(text: str, reason: str) -> None:
    with pytest.raises(ProviderError, match=reason):
        read_export(text)
