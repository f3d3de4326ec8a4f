"""The risk rules: every one refuses entries with its reason, and none ever touches an exit."""

from __future__ import annotations

from datetime import UTC, date, datetime, timedelta
from decimal import Decimal
from typing import TYPE_CHECKING, Any
from uuid import uuid4
from zoneinfo import ZoneInfo

import msgspec
import pytest
from hypothesis import given
from hypothesis import strategies as st

from app.config.model import SYSTEM_FILE, merge
from app.config.times import parse_hours
from app.decision.batch import ClaimedSignal, TickerBook, UnfinishedOrder, decide_in_order
from app.decision.risk import EntryFacts, RiskBook, RiskCounts, RiskRules, start_of_day
from app.decision.risk_facts import rules_of
from app.decision.rules import Decision, ListFacts, decide
from app.settings import Settings
from app.signals.book import Book, BookRules, OrderTerms, PendingOrder, Position
from app.signals.market import is_trading_day
from app.signals.reading import ENTRIES, Intent, Quantity, Reading, Sentiment
from app.signals.reasons import Reason, ReasonCode

if TYPE_CHECKING:
    from app.signals.refusals import Code

LISTED = ListFacts(3, 15, 4.0)
# Wednesday, 10:00 in New York
OPEN_HOURS = datetime(2026, 6, 10, 14, 0, tzinfo=UTC)
HOURS = parse_hours("09:30-16:00 America/New_York")
NOTHING, HELD = Book(), Book.of(Position(Decimal(10)))
BUY, ADD = Reading(Intent.OPEN), Reading(Intent.ADD)

RISK_CODES = frozenset(
    {
        *(
            ReasonCode.BUYS_PAUSED,
            ReasonCode.BLOCKLISTED,
            ReasonCode.OUTSIDE_HOURS,
            ReasonCode.EXCHANGE_CLOSED,
        ),
        *(ReasonCode.CLOSED_EARLY, ReasonCode.COOLDOWN, ReasonCode.MAX_POSITIONS, ReasonCode.MAX_BUYS),
    }
)
ALL_HOURS = [HOURS, parse_hours("00:00-00:01"), parse_hours("13:00-23:59 Europe/London")]
RULES = st.builds(
    RiskRules,
    buys_paused=st.booleans(),
    hours=st.none() | st.sampled_from(ALL_HOURS),
    max_open_positions=st.none() | st.integers(1, 3),
    max_buys_per_day=st.none() | st.integers(1, 3),
    cooldown_seconds=st.sampled_from([0, 60]),
    blocklist=st.frozensets(st.sampled_from(["AAPL", "NVDA"])),
)
FACTS = st.builds(
    EntryFacts,
    RULES,
    st.sampled_from(["AAPL", "NVDA", "TSLA"]),
    st.datetimes(datetime(2026, 1, 1), datetime(2027, 1, 1), timezones=st.just(UTC)),  # noqa: DTZ001
    positions=st.integers(0, 4),
    buys_today=st.integers(0, 4),
    since_exit=st.none() | st.floats(0, 120),
)
QUANTITIES = st.none() | st.integers(1, 20).map(lambda shares: Quantity(Decimal(shares)))
POSITIONS = st.builds(
    lambda quantity, confirmed: Position(quantity, is_confirmed=confirmed),
    st.none() | st.integers(1, 20).map(Decimal),
    st.booleans(),
)
ORDERS = st.builds(
    PendingOrder,
    st.tuples(st.sampled_from([*ENTRIES, Intent.CLOSE, Intent.REDUCE, Intent.ADJUST]), QUANTITIES).map(
        lambda each: OrderTerms(*each)
    ),
    is_sending=st.booleans(),
    is_decided=st.booleans(),
)
BOOKS = st.tuples(st.none() | POSITIONS, st.lists(ORDERS, max_size=3)).map(lambda each: Book.of(*each))
EXITS = st.builds(
    lambda intent, quantity, sentiment: Reading(intent, quantity=quantity, sentiment=sentiment),
    st.sampled_from([Intent.CLOSE, Intent.REDUCE, Intent.REDUCE_OR_CLOSE, Intent.ADJUST]),
    QUANTITIES,
    st.none() | st.sampled_from(Sentiment),
)
BOOK_RULES = st.builds(
    BookRules,
    st.sampled_from(["forward", "add", "reject"]),
    st.sampled_from(["keep_open", "close"]),
    st.sampled_from(["reject", "forward"]),
)


