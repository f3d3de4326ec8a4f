"""What-if on recorded batches: the rules of then give the decisions of then, others what differs."""

from __future__ import annotations

import json
from datetime import UTC, datetime, timedelta
from decimal import Decimal
from typing import Any
from uuid import UUID

from hypothesis import given
from hypothesis import strategies as st

from app.decision.batch import ClaimedSignal, TickerBook
from app.decision.record import BatchInputs, DestinationInputs, ListInForce
from app.decision.risk import RiskCounts, RiskRules
from app.decision.rules import ListFacts
from app.decision.what_if import Change, WhatIf
from app.decision.what_if_record import KeptList, KeptLists, RecordedBatch, RecordedSignal, StoredDecision
from app.decision.what_if_results import MOST_DIFFERENCES, Comparison
from app.signals.book import Book, BookRules, Position
from app.signals.reasons import Reason, ReasonCode
from app.signals.refusals import RefusalCode
from tests.unit.app.decision.test_record import batches, reprocessings

START = datetime(2026, 6, 10, 14, 0, tzinfo=UTC)
MINUTE = timedelta(minutes=1)
NOTHING, HELD = Book(), Book.of(Position(Decimal(10)))
ONLY_A = DestinationInputs({"A": TickerBook(NOTHING, (), is_complete=True)}, RiskCounts())


def stored(inputs: BatchInputs, prices: dict[int, str] | None = None, *, fail: bool = False) -> RecordedBatch:
    """A batch as it is stored with its own decisions; what was approved was delivered unless `fail`."""
    decided = inputs.decide()
    return RecordedBatch(
        inputs.now,
        inputs,
        [
            RecordedSignal(
                signal,
                inputs.now,
                inputs.now + 5 * MINUTE,
                Decimal((prices or {}).get(signal.seq, "100")),
                StoredDecision(decision.status, decision.reason, decision.detail),
                frozenset(() if fail else (order.destination for order in orders)),
            )
            for signal, decision, orders in zip(
                inputs.signals, decided.decisions, decided.orders, strict=True
            )
        ],
    )


@given(st.lists(batches() | reprocessings(), max_size=4))
def test_the_rules_of_then_reproduce_every_decision(recorded: list[BatchInputs]) -> None:
    run = WhatIf(Change())
    for inputs in recorded:
        batch = stored(inputs)
        assert list(run.moments_of(batch)) == []
        run.step(batch, {})
    found = run.comparison
    assert found.reproduced == found.decisions == sum(len(inputs.signals) for inputs in recorded)
    assert found.differences == []
    assert found.then == found.now


@given(batches() | reprocessings())
def test_rules_that_are_named_but_equal_change_nothing(inputs: BatchInputs) -> None:
    rules, listed = inputs.risk_rules, inputs.listed
    change = Change(
        listed.strategy,
        listed.top_n,
        listed.max_age_seconds,
        {"max_open_positions": rules.max_open_positions, "cooldown_seconds": rules.cooldown_seconds},
    )
    run = WhatIf(change)
    run.step(stored(inputs), {})
    assert run.comparison.differences == []


class Day:
    """Alerts one after another, each a batch of its own, while the Top-2 is A, B."""

    def __init__(self, change: Change, kept: KeptList | None = None, **rules: Any) -> None:
        self.run, self.rules = WhatIf(change), RiskRules(**rules)
        self.kept, self.number, self.now = kept, 0, START

    def alert(self, ticker: str, action: str, price: str = "100", book: Book = NOTHING, **more: Any) -> None:
        self.number, self.now = self.number + 1, self.now + MINUTE
        rank = {"A": 1, "B": 2}.get(ticker)
        body = json.dumps({"ticker": ticker, "action": action, "quantity": 10}).encode()
        self.decide(body, rank, price, book, **more)

    def reprocess(self, ticker: str, price: str, rank: int = 2) -> None:
        """Decide the last alert again, because its ticker has entered the list."""
        self.now += MINUTE
        body = json.dumps({"ticker": ticker, "action": "buy", "quantity": 10}).encode()
        self.decide(body, rank, price, reprocessed=ReasonCode.ENTERED_LIST)

    def decide(self, body: bytes, rank: int | None, price: str, book: Book = NOTHING, **more: Any) -> None:
        """Decide an alert, alone in its batch."""
        alert = json.loads(body)
        ticker = alert["ticker"]
        signal = ClaimedSignal(
            *(UUID(int=self.number), self.number, ticker, alert["action"], body),
            is_expired=more.pop("is_expired", False),
            facts=ListFacts(rank, 2, 1.0),
        )
        inputs = BatchInputs(
            [signal],
            [
                DestinationInputs(
                    {ticker: TickerBook(book, (), is_complete=True)}, more.pop("counts", RiskCounts())
                )
            ],
            BookRules(),
            self.rules,
            self.now,
            ListInForce("Long", 2, 90, id=1, fetched_at=self.now),
            reprocessed=more.pop("reprocessed", None),
        )
        batch = stored(inputs, {self.number: price}, **more)
        current = None if self.kept is None else self.kept._replace(at=self.now)
        lists = {moment: KeptLists(current) for moment in self.run.moments_of(batch)}
        self.run.step(batch, lists)

    @property
    def found(self) -> Comparison:
        return self.run.comparison


