"""Recorded batches: whatever a batch was decided by, its record gives the same decisions again."""

from __future__ import annotations

import json
from datetime import UTC, datetime
from decimal import Decimal
from typing import TYPE_CHECKING
from uuid import UUID

import msgspec
import pytest
from hypothesis import given
from hypothesis import strategies as st

from app.config.destinations import Match
from app.config.times import parse_hours
from app.decision.batch import ClaimedSignal, TickerBook, UnfinishedOrder
from app.decision.record import (
    BatchInputs,
    DestinationInputs,
    ListInForce,
    read_stored,
    stored_form,
    taken_of,
)
from app.decision.risk import RiskCounts, RiskRules
from app.decision.rules import ListFacts
from app.signals.book import Book, BookRules, OrderTerms, PendingOrder, Position
from app.signals.reading import Intent, Quantity, Sentiment, Unit
from app.signals.reasons import ReasonCode

if TYPE_CHECKING:
    from collections.abc import Collection

TICKERS = ("AAPL", "NVDA", "TSLA")
NOTHING = TickerBook(Book(), (), is_complete=True)
MOMENTS = st.datetimes(datetime(2026, 1, 1), datetime(2027, 1, 1), timezones=st.just(UTC))  # noqa: DTZ001
AMOUNTS = st.none() | st.sampled_from(["1", "2.50", "1e-9", "123456789012345678901234567890.5"]).map(Decimal)
POSITIONS = st.builds(lambda quantity, sure: Position(quantity, is_confirmed=sure), AMOUNTS, st.booleans())
TERMS = st.builds(
    OrderTerms,
    st.sampled_from([Intent.OPEN, Intent.ADD, Intent.CLOSE, Intent.REDUCE, Intent.ADJUST]),
    st.none() | st.builds(Quantity, AMOUNTS, st.sampled_from(Unit)),
    st.none() | st.sampled_from(Sentiment),
)
ORDERS = st.builds(PendingOrder, TERMS, st.booleans(), st.booleans())
BOOKS = st.builds(
    lambda position, pending, sentiment, unfinished, is_complete: TickerBook(
        Book.of(position, pending, sentiment),
        tuple(
            UnfinishedOrder(UUID(int=900 + seq), seq, order)
            for seq, order in sorted(unfinished.items(), key=lambda each: each[0])
        ),
        is_complete,
    ),
    st.none() | POSITIONS,
    st.lists(ORDERS, max_size=2),
    st.none() | st.sampled_from(Sentiment),
    st.dictionaries(st.integers(-20, 0), ORDERS, max_size=3),
    st.booleans(),
)
ALERTS = st.fixed_dictionaries(
    {"action": st.sampled_from(["buy", "add", "sell", "exit", "cancel", "reverse"])},
    optional={
        "quantity": st.sampled_from([1, 2.5, "50%", "all", 0]),
        "sentiment": st.sampled_from(["long", "flat", "short"]),
    },
)
RULES = st.builds(
    RiskRules,
    st.booleans(),
    st.sampled_from([None, parse_hours("00:00-23:59"), parse_hours("09:30-16:00 America/New_York")]),
    st.none() | st.integers(1, 3),
    st.none() | st.integers(1, 3),
    st.sampled_from([0, 60]),
    st.frozensets(st.sampled_from([*TICKERS, "MSFT"])),
)
COUNTS = st.builds(
    RiskCounts,
    st.integers(0, 3),
    st.integers(0, 3),
    st.dictionaries(st.sampled_from(TICKERS), st.floats(0, 60)),
)
BOOK_RULES = st.builds(
    BookRules,
    st.sampled_from(["forward", "add", "reject"]),
    st.sampled_from(["keep_open", "close"]),
    st.sampled_from(["reject", "forward"]),
)
OTHERS = [(), (), ("live",), ("live", "paper")]  # destinations in addition to `default`
SOME = st.frozensets(st.sampled_from(TICKERS)) | st.just(frozenset(TICKERS))
LISTS = st.builds(
    ListInForce, st.just("Long"), st.none() | st.integers(1, 30), st.none() | st.integers(1, 90),
    st.booleans(), st.none() | st.integers(1), st.none() | MOMENTS,
)  # fmt: skip


def match_of(tickers: Collection[str]) -> Match:
    """Return the filter of a destination that takes these tickers alone; without any, nothing."""
    return Match(sources=(), tickers=tuple(sorted(tickers)) or ("NONE",))