def decided(
    reading: Reading, facts: EntryFacts, book: Book = NOTHING, listed: ListFacts = LISTED
) -> Decision:
    """The decision on an alert of a ticker in the list."""
    return decide(str(reading.type), reading, book, listed, BookRules(), is_expired=False, risk=facts)


@given(EXITS, BOOKS, BOOK_RULES, FACTS)
def test_no_rule_changes_anything_about_an_exit(
    reading: Reading, book: Book, book_rules: BookRules, facts: EntryFacts
) -> None:
    kind = str(reading.type)
    without = decide(kind, reading, book, LISTED, book_rules, is_expired=False)
    assert decide(kind, reading, book, LISTED, book_rules, is_expired=False, risk=facts) == without
    if book.reason_to_exit is not None:  # open, unconfirmed or pending
        assert without.status == "approved"


SETTINGS = Settings(database_url="postgresql://db.example/signals")
TICKERS = ("AAPL", "NVDA", "TSLA")
# What a person may write into the file; every value is one that a change accepts.
DOCUMENTS = st.fixed_dictionaries(
    {
        "risk": st.fixed_dictionaries(
            {},
            optional={
                "buys": st.sampled_from(["on", "off"]),
                "hours": st.sampled_from(["", "00:00-00:01", "09:30-16:00 America/New_York"]),
                "max_open_positions": st.none() | st.integers(1, 3),
                "max_buys_per_day": st.none() | st.integers(1, 3),
                "cooldown_seconds": st.sampled_from([0, 60, 31_536_000]),
                "blocklist": st.lists(st.sampled_from(["AAPL", "nasdaq:aapl", "NVDA"]), max_size=3),
                "flatten_at": st.sampled_from(["", "15:55 America/New_York"]),
            },
        )
    },
    optional={
        "duplicate_buys": st.sampled_from(["forward", "add", "reject"]),
        "partial_exits": st.sampled_from(["keep_open", "close"]),
        "unmatched_exits": st.sampled_from(["reject", "forward"]),
        "engine_paused": st.booleans(),
    },
)
EXIT_ALERTS = st.fixed_dictionaries(
    {
        "action": st.sampled_from(
            ["sell", "exit", "close", "flatten", "reverse", "sell_to_close", "breakeven"]
        )
    },
    optional={
        "quantity": st.integers(1, 20) | st.sampled_from(["50%", "100%", 0, "all"]),
        "sentiment": st.sampled_from(["long", "flat", "short"]),
    },
)


@given(
    DOCUMENTS,
    st.datetimes(datetime(2026, 1, 1), datetime(2027, 1, 1), timezones=st.just(UTC)),  # noqa: DTZ001
    st.builds(RiskCounts, st.integers(0, 4), st.integers(0, 4), st.just({"AAPL": 1.0})),
    st.lists(st.sampled_from(TICKERS), max_size=4),
    EXIT_ALERTS,
    st.none() | POSITIONS,
    st.lists(ORDERS, max_size=3),
    st.lists(st.sampled_from(TICKERS)),
)
def test_an_exit_passes_in_any_configuration_and_batch(
    document: dict[str, Any],
    now: datetime,
    counts: RiskCounts,
    bought: list[str],
    exit_alert: dict[str, Any],
    position: Position | None,
    orders: list[PendingOrder],
    taken: list[str],
) -> None:
    body = msgspec.json.encode(exit_alert)
    unfinished = tuple(UnfinishedOrder(uuid4(), seq, order) for seq, order in enumerate(orders))
    books = {ticker: TickerBook(Book(), (), is_complete=True) for ticker in TICKERS}
    books["AAPL"] = TickerBook(Book.of(position), unfinished, is_complete=True)
    signals = [
        ClaimedSignal(
            uuid4(), 10 + number, ticker, "buy", b'{"action":"buy"}', is_expired=False, facts=LISTED
        )
        for number, ticker in enumerate(bought)
    ]
    signals.append(ClaimedSignal(uuid4(), 20, "AAPL", "sell", body, is_expired=False, facts=LISTED))
    system = merge({SYSTEM_FILE: document}, SETTINGS).system
    risk = RiskBook(rules_of(system.risk), now, counts)
    takes = set(taken)
    there = decide_in_order(signals, books, system.book_rules, risk, lambda each: each.ticker in takes)
    book = Book.of(position, orders)
    if book.reason_to_exit is not None:  # open, unconfirmed or pending
        decision = there.decisions[signals[-1].id]
        assert (decision.status, decision.terms is None) == ("approved", False)


