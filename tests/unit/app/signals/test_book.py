"""The position book, row by row: what an alert means for a position, and what is open after its order."""

from __future__ import annotations

import json
from decimal import Decimal
from itertools import product
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from app.signals.alert import read_fields
from app.signals.book import (
    Book,
    BookRules,
    Effect,
    OrderTerms,
    PendingOrder,
    Position,
    Resolution,
    apply,
    effect_of,
    is_overtaken,
    realized_by_close,
    resolve,
    resolve_claimed,
    stored_terms,
    terms_columns,
    terms_of_effect,
)
from app.signals.reading import ENTRIES, Intent, Quantity, Reading, Sentiment, Unit, read
from app.signals.reasons import Reason, ReasonCode
from app.signals.statuses import Outcome

ENTRY_WORDS = ["buy", "long", "enter", "enter_long", "buy_to_open", " BUY ", "Enter Long"]
EXIT_WORDS = [
    "sell",
    "exit",
    "close",
    "flat",
    "flatten",
    "exit_long",
    "close_long",
    "sell_to_close",
    "SELL\n",
]
SHORT_WORDS = ["short", "sell_short", "enter_short", "cover", "buy_to_cover", "exit_short", "Short"]
TEN: list[dict[str, Any]] = [
    {"quantity": 10},
    {"quantity": "10"},
    {"quantity": " 10.0 "},
    {"quantity": "1e1", "quantityType": "fixed_quantity"},
    {"quantity": 10, "quantityType": " Fixed_Quantity "},
]
NOT_SHARES: list[dict[str, Any]] = [
    {},
    {"quantity": None},
    {"quantity": "", "quantityType": "fixed_quantity"},
    {"quantity": 500, "quantityType": "dollar_amount"},
    {"quantity": 5, "quantityType": "percent_of_equity"},
    {"quantity": "10%"},
    {"quantity": 0},
    {"quantity": "all"},
]
LONG: list[dict[str, Any]] = [
    {"sentiment": "long"},
    {"sentiment": " Bullish"},
    {"market_position": "LONG"},
    {"sentiment": "{{x}}", "market_position": "bullish"},
]
SHORT: list[dict[str, Any]] = [{"sentiment": "short"}, {"market_position": "Bearish"}]
FLAT: list[dict[str, Any]] = [{"sentiment": "flat"}, {"market_position": " FLAT"}]
UNSAID: list[dict[str, Any]] = [{}, {"sentiment": ""}, {"sentiment": None}, {"market_position": "{{x}}"}]
RULES = BookRules()
HELD = Position(Decimal(10))
UNKNOWN = Position(None)
MAYBE = Position(Decimal(10), is_confirmed=False)


def reading(*parts: dict[str, Any], **fields: object) -> Reading:
    """Read an alert of these fields."""
    alert = dict(fields)
    for part in parts:
        alert |= part
    return read(read_fields(json.dumps(alert).encode()))


def shares(number: str | int) -> Quantity:
    """A number of shares."""
    return Quantity(Decimal(number))


def pending(
    *intents: Intent,
    quantity: Quantity | None = None,
    is_sending: bool = False,
    is_decided: bool = True,
) -> tuple[PendingOrder, ...]:
    """Unfinished orders of these intents."""
    return tuple(PendingOrder(OrderTerms(intent, quantity), is_sending, is_decided) for intent in intents)


def words(spelled: list[str]) -> list[dict[str, Any]]:
    """A word as `action`, and as `side`."""
    return [{field: word} for word, field in product(spelled, ("action", "side"))]


def after(
    alert: Reading, position: Position | None, rules: BookRules = RULES
) -> tuple[Intent | None, Position | None]:
    """Return the intent that is sent, and the position once the order is delivered."""
    decided = resolve(alert, Book.of(position), rules).intent
    if decided is None:
        return None, position
    sent = resolve_claimed(decided, alert, position, rules).intent
    assert sent is not None
    return sent, apply(OrderTerms(sent, alert.quantity, alert.sentiment), Outcome.DELIVERED, position)


