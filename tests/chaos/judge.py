"""Compare the database with the records of senders and destination, after any failure."""

from __future__ import annotations

import json
from collections import Counter
from dataclasses import dataclass
from typing import TYPE_CHECKING

from tests.hosts.stack import FINAL

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from tests.hosts.destination import Delivery, Destination
    from tests.hosts.stack import Stack

TICKERS = [f"T{number:02}" for number in range(50)]

_SIGNALS = """
    SELECT s.id, convert_from(s.body, 'UTF8')::json ->> 'n', s.ticker, s.type, s.status,
           (SELECT count(*) FROM attempts a
            WHERE a.signal_id = s.id AND a.error = 'its sender died with the request open')
    FROM signals s
"""


@dataclass(frozen=True)
class Signal:
    """A stored signal. `orphaned`: how many of its attempts were open when their process died."""

    id: str
    number: int
    ticker: str
    type: str
    status: str
    orphaned: int


def settle(stack: Stack, within: float) -> dict[str, Signal]:
    """Wait until no signal is unfinished and no attempt open; return every signal by its id."""
    waiting = f"EXISTS (SELECT FROM signals WHERE status NOT IN {FINAL})"
    stack.wait_until(f"NOT {waiting} AND NOT EXISTS (SELECT FROM attempts WHERE ended_at IS NULL)", within)
    return {
        id_: Signal(id_, int(number), ticker, order_type, status, int(orphaned))
        for id_, number, ticker, order_type, status, orphaned in stack.sql(_SIGNALS)
    }


def judge(
    stack: Stack, destination: Destination, accepted: Mapping[int, str], *, within: float
) -> dict[str, Signal]:
    """Compare the database with the records of senders and destination; return every signal by its id."""
    signals = settle(stack, within)
    lost = [number for number, id_ in accepted.items() if id_ not in signals]
    assert lost == [], "answered 202 and not in the database"
    numbers = Counter(signal.number for signal in signals.values())
    assert {number: count for number, count in numbers.items() if count > 1} == {}, "stored more than once"

    deliveries = destination.received()
    taken = Counter(got.headers["webhook-id"] for got in deliveries if got.taken)
    forwarded = {id_ for id_, signal in signals.items() if signal.status == "forwarded"}
    assert forwarded - taken.keys() == set(), "forwarded, and the destination knows nothing of it"
    # The answer to a dead process is unknown; it may be one more for each such attempt.
    forgotten = [id_ for id_ in taken.keys() - forwarded if not signals[id_].orphaned]
    assert forgotten == [], "the destination took it, and that was forgotten"
    twice = [id_ for id_, count in taken.items() if count > 1 + signals[id_].orphaned]
    assert twice == [], "taken more than once without need"
    _judge_positions(stack, signals, deliveries)
    return signals


def _judge_positions(stack: Stack, signals: Mapping[str, Signal], deliveries: Sequence[Delivery]) -> None:
    """Assert that open positions equal the destination's, except where a dead process leaves that unknown."""
    holds: Counter[str] = Counter()
    for got in deliveries:
        if got.taken:
            alert = json.loads(got.body)
            if alert["action"] == "buy":
                holds[alert["ticker"]] += 1
            else:
                holds.pop(alert["ticker"], None)
    unknown = {signal.ticker for signal in signals.values() if signal.orphaned}
    stored = {
        ticker: int(buys)
        for ticker, buys in stack.sql("SELECT ticker, buys FROM positions WHERE status = 'open'")
    }
    assert {t: n for t, n in stored.items() if t not in unknown} == {
        t: n for t, n in holds.items() if t not in unknown
    }
