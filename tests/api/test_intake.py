"""`POST /webhook/in` on a real database: every post answered with 202 is stored once, byte for byte."""

from __future__ import annotations

import asyncio
import json
import logging
from typing import TYPE_CHECKING, Any
from uuid import UUID

import aiohttp
import pytest

from app.intake import commit, service
from app.signals.reasons import Reason, ReasonCode, stored_reason

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Awaitable, Callable

    import asyncpg

    from tests.api.conftest import AppServer

    StartApp = Callable[..., Awaitable[AppServer]]

SECRET = "s3cret-of-the-sender"
BUY = {"ticker": "A", "action": "buy"}  # without a list it waits for its decision
BODY = b'{"ticker":" nvda ","action":"buy", "price": 1.10,"big":12345678901234567890.00,"\xc3\xbc":"\\u00e9"}'


async def post(
    server: AppServer, body: bytes | dict[str, Any], path: str = "/webhook/in", **headers: str
) -> tuple[int, dict[str, Any]]:
    data = body if isinstance(body, bytes) else json.dumps(body).encode()
    names = {name.replace("_", "-"): value for name, value in headers.items()}
    async with server.http.post(path, data=data, headers=names) as answer:
        return answer.status, await answer.json()


async def test_a_defect_is_answered_as_such_and_logged_and_the_next_alert_is_stored(
    app_server: AppServer, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    """The webhook is outside of the framework's handling of errors."""
    defect = ZeroDivisionError("a defect of ours")

    def fail(*_: object) -> None:
        raise defect

    logger = logging.getLogger("uvicorn.error")
    logger.addHandler(caplog.handler)
    try:
        with monkeypatch.context() as broken:
            broken.setattr(service, "read_alert", fail)
            assert await post(app_server, BUY) == (500, {"detail": "internal error; the log says more"})
    finally:
        logger.removeHandler(caplog.handler)
    assert defect in [record.exc_info[1] for record in caplog.records if record.exc_info]
    assert (await post(app_server, BUY))[0] == 202


async def test_a_202_is_a_committed_row_with_the_bytes_that_came(
    app_server: AppServer, database: asyncpg.Connection[asyncpg.Record]
) -> None:
    status, answer = await post(app_server, BODY, content_type="text/plain")

    assert status == 202
    assert answer == {
        "queued": True,
        "signal_id": answer["signal_id"],
        "ticker": "NVDA",
        "queue_size": answer["queue_size"],
        "duplicate": False,
    }
    row = await database.fetchrow("SELECT * FROM signals WHERE id = $1", UUID(answer["signal_id"]))
    assert row is not None
    assert (row["ticker"], row["type"], str(row["price"]), row["body"]) == ("NVDA", "buy", "1.10", BODY)
    assert (row["expires_at"] - row["received_at"]).total_seconds() == pytest.approx(300, abs=1)
    events = await database.fetch(
        "SELECT status FROM signal_events WHERE signal_id = $1 ORDER BY id", row["id"]
    )
    assert events[0]["status"] == "received"


@pytest.mark.parametrize("headers", [{}, {"Idempotency-Key": "k1"}])
async def test_an_unreadable_price_loses_no_exit_and_is_a_remark_in_the_timeline(
    app_server: AppServer, database: asyncpg.Connection[asyncpg.Record], headers: dict[str, str]
) -> None:
    body = b'{"ticker":"A","action":"CLOSE_LONG","sentiment":"short","price":"None"}'
    status, answer = await post(app_server, b"\xef\xbb\xbf" + body + b"\r\n\0", **headers)

    assert status == 202
    row = await database.fetchrow("SELECT * FROM signals WHERE id = $1", UUID(answer["signal_id"]))
    assert row is not None
    assert (row["type"], row["price"], row["body"]) == ("sell", None, body)
    (_, detail), *later = await database.fetch(
        "SELECT status, detail FROM signal_events WHERE signal_id = $1 ORDER BY id", row["id"]
    )
    assert json.loads(detail) == {
        "remarks": ["closes the long position; no short is opened", "price 'None' is not a number: not used"],
        "remark_codes": [
            {"code": "remark.no_short", "params": {}},
            {"code": "remark.price", "params": {"word": "None"}},
        ],
    }
    assert all("remarks" not in json.loads(detail) for _, detail in later)


async def test_an_alert_without_an_order_is_stored_as_rejected_with_its_reason(
    app_server: AppServer, database: asyncpg.Connection[asyncpg.Record]
) -> None:
    status, answer = await post(app_server, {"ticker": "A", "action": "short"})

    assert status == 202
    row = await database.fetchrow("SELECT * FROM signals WHERE id = $1", UUID(answer["signal_id"]))
    assert row is not None
    assert (row["status"], row["type"]) == ("rejected", None)
    assert "short" in row["reason"]
    events = await database.fetch(
        "SELECT status, reason FROM signal_events WHERE signal_id = $1 ORDER BY id", row["id"]
    )
    assert [event["status"] for event in events] == ["received", "rejected"]
    assert events[1]["reason"] == row["reason"]


async def test_rows_keep_the_order_in_which_they_were_answered(
    app_server: AppServer, database: asyncpg.Connection[asyncpg.Record]
) -> None:
    ids = [UUID((await post(app_server, {"ticker": "A", "n": n}))[1]["signal_id"]) for n in range(5)]
    assert [row["id"] for row in await database.fetch("SELECT id FROM signals ORDER BY seq")] == ids


class TestDuplicates:
    async def test_the_same_body_in_any_order_is_one_signal(
        self, app_server: AppServer, database: asyncpg.Connection[asyncpg.Record]
    ) -> None:
        _, first = await post(app_server, b'{"ticker": "A", "action": "buy", "n": 1.0}')
        status, again = await post(app_server, b'{ "n":1.0, "action":"buy","ticker":"A" }')
        _, other = await post(app_server, b'{"ticker": "A", "action": "buy", "n": 1}')

        assert status == 202
        assert (again["signal_id"], again["duplicate"]) == (first["signal_id"], True)
        assert (other["signal_id"] != first["signal_id"], other["duplicate"]) == (True, False)
        assert await database.fetchval("SELECT count(*) FROM signals") == 2

    async def test_a_hundred_at_once_are_one_signal(
        self, app_server: AppServer, database: asyncpg.Connection[asyncpg.Record]
    ) -> None:
        answers = await asyncio.gather(*(post(app_server, BUY) for _ in range(100)))

        assert {status for status, _ in answers} == {202}
        assert len({answer["signal_id"] for _, answer in answers}) == 1
        assert sum(not answer["duplicate"] for _, answer in answers) == 1
        assert await database.fetchval("SELECT count(*) FROM signals") == 1

    async def test_two_processes_agree_on_the_first(
        self, start_app: StartApp, database: asyncpg.Connection[asyncpg.Record]
    ) -> None:
        servers = [await start_app(), await start_app()]
        answers = await asyncio.gather(
            *(post(servers[n % 2], {**BUY, "ticker": f"A{n // 4}"}) for n in range(200))
        )

        assert {status for status, _ in answers} == {202}
        assert sum(not answer["duplicate"] for _, answer in answers) == 50
        stored = {str(row["id"]) for row in await database.fetch("SELECT id FROM signals")}
        assert {answer["signal_id"] for _, answer in answers} == stored

    async def test_a_body_is_another_signal_after_the_window(
        self, app_server: AppServer, database: asyncpg.Connection[asyncpg.Record]
    ) -> None:
        _, first = await post(app_server, BUY)
        await database.execute("UPDATE intake_keys SET expires_at = now()")
        _, second = await post(app_server, BUY)

        assert second["duplicate"] is False
        assert second["signal_id"] != first["signal_id"]

    @pytest.mark.parametrize("header", ["Idempotency-Key", "webhook-id"])
    async def test_a_header_holds_beyond_the_window(
        self, app_server: AppServer, database: asyncpg.Connection[asyncpg.Record], header: str
    ) -> None:
        _, first = await post(app_server, {"ticker": "A"}, **{header: "k1"})
        await database.execute("DELETE FROM intake_keys WHERE expires_at < now() + interval '1 hour'")
        _, again = await post(app_server, {"ticker": "A"}, **{header: "k1"})
        status, answer = await post(app_server, {"ticker": "B"}, **{header: "k1"})

        assert (again["signal_id"], again["duplicate"]) == (first["signal_id"], True)
        assert status == 422
        assert answer["detail"] == f"{header}: used within 24 h for another body"
        assert (await post(app_server, {"ticker": "B"}))[1]["duplicate"] is False

    async def test_with_the_window_off_every_post_is_a_signal(
        self, start_app: StartApp, tmp_path: Any, database: asyncpg.Connection[asyncpg.Record]
    ) -> None:
        (tmp_path / "webhook_config.json").write_text('{"dedupe_window_seconds": 0}')
        server = await start_app()
        for _ in range(3):
            assert (await post(server, BUY))[1]["duplicate"] is False
        assert await database.fetchval("SELECT count(*) FROM signals") == 3

    @pytest.mark.parametrize(
        "alert", [BUY, {"ticker": "A", "action": "exit"}, {"ticker": "A", "action": "sell", "quantity": 1}]
    )
    async def test_what_the_edge_sends_a_second_time_is_no_signal_with_the_window_off(
        self,
        start_app: StartApp,
        tmp_path: Any,
        database: asyncpg.Connection[asyncpg.Record],
        alert: dict[str, Any],
    ) -> None:
        """This holds for any result of the first one. Another request of the client is a signal."""
        (tmp_path / "webhook_config.json").write_text('{"dedupe_window_seconds": 0}')
        server = await start_app()
        _, first = await post(server, alert, X_Edge_Request_Id="r1")
        await post(server, {"ticker": alert["ticker"], "action": "exit"}, X_Edge_Request_Id="r2")
        _, again = await post(server, alert, X_Edge_Request_Id="r1")
        assert (again["signal_id"], again["duplicate"]) == (first["signal_id"], True)
        assert (await post(server, alert, X_Edge_Request_Id="r3"))[1]["duplicate"] is False
        assert await database.fetchval("SELECT count(*) FROM signals") == 3
        assert await database.fetchval("SELECT count(*) FROM swallowed_exits") == 0


class TestSecret:
    @pytest.mark.parametrize(
        ("path", "headers", "field"),
        [
            ("/webhook/in", {"X_Webhook_Secret": SECRET}, None),
            (f"/webhook/in/{SECRET}", {}, None),
            (f"/webhook/in?secret={SECRET}", {}, None),
            ("/webhook/in", {}, SECRET),
            ("/webhook/in/wrong", {}, SECRET),
        ],
    )
    async def test_the_secret_is_accepted_in_each_place_and_never_stored(
        self,
        start_app: StartApp,
        database: asyncpg.Connection[asyncpg.Record],
        path: str,
        headers: dict[str, str],
        field: str | None,
    ) -> None:
        server = await start_app(webhook_secret=SECRET)
        body = b'{"ticker":"A", "secret": "%b","n": 1.0}' % (field or "x").encode()

        status, _ = await post(server, body, path, **headers)

        assert status == 202
        assert await database.fetchval("SELECT body FROM signals") == b'{"ticker":"A", "n": 1.0}'

    @pytest.mark.parametrize(
        ("path", "body"),
        [
            ("/webhook/in", b'{"ticker": "A"}'),
            ("/webhook/in", b'{"ticker": "A", "secret": "wrong"}'),
            ("/webhook/in", b'{"ticker": "A", "secret": null}'),
            ("/webhook/in", b'{"ticker": "A", "secret": ["' + SECRET.encode() + b'"]}'),
            ("/webhook/in/wrong", b'{"ticker": "A"}'),
            ("/webhook/in?secret=", b'{"ticker": "A"}'),
            ("/webhook/in", b"no json"),
            ("/webhook/in", b'{"no": "ticker"}'),
        ],
    )
    async def test_without_the_secret_a_post_is_401_and_not_stored(
        self,
        start_app: StartApp,
        database: asyncpg.Connection[asyncpg.Record],
        path: str,
        body: bytes,
    ) -> None:
        server = await start_app(webhook_secret=SECRET)
        status, answer = await post(server, body, path)
        await server.app.state.intake.refused_posts.write()

        assert status == 401
        assert "secret" in answer["detail"]
        assert await database.fetchval("SELECT count(*) FROM signals") == 0
        assert await database.fetchval("SELECT count(*) FROM refused_posts") == 0


class TestRefused:
    @pytest.mark.parametrize(
        ("body", "field"),
        [
            (b"", "body"),
            (b"[]", "body"),
            (b'{"ticker": "A", "x": ' + b"[" * 30_000 + b"]" * 30_000 + b"}", "body"),
            (b'{"ticker": "\\ud800"}', "body"),
            (b'{"ticker": "A\\u0000"}', "ticker"),
            (b'{"action": "buy"}', "ticker"),
        ],
    )
    async def test_a_bad_post_is_422_with_the_field_and_kept(
        self,
        app_server: AppServer,
        database: asyncpg.Connection[asyncpg.Record],
        body: bytes,
        field: str,
    ) -> None:
        status, answer = await post(app_server, body)
        await app_server.app.state.intake.refused_posts.write()

        assert status == 422
        assert answer["detail"].startswith(f"{field}: ")
        kept = await database.fetchrow("SELECT * FROM refused_posts")
        assert kept is not None
        assert (kept["status"], kept["reason"], kept["size"]) == (422, answer["detail"], len(body))
        assert kept["head"] == body[:2048]
        code, params = kept["reason_code"], json.loads(kept["reason_params"])
        assert stored_reason(kept["reason"], code, params).code is not ReasonCode.OTHER

    @pytest.mark.parametrize(
        "body",
        [
            b'{"ticker":"A\\tB","secret":"%b"}',
            b'{"ticker":"A\\tB","secret":"%b"',
            b'{"ticker":"A\\tB%b"}',
        ],
    )
    async def test_the_secret_is_not_kept(
        self, start_app: StartApp, database: asyncpg.Connection[asyncpg.Record], body: bytes
    ) -> None:
        server = await start_app(webhook_secret=SECRET)
        status, _ = await post(server, body % SECRET.encode(), X_Webhook_Secret=SECRET)
        await server.app.state.intake.refused_posts.write()

        assert status == 422
        (kept,) = await database.fetch("SELECT * FROM refused_posts")
        assert kept["head"].startswith(b'{"ticker":"A\\tB')
        assert [name for name, value in kept.items() if SECRET in str(value)] == []

    async def test_the_last_thousand_are_kept(
        self, app_server: AppServer, database: asyncpg.Connection[asyncpg.Record]
    ) -> None:
        refused = app_server.app.state.intake.refused_posts
        for first in (0, 600):
            for number in range(first, first + 600):
                reason = Reason(ReasonCode.OTHER, text=f"number {number}")
                refused.add(422, reason, "127.0.0.1", 0, b"")
            await refused.write()

        rows = await database.fetch("SELECT reason FROM refused_posts ORDER BY id")
        assert [row["reason"] for row in rows] == [f"number {number}" for number in range(200, 1200)]

    @pytest.mark.parametrize("chunked", [False, True])
    async def test_more_than_64_kib_is_413(self, app_server: AppServer, chunked: bool) -> None:  # noqa: FBT001
        body = b'{"ticker": "A", "x": "' + b"x" * 70_000 + b'"}'

        async def pieces() -> AsyncIterator[bytes]:
            for start in range(0, len(body), 8_000):
                yield body[start : start + 8_000]

        async with app_server.http.post("/webhook/in", data=pieces() if chunked else body) as answer:
            assert answer.status == 413
            assert "65536" in (await answer.json())["detail"]
        async with asyncio.timeout(10):
            while (size := await app_server.context.pool.fetchval("SELECT size FROM refused_posts")) is None:
                await app_server.context.wakeups.wait("changed", 0.05)
        assert size > 65536 if chunked else size == len(body)  # not what had been read by then
        assert (await post(app_server, {"ticker": "A", "x": "x" * 65_000}))[0] == 202

    async def test_other_methods_are_405(self, app_server: AppServer) -> None:
        async with app_server.http.get("/webhook/in") as answer:
            assert answer.status == 405


class TestUnavailable:
    async def test_paused_is_503(self, start_app: StartApp, tmp_path: Any) -> None:
        (tmp_path / "system_config.json").write_text('{"intake_paused": true}')
        server = await start_app()
        async with server.http.post("/webhook/in", data=b'{"ticker": "A"}') as answer:
            assert answer.status == 503
            assert answer.headers["Retry-After"].isdigit()
            assert "paused" in (await answer.json())["detail"]

    async def test_too_many_waiting_is_503(
        self, start_app: StartApp, database: asyncpg.Connection[asyncpg.Record]
    ) -> None:
        server = await start_app(queue_max_size=1)
        async with database.transaction():
            await database.execute("SELECT pg_advisory_xact_lock(hashtextextended('approvals', 0))")
            # no worker can decide it
            assert (await post(server, {"ticker": "A", "side": "sell"}))[0] == 202
            async with asyncio.timeout(20):
                # the count shows the post: no earlier one is under way any more
                while not server.context.queues.oldest_received:  # noqa: ASYNC110  # no event reports counts
                    await asyncio.sleep(0.05)
            status, answer = await post(server, {"ticker": "B", "side": "sell"})
        assert status == 503
        assert "QUEUE_MAX_SIZE" in answer["detail"]

    async def test_no_commit_in_time_is_503_and_stored_once_when_sent_again(
        self, app_server: AppServer, database: asyncpg.Connection[asyncpg.Record]
    ) -> None:
        async with database.transaction():
            await database.execute("LOCK TABLE signals IN ACCESS EXCLUSIVE MODE")
            loop = asyncio.get_running_loop()
            started = loop.time()
            in_the_batch = asyncio.create_task(post(app_server, {"ticker": "A", "n": 1}))
            status, answer = await post(app_server, {"ticker": "A", "n": 2})
            assert (await in_the_batch)[0] == status == 503
            assert loop.time() - started < 3
            assert "did not commit" in answer["detail"]

        again = await asyncio.gather(*(post(app_server, {"ticker": "A", "n": n}) for n in (1, 2)))
        assert {status for status, _ in again} == {202}
        assert await database.fetchval("SELECT count(*) FROM signals") == 2

    async def test_more_than_32_mb_uncommitted_is_503(
        self,
        app_server: AppServer,
        database: asyncpg.Connection[asyncpg.Record],
        monkeypatch: pytest.MonkeyPatch,
    ) -> None:
        monkeypatch.setattr(commit, "UNCOMMITTED_BYTES", 5_000)
        async with database.transaction():
            await database.execute("LOCK TABLE signals IN ACCESS EXCLUSIVE MODE")
            answers = await asyncio.gather(*(post(app_server, {"ticker": "A", "n": n}) for n in range(8)))
        details = [answer["detail"] for _, answer in answers]
        assert {status for status, _ in answers} == {503}
        assert details.count("too many posts wait to be stored") == 4
        await app_server.app.state.intake.group_commit.drain(5)
        assert (await post(app_server, {"ticker": "A", "n": 9}))[0] == 202

    async def test_broken_connections_lose_no_accepted_signal(
        self, app_server: AppServer, database: asyncpg.Connection[asyncpg.Record]
    ) -> None:
        async def break_connections() -> None:
            for _ in range(10):
                await database.execute(
                    "SELECT pg_terminate_backend(pid) FROM pg_stat_activity"
                    " WHERE datname = current_database() AND pid <> pg_backend_pid()"
                )
                await post(app_server, {"ticker": "PACE", "n": len(accepted)})

        accepted = set[str]()

        async def send(number: int) -> None:
            status, answer = await post(app_server, {"ticker": "A", "n": number})
            assert status in {202, 503}
            if status == 202:
                assert answer["duplicate"] is False
                accepted.add(answer["signal_id"])

        breaking = asyncio.create_task(break_connections())
        for start in range(0, 2_000, 50):
            await asyncio.gather(*(send(number) for number in range(start, start + 50)))
        await breaking

        stored = {str(row["id"]) for row in await database.fetch("SELECT id FROM signals WHERE ticker = 'A'")}
        assert accepted
        assert accepted <= stored


async def test_only_the_unstorable_row_of_a_batch_is_refused(
    app_server: AppServer, database: asyncpg.Connection[asyncpg.Record]
) -> None:
    await database.execute("ALTER TABLE signals ADD CONSTRAINT no_poison CHECK (ticker <> 'POISON')")
    async with database.transaction():  # all 20 wait, so that they become one batch
        await database.execute("LOCK TABLE signals IN ACCESS EXCLUSIVE MODE")
        intake = app_server.app.state.intake
        posts = [
            asyncio.create_task(post(app_server, {"ticker": "POISON" if n == 7 else "A", "n": n}))
            for n in range(20)
        ]
        # the first is in a batch of its own
        while intake.group_commit.waiting + 1 < len(posts):  # noqa: ASYNC110  # a queue's length has no event
            await asyncio.sleep(0)
    answers = await asyncio.gather(*posts)

    assert [status for status, _ in answers] == [422 if n == 7 else 202 for n in range(20)]
    assert await database.fetchval("SELECT count(*) FROM signals") == 19


async def test_an_answer_follows_its_commit_also_at_shutdown(
    start_app: StartApp, database: asyncpg.Connection[asyncpg.Record]
) -> None:
    server = await start_app()
    posts = [asyncio.create_task(post(server, {"ticker": "A", "n": n})) for n in range(200)]
    await posts[0]
    server.stop()
    answers = await asyncio.gather(*posts, return_exceptions=True)

    accepted = [answer for answer in answers if not isinstance(answer, BaseException) and answer[0] == 202]
    assert accepted
    ids = [UUID(answer["signal_id"]) for _, answer in accepted]
    assert await database.fetchval("SELECT count(*) FROM signals WHERE id = ANY ($1)", ids) == len(ids)
    assert all(
        isinstance(answer, aiohttp.ClientError) for answer in answers if isinstance(answer, BaseException)
    )


async def test_the_webhook_is_in_the_api_document(app_server: AppServer) -> None:
    async with app_server.http.get("/openapi.json") as answer:
        paths = (await answer.json())["paths"]
    for path in ("/webhook/in", "/webhook/in/{secret}"):
        assert set(paths[path]["post"]["responses"]) == {"202", "401", "403", "408", "413", "422", "503"}