@pytest.mark.parametrize("position_after", [*LONG, *UNSAID])
@pytest.mark.parametrize("word", words(ENTRY_WORDS))
def test_an_entry_with_nothing_open_opens(word: dict[str, Any], position_after: dict[str, Any]) -> None:
    for quantity in TEN:
        alert = reading(word, position_after, quantity)
        assert resolve(alert, Book.of(), RULES) == Resolution(Intent.OPEN, None, alert.remarks)
        assert after(alert, None) == (Intent.OPEN, Position(Decimal(10)))
    for quantity in NOT_SHARES:
        assert after(reading(word, position_after, quantity), None) == (Intent.OPEN, Position(None))


@pytest.mark.parametrize("word", words(ENTRY_WORDS))
@pytest.mark.parametrize(
    ("book", "reason"),
    [
        (Book.of(HELD), ReasonCode.POSITION_OPEN),
        (Book.of(UNKNOWN), ReasonCode.POSITION_OPEN),
        (Book.of(MAYBE), ReasonCode.MAY_BE_OPEN),
        (Book.of(None, pending(Intent.OPEN)), ReasonCode.BUY_PENDING),
        (Book.of(HELD, pending(Intent.CLOSE, Intent.OPEN)), ReasonCode.POSITION_OPEN),
        (Book.of(HELD, pending(Intent.REDUCE, quantity=shares(4))), ReasonCode.POSITION_OPEN),
    ],
)
def test_an_entry_while_open_or_pending_is_a_duplicate(
    word: dict[str, Any], book: Book, reason: ReasonCode
) -> None:
    alert = reading(word, quantity=5)
    forwarded = resolve(alert, book, RULES)
    assert (forwarded.intent, forwarded.reason, len(forwarded.remarks)) == (Intent.OPEN, None, 1)
    added = resolve(alert, book, BookRules(duplicate_buys="add"))
    assert (added.intent, added.reason, len(added.remarks)) == (Intent.ADD, None, 1)
    why = Reason(ReasonCode.DUPLICATE_BUY, reason=Reason(reason))
    assert resolve(alert, book, BookRules(duplicate_buys="reject")) == Resolution(None, why)


@pytest.mark.parametrize(
    ("rules", "position", "sent", "left"),
    [
        (RULES, HELD, Intent.OPEN, UNKNOWN),
        (RULES, UNKNOWN, Intent.OPEN, UNKNOWN),
        (RULES, MAYBE, Intent.OPEN, UNKNOWN),
        (BookRules(duplicate_buys="add"), HELD, Intent.ADD, Position(Decimal(15))),
        (BookRules(duplicate_buys="add"), UNKNOWN, Intent.ADD, UNKNOWN),
        (BookRules(duplicate_buys="add"), MAYBE, Intent.OPEN, UNKNOWN),
        (BookRules(duplicate_buys="reject"), HELD, None, HELD),
    ],
)
def test_the_position_after_a_duplicate_entry(
    rules: BookRules, position: Position, sent: Intent | None, left: Position
) -> None:
    for quantity in (5, "5", "5.0"):
        assert after(reading(action="buy", quantity=quantity), position, rules) == (sent, left)


@pytest.mark.parametrize("word", words(["add", "ADD", " Add "]))
@pytest.mark.parametrize("duplicate_buys", ["forward", "add", "reject"])
def test_an_add(word: dict[str, Any], duplicate_buys: Any) -> None:
    rules = BookRules(duplicate_buys=duplicate_buys)
    nothing = Reason(ReasonCode.NOTHING_TO_ADD_TO)
    for quantity in TEN:
        alert = reading(word, quantity)
        assert resolve(alert, Book.of(), rules) == Resolution(None, nothing)
        assert resolve(alert, Book.of(HELD, pending(Intent.CLOSE)), rules).reason == nothing
        assert resolve(alert, Book.of(None, pending(Intent.OPEN)), rules).intent is Intent.ADD
        assert after(alert, HELD, rules) == (Intent.ADD, Position(Decimal(20)))
        assert after(alert, UNKNOWN, rules) == (Intent.ADD, UNKNOWN)
        assert after(alert, MAYBE, rules) == (Intent.OPEN, UNKNOWN)
    for quantity in NOT_SHARES:
        assert after(reading(word, quantity), HELD, rules) == (Intent.ADD, UNKNOWN)