@st.composite
def batches(draw: st.DrawFn) -> BatchInputs:
    """Batches as `claim_signals` may return them."""
    size = draw(st.none() | st.integers(0, 50))
    age = None if size is None else draw(st.floats(0, 1e6))
    signals = []
    for seq in range(1, draw(st.integers(1, 6)) + 1):
        alert = draw(ALERTS)
        kind = "buy" if alert["action"] in {"buy", "add"} else "sell"
        rank = None if size is None else draw(st.none() | st.integers(1, 50))
        body = json.dumps({"ticker": "T", **alert}).encode()
        ticker, facts = draw(st.sampled_from(TICKERS)), ListFacts(rank, size, age)
        expired = draw(st.integers(0, 9)) == 0
        signals.append(ClaimedSignal(UUID(int=seq), seq, ticker, kind, body, expired, facts))

    def there(name: str, *, is_configured: bool = True) -> DestinationInputs:
        taken: frozenset[str] = draw(SOME) if is_configured else frozenset()
        books = {ticker: draw(BOOKS) for ticker in TICKERS if is_configured or draw(st.booleans())}
        return DestinationInputs(books, draw(COUNTS), name, taken_of(signals, match_of(taken)), is_configured)

    places = [there("default"), *(there(name) for name in draw(st.sampled_from(OTHERS)))]
    places += [there("gone", is_configured=False)] * draw(st.booleans())
    return BatchInputs(signals, places, draw(BOOK_RULES), draw(RULES), draw(MOMENTS), draw(LISTS))


@st.composite
def reprocessings(draw: st.DrawFn) -> BatchInputs:
    """Rejected buys as reprocessing may decide them again: listed, with nothing open or pending."""
    tickers = draw(st.lists(st.sampled_from(TICKERS), min_size=1, unique=True))
    size, age = draw(st.integers(len(TICKERS), 50)), draw(st.floats(0, 1e6))
    signals = [
        ClaimedSignal(
            *(UUID(int=seq), seq, ticker, "buy", b'{"action": "buy", "quantity": 3}'),
            is_expired=False,
            facts=ListFacts(draw(st.integers(1, size)), size, age),
        )
        for seq, ticker in enumerate(tickers, 1)
    ]

    def there(name: str) -> DestinationInputs:
        taken = taken_of(signals, match_of(free))
        return DestinationInputs(dict.fromkeys(free, NOTHING), draw(COUNTS), name, taken)

    places = list[DestinationInputs]()
    for name in ("default", *draw(st.sampled_from(OTHERS))):
        free = draw(SOME) & set(tickers) if places else set(tickers)
        places.append(there(name))
    return BatchInputs(
        *(signals, places, draw(BOOK_RULES), draw(RULES), draw(MOMENTS), draw(LISTS)),
        reprocessed=draw(st.sampled_from([ReasonCode.ENTERED_LIST, ReasonCode.REPROCESSED])),
    )


def recorded(inputs: BatchInputs) -> BatchInputs:
    """The batch as it is read again: a JSON document, and the signals as they are stored."""
    document = msgspec.json.decode(msgspec.json.encode(stored_form(inputs)))
    bare = [signal._replace(is_expired=False, facts=ListFacts(None, None, None)) for signal in inputs.signals]
    return read_stored(document, bare)


@given(batches() | reprocessings())
def test_a_recorded_batch_is_decided_as_it_was(inputs: BatchInputs) -> None:
    again = recorded(inputs)
    assert again.reprocessed == inputs.reprocessed
    assert again.decide() == inputs.decide()
    assert list(again.signals) == list(inputs.signals)
    assert (again.listed, again.now, again.book_rules) == (inputs.listed, inputs.now, inputs.book_rules)


def test_what_is_not_a_record_is_refused() -> None:
    with pytest.raises(ValueError, match="now"):
        read_stored({"strategy": "Long"}, [])


def test_an_idle_batch_is_stored_in_a_few_bytes() -> None:
    """Nothing is written that is as usual: a stream of signals stores a record for each batch."""
    facts, moment = ListFacts(3, 15, 4.2), datetime(2026, 11, 29, tzinfo=UTC)
    signal = ClaimedSignal(UUID(int=1), 1, "AAPL", "buy", b"{}", is_expired=False, facts=facts)
    listed = ListInForce("Long", 15, 90, id=7, fetched_at=moment)
    there = DestinationInputs({"AAPL": NOTHING}, RiskCounts())
    inputs = BatchInputs([signal], [there], BookRules(), RiskRules(), moment, listed)
    assert msgspec.json.decode(msgspec.json.encode(stored_form(inputs))) == {
        "now": "2026-11-29T00:00:00Z",
        "strategy": "Long",
        "top_n": 15,
        "max_age_seconds": 90,
        "list_id": 7,
        "fetched_at": "2026-11-29T00:00:00Z",
        "list_size": 15,
        "list_age_seconds": 4.2,
        "ranks": [3],
    }


def test_a_record_of_a_version_that_knew_one_destination_is_read() -> None:
    facts = ListFacts(None, None, None)
    signal = ClaimedSignal(
        UUID(int=1), 1, "AAPL", "sell", b'{"action": "sell"}', is_expired=False, facts=facts
    )
    stored = {
        "now": "2026-11-29T00:00:00Z",
        "strategy": "Long",
        "books": {"AAPL": {"position": {"quantity": "5"}, "projected": {"quantity": "5"}}},
        "positions": 2,
        "buys_today": 1,
        "since_exit": {"AAPL": 3.0},
    }
    inputs = read_stored(stored, [signal])
    (there,) = inputs.destinations
    assert (there.name, there.taken, there.is_configured) == ("default", None, True)
    assert there.counts == RiskCounts(2, 1, {"AAPL": 3.0})
    (orders,) = inputs.decide().orders
    assert [(order.destination, order.terms.intent) for order in orders] == [("default", Intent.CLOSE)]
