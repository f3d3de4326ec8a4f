"""Alerts, decisions, attempts and people in any order, against a model of the broker bridge.

The broker is never short. While shares are held, an exit can pass. Where nothing is
pending, unknown or unconfirmed, book and broker hold the same quantity.
"""

from __future__ import annotations

import json
from dataclasses import dataclass
from enum import Enum
from typing import Any
from uuid import UUID

from hypothesis import settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, initialize, invariant, precondition, rule

from app.orders.outgoing import render
from app.orders.policy import next_status, outcome_of, says_failure
from app.signals.alert import read_fields
from app.signals.book import (
    Book,
    BookRules,
    OrderTerms,
    PendingOrder,
    Position,
    apply,
    is_overtaken,
    resolve,
    resolve_claimed,
)
from app.signals.reading import ENTRIES, Intent, Reading, Sentiment, read
from app.signals.statuses import Outcome, RetryUnknown, SignalType, Status
from tests.broker import Account, Broker

ID = UUID(int=7)
TICKER = "BRK.B"
SELL = Reading(Intent.CLOSE)
PEOPLES = [SignalType.MANUAL_SELL, SignalType.POSITION_CLOSE, SignalType.SELL_ALL]


class Fate(Enum):
    """What becomes of a request."""

    ANSWERED = "answered"
    LOST_BEFORE = "lost before it was executed"
    LOST_AFTER = "executed, and its answer lost"
    LATE = "executed, and its answer known only after its lease"
    BUSY = "503"
    FORBIDDEN = "403"


IS_EXECUTED = frozenset({Fate.ANSWERED, Fate.LOST_AFTER, Fate.LATE})


@dataclass(eq=False)
class Order:
    """A signal that is not finished, or its order. `intent` None: an entry that is not decided yet."""

    type: SignalType
    reading: Reading
    body: bytes
    intent: Intent | None = None
    is_sending: bool = False
    is_retry_of_unknown: bool = False
    is_delivered: bool = False

    def terms(self, intent: Intent) -> OrderTerms:
        """Return what the order asks for with this intent."""
        return OrderTerms(intent, self.reading.quantity, self.reading.sentiment)

    def pending(self) -> PendingOrder:
        """Return what the book knows of it."""
        return PendingOrder(
            self.terms(self.intent or Intent.OPEN), self.is_sending, is_decided=self.intent is not None
        )


@dataclass(eq=False)
class Attempt:
    """A request that has left. `number`: how many orders had ended before it."""

    order: Order
    terms: OrderTerms
    fate: Fate
    status: int | None
    answer: bytes
    number: int = 0


ALERTS: list[dict[str, Any]] = [
    {"action": "buy", "quantity": "10", "sentiment": "long"},
    {"action": "BUY", "quantity": 5},
    {"action": "enter_long", "quantity": 5, "quantityType": "fixed_quantity", "market_position": "LONG"},
    {"side": "long"},
    {"action": "buy", "quantity": 500, "quantityType": "dollar_amount"},
    {"action": "buy", "quantity": "0"},
    {"action": "buy", "quantity": 5, "sentiment": "flat"},
    {"action": "add", "quantity": 5},
    {"action": "Add", "quantity": "2.5", "sentiment": "long"},
    {"action": "sell"},
    {"action": "sell", "quantity": 10},
    {"action": "sell", "quantity": "5"},
    {"action": "exit", "quantity": "5", "sentiment": "long"},
    {"action": "Sell", "quantity": "10", "sentiment": "bullish"},
    {"action": "sell", "quantity": "5", "sentiment": "flat"},
    {"action": "sell", "quantity": "20", "sentiment": "short"},
    {"action": "close_long", "quantity": "50%"},
    {"action": "exit", "quantity": 50, "quantityType": "percent_of_position", "sentiment": "long"},
    {"action": "flat", "quantity": 500, "quantityType": "dollar_amount"},
    {"action": "reverse", "quantity": 20, "sentiment": "{{x}}"},
    {"action": "cancel"},
    {"action": "cover"},
]