@pytest.mark.parametrize("word", words([*ENTRY_WORDS, "add"]))
@pytest.mark.parametrize("position_after", [*FLAT, *SHORT])
def test_an_entry_that_ends_flat_or_short_is_rejected(
    word: dict[str, Any], position_after: dict[str, Any]
) -> None:
    for position in (None, HELD, MAYBE):
        resolution = resolve(reading(word, position_after, quantity=10), Book.of(position), RULES)
        assert resolution == Resolution(None, Reason(ReasonCode.COVERS_SHORT))


@pytest.mark.parametrize("position", [HELD, UNKNOWN, MAYBE])
@pytest.mark.parametrize("partial_exits", ["keep_open", "close"])
def test_an_exit_that_ends_flat_or_short_closes(position: Position, partial_exits: Any) -> None:
    rules = BookRules(partial_exits=partial_exits)
    quantities = [{}, {"quantity": 5}, {"quantity": "25"}, {"quantity": 0}, {"quantity": "50%"}]
    for word, quantity in product(words(EXIT_WORDS), quantities):
        for position_after in (*FLAT, *SHORT):
            alert = reading(word, position_after, quantity)
            assert after(alert, position, rules) == (Intent.CLOSE, None)
            no_short = Reason(ReasonCode.REMARK_NO_SHORT)
            assert (no_short in alert.remarks) == (position_after in SHORT)
    for word, position_after in product(words(["reverse", "REVERSE"]), [*LONG, *SHORT, *FLAT, *UNSAID]):
        assert after(reading(word, position_after, quantity=20), position, rules) == (Intent.CLOSE, None)


@pytest.mark.parametrize("word", words(EXIT_WORDS))
@pytest.mark.parametrize("position_after", LONG)
def test_an_exit_that_stays_long_reduces(word: dict[str, Any], position_after: dict[str, Any]) -> None:
    rows: list[tuple[dict[str, Any], Position, Position]] = [
        ({"quantity": 4}, HELD, Position(Decimal(6))),
        ({"quantity": "4"}, MAYBE, Position(Decimal(6), is_confirmed=False)),
        ({"quantity": 4}, UNKNOWN, UNKNOWN),
        ({"quantity": "40%"}, HELD, Position(Decimal(6))),
        ({"quantity": 40, "quantityType": "percent_of_position"}, HELD, Position(Decimal(6))),
        ({"quantity": "33%"}, HELD, UNKNOWN),  # 6.7 shares: how the bridge rounds them is unknown
        ({"quantity": 10}, HELD, UNKNOWN),  # the sender holds more than the book knows of
        ({"quantity": 11}, HELD, UNKNOWN),
        ({"quantity": 400, "quantityType": "dollar_amount"}, HELD, UNKNOWN),
    ]
    for quantity, position, left in rows:
        assert after(reading(word, position_after, quantity), position) == (Intent.REDUCE, left)
    assert after(reading(word, position_after), HELD) == (Intent.CLOSE, None)