KEPT = KeptList(START, 90, ("A", "B", "C", "D"), is_whole=False)


def test_a_longer_list_approves_a_buy_its_exit_and_counts_the_result() -> None:
    day = Day(Change(top_n=3), KEPT)
    day.alert("C", "buy", "100")
    day.alert("C", "sell", "107.5")  # rejected then: nothing was open
    day.alert("A", "buy")
    found = day.found
    assert [(each.ticker, each.then.status, each.now.status) for each in found.differences] == [
        ("C", "rejected", "approved"),
        ("C", "rejected", "approved"),
    ]
    buy, _ = found.differences
    assert (buy.then.reason, buy.now.reason, buy.now.rank) == ("not in the Top-2", "rank 3 of 3", 3)
    assert buy.result == Decimal(75)
    assert (found.then.trades, found.now.trades, found.now.result) == (0, 1, Decimal(75))
    assert (found.then.approved, found.now.approved) == (1, 3)
    assert found.reproduced == found.decisions == 3


def test_a_shorter_list_rejects_a_buy_and_the_exit_finds_nothing() -> None:
    day = Day(Change(top_n=1), KEPT)
    day.alert("B", "buy", "100")
    day.alert("B", "sell", "90", book=HELD)
    found = day.found
    assert [(each.now.status, each.now.reason) for each in found.differences] == [
        ("rejected", "not in the Top-1"),
        ("rejected", "no position is open and no buy is pending"),
    ]
    assert found.differences[0].result == Decimal(-100)  # of then
    assert (found.then.losses, found.now.trades) == (1, 0)
    assert found.no_longer_approved == 2


def test_a_ticker_is_as_recorded_again_once_both_ways_hold_the_same() -> None:
    day = Day(Change(top_n=1), KEPT)
    day.alert("B", "buy")
    day.alert("B", "sell", book=HELD)
    day.alert("B", "sell", book=NOTHING)
    day.alert("B", "sell", book=HELD)  # of a position that a person has recorded meanwhile
    assert [each.ticker for each in day.found.differences] == ["B", "B"]


def test_an_order_that_was_not_delivered_then_is_not_delivered_now() -> None:
    day = Day(Change(top_n=3), KEPT)
    day.alert("A", "buy", fail=True)
    assert (day.found.then.open, day.found.now.open) == (0, 0)


def test_a_buy_that_expired_undecided_expires_with_another_size_too() -> None:
    day = Day(Change(top_n=3), KEPT)
    day.alert("C", "buy", is_expired=True)
    assert (day.found.then.expired, day.found.now.expired) == (1, 1)
    assert day.found.differences == []


def test_a_list_that_was_not_kept_deep_enough_is_named() -> None:
    day = Day(Change(top_n=30), KEPT)
    day.alert("Z", "buy")
    day.alert("D", "buy")
    found = day.found
    assert (found.gaps.too_shallow, found.gaps.no_list) == (1, 0)
    assert found.gaps.first == found.gaps.last == START + MINUTE
    assert [each.ticker for each in found.differences] == ["D"]
    whole = Day(Change(top_n=30), KEPT._replace(is_whole=True))
    whole.alert("Z", "buy")
    assert whole.found.gaps.too_shallow == 0


def test_without_a_kept_list_the_decision_is_assumed_to_stay() -> None:
    day = Day(Change(strategy="Short"))
    day.alert("A", "buy")
    assert (day.found.gaps.no_list, day.found.differences) == (1, [])


