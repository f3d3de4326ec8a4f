"""Everything stored is in an export, and an import stores it again unchanged."""

from __future__ import annotations

import json
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import TYPE_CHECKING, Any
from uuid import UUID

import pytest
import pytest_asyncio
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from tests.api.operator import ask
from tests.api.test_admin_database import PAUSED, exported, imported
from tests.api.trading.desk import assert_orders_match

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable

    from tests.api.conftest import AppServer

    StartApp = Callable[..., Awaitable[AppServer]]

LONG_AGO = datetime.now(UTC) - timedelta(days=20)  # not yet removed by retention
FINAL = ["rejected", "forwarded", "failed", "expired"]
UNFINISHED = ["received", "approved", "forwarding"]

ODD = st.text(alphabet=st.sampled_from("'=+-@\t\r\n\"a,;| \\é\uff1d"), max_size=12) | st.just(
    r"a \u0000 of ours"
)
TEXTS = ODD | st.text(st.characters(exclude_categories=["Cs"], exclude_characters="\0"), max_size=40)
MOMENTS = st.integers(0, 19 * 24 * 3600 * 10**6).map(lambda n: LONG_AGO + timedelta(microseconds=n))
# A paused application decides exits and expires what is overdue, also between an export and the comparison.
LATER = MOMENTS.map(lambda moment: moment + timedelta(days=40))
NUMBERS = st.integers(-(10**40), 10**40) | st.floats(allow_nan=False, allow_infinity=False)
VALUES = st.recursive(
    st.none()
    | st.booleans()
    | st.integers(-(10**40), 10**40)
    | st.floats(allow_nan=False, allow_infinity=False)
    | TEXTS,
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(TEXTS, inner, max_size=3),
    max_leaves=5,
)
EVENTS = st.tuples(
    MOMENTS, st.sampled_from(FINAL + UNFINISHED), TEXTS, st.dictionaries(TEXTS, VALUES, max_size=3)
)
OUTCOMES = st.sampled_from(["delivered", "refused", "not_taken", "unknown"])
ATTEMPTS = st.tuples(
    st.integers(1, 32_767),
    st.integers(0, 2**31 - 1),
    TEXTS,
    TEXTS,
    MOMENTS,
    MOMENTS,
    OUTCOMES,
    st.none() | st.integers(100, 599),
    st.none() | TEXTS,
    st.none() | st.binary(max_size=2048),
)
BODIES = (
    st.binary(max_size=300) | TEXTS.map(str.encode) | st.sampled_from([b"", b"base64:", b"\xef\xbb\xbf{}"])
)
PRICES = st.decimals(allow_nan=False, allow_infinity=False, min_value=-(10**60), max_value=10**60)
TYPES = st.sampled_from(["buy", "sell", "manual_sell", "position_close", "sell_all"])


def signals(statuses: list[str]) -> st.SearchStrategy[tuple[Any, ...]]:
    """Generate a signal's columns, its events and its attempts."""
    types, expiries = (TYPES, MOMENTS) if statuses == FINAL else (st.just("buy"), LATER)
    columns = st.tuples(
        st.uuids(),
        st.sampled_from(statuses),
        types,
        st.from_regex(r"\A[A-Z0-9.-]{1,20}\Z"),
        MOMENTS,
        MOMENTS,
        expiries,
        TEXTS,
        st.none() | TEXTS,
        st.none() | PRICES,
        st.integers(1, 32_767),
        st.integers(0, 2**31 - 1),
        st.binary(max_size=300)
        | TEXTS.map(str.encode)
        | st.sampled_from([b"", b"base64:", b"\xef\xbb\xbf{}"]),
        st.none() | MOMENTS,
        st.none() | st.sampled_from(["desk", "Röbot 2"]),
    )
    return st.tuples(columns, st.lists(EVENTS, max_size=3), st.lists(ATTEMPTS, max_size=3))