@pytest.mark.parametrize("word", words(EXIT_WORDS))
@pytest.mark.parametrize("position_after", UNSAID)
@pytest.mark.parametrize("partial_exits", ["keep_open", "close"])
def test_an_exit_without_a_sentiment_compares_its_quantity(
    word: dict[str, Any], position_after: dict[str, Any], partial_exits: Any
) -> None:
    rules = BookRules(partial_exits=partial_exits)
    rows: list[tuple[dict[str, Any], Position, Intent, Position | None]] = [
        ({"quantity": 4}, HELD, Intent.REDUCE, Position(Decimal(6))),
        ({"quantity": "9.5"}, HELD, Intent.REDUCE, Position(Decimal("0.5"))),
        ({"quantity": 4}, MAYBE, Intent.REDUCE, Position(Decimal(6), is_confirmed=False)),
        ({"quantity": "50%"}, HELD, Intent.REDUCE, Position(Decimal(5))),
        ({"quantity": 50, "quantityType": "percent_of_position"}, HELD, Intent.REDUCE, Position(Decimal(5))),
        ({"quantity": "50%"}, UNKNOWN, Intent.REDUCE, UNKNOWN),
        ({}, HELD, Intent.CLOSE, None),
        ({}, UNKNOWN, Intent.CLOSE, None),
        ({"quantity": ""}, HELD, Intent.CLOSE, None),
        ({"quantity": 10}, HELD, Intent.CLOSE, None),
        ({"quantity": "10.5"}, HELD, Intent.CLOSE, None),
        ({"quantity": 10}, MAYBE, Intent.CLOSE, None),
        ({"quantity": "100%"}, HELD, Intent.CLOSE, None),
        ({"quantity": 150, "quantityType": "percent_of_position"}, UNKNOWN, Intent.CLOSE, None),
        ({"quantity": 0}, HELD, Intent.CLOSE, None),
        ({"quantity": "-5"}, HELD, Intent.CLOSE, None),
        ({"quantity": "all"}, UNKNOWN, Intent.CLOSE, None),
    ]
    for quantity, position, intent, left in rows:
        assert after(reading(word, position_after, quantity), position, rules) == (intent, left)
    unknown = (Intent.CLOSE, None) if partial_exits == "close" else (Intent.REDUCE, UNKNOWN)
    for quantity, position in (
        ({"quantity": 4}, UNKNOWN),
        ({"quantity": 400, "quantityType": "dollar_amount"}, HELD),
    ):
        alert = reading(word, position_after, quantity)
        assert after(alert, position, rules) == unknown
        assert len(resolve(alert, Book.of(position), rules).remarks) == len(alert.remarks) + 1


@pytest.mark.parametrize("word", words(["cancel", "breakeven", "CANCEL"]))
def test_an_adjustment_passes_while_something_is_open_or_pending(word: dict[str, Any]) -> None:
    alert = reading(word, quantity=5)
    for position in (HELD, UNKNOWN, MAYBE):
        assert after(alert, position) == (Intent.ADJUST, position)
    assert resolve(alert, Book.of(None, pending(Intent.OPEN)), RULES).intent is Intent.ADJUST
    for unmatched in ("reject", "forward"):
        resolution = resolve(alert, Book.of(), BookRules(unmatched_exits=unmatched))
        assert resolution == Resolution(None, Reason(ReasonCode.NOTHING_OPEN))


@pytest.mark.parametrize("word", words(SHORT_WORDS))
def test_a_short_word_is_rejected(word: dict[str, Any]) -> None:
    for position in (None, HELD):
        resolution = resolve(reading(word, quantity=5), Book.of(position), RULES)
        assert (resolution.intent, resolution.reason and resolution.reason.code) == (
            None,
            ReasonCode.SHORT_SELLING,
        )


@pytest.mark.parametrize("quantity", [0, "0", -1, "0%", "all"])
def test_an_unusable_quantity_of_an_exit_that_stays_long_is_rejected(quantity: object) -> None:
    alert = reading(action="sell", sentiment="long", quantity=quantity)
    resolution = resolve(alert, Book.of(HELD), RULES)
    assert (resolution.intent, alert.may_be_exit) == (None, True)
    assert resolution.reason == Reason(ReasonCode.QUANTITY_UNUSABLE, word=str(quantity))


@pytest.mark.parametrize(
    ("book", "reason"),
    [
        (Book.of(HELD), ReasonCode.POSITION_OPEN),
        (Book.of(MAYBE), ReasonCode.MAY_BE_OPEN),
        (Book.of(HELD, pending(Intent.CLOSE)), ReasonCode.POSITION_OPEN),
        (Book.of(MAYBE, pending(Intent.CLOSE, Intent.CLOSE)), ReasonCode.MAY_BE_OPEN),
        (Book.of(None, pending(Intent.OPEN)), ReasonCode.ITS_BUY_PENDING),
        (Book.of(None, pending(Intent.OPEN, is_sending=True)), ReasonCode.ITS_BUY_PENDING),
        (Book.of(None, pending(Intent.OPEN, is_decided=False)), ReasonCode.ITS_BUY_PENDING),
    ],
)
def test_an_exit_passes_while_something_is_or_may_be_open_or_pending(book: Book, reason: ReasonCode) -> None:
    for word in EXIT_WORDS:
        resolution = resolve(reading(action=word), book, RULES)
        assert resolution == Resolution(Intent.CLOSE, Reason(reason))
        part = resolve(reading(action=word, sentiment="long", quantity=1), book, RULES)
        assert part == Resolution(Intent.REDUCE, Reason(reason))