def aged(change: Change, lists: KeptLists, on_arrival: KeptLists | None = None) -> Comparison:
    """One buy of A that was decided by a list of 60 s, under another maximum age."""
    facts = ListFacts(1, 2, 60.0)
    signal = ClaimedSignal(UUID(int=1), 1, "A", "buy", b'{"action":"buy"}', is_expired=False, facts=facts)
    fetched_at = START - MINUTE
    inputs = BatchInputs(
        *([signal], [ONLY_A], BookRules(), RiskRules(), START),
        ListInForce("Long", 2, 90, id=1, fetched_at=fetched_at),
    )
    batch, run = stored(inputs), WhatIf(change)
    if on_arrival:
        (only,) = batch.signals
        batch = batch._replace(signals=[only._replace(received_at=START - 2 * MINUTE)])
    at_arrival = {("Long", START - 2 * MINUTE): on_arrival or KeptLists()}
    run.step(batch, {("Long", START): lists, ("Long", fetched_at): lists} | at_arrival)
    return run.comparison


def test_with_a_smaller_maximum_age_a_buy_waits_for_the_next_list() -> None:
    old = KeptList(START - MINUTE, 90, ("A", "B"), is_whole=False)
    soon, late = (old._replace(at=START + minutes * MINUTE, tickers=("B", "C")) for minutes in (1, 6))
    assert aged(Change(max_age_seconds=61), KeptLists(old, soon)).differences == []
    (moved,) = aged(Change(max_age_seconds=30), KeptLists(old, soon)).differences
    assert (moved.now.status, moved.now.rank) == ("rejected", None)
    for following in (late, None):
        (ended,) = aged(Change(max_age_seconds=30), KeptLists(old, following)).differences
        assert ended.now.status == "expired"


def test_with_a_greater_maximum_age_a_buy_that_waited_is_decided_on_arrival() -> None:
    current = KeptList(START - MINUTE, 90, ("A", "B"), is_whole=False)
    stale = current._replace(at=START - 10 * MINUTE, tickers=("B", "C"))
    (difference,) = aged(Change(max_age_seconds=900), KeptLists(current), KeptLists(stale)).differences
    assert (difference.now.status, difference.now.rank) == ("rejected", None)
    assert aged(Change(max_age_seconds=100), KeptLists(current), KeptLists(stale)).differences == []


def test_limits_of_positions_and_buys_count_the_other_decisions() -> None:
    day = Day(Change(risk={"max_open_positions": 1}))
    day.alert("A", "buy")
    day.alert("B", "buy")
    day.alert("A", "sell", book=HELD)
    day.alert("B", "buy", book=HELD)  # then a second buy, now the first one
    assert [(each.ticker, each.now.status, each.at) for each in day.found.differences] == [
        ("B", "rejected", START + 2 * MINUTE)
    ]
    buys = Day(Change(risk={"max_buys_per_day": 1}))
    buys.alert("A", "buy")
    buys.alert("B", "buy")
    assert [each.ticker for each in buys.found.differences] == ["B"]


def test_a_limit_that_counted_then_counts_what_differs() -> None:
    """The recorded count has the position that is not opened now."""
    day = Day(Change(top_n=1), KEPT, max_open_positions=2)
    day.alert("B", "buy", counts=RiskCounts(1))
    day.alert("A", "buy", counts=RiskCounts(2))  # refused then, because B was open
    assert [(each.ticker, each.now.status) for each in day.found.differences] == [
        ("B", "rejected"),
        ("A", "approved"),
    ]


def test_a_cooldown_counts_from_the_exits_of_the_run() -> None:
    day = Day(Change(risk={"cooldown_seconds": 90}))
    day.alert("A", "sell", book=HELD)
    day.alert("A", "buy")
    day.alert("A", "buy", book=HELD)
    assert [each.now.status for each in day.found.differences] == ["rejected"]