@given(st.sampled_from([BUY, ADD]), BOOKS, BOOK_RULES, FACTS)
def test_an_entry_passes_or_has_the_reason_of_a_rule_that_is_set(
    reading: Reading, book: Book, book_rules: BookRules, facts: EntryFacts
) -> None:
    without = decide("buy", reading, book, LISTED, book_rules, is_expired=False)
    decision = decide("buy", reading, book, LISTED, book_rules, is_expired=False, risk=facts)
    rules, code = facts.rules, decision.reason.code
    if code not in RISK_CODES:
        assert decision == without
    else:
        assert (decision.status, decision.terms) == ("rejected", None)
        is_set: dict[Code, object] = {
            ReasonCode.BUYS_PAUSED: rules.buys_paused,
            ReasonCode.BLOCKLISTED: facts.ticker in rules.blocklist,
            ReasonCode.OUTSIDE_HOURS: rules.hours,
            ReasonCode.EXCHANGE_CLOSED: rules.hours,
            ReasonCode.CLOSED_EARLY: rules.hours,
            ReasonCode.COOLDOWN: rules.cooldown_seconds,
            ReasonCode.MAX_POSITIONS: rules.max_open_positions,
            ReasonCode.MAX_BUYS: rules.max_buys_per_day,
        }
        assert is_set[code]
    if rules.buys_paused or facts.ticker in rules.blocklist:
        assert decision.status == "rejected"


Case = tuple[RiskRules, dict[str, object], Reason]
CASES: list[Case] = [
    (RiskRules(buys_paused=True), {}, Reason(ReasonCode.BUYS_PAUSED)),
    (
        RiskRules(blocklist=frozenset({"AAPL"})),
        {"ticker": "AAPL"},
        Reason(ReasonCode.BLOCKLISTED, ticker="AAPL"),
    ),
    (
        RiskRules(hours=HOURS),
        {"now": OPEN_HOURS.replace(hour=13, minute=29)},
        Reason(ReasonCode.OUTSIDE_HOURS, hours="09:30-16:00 America/New_York"),
    ),
    (
        RiskRules(hours=HOURS),
        {"now": OPEN_HOURS + timedelta(days=3)},
        Reason(ReasonCode.EXCHANGE_CLOSED, date="2026-06-13"),
    ),
    (
        RiskRules(hours=HOURS),
        {"now": datetime(2026, 11, 27, 18, 0, tzinfo=UTC)},
        Reason(ReasonCode.CLOSED_EARLY, time="13:00"),
    ),
    (RiskRules(cooldown_seconds=60), {"since_exit": 59.9}, Reason(ReasonCode.COOLDOWN, seconds=60)),
    (RiskRules(max_open_positions=2), {"positions": 2}, Reason(ReasonCode.MAX_POSITIONS, count=2, most=2)),
    (RiskRules(max_buys_per_day=5), {"buys_today": 5}, Reason(ReasonCode.MAX_BUYS, count=5, most=5)),
]


@pytest.mark.parametrize(("rules", "changes", "reason"), CASES)
def test_each_rule_refuses_with_its_reason(
    rules: RiskRules, changes: dict[str, object], reason: Reason
) -> None:
    passing = EntryFacts(rules, "NVDA", OPEN_HOURS, since_exit=61)
    refused = decided(BUY, passing._replace(**changes))  # type: ignore[arg-type]
    assert (refused.status, refused.reason) == ("rejected", reason)
    assert refused.detail["rank"] == 3
    if not rules.buys_paused:
        assert decided(BUY, passing).status == "approved"


@pytest.mark.parametrize(
    ("moment", "is_open"),
    [
        # before and after the clocks change in the United States; Europe changes on other days
        ("2026-03-06T14:29:59", False),
        ("2026-03-06T14:30:00", True),
        ("2026-03-09T13:30:00", True),
        ("2026-03-09T19:59:59", True),
        ("2026-03-09T20:00:00", False),
        ("2026-10-30T13:30:00", True),
        ("2026-11-02T13:30:00", False),
        ("2026-11-02T14:30:00", True),
        # Thanksgiving, and the half day after it
        ("2026-11-26T15:00:00", False),
        ("2026-11-27T17:59:59", True),
        ("2026-11-27T18:00:00", False),
    ],
)
def test_hours_follow_the_clocks_and_the_calendar_of_the_zone(moment: str, is_open: bool) -> None:  # noqa: FBT001
    now = datetime.fromisoformat(moment).replace(tzinfo=UTC)
    facts = EntryFacts(RiskRules(hours=HOURS), "NVDA", now)
    assert (facts.refuse_at_once() is None) is is_open