def test_an_unmatched_exit_is_rejected_or_forwarded() -> None:
    forward = BookRules(unmatched_exits="forward")
    for book in (Book.of(), Book.of(None, pending(Intent.CLOSE))):
        rejected = resolve(reading(action="sell", quantity=5), book, RULES)
        assert rejected == Resolution(None, Reason(ReasonCode.NOTHING_OPEN), is_unmatched=True)
        for fields, intent in (
            ({}, Intent.CLOSE),
            ({"quantity": 5, "sentiment": "long"}, Intent.REDUCE),
            ({"quantity": 5, "sentiment": "flat"}, Intent.CLOSE),
            ({"quantity": 5}, Intent.REDUCE),
        ):
            alert = reading({"action": "sell"}, fields)
            forwarded = resolve(alert, book, forward)
            assert (forwarded.intent, forwarded.is_unmatched) == (intent, True)
            assert forwarded.reason == Reason(ReasonCode.UNMATCHED)
            assert after(alert, None, forward) == (intent, None)


def test_the_projected_book_is_what_pending_orders_make_of_it() -> None:
    def projected(position: Position | None, *terms: OrderTerms) -> Position | None:
        return Book.of(position, tuple(PendingOrder(each) for each in terms)).projected

    opens, adds = OrderTerms(Intent.OPEN, shares(10)), OrderTerms(Intent.ADD, shares(5))
    assert projected(None, opens) == HELD
    assert projected(None, opens, adds) == Position(Decimal(15))
    assert projected(None, opens, opens) == UNKNOWN
    assert projected(HELD, OrderTerms(Intent.REDUCE, shares(4))) == Position(Decimal(6))
    assert projected(HELD, OrderTerms(Intent.REDUCE, shares(10))) is None
    assert projected(HELD, OrderTerms(Intent.CLOSE), opens) == HELD
    assert projected(HELD, OrderTerms(Intent.ADJUST)) == HELD
    assert Book.of(None, pending(Intent.OPEN, is_decided=False)).projected is None


def test_the_second_half_of_an_exit_is_compared_with_what_the_first_one_leaves() -> None:
    half = reading(action="sell", quantity=5)
    book = Book.of(HELD, pending(Intent.REDUCE, quantity=shares(5)))
    assert resolve(half, Book.of(HELD), RULES).intent is Intent.REDUCE
    assert resolve(half, book, RULES).intent is Intent.CLOSE
    assert resolve(reading(action="buy", quantity=1), Book.of(HELD, pending(Intent.CLOSE)), RULES) == (
        Resolution(Intent.OPEN)
    )


def test_an_entry_after_a_reversal_carries_a_warning() -> None:
    warning = Reason(ReasonCode.REMARK_MAY_COVER)
    alert = reading(action="buy", quantity=20)
    reversal = PendingOrder(OrderTerms(Intent.CLOSE, None, reading(action="reverse").sentiment))
    closed = PendingOrder(OrderTerms(Intent.CLOSE, None, Sentiment.FLAT))
    for book in (Book.of(last_exit_sentiment=Sentiment.SHORT), Book.of(HELD, (reversal,))):
        assert resolve(alert, book, RULES) == Resolution(Intent.OPEN, None, (warning,))
        once = resolve(reading(action="buy", prev_market_position="short"), book, RULES)
        assert once.remarks == (warning,)
    for book in (Book.of(), Book.of(HELD, (reversal, closed)), Book.of(HELD, (closed,), Sentiment.SHORT)):
        assert resolve(alert, book, RULES).remarks == ()


