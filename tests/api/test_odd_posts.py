"""A thousand odd bodies: each gets its documented response within 3 s, and none stops a worker."""

from __future__ import annotations

import asyncio
import json
import random
import time
from typing import TYPE_CHECKING, Any, NamedTuple

import pytest

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable, Iterator
    from pathlib import Path

    import aiohttp

    from tests.api.conftest import AppServer

POSTS = 1_000
AT_ONCE = 8
ANSWER_SECONDS = 3.0
LIMIT = 64 * 1024
TAKEN, REFUSED, TOO_LARGE = {202}, {422}, {413}

TYPES = [
    "application/json",
    "text/plain",
    "text/plain; charset=utf-16",
    "application/x-www-form-urlencoded",
    "multipart/form-data",
    "application/xml",
    "image/png",
    "",
]
TEXTS = ["", " ", "\0", "a\0b", "é✓\U0001f600", "\u202e", "'; DROP TABLE signals; --", "x" * 5_000, "\ud800"]
NUMBERS = ["0", "-0.0", "1e-400", "1.10", "123456789012345678901234567890", "9" * 400, "1e400", "-1E+9999"]


NO_TICKERS = ["A\u202eB", "A" * 41, "{{ticker}}", "A\0", "NYSE:", "A\n B", "\ud800"]
NO_OBJECTS = ["[]", '"ODD"', "12", "null", "true", "", " ", "ODD buy 1.10", "ticker=ODD&action=buy"]
NO_VALUES = ["NaN", "Infinity", "01", "+1", "1.", "0x1", "undefined", "'x'", '"\t"', "{,}"]
NO_UTF8 = [b"\xed\xa0\x80", b"\xc0\xaf", b"\xff", b"\xf5\x80\x80\x80"]


class Post(NamedTuple):
    """A body, its content type and the statuses that may answer it."""

    body: bytes
    content_type: str
    statuses: set[int]


def value(chance: random.Random, depth: int = 0) -> str:
    """Generate any JSON value, as text."""
    match chance.randrange(4 if depth > 3 else 6):
        case 0:
            return json.dumps(chance.choice(TEXTS))  # NULs and lone surrogates become escapes
        case 1:
            return chance.choice(NUMBERS)
        case 2:
            return chance.choice(["true", "false", "null"])
        case 3:
            return json.dumps("".join(chr(chance.randrange(0x20, 0xD7FF)) for _ in range(20)))
        case 4:
            return f"[{','.join(value(chance, depth + 1) for _ in range(chance.randrange(4)))}]"
        case _:
            members = (f'"{n}":{value(chance, depth + 1)}' for n in range(chance.randrange(4)))
            return f"{{{','.join(members)}}}"


def readable(chance: random.Random) -> str:
    """Generate any JSON value with readable texts, for fields that are parsed."""
    return value(chance).replace("\\ud800", "?")


def nested(chance: random.Random, *depths: int) -> str:
    """Generate opening brackets."""
    return "[" * chance.choice(depths)


def cut(chance: random.Random, whole: str) -> str:
    """Generate the beginning of an alert."""
    return whole[: chance.randrange(len(whole))]


def long(rest: str, size: int) -> str:
    """Return an alert of exactly so many bytes."""
    start = f'{{{rest}"x":"'
    return f'{start}{"x" * (size - len(start) - 2)}"}}'


# Each makes a body from a random generator and a text that contains the ticker and is unique. The statuses
# are those that may answer it.
ODD: list[tuple[Callable[[random.Random, str], str | bytes], set[int]]] = [
    # any field may hold anything, the known words and the sender's own id too
    (lambda chance, rest: f'{{{rest}"x":{value(chance)},"action":"buy"}}', TAKEN | REFUSED),
    (lambda chance, rest: f'{{{rest}"action":{readable(chance)},"side":{readable(chance)}}}', TAKEN),
    (lambda chance, rest: f'{{{rest}"signal_id":{readable(chance)},"action":"buy"}}', TAKEN),
    (lambda chance, rest: f'{{{rest}"price":{readable(chance)},"action":"sell"}}', TAKEN),
    (lambda chance, rest: f'{{{rest}"ticker":{value(chance)}}}', TAKEN | REFUSED),
    (lambda chance, rest: f'{{{rest}"ticker":{json.dumps(chance.choice(NO_TICKERS))}}}', REFUSED),
    # the last one of a repeated name counts
    (lambda _, rest: f'{{"ticker":[],{rest}"action":"none","action":" B U Y "}}', TAKEN),
    # as deep as it may be, and deeper; never closed
    (lambda chance, rest: f'{{{rest}"x":{(up := nested(chance, 1, 500))}{"]" * len(up)}}}', TAKEN),
    (lambda chance, rest: f'{{{rest}"x":{(up := nested(chance, 5_000, 30_000))}{"]" * len(up)}}}', REFUSED),
    (lambda chance, rest: f'{{{rest}"x":{nested(chance, 1, 5_000, 60_000)}', REFUSED),
    # no object, no JSON, half of one
    (lambda chance, _: chance.choice(NO_OBJECTS), REFUSED),
    (lambda chance, rest: f'{{{rest}"x":{chance.choice(NO_VALUES)}}}', REFUSED),
    (lambda chance, rest: cut(chance, f'{{{rest}"action":"buy"}}'), REFUSED),
    (lambda chance, _: chance.randbytes(chance.randrange(2_000)), REFUSED),
    # no UTF-8: surrogates and overlong forms as bytes, another encoding
    (lambda chance, rest: b'{%b"x":"%b"}' % (rest.encode(), chance.choice(NO_UTF8)), REFUSED),
    (lambda _, rest: f'{{{rest}"action":"buy"}}'.encode("utf-16"), REFUSED),
    # exactly the maximum size, and one byte more
    (lambda _, rest: long(rest, LIMIT), TAKEN),
    (lambda _, rest: long(rest, LIMIT + 1), TOO_LARGE),
]


