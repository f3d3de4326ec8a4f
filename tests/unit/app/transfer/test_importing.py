"""Any bytes can be imported: valid rows are read, and each bad row is listed by its line with our message."""

from __future__ import annotations

import csv
import io
import json
from datetime import UTC, datetime, timedelta
from typing import TYPE_CHECKING, Any

import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from app.transfer import importing
from app.transfer.importing import NoExportError, Row
from app.web import locale
from app.web.locale import Preferences
from app.web.reasons import render

if TYPE_CHECKING:
    from app.signals.reasons import Reason

NOW = datetime(2026, 11, 28, 12, tzinfo=UTC)
EVENT: dict[str, Any] = {"at": "2026-11-22T10:00:00Z", "status": "received", "reason": "", "detail": {}}
ATTEMPT: dict[str, Any] = {
    "round": 1,
    "number": 1,
    "destination": "paper",
    "webhook_id": "w",
    "started_at": "2026-11-22T10:00:00Z",
    "ended_at": "2026-11-22T10:00:01Z",
    "outcome": "delivered",
    "http_status": 200,
    "error": None,
    "response": "AAAA",
}
GOOD = {
    "id": "00000000-0000-0000-0000-000000000001",
    "received_at": "2026-11-22T10:00:00Z",
    "status": "rejected",
    "status_at": "",
    "type": "buy",
    "ticker": "AAPL",
    "price": "1.5",
    "reason": "",
    "sender_signal_id": "",
    "round": "1",
    "attempts": "0",
    "expires_at": "",
    "body": "{}",
    "events": json.dumps([EVENT]),
    "deliveries": json.dumps([ATTEMPT]),
    "imported_at": "",
}
SECRET = "S3cr3t-of-a-stranger"  # none of ours may repeat it
ODD_MOMENTS = [
    "0001-01-01T00:00:00+23:59",
    "0001-01-01T00:00:00Z",
    "9999-12-31T23:59:59-23:59",
    "9999-12-31T23:59:59Z",
    "2099-01-01T00:00:00Z",
    "2026-11-28T12:06:00Z",
    "2026-12-31T23:59:60Z",
    "2026-11-22T10:00:00",
    "2026-02-30T10:00:00Z",
    "-infinity",
    "1e400",
    "9" * 5000,
    SECRET,
]
TWICE = "id,received_at,status,ticker,body,id\r\n"
DEEP = "[" * 60_000


def listed(**cells: str) -> list[Row]:
    """Import a row with these cells and a good row after it; return what became of both."""
    return rows(line({**GOOD, **cells}) + line(GOOD))


def line(cells: dict[str, str]) -> str:
    """Return a row as CSV, with its cells unquoted."""
    buffer = io.StringIO(newline="")
    csv.writer(buffer).writerow(cells.values())
    return buffer.getvalue()


def rows(text: str) -> list[Row]:
    """Read rows after a header."""
    return list(importing.read(io.StringIO(line({name: name for name in GOOD}) + text, newline=""), NOW))


def assert_bad(row: Row, column: str) -> None:
    """Assert that the row is refused for this column, with a translated message that quotes nothing."""
    assert row.past is None
    assert row.line == 2
    words = assert_translated(row.reason)
    assert words.startswith(f"{column}: ")
    assert SECRET not in words
    assert len(words) < 200


def assert_translated(reason: Reason | None) -> str:
    """Assert that a bad row's reason exists in Portuguese, and return its English text."""
    assert reason
    token = locale.current.set(Preferences(language="pt-BR"))
    try:
        words = render(reason)
    finally:
        locale.current.reset(token)
    assert words.rpartition(": ")[2] != str(reason).rpartition(": ")[2]
    return str(reason)


def test_a_good_row_is_read() -> None:
    (row, _) = listed()
    assert row.past is not None
    assert (len(row.past.events), len(row.past.attempts)) == (1, 1)


@pytest.mark.parametrize("moment", ODD_MOMENTS)
@pytest.mark.parametrize("column", ["received_at", "status_at", "expires_at"])
def test_invalid_and_future_times_of_a_signal(column: str, moment: str) -> None:
    bad, good = listed(**{column: moment})
    if column == "expires_at" and moment == "2026-11-28T12:06:00Z":
        assert bad.past  # a signal expires after its arrival, so this is not in the future
    else:
        assert_bad(bad, column)
    assert good.past


@pytest.mark.parametrize("moment", ODD_MOMENTS)
@pytest.mark.parametrize(
    ("column", "entry", "field"),
    [("events", EVENT, "at"), ("deliveries", ATTEMPT, "started_at"), ("deliveries", ATTEMPT, "ended_at")],
)
def test_invalid_and_future_times_of_events_and_attempts(
    column: str, entry: dict[str, Any], field: str, moment: str
) -> None:
    bad, good = listed(**{column: json.dumps([entry, {**entry, field: moment}])})
    assert_bad(bad, column)
    assert str(bad.reason).endswith(f"(entry 2, {field})")
    assert good.past


def test_a_clock_that_is_a_little_ahead_makes_no_row_bad() -> None:
    moment = (NOW + timedelta(minutes=4)).isoformat()
    (row, _) = listed(received_at=moment, events=json.dumps([{**EVENT, "at": moment}]))
    assert row.past