@pytest.mark.parametrize(
    ("decided", "alert", "position", "sent"),
    [
        # the open that it was to add to was not delivered
        (Intent.ADD, reading(action="buy"), None, Intent.OPEN),
        (Intent.ADD, reading(action="add"), None, None),
        (Intent.ADD, reading(action="buy"), MAYBE, Intent.OPEN),
        # the close before it was not delivered
        (Intent.OPEN, reading(action="buy"), HELD, Intent.ADD),
        # more or less is held than the decision projected
        (Intent.CLOSE, reading(action="sell", quantity=5), HELD, Intent.CLOSE),
        (Intent.REDUCE, reading(action="sell", quantity=10), HELD, Intent.CLOSE),
        (Intent.REDUCE, reading(action="sell", quantity=10, sentiment="long"), HELD, Intent.REDUCE),
        (Intent.CLOSE, reading(action="sell"), None, None),
        (Intent.REDUCE, reading(action="sell", quantity="50%"), None, None),
        (Intent.ADJUST, reading(action="cancel"), None, None),
    ],
)
def test_a_decided_order_is_resolved_again_before_it_is_sent(
    decided: Intent, alert: Reading, position: Position | None, sent: Intent | None
) -> None:
    resolution = resolve_claimed(decided, alert, position, BookRules(duplicate_buys="add"))
    assert (resolution.intent is None) == (sent is None)
    assert resolution.intent == sent


def test_an_order_is_no_duplicate_of_its_own_unknown_attempt() -> None:
    rules, alert = BookRules(duplicate_buys="reject"), reading(action="buy", quantity=10)
    position = apply(OrderTerms(Intent.OPEN, shares(10)), Outcome.UNKNOWN, None)
    assert resolve_claimed(Intent.OPEN, alert, position, rules).intent is None
    retried = resolve_claimed(Intent.OPEN, alert, position, rules, is_retry_of_unknown=True)
    assert retried.intent is Intent.OPEN


@pytest.mark.parametrize("outcome", [Outcome.REFUSED, Outcome.NOT_TAKEN])
def test_an_order_that_was_certainly_not_executed_changes_nothing(outcome: Outcome) -> None:
    for intent, position in product(Intent, (None, HELD, UNKNOWN, MAYBE)):
        assert apply(OrderTerms(intent, shares(5)), outcome, position) == position


@pytest.mark.parametrize(
    ("intent", "position", "left"),
    [
        (Intent.OPEN, None, Position(Decimal(5), is_confirmed=False)),
        (Intent.OPEN, HELD, Position(None, is_confirmed=False)),
        (Intent.ADD, HELD, Position(None, is_confirmed=False)),
        (Intent.ADD, None, Position(None, is_confirmed=False)),
        (Intent.REDUCE, HELD, Position(None, is_confirmed=False)),
        (Intent.REDUCE, None, None),
        (Intent.CLOSE, HELD, MAYBE),
        (Intent.CLOSE, None, None),
        (Intent.ADJUST, HELD, HELD),
    ],
)
def test_an_unknown_outcome_leaves_what_may_be_open(
    intent: Intent, position: Position | None, left: Position | None
) -> None:
    assert apply(OrderTerms(intent, shares(5)), Outcome.UNKNOWN, position) == left


def test_a_late_success_of_an_unknown_open_confirms_it() -> None:
    assert apply(OrderTerms(Intent.OPEN, shares(5)), Outcome.DELIVERED, MAYBE) == UNKNOWN
    assert apply(OrderTerms(Intent.ADD, shares(5)), Outcome.DELIVERED, MAYBE) == (
        Position(None, is_confirmed=False)
    )


def test_quantities_are_exact() -> None:
    large, small = "9" * 60, "0." + "0" * 59 + "1"
    position = apply(OrderTerms(Intent.ADD, shares(small)), Outcome.DELIVERED, Position(Decimal(large)))
    assert position == Position(Decimal(large + small[1:]))
    assert apply(OrderTerms(Intent.REDUCE, shares(large)), Outcome.DELIVERED, position) == (
        Position(Decimal(small))
    )
    third = Quantity(Decimal(25), Unit.PERCENT)
    left = apply(OrderTerms(Intent.REDUCE, third), Outcome.DELIVERED, Position(Decimal("4" * 60)))
    assert left == Position(Decimal("3" * 60))


def test_a_close_ends_entries_that_have_not_left() -> None:
    for intent in Intent:
        order, sending = pending(intent), pending(intent, is_sending=True)
        assert is_overtaken(order[0], Intent.CLOSE) is (intent in ENTRIES)
        assert not is_overtaken(order[0], Intent.REDUCE)
        assert not is_overtaken(sending[0], Intent.CLOSE)
    assert is_overtaken(pending(Intent.OPEN, is_decided=False)[0], Intent.CLOSE)