def stores(statuses: list[str]) -> st.SearchStrategy[list[tuple[Any, ...]]]:
    """Some signals, each with an id of its own."""
    return st.lists(signals(statuses), min_size=1, max_size=4, unique_by=lambda signal: signal[0][0])


PROPERTY = settings(
    max_examples=40, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture]
)


async def store(app: AppServer, stored: list[tuple[Any, ...]]) -> None:
    """Replace everything by these signals."""
    async with app.context.pool.acquire() as connection, connection.transaction():
        await connection.execute("DELETE FROM signals")
        for columns, events, attempts in stored:
            await connection.execute(
                """INSERT INTO signals (id, status, type, ticker, received_at, status_at, expires_at, reason,
                                        sender_signal_id, price, round, attempts, body, imported_at,
                                        source)
                   VALUES ($1, $2, $3, $4, $5, $6, $7, $8, $9, $10, $11, $12, $13, $14, $15)""",
                *columns,
            )
            for at, status, reason, detail in events:
                await connection.execute(
                    "INSERT INTO signal_events (signal_id, at, status, reason, detail)"
                    " VALUES ($1, $2, $3, $4, $5::text::jsonb)",
                    columns[0], at, status, reason, json.dumps(detail),
                )  # fmt: skip
            await connection.executemany(
                """INSERT INTO attempts (signal_id, claim_id, round, number, destination, webhook_id,
                                         started_at, ended_at, outcome, http_status, error, response)
                   VALUES ($1, gen_random_uuid(), $2, $3, $4, $5, $6, $7, $8, $9, $10, $11)""",
                [(columns[0], *attempt) for attempt in attempts],
            )


_SIGNALS = """
SELECT id, status, type, ticker, received_at, status_at, expires_at, reason, sender_signal_id, price::text,
       round, attempts, body, source
FROM signals ORDER BY seq
"""
_EVENTS = "SELECT signal_id, at, status, reason, detail::text FROM signal_events ORDER BY signal_id, id"
_ATTEMPTS = """
SELECT signal_id, round, number, destination, webhook_id, started_at, ended_at, outcome, http_status, error,
       response
FROM attempts ORDER BY signal_id, id
"""


async def held(app: AppServer) -> list[list[tuple[Any, ...]]]:
    """Return everything stored of signals, except what an import sets anew."""
    pool = app.context.pool
    return [[tuple(row) for row in await pool.fetch(query)] for query in (_SIGNALS, _EVENTS, _ATTEMPTS)]


@pytest_asyncio.fixture
async def app(start_app: StartApp, tmp_path: Path) -> AppServer:
    """Start an application whose workers decide and deliver nothing."""
    (tmp_path / "system_config.json").write_text(PAUSED)
    return await start_app()


@PROPERTY
@given(stored=stores(FINAL))
async def test_an_import_restores_the_export(app: AppServer, stored: list[Any]) -> None:
    await store(app, stored)
    before = await held(app)
    content = await exported(app)
    await app.context.pool.execute("DELETE FROM signals")
    answer = await imported(app, content)
    assert answer == {"imported": len(stored), "expired": 0, "present": 0, "bad": 0, "bad_rows": []}
    assert await held(app) == before
    assert await app.context.pool.fetchval("SELECT count(*) FROM signals WHERE imported_at IS NULL") == 0
    assert await app.context.pool.fetchval("SELECT count(*) FROM attempts WHERE NOT imported") == 0
    await assert_orders_match(app.context.pool)


