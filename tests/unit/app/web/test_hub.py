"""Live messages of a page: the newest of each type, four a second, and no page waits for another."""

import asyncio

import pytest

from app.web.hub import MESSAGES, PER_SECONDS, Hub, LiveMessage, Mailbox


async def everything_in(mailbox: Mailbox) -> list[LiveMessage]:
    """Receive until the mailbox is empty; it delivers what is left within its rate."""
    taken = []
    while True:
        try:
            async with asyncio.timeout(PER_SECONDS + 0.2):
                taken.append(await mailbox.next())
        except TimeoutError:
            return taken


async def test_a_slow_page_gets_the_newest_of_each_type_in_order() -> None:
    mailbox = Mailbox()
    for number in range(100):
        mailbox.put(LiveMessage("signals_changed", number))
        mailbox.put(LiveMessage("metrics_update", number))
    assert await everything_in(mailbox) == [("signals_changed", 99), ("metrics_update", 99)]


async def test_no_page_gets_more_than_four_messages_in_a_second() -> None:
    loop = asyncio.get_running_loop()
    mailbox = Mailbox()
    sent_at = []
    for number in range(2 * MESSAGES + 1):
        mailbox.put(LiveMessage("signals_changed", number))
        await mailbox.next()
        sent_at.append(loop.time())
    for first, fifth in zip(sent_at, sent_at[MESSAGES:], strict=False):
        assert fifth - first > 1


async def test_a_newer_message_replaces_the_one_that_waits() -> None:
    mailbox = Mailbox()
    for number in range(MESSAGES):
        mailbox.put(LiveMessage("signals_changed", number))
        await mailbox.next()
    mailbox.put(LiveMessage("signals_changed", "old"))
    turn = asyncio.create_task(mailbox.next())
    await asyncio.sleep(0)
    mailbox.put(LiveMessage("signals_changed", "new"))
    assert await turn == ("signals_changed", "new")


async def test_an_unchanged_message_is_sent_once_and_a_heartbeat_each_time() -> None:
    hub = Hub()
    mailbox = hub.join()
    hub.publish(LiveMessage("metrics_update", {"received": 1}))
    assert await mailbox.next() == ("metrics_update", {"received": 1})
    hub.publish(LiveMessage("metrics_update", {"received": 1}))
    hub.publish(LiveMessage("status_update", {"version": "1"}), always=True)
    assert await mailbox.next() == ("status_update", {"version": "1"})
    hub.publish(LiveMessage("status_update", {"version": "1"}), always=True)
    assert await mailbox.next() == ("status_update", {"version": "1"})


async def test_a_page_that_connects_after_all_others_left_gets_the_current_state() -> None:
    hub = Hub()
    first = hub.join()
    hub.publish(LiveMessage("alarm", []))
    hub.leave(first)
    second = hub.join()
    hub.publish(LiveMessage("alarm", []))
    assert await second.next() == ("alarm", [])


@pytest.mark.parametrize("somebody", [True, False])
async def test_the_producer_pauses_while_no_page_is_connected(*, somebody: bool) -> None:
    hub = Hub()
    if somebody:
        hub.join()
    assert await hub.occupied(timeout=0.01) is somebody
