"""What a page is told: the newest of each type, four messages a second, nobody waits for anybody."""

import asyncio

import pytest

from app.web.hub import MESSAGES, PER_SECONDS, Hub, LiveMessage, Mailbox


async def everything_in(mailbox: Mailbox) -> list[LiveMessage]:
    """Take until nothing is left; a mailbox with something left hands it out within its pace."""
    taken = []
    while True:
        try:
            async with asyncio.timeout(PER_SECONDS + 0.2):
                taken.append(await mailbox.next())
        except TimeoutError:
            return taken


async def test_a_slow_page_gets_the_newest_of_each_type_in_the_order_they_came_up() -> None:
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


async def test_what_arrives_while_a_page_waits_its_turn_replaces_what_waited() -> None:
    mailbox = Mailbox()
    for number in range(MESSAGES):
        mailbox.put(LiveMessage("signals_changed", number))
        await mailbox.next()
    mailbox.put(LiveMessage("signals_changed", "old"))
    turn = asyncio.create_task(mailbox.next())
    await asyncio.sleep(0)
    mailbox.put(LiveMessage("signals_changed", "new"))
    assert await turn == ("signals_changed", "new")


async def test_the_same_news_is_told_once_and_a_sign_of_life_each_time() -> None:
    hub = Hub()
    mailbox = hub.join()
    hub.publish(LiveMessage("metrics_update", {"received": 1}))
    assert await mailbox.next() == ("metrics_update", {"received": 1})
    hub.publish(LiveMessage("metrics_update", {"received": 1}))
    hub.publish(LiveMessage("status_update", {"version": "1"}), always=True)
    assert await mailbox.next() == ("status_update", {"version": "1"})
    hub.publish(LiveMessage("status_update", {"version": "1"}), always=True)
    assert await mailbox.next() == ("status_update", {"version": "1"})


async def test_who_comes_after_everybody_left_is_told_again() -> None:
    hub = Hub()
    first = hub.join()
    hub.publish(LiveMessage("alarm", []))
    hub.leave(first)
    second = hub.join()
    hub.publish(LiveMessage("alarm", []))
    assert await second.next() == ("alarm", [])


@pytest.mark.parametrize("somebody", [True, False])
async def test_the_producer_rests_while_nobody_is_there(*, somebody: bool) -> None:
    hub = Hub()
    if somebody:
        hub.join()
    assert await hub.occupied(timeout=0.01) is somebody