@PROPERTY
@given(stored=stores(FINAL + UNFINISHED))
async def test_what_had_not_ended_differs_by_its_end_only(app: AppServer, stored: list[Any]) -> None:
    await store(app, stored)
    content = await exported(app)
    before = await held(app)
    open_ones = {columns[0]: columns[1] for columns, _, _ in stored if columns[1] in UNFINISHED}
    await app.context.pool.execute("DELETE FROM signals")
    assert (await imported(app, content))["expired"] == len(open_ones)
    after = await held(app)
    assert after[2] == before[2]
    ends = [row for row in after[1] if row not in before[1]]
    assert {row[0]: (row[2], row[3]) for row in ends} == {
        signal: ("expired", f"imported; it was {status} when it was exported")
        for signal, status in open_ones.items()
    }
    ended = {1, 5, 7}  # status, status_at, reason
    for old, new in zip(before[0], after[0], strict=True):
        differing = {number for number, value in enumerate(old) if new[number] != value}
        assert differing <= (ended if old[0] in open_ones else set())
        assert new[1] == ("expired" if old[0] in open_ones else old[1])
    await assert_orders_match(app.context.pool)


@PROPERTY
@given(stored=stores(FINAL))
async def test_the_dump_of_a_clearance_restores_everything(app: AppServer, stored: list[Any]) -> None:
    await store(app, stored)
    before = await held(app)
    answer = await ask(app, "POST", "/admin/database/clear", body={"confirm": "clear"})
    assert (answer["deleted"], answer["kept"]) == (len(stored), 0)
    assert await held(app) == [[], [], []]
    assert (await imported(app, taken(Path(answer["dump"]))))["bad"] == 0
    assert await held(app) == before


def taken(dump: Path) -> bytes:
    """Read a dump and remove it: the next one may be made within the same second."""
    content = dump.read_bytes()
    dump.unlink()
    return content


async def test_nothing_is_cleared_that_cannot_be_imported_again(app: AppServer) -> None:
    await app.context.pool.execute(
        """INSERT INTO signals (id, status, type, ticker, expires_at, body, status_at)
           VALUES (gen_random_uuid(), 'rejected', 'buy', 'AAPL', now(),
                   convert_to(repeat('x', 70000), 'UTF8'), now() - interval '2 hours')"""
    )
    refused = await ask(app, "POST", "/admin/database/clear", 500, body={"confirm": "clear"})
    assert "holds 0 of 1 signals" in refused["detail"]
    assert await app.context.pool.fetchval("SELECT count(*) FROM signals") == 1


FROM_BEFORE = (
    "id,received_at,status,status_at,type,ticker,price,reason,sender_signal_id,round,attempts,expires_at,body,"
    "events,deliveries\r\n"
    "00000000-0000-4000-8000-000000000001,2026-11-20T10:00:00.500000+00:00,forwarded,"
    "2026-11-20T10:00:01+00:00,buy,AAPL,'-7.50,'=1+1,'@home,1,1,2026-11-20T10:05:00+00:00,"
    '"{""note"": ""a;\'=1""}",'
    '"[{""at"" : ""2026-11-20T10:00:00.5+00:00"", ""status"" : ""received"", ""reason"" : "","",'
    ' ""detail"" : {}}]",'
    '"[{""round"" : 1, ""number"" : 1, ""destination"" : ""paper"", ""webhook_id"" : ""1"",'
    ' ""started_at"" : ""2026-11-20T10:00:00.5+00:00"", ""ended_at"" : ""2026-11-20T10:00:01+00:00"",'
    ' ""outcome"" : ""delivered"", ""http_status"" : 200, ""error"" : null,'
    f' ""response"" : ""{"eHh4" * 19}\\n{"eHh4" * 3}""}}]"\r\n'
)


@pytest.mark.parametrize("signature", [b"", b"\xef\xbb\xbf"])
async def test_a_file_of_the_version_before_is_imported(app: AppServer, signature: bytes) -> None:
    answer = await imported(app, signature + FROM_BEFORE.encode())
    assert (answer["imported"], answer["bad_rows"]) == (1, [])
    ((signal,), (event,), (attempt,)) = await held(app)
    assert signal[0] == UUID("00000000-0000-4000-8000-000000000001")
    assert signal[7:10] == ("=1+1", "@home", "-7.50")
    assert signal[12] == b'{"note": "a;\'=1"}'
    assert event[2:4] == ("received", ",")
    assert attempt[-1] == b"xxx" * 22