def posts() -> Iterator[Post]:
    """Yield a thousand posts, always the same."""
    chance = random.Random(7)
    for number in range(POSTS):
        make, statuses = ODD[number % len(ODD)]
        body = make(chance, f'"ticker":"ODD","n":{number},')
        raw = body.encode() if isinstance(body, str) else body
        yield Post(raw, chance.choice(TYPES), statuses)


async def answer(http: aiohttp.ClientSession, post: Post) -> tuple[Post, int, dict[str, Any], float]:
    """Send a post; return the status and the seconds until the response."""
    started = time.monotonic()
    headers = {"Content-Type": post.content_type}
    async with http.post("/webhook/in", data=post.body, headers=headers) as response:
        return post, response.status, await response.json(), time.monotonic() - started


async def test_a_thousand_odd_bodies_get_their_answers_and_stop_nothing(
    start_app: Callable[..., Awaitable[AppServer]], tmp_path: Path
) -> None:
    strategy = {"strategies": [{"name": "odd", "url": "list:ODD"}]}
    (tmp_path / "finviz_config.json").write_text(json.dumps(strategy))
    app = await start_app(dest_webhook_rate_limiting_enabled=False)
    gate = asyncio.Semaphore(AT_ONCE)

    async def one(post: Post) -> tuple[Post, int, dict[str, Any], float]:
        async with gate:
            return await answer(app.http, post)

    answers = await asyncio.gather(*map(one, posts()))
    wrong = [
        (status, said, post.content_type, post.body[:200])
        for post, status, said, _ in answers
        if status not in post.statuses or ("detail" in said) == (status == 202)
    ]
    assert wrong == []
    assert max(seconds for *_, seconds in answers) < ANSWER_SECONDS

    accepted = {said["signal_id"] for _, status, said, _ in answers if status == 202}
    assert len(accepted) > POSTS / 5
    unfinished = "SELECT count(*) FROM signals WHERE status IN ('received', 'approved', 'forwarding')"
    async with asyncio.timeout(60):
        while await app.context.pool.fetchval(unfinished):
            await app.context.wakeups.wait("changed", 0.5)
    rows = await app.context.pool.fetch("SELECT id, status FROM signals")
    assert {str(row["id"]) for row in rows} == accepted
    assert {row["status"] for row in rows} == {"rejected", "forwarded"}
    states = app.context.supervisor.states()
    assert {name: state.error for name, state in states.items() if state.restarts} == {}


@pytest.mark.parametrize(
    ("length", "sent", "status"),
    [("100", 10, 408), ("0100", 10, 408), ("70000", 10, 413), ("1000000", 0, 408)],
)
async def test_a_body_that_never_ends_gets_its_answer_in_time(
    app_server: AppServer, length: str, sent: int, status: int
) -> None:
    host, _, port = app_server.url.removeprefix("http://").partition(":")
    reader, writer = await asyncio.open_connection(host, int(port))
    started = time.monotonic()
    writer.write(f"POST /webhook/in HTTP/1.1\r\nHost: x\r\nContent-Length: {length}\r\n\r\n".encode())
    writer.write(b"{" * sent)
    head = await reader.readuntil(b"\r\n\r\n")
    assert time.monotonic() - started < ANSWER_SECONDS
    assert head.startswith(f"HTTP/1.1 {status} ".encode())
    assert b"connection: close" in head.lower()
    assert b'{"detail":"body: ' in await reader.read()
    writer.close()