@pytest.mark.parametrize(
    ("column", "cell"),
    [
        ("id", SECRET),
        ("status", SECRET),
        ("type", SECRET),
        ("type", ""),
        ("ticker", SECRET + "x" * 40),
        ("price", SECRET),
        ("price", "NaN"),
        ("price", "Infinity"),
        ("price", "1e99999"),
        ("price", "1e-99999"),
        ("price", "9" * 100_000),
        ("round", "0"),
        ("round", "9" * 5000),
        ("attempts", "-1"),
        ("body", "\0"),
        ("body", "\udcff"),
        ("body", f"base64:{SECRET}?"),
        ("body", "base64:\u00e9"),
        ("body", "x" * 65_537),
        ("events", DEEP),
        ("events", DEEP + "]" * 60_000),
        ("events", SECRET),
        ("events", "{}"),
        ("events", "[{}]"),
        ("events", "[1]"),
        ("events", "null"),
        ("events", f'[{{"{SECRET}": 1}}]'),
        ("deliveries", DEEP),
        ("deliveries", "[[]]"),
        ("deliveries", '[{"round": 1e400}]'),
    ],
)
def test_invalid_cells(column: str, cell: str) -> None:
    bad, good = listed(**{column: cell, **({"status": "failed"} if column == "type" else {})})
    assert_bad(bad, column)
    assert good.past


@pytest.mark.parametrize(
    "detail",
    [
        DEEP + "]" * 60_000,
        '{"a":' * 40 + "1" + "}" * 40,
        '{"a": 1e400}',
        '{"a": %s}' % ("9" * 5000),
        r'{"a": "\u0000"}',
        r'{"\u0000": 1}',
        r'{"a": ["\ud800"]}',
        '{"a": "%s"}' % ("x" * 300_000),
        "[]",
        "1",
        '{"a": }',
        "NaN",
    ],
)
def test_invalid_details_of_an_event(detail: str) -> None:
    event = json.dumps(EVENT).replace("{}", detail)
    bad, good = listed(events=f"[{event}]")
    assert_bad(bad, "events")
    assert good.past


@pytest.mark.parametrize(
    ("field", "value"),
    [
        ("number", -1),
        ("number", 2**31),
        ("round", True),
        ("outcome", SECRET),
        ("http_status", 10**9),
        ("destination", "\0"),
        ("webhook_id", None),
        ("error", "\0"),
        ("response", SECRET),
        ("response", "\u00e9"),
    ],
)
def test_invalid_fields_of_an_attempt(field: str, value: object) -> None:
    bad, good = listed(deliveries=json.dumps([{**ATTEMPT, field: value}]))
    assert_bad(bad, "deliveries")
    assert str(bad.reason).endswith(f"(entry 1, {field})")
    assert good.past


@pytest.mark.parametrize(
    "broken",
    [
        f'"{SECRET}\r\n',  # a quote that nothing closes
        f'"a"{SECRET},1\r\n',
        f'"{"x" * 17_000_000}"\r\n',
        f"{'x' * 40_000_000}\r\n",
        f'"{SECRET}\r\n{SECRET}" {SECRET}\r\n',
    ],
    ids=["open quote", "quote inside", "long cell", "long line", "over two lines"],
)
def test_lines_that_are_not_csv_hide_no_row_behind_them(broken: str) -> None:
    before, *bad, after = rows(line(GOOD) + broken + line(GOOD))
    assert before.past
    assert after.past
    assert bad[0].line == 3
    for row in bad:
        assert SECRET not in assert_translated(row.reason)


def test_a_row_with_other_cells_than_the_header_and_empty_lines() -> None:
    found = rows(f"\r\none,cell\r\n\r\n{line(GOOD)}")
    assert [(row.line, bool(row.past)) for row in found] == [(3, False), (5, True)]
    words = assert_translated(found[0].reason)
    assert words == f"has 2 cells, but the first line has {len(GOOD)}"


@pytest.mark.parametrize(
    "text", ["", "\0", "nonsense", '"', '"a"b', "id,ticker\r\n", TWICE, "x" * 17_000_000]
)
def test_a_file_that_is_not_an_export_is_refused(text: str) -> None:
    with pytest.raises(NoExportError, match="is this an export") as refused:
        importing.read(io.StringIO(text, newline=""), NOW)
    assert_translated(refused.value.reason)


@given(st.dictionaries(st.sampled_from(list(GOOD)), st.text(max_size=30)))
@example({"received_at": "0001-01-01T00:00:00+23:59"})
def test_any_cells(cells: dict[str, str]) -> None:
    *_, last = found = listed(**cells)
    assert last.past
    for row in found:
        if not row.past:
            assert_translated(row.reason)


JSON = st.recursive(
    st.none()
    | st.booleans()
    | st.integers()
    | st.floats()
    | st.text(max_size=8)
    | st.sampled_from(ODD_MOMENTS),
    lambda inner: st.lists(inner, max_size=4) | st.dictionaries(st.sampled_from([*EVENT, *ATTEMPT]), inner),
    max_leaves=12,
)


@given(st.sampled_from(["events", "deliveries"]), JSON)
def test_any_json(column: str, value: object) -> None:
    bad, good = listed(**{column: json.dumps(value)})
    assert good.past
    if not bad.past:
        assert_bad(bad, column)


@given(st.binary(max_size=200))
def test_any_bytes(content: bytes) -> None:
    text = content.decode("utf-8-sig", errors="surrogateescape")
    for row in rows(text):
        assert row.past is None
        assert_translated(row.reason)