class Trading(RuleBasedStateMachine):
    """One ticker at one destination of the profile `traderspost`."""

    @initialize(
        account=st.builds(Account, st.booleans(), st.booleans()),
        rules=st.builds(
            BookRules,
            st.sampled_from(["forward", "add", "reject"]),
            st.sampled_from(["keep_open", "close"]),
            st.sampled_from(["reject", "forward"]),
        ),
        retry_buys=st.booleans(),
    )
    def begin(self, *, account: Account, rules: BookRules, retry_buys: bool) -> None:
        """Start with nothing open."""
        self.broker, self.choices = Broker(account), rules
        self.retry = RetryUnknown(buy=retry_buys, sell=True)
        self.position: Position | None = None
        self.queue: list[Order] = []
        self.attempt: Attempt | None = None
        self.late: list[Attempt] = []
        self.ended = 0
        self.last_exit: Sentiment | None = None
        self.is_list_fresh = True

    # what comes in

    @rule(alert=st.sampled_from(ALERTS))
    def receive(self, alert: dict[str, Any]) -> None:
        """Receive an alert; without a fresh list, an entry waits."""
        body = json.dumps({"ticker": f"NYSE:{TICKER}", **alert}).encode()
        reading = read(read_fields(body))
        if reading.type is None:
            return
        order = Order(reading.type, reading, body)
        self.queue.append(order)
        if self.is_list_fresh or reading.type == SignalType.SELL:
            self._decide(order)

    @rule(alert=st.sampled_from(ALERTS), fate=st.sampled_from([Fate.ANSWERED, *Fate]), is_last=st.booleans())
    def trade(self, alert: dict[str, Any], fate: Fate, *, is_last: bool) -> None:
        """Receive an alert while nothing else waits, and make an attempt, maybe the last one."""
        self._drain()
        self.receive(alert)
        if self.queue:
            self.send(fate)
        if self.queue and is_last:
            self.queue.clear()

    @precondition(lambda self: self.position is None and not self.attempt and not self.queue)
    @rule(alert=st.sampled_from(ALERTS[:2]))
    def open_a_known_quantity(self, alert: dict[str, Any]) -> None:
        """Buy while nothing is open, so that what follows meets a position of known quantity."""
        self.trade(alert, Fate.ANSWERED, is_last=False)

    @rule()
    def switch_the_list(self) -> None:
        """Let entries wait from now on, or decide those that waited."""
        self.is_list_fresh = not self.is_list_fresh
        for order in [waiting for waiting in self.queue if waiting.intent is None]:
            self._decide(order)

    @rule(
        order_type=st.sampled_from([SignalType.MANUAL_SELL, SignalType.POSITION_CLOSE, SignalType.SELL_ALL])
    )
    def order_a_close(self, order_type: SignalType) -> None:
        """Place a person's order."""
        body = json.dumps({"ticker": TICKER, "action": "exit"}).encode()
        order = Order(order_type, SELL, body, Intent.CLOSE)
        self.queue.append(order)
        self._overtake(order)

    @precondition(lambda self: self.position is not None and not self.position.is_confirmed)
    @rule()
    def settle(self) -> None:
        """Confirm or dismiss an unconfirmed position, by what the broker holds."""
        assert self.position is not None
        self.ended += 1
        if self._held() == 0:
            self.position = None
            return
        if not self.attempt:
            assert self.position.quantity in {None, self._held()}
        self.position = self.position._replace(is_confirmed=True)

    # what goes out

    @precondition(lambda self: self.attempt is None and any(order.intent for order in self.queue))
    @rule(fate=st.sampled_from([Fate.ANSWERED, *Fate]))
    def claim(self, fate: Fate) -> None:
        """Claim the first decided order, and send its request."""
        order = next(order for order in self.queue if order.intent)
        assert order.intent is not None
        rules = self.choices
        if order.type == SignalType.MANUAL_SELL:
            rules = rules._replace(unmatched_exits="forward")
        sent = resolve_claimed(
            order.intent,
            order.reading,
            self.position,
            rules,
            is_retry_of_unknown=order.is_retry_of_unknown,
        ).intent
        if sent is None:
            assert order.reading.intent in ENTRIES or self._held() == 0
            self.queue.remove(order)
            return
        body = render(order.body, signal_id=ID, order_type=order.type, map_action=True, intent=sent)
        assert json.loads(body)["ticker"] == TICKER
        status: int | None = {Fate.BUSY: 503, Fate.FORBIDDEN: 403}.get(fate)
        answer = b""
        if fate in IS_EXECUTED:
            status, answer = self.broker.receive(body)
            assert status == 200 or sent is not Intent.CLOSE
        order.is_sending = True
        self.attempt = Attempt(order, order.terms(sent), fate, status, answer)

    @precondition(lambda self: self.attempt is None and any(order.intent for order in self.queue))
    @rule(fate=st.sampled_from(Fate))
    def send(self, fate: Fate) -> None:
        """Make a whole attempt."""
        self.claim(fate)
        if self.attempt:
            self.end_attempt()

    @precondition(lambda self: self.attempt is not None)
    @rule()
    def end_attempt(self) -> None:
        """Record the outcome of the open attempt."""
        attempt, self.attempt = self.attempt, None
        assert attempt is not None
        order, outcome = attempt.order, Outcome.UNKNOWN
        order.is_sending = False
        if attempt.status is not None and attempt.fate not in {Fate.LOST_AFTER, Fate.LATE}:
            outcome = outcome_of(attempt.status, says_failure=says_failure(attempt.answer))
        if order.is_delivered:  # by a late answer to the attempt before
            self._finish(order)
            return
        self.position = apply(attempt.terms, outcome, self.position)
        if attempt.fate is Fate.LATE and attempt.status == 200:
            self.late.append(attempt)
        if next_status(outcome, order.type, self.retry) == Status.APPROVED:
            order.is_retry_of_unknown |= outcome is Outcome.UNKNOWN
        else:
            self._finish(order)
        attempt.number = self.ended

    @precondition(lambda self: self.late)
    @rule()
    def get_a_late_answer(self) -> None:
        """Record a success after its attempt counted as unknown."""
        attempt = self.late.pop(0)
        order = attempt.order
        if order.is_delivered:
            return
        order.is_delivered = True
        is_newest = self.ended == attempt.number
        self.position = apply(
            attempt.terms, Outcome.DELIVERED if is_newest else Outcome.UNKNOWN, self.position
        )
        if order in self.queue and not order.is_sending:
            self._finish(order)

    @precondition(lambda self: any(not order.is_sending for order in self.queue))
    @rule(data=st.data())
    def expire(self, data: st.DataObject) -> None:
        """End an order that was not sent in time, or an entry that is not in the list."""
        order = data.draw(st.sampled_from([order for order in self.queue if not order.is_sending]))
        self.queue.remove(order)

    # what holds

    @invariant()
    def is_never_short(self) -> None:
        """Nothing that closes opens a short."""
        assert self._held() >= 0
        assert all(body["action"] != "sell" for body in self.broker.bodies)

    @invariant()
    def lets_exits_pass(self) -> None:
        """What is held can be sold."""
        if self._held() > 0:
            book = self._book(len(self.queue))
            assert resolve(SELL, book, self.choices._replace(unmatched_exits="reject")).intent is Intent.CLOSE
            assert self.position is not None or self.attempt is not None

    @invariant()
    def agrees(self) -> None:
        """The book is right wherever it says that it knows."""
        if self.queue or self.attempt or self.late:
            return
        if self.position is None:
            assert self._held() == 0
        elif self.position.is_confirmed and self.position.quantity is not None:
            assert self._held() == self.position.quantity

    def teardown(self) -> None:
        """A person's close gets everything out."""
        if not hasattr(self, "broker"):
            return
        while self.late:
            self.get_a_late_answer()
        self.order_a_close(SignalType.SELL_ALL)
        self._drain()
        assert (self._held(), self.position) == (0, None)

    def _drain(self) -> None:
        """Decide every order and let it leave."""
        if not self.is_list_fresh:
            self.switch_the_list()
        if self.attempt:
            self.end_attempt()
        while any(order.intent for order in self.queue):
            self.send(Fate.ANSWERED)

    def _held(self) -> Any:
        return self.broker.held(TICKER)

    def _book(self, end: int) -> Book:
        pending = tuple(order.pending() for order in self.queue[:end])
        return Book.of(self.position, pending, self.last_exit)

    def _decide(self, order: Order) -> None:
        resolution = resolve(order.reading, self._book(self.queue.index(order)), self.choices)
        order.intent = resolution.intent
        if order.intent is None:
            assert order.type == SignalType.BUY or self._held() == 0
            self.queue.remove(order)
        self._overtake(order)

    def _overtake(self, by: Order) -> None:
        earlier = self.queue[: self.queue.index(by)] if by in self.queue else []
        for order in earlier:
            if by.intent and is_overtaken(order.pending(), by.intent):
                self.queue.remove(order)

    def _finish(self, order: Order) -> None:
        self.ended += 1
        self.queue.remove(order)
        if order.type != SignalType.BUY and order.intent is not Intent.ADJUST:
            self.last_exit = order.reading.sentiment


TestTrading = Trading.TestCase
TestTrading.settings = settings(max_examples=300, stateful_step_count=40)