_AMOUNTS = st.none() | st.builds(Decimal, st.integers(0, 40)) | st.decimals("0", "40", places=2)
_QUANTITIES = st.none() | st.builds(Quantity, _AMOUNTS, st.sampled_from(Unit))
_PRICES = st.none() | st.decimals("-9", "40", places=2)
_TERMS = st.builds(
    OrderTerms,
    st.sampled_from([Intent.OPEN, Intent.ADD, Intent.CLOSE, Intent.REDUCE, Intent.ADJUST]),
    _QUANTITIES,
    st.none() | st.sampled_from(Sentiment),
    _PRICES,
)
_POSITIONS = st.none() | st.builds(
    Position,
    st.none() | st.decimals("0.01", "40", places=2),
    st.booleans(),
    _PRICES,
    _PRICES,
)
_PENDING = st.builds(PendingOrder, _TERMS, st.booleans()) | st.builds(
    PendingOrder, _TERMS.filter(lambda terms: terms.intent in ENTRIES), st.just(value=False), st.booleans()
)
_PENDING_ORDERS = st.lists(_PENDING, max_size=4).map(tuple)
_BOOKS = st.builds(Book.of, _POSITIONS, _PENDING_ORDERS, st.none() | st.sampled_from(Sentiment))
_RULES = st.builds(
    BookRules,
    st.sampled_from(["forward", "add", "reject"]),
    st.sampled_from(["keep_open", "close"]),
    st.sampled_from(["reject", "forward"]),
)
_VALUES = st.sampled_from([None, 0, 5, "5", "10", "50%", "150%", "all", -1, 7.5])
_ALERTS = st.fixed_dictionaries(
    {
        "action": st.sampled_from(
            [*ENTRY_WORDS, *EXIT_WORDS, *SHORT_WORDS, "add", "reverse", "cancel", "hold"]
        )
    },
    optional={
        "sentiment": st.sampled_from(["long", "short", "flat", "", "up"]),
        "quantity": _VALUES,
        "quantityType": st.sampled_from(["fixed_quantity", "percent_of_position", "dollar_amount", ""]),
        "prev_market_position": st.sampled_from(["short", "long", "flat"]),
    },
).map(reading)


@given(alert=_ALERTS, position=_POSITIONS, pending=_PENDING_ORDERS, rules=_RULES)
def test_an_exit_is_never_rejected_while_something_may_be_open(
    alert: Reading, position: Position | None, pending: tuple[PendingOrder, ...], rules: BookRules
) -> None:
    resolution = resolve(alert, Book.of(position, pending), rules)
    may_be_open = position is not None or any(order.terms.intent in ENTRIES for order in pending)
    if alert.type == "sell" and may_be_open:
        assert resolution.intent is not None
        assert not resolution.is_unmatched
    if resolution.intent is None:
        assert resolution.reason is not None
    assert resolution.intent is not Intent.REDUCE_OR_CLOSE
    assert (alert.type == "buy") >= (resolution.intent in ENTRIES)


@given(alert=_ALERTS, book=_BOOKS, rules=_RULES, is_retry=st.booleans())
def test_a_decided_exit_still_passes_when_its_turn_comes(
    alert: Reading, book: Book, rules: BookRules, *, is_retry: bool
) -> None:
    decided = resolve(alert, book, rules).intent
    if decided is None:
        return
    sent = resolve_claimed(decided, alert, book.position, rules, is_retry_of_unknown=is_retry).intent
    if decided is Intent.CLOSE:
        assert sent is Intent.CLOSE or (sent is None and book.position is None)
    if decided is Intent.REDUCE and book.position is not None:
        assert sent in {Intent.REDUCE, Intent.CLOSE}
    if sent is Intent.ADD:
        assert book.position is not None
        assert book.position.is_confirmed