@given(st.datetimes(datetime(2026, 1, 1), datetime(2028, 1, 1), timezones=st.just(UTC)))  # noqa: DTZ001
def test_an_entry_within_hours_is_on_a_trading_day(now: datetime) -> None:
    if EntryFacts(RiskRules(hours=HOURS), "NVDA", now).refuse_at_once() is None:
        local = now.astimezone(HOURS.zone)
        assert is_trading_day(local.date(), HOURS.zone)
        assert HOURS.opens <= local.time() < HOURS.closes


def test_a_position_that_is_held_may_be_added_to_at_the_limit() -> None:
    facts = EntryFacts(RiskRules(max_open_positions=1), "NVDA", OPEN_HOURS, positions=1)
    assert decided(ADD, facts, HELD).status == "approved"
    closing = HELD.followed_by(PendingOrder(OrderTerms(Intent.CLOSE)))
    assert decided(BUY, facts, closing).reason.code is ReasonCode.MAX_POSITIONS


def test_an_exit_that_is_pending_begins_the_cooldown() -> None:
    facts = EntryFacts(RiskRules(cooldown_seconds=60), "NVDA", OPEN_HOURS)
    closing = HELD.followed_by(PendingOrder(OrderTerms(Intent.REDUCE)))
    assert decided(BUY, facts, closing).reason.code is ReasonCode.COOLDOWN
    adjusting = HELD.followed_by(PendingOrder(OrderTerms(Intent.ADJUST)))
    assert decided(BUY, facts, adjusting).status == "approved"


def test_what_is_not_in_the_list_stays_a_candidate_for_reprocessing_where_only_counts_refuse_it() -> None:
    facts = EntryFacts(RiskRules(max_open_positions=1), "NVDA", OPEN_HOURS, positions=1)
    assert decided(BUY, facts, listed=ListFacts(None, 15, 4.0)).reason.code is ReasonCode.NOT_LISTED


BUYING = NOTHING.followed_by(PendingOrder(OrderTerms(Intent.OPEN)))
CLOSING = HELD.followed_by(PendingOrder(OrderTerms(Intent.CLOSE)))


def test_a_batch_counts_what_it_has_decided_before() -> None:
    counts = RiskCounts(positions=1, buys_today=2, since_exit={"NVDA": 5.0})
    risk = RiskBook(RiskRules(), OPEN_HOURS, counts, [("AAPL", HELD), ("NVDA", NOTHING)])
    assert (risk.facts_of("NVDA").positions, risk.facts_of("AAPL").positions) == (2, 1)
    assert (risk.facts_of("NVDA").since_exit, risk.facts_of("AAPL").since_exit) == (5.0, None)
    risk.note("NVDA", BUYING, buys=1)
    assert (risk.facts_of("TSLA").positions, risk.facts_of("TSLA").buys_today) == (3, 3)
    risk.note("AAPL", CLOSING, buys=0)
    risk.note("NVDA", NOTHING, buys=-1)  # overtaken
    assert (risk.facts_of("TSLA").positions, risk.facts_of("TSLA").buys_today) == (1, 2)


@pytest.mark.parametrize(
    ("rules", "began"),
    [
        (RiskRules(), datetime(2026, 6, 10, tzinfo=UTC)),
        (RiskRules(hours=HOURS), datetime(2026, 6, 9, 4, tzinfo=UTC)),
    ],
)
def test_the_day_is_that_of_the_hours(rules: RiskRules, began: datetime) -> None:
    assert start_of_day(rules, datetime(2026, 6, 10, 3, 59, tzinfo=UTC)) == began


@given(st.dates(date(2026, 1, 1), date(2028, 1, 1)))
def test_the_day_begins_at_midnight_of_the_zone_also_when_the_clocks_change(day: date) -> None:
    noon = datetime(day.year, day.month, day.day, 12, tzinfo=ZoneInfo("America/New_York"))
    began = start_of_day(RiskRules(hours=HOURS), noon.astimezone(UTC))
    assert (began.date(), began.hour, began.utcoffset()) == (day, 0, began.replace(hour=0).utcoffset())