def test_the_cooldown_of_then_counts_exits_that_were_none_then() -> None:
    day = Day(Change(top_n=3), KEPT, cooldown_seconds=600)
    day.alert("C", "buy")
    day.alert("C", "sell")  # rejected then
    day.alert("C", "buy")
    assert [each.now.status for each in day.found.differences] == ["approved", "approved"]
    shorter = Day(Change(top_n=1), KEPT, cooldown_seconds=600)
    shorter.alert("B", "buy")
    shorter.alert("B", "sell", book=HELD)  # rejected now
    shorter.kept = KEPT._replace(tickers=("B", "A"))
    shorter.alert("B", "buy", counts=RiskCounts(since_exit={"B": 60.0}))
    assert [(each.then.status, each.now.status) for each in shorter.found.differences] == [
        ("approved", "rejected"),
        ("approved", "rejected"),
        ("rejected", "approved"),
    ]


def test_a_buy_that_is_approved_on_arrival_is_not_reprocessed() -> None:
    day = Day(Change(top_n=3), KEPT)
    day.alert("C", "buy", "100")
    day.reprocess("C", "100")
    day.alert("C", "sell", "107.5", book=HELD)
    found = day.found
    assert [(each.then.status, each.now.status, each.now.reason) for each in found.differences] == [
        ("rejected", "approved", "rank 3 of 3"),
        ("approved", "skipped", str(Reason(RefusalCode.NOTHING_TO_APPROVE))),
    ]
    assert (found.then.approved, found.now.approved) == (2, 2)
    assert (found.then.trades, found.now.trades) == (1, 1)
    assert found.then.result == found.now.result == Decimal(75)
    assert (found.newly_approved, found.no_longer_approved) == (1, 1)
    assert found.reproduced == found.decisions == 3


def test_a_buy_that_closed_before_it_would_be_reprocessed_is_not_approved_twice() -> None:
    day = Day(Change(top_n=3), KEPT)
    day.alert("C", "buy", "100")
    day.alert("C", "sell", "101")  # rejected then
    day.number = 1  # the buy's
    day.reprocess("C", "100")
    assert [each.now.status for each in day.found.differences] == ["approved", "approved", "skipped"]
    assert day.found.now.trades == 1


def test_a_shorter_list_reprocesses_nothing_that_it_does_not_hold() -> None:
    day = Day(Change(top_n=1), KEPT._replace(tickers=("A", "C", "B")))
    day.alert("C", "buy", "100")
    day.reprocess("C", "100")
    (difference,) = day.found.differences
    assert (difference.then.status, difference.now.status) == ("approved", "skipped")


def test_a_risk_rule_rejects_a_reprocessed_buy() -> None:
    day = Day(Change(risk={"blocklist": frozenset({"C"})}))
    day.alert("C", "buy", "100")
    day.reprocess("C", "100")
    (difference,) = day.found.differences  # the first decision is a rejection both ways
    assert (difference.then.status, difference.now.status) == ("approved", "skipped")
    cooled = Day(Change(risk={"max_buys_per_day": 1}))
    cooled.alert("A", "buy", "100")
    cooled.alert("C", "buy", "100")
    cooled.reprocess("C", "100")
    (difference,) = cooled.found.differences
    assert (difference.now.status, difference.now.reason) == (
        "rejected",
        str(Reason(ReasonCode.MAX_BUYS, count=1, most=1)),
    )


def test_a_decision_that_is_not_reproduced_is_counted() -> None:
    day = Day(Change())
    day.alert("A", "buy")
    facts = ListFacts(1, 2, 1.0)
    signal = ClaimedSignal(UUID(int=9), 9, "A", "buy", b'{"action":"buy"}', is_expired=False, facts=facts)
    inputs = BatchInputs(
        *([signal], [ONLY_A], BookRules(), RiskRules(), START, ListInForce("Long", 2, 90)),
    )
    batch = stored(inputs)
    (only,) = batch.signals
    wrong = StoredDecision("rejected", Reason(ReasonCode.NOT_LISTED, size=2), {})
    day.run.step(batch._replace(signals=[only._replace(decision=wrong)]), {})
    assert (day.found.decisions, day.found.reproduced) == (2, 1)


def test_memory_does_not_grow_with_the_number_of_signals() -> None:
    day = Day(Change(top_n=1), KEPT)
    for _ in range(MOST_DIFFERENCES):
        day.alert("B", "buy")
        day.alert("B", "sell", book=HELD)
    assert day.found.no_longer_approved == 2 * MOST_DIFFERENCES
    assert len(day.found.differences) == MOST_DIFFERENCES
    assert (day.found.then.open, day.found.now.open) == (0, 0)