@given(terms=_TERMS, outcome=st.sampled_from(Outcome), position=_POSITIONS)
def test_a_quantity_is_unknown_or_above_0(
    terms: OrderTerms, outcome: Outcome, position: Position | None
) -> None:
    left = apply(terms, outcome, position)
    assert left is None or left.quantity is None or left.quantity > 0
    if left is not None and left.quantity is not None and position is not None:
        is_less = position.quantity is not None and left.quantity < position.quantity
        assert not is_less or terms.intent is Intent.REDUCE


@given(terms=_TERMS, outcome=st.sampled_from(Outcome), position=_POSITIONS)
def test_only_a_delivered_exit_ends_a_position(
    terms: OrderTerms, outcome: Outcome, position: Position | None
) -> None:
    left = apply(terms, outcome, position)
    if position is not None and left is None:
        assert outcome is Outcome.DELIVERED
        assert terms.intent in {Intent.CLOSE, Intent.REDUCE}
    if outcome is Outcome.UNKNOWN and left is not None and terms.intent is not Intent.ADJUST:
        assert not left.is_confirmed


@pytest.mark.parametrize(
    ("intent", "effect"),
    [
        (Intent.OPEN, Effect.OPENS),
        (Intent.ADD, Effect.OPENS),
        (Intent.CLOSE, Effect.CLOSES),
        (Intent.REDUCE, Effect.NOTHING),
        (Intent.ADJUST, Effect.NOTHING),
    ],
)
def test_the_version_before_reads_an_effect(intent: Intent, effect: Effect) -> None:
    assert effect_of(intent) is effect
    assert effect_of(terms_of_effect(effect).intent) is effect


@pytest.mark.parametrize(
    ("order_type", "intent", "expected"),
    [
        ("buy", None, Intent.OPEN),
        ("sell", None, Intent.CLOSE),
        ("sell_all", None, Intent.CLOSE),
        ("sell", "reduce_or_close", Intent.REDUCE),
        ("sell", "adjust", Intent.ADJUST),
        ("buy", "add", Intent.ADD),
    ],
)
def test_an_order_that_an_earlier_version_stored(
    order_type: str, intent: str | None, expected: Intent
) -> None:
    terms = stored_terms(order_type, intent)
    assert terms == OrderTerms(expected)
    left = apply(terms, Outcome.DELIVERED, Position(Decimal(10)))
    assert left in {None, Position(None), Position(Decimal(10))}
    assert left is not None or expected is Intent.CLOSE


@given(
    intent=st.sampled_from([intent for intent in Intent if intent is not Intent.REDUCE_OR_CLOSE]),
    amount=st.none() | st.decimals(allow_nan=False, allow_infinity=False),
    unit=st.sampled_from(Unit),
    sentiment=st.none() | st.sampled_from(Sentiment),
)
def test_stored_terms_are_read_as_they_were(
    intent: Intent, amount: Decimal | None, unit: Unit, sentiment: Sentiment | None
) -> None:
    quantity = None if amount is None else Quantity(amount, unit)
    terms = OrderTerms(intent, quantity, sentiment)
    assert stored_terms("sell", *terms_columns(terms)) == terms


def test_prices_of_alerts_give_an_average_and_a_gain() -> None:
    ten, five = Quantity(Decimal(10)), Quantity(Decimal(5))
    position = apply(OrderTerms(Intent.OPEN, ten, price=Decimal(100)), Outcome.DELIVERED, None)
    assert position == Position(Decimal(10), average_price=Decimal(100), realized=Decimal(0))
    position = apply(OrderTerms(Intent.ADD, ten, price=Decimal(110)), Outcome.DELIVERED, position)
    assert position == Position(Decimal(20), average_price=Decimal(105), realized=Decimal(0))
    position = apply(OrderTerms(Intent.REDUCE, five, price=Decimal(125)), Outcome.DELIVERED, position)
    assert position == Position(Decimal(15), average_price=Decimal(105), realized=Decimal(100))
    assert realized_by_close(OrderTerms(Intent.CLOSE, price=Decimal(95)), position) == -50
    assert realized_by_close(OrderTerms(Intent.CLOSE), position) is None
    part = OrderTerms(Intent.REDUCE, Quantity(Decimal(100), Unit.OTHER), price=Decimal(1))
    assert apply(part, Outcome.DELIVERED, position) == Position(None)
