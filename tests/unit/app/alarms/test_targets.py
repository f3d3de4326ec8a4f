"""Each target gets one message at a time; none is lost, and none exceeds the service's maximum length."""

import asyncio
import threading

import pytest

from app.alarms.targets import Message, Target, load

LINES = [f"T{number}<b>&: the position may be open." for number in range(300)]


async def test_a_message_waits_for_the_one_in_flight(monkeypatch: pytest.MonkeyPatch) -> None:
    target = Target(1, "json://127.0.0.1:9")
    first_may_end, sent = threading.Event(), list[str]()

    def send(message: Message) -> bool:
        if message.title == "first":
            first_may_end.wait(10)
        sent.append(message.title)
        return True

    monkeypatch.setattr(target, "_send", send)
    both = [asyncio.create_task(target.send(Message("critical", title, ""))) for title in ("first", "second")]
    await asyncio.sleep(0.05)
    first_may_end.set()
    assert await asyncio.gather(*both) == [None, None]
    assert sent == ["first", "second"]


@pytest.mark.parametrize(
    ("url", "most", "line"),
    [
        ("discord://1234567/abcdefg", 2000, LINES[7]),
        ("tgram://123456789:abcdefg_hijklmnop/12315544", 4096, "T7&lt;b&gt;&amp;: the position may be open."),
    ],
)
async def test_a_long_message_is_split_and_its_markup_is_escaped(
    monkeypatch: pytest.MonkeyPatch, url: str, most: int, line: str
) -> None:
    parts = list[str]()

    def send(body: str, **_: object) -> bool:
        parts.append(body)
        return True

    service = load(url)
    monkeypatch.setattr(service[0], "send", send)
    monkeypatch.setattr("app.alarms.targets.load", lambda _: service)
    assert await Target(1, url).send(Message("critical", "Alarms", "\n".join(LINES))) is None
    assert max(map(len, parts)) <= most
    assert line in "\r\n".join(parts).splitlines()
    assert "T299" in parts[-1]
