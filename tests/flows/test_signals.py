"""The main path on a real stack: an alert is accepted, decided and delivered."""

from __future__ import annotations

import time
import uuid
from typing import TYPE_CHECKING

import msgspec
import pytest

from tests.hosts.destination import Destination

if TYPE_CHECKING:
    from tests.hosts.stack import Stack

pytestmark = pytest.mark.minutes(2)

# The limit is a second; tests on busy machines allow five times that.
DEADLINE = 5.0

# What JSON libraries often change: trailing zeros, big integers, exponents, escapes, and odd spacing.
ALERT = (
    '{"ticker": " nvda ", "action":"buy" , "price": 1.10, "volume": 123456789012345678901234567890,'
    ' "ratio": 1E-7, "note": "entr\\u00e9e ✓ \\/ \\"quoted\\"", "nested": {"b": [1, 2.50,  null], "a": {}},'
    ' "interval": "5", "run": "%s"}'
)
NORMALISED = {"ticker", "signal_id"}


@pytest.fixture(scope="module")
def destination(stack: Stack) -> Destination:
    """Start a receiver outside the stack as its destination."""
    receiver = Destination(stack.host)
    stack.approve("AAPL", "NVDA")
    stack.configure(DEST_WEBHOOK_URL=Destination.url)
    stack.run_py("--quick").require()
    return receiver


def _alert(template: str = ALERT) -> bytes:
    return (template % uuid.uuid4().hex).encode()


def _fields(body: bytes) -> dict[str, bytes]:
    """Return every field's value exactly as written in the body."""
    raw = msgspec.json.decode(body, type=dict[str, msgspec.Raw])
    return {name: bytes(value) for name, value in raw.items() if name not in NORMALISED}


def test_an_approved_signal_is_kept_and_delivered_byte_for_byte(
    stack: Stack, destination: Destination
) -> None:
    """202 after the commit, the row as it came, and the destination gets every extra field unchanged."""
    already = len(destination.received())
    body, sent_at = _alert(), time.time()
    answer = stack.post(body)

    assert answer.status_code == 202
    said = answer.json()
    assert (said["queued"], said["ticker"], said["duplicate"]) == (True, "NVDA", False)
    (delivery,) = destination.received(count=already + 1, timeout=DEADLINE)[already:]
    assert delivery.at - sent_at < DEADLINE
    assert _fields(delivery.body) == _fields(body)
    arrived = msgspec.json.decode(delivery.body)
    assert arrived["ticker"] == "NVDA"
    assert arrived["signal_id"] == said["signal_id"]
    assert delivery.headers["webhook-id"] == said["signal_id"]

    assert stack.outcome(said["signal_id"])[0] == "forwarded"
    kept = stack.sql(f"SELECT ticker, encode(body, 'hex') FROM signals WHERE id = '{said['signal_id']}'")  # noqa: S608
    assert kept == [["NVDA", body.hex()]]
    assert stack.sql("SELECT status FROM positions WHERE ticker = 'NVDA' AND status = 'open'") == [["open"]]


def test_the_secret_is_neither_kept_nor_forwarded(stack: Stack, destination: Destination) -> None:
    """A sender that cannot set headers puts the secret into the body; it is removed there."""
    already = len(destination.received())
    secret = stack.secret
    body = _alert('{"ticker": "AAPL", "action": "buy", "secret": "' + secret + '", "run": "%s"}')
    answer = stack.post(body, **{"X-Webhook-Secret": ""})

    assert answer.status_code == 202, answer.text
    (delivery,) = destination.received(count=already + 1, timeout=DEADLINE)[already:]
    assert secret.encode() not in delivery.body
    needle = secret.encode().hex()
    assert stack.sql(f"SELECT count(*) FROM signals WHERE encode(body, 'hex') LIKE '%{needle}%'") == [["0"]]  # noqa: S608


def test_a_ticker_outside_the_list_is_rejected_with_its_reason(
    stack: Stack, destination: Destination
) -> None:
    """The timeline shows why nothing was sent."""
    before = len(destination.received())
    answer = stack.post(_alert('{"ticker": "MSFT", "action": "buy", "run": "%s"}'))

    assert answer.status_code == 202
    status, reason = stack.outcome(answer.json()["signal_id"])
    assert status == "rejected"
    assert "not in the Top-2" in reason
    assert len(destination.received()) == before


def test_a_repeated_alert_is_processed_once(stack: Stack, destination: Destination) -> None:
    """The sender's second attempt gets the first one's id, and nothing is delivered twice."""
    already = len(destination.received())
    body = _alert()
    first, second = stack.post(body).json(), stack.post(body).json()

    assert second["signal_id"] == first["signal_id"]
    assert second["duplicate"] is True
    # The next signal follows the repeated one, so its arrival shows that nothing else came before.
    last = stack.post(_alert()).json()
    arrived = destination.received(count=already + 2, timeout=DEADLINE)[already:]
    assert [one.headers["webhook-id"] for one in arrived] == [first["signal_id"], last["signal_id"]]


def test_a_wrong_secret_is_refused(stack: Stack) -> None:
    """401, and no signal is stored."""
    before = stack.sql("SELECT count(*) FROM signals")
    assert stack.post(_alert(), **{"X-Webhook-Secret": "guessed"}).status_code == 401
    assert stack.sql("SELECT count(*) FROM signals") == before


def test_without_a_destination_the_same_path_runs_on_paper(stack: Stack, destination: Destination) -> None:
    """Both outcomes occur, and the built-in destination stores the deliveries."""
    before = len(destination.received())
    stack.configure(DEST_WEBHOOK_URL="")
    stack.run_py("--quick").require()
    approved, rejected = (
        stack.post(_alert(f'{{"ticker": "{ticker}", "action": "buy", "run": "%s"}}')).json()["signal_id"]
        for ticker in ("AAPL", "MSFT")
    )

    assert stack.outcome(approved)[0] == "forwarded"
    assert stack.outcome(rejected)[0] == "rejected"
    kept = stack.sql("SELECT webhook_id FROM paper_deliveries ORDER BY id")
    assert kept[-1:] == [[approved]]
    assert len(destination.received()) == before


def test_the_idle_application_is_small(stack: Stack) -> None:
    """Under 120 MB of resident memory, after the signals of this module."""
    assert stack.app_memory() < 120 * 2**20
