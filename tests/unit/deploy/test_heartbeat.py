"""Plans are noted at once; what could not be noted is tried again with the next sign of life."""

from __future__ import annotations

import threading
from typing import TYPE_CHECKING

from deploy.heartbeat import Heartbeat

if TYPE_CHECKING:
    from deploy.heartbeat import Plans

STEPS = [{"step": "Image", "changes": "yes", "why": "new code"}]


def test_a_plan_is_noted_without_waiting_for_the_next_beat() -> None:
    seen: list[Plans] = []
    noted = threading.Event()

    def beat(plans: Plans) -> None:
        seen.append(dict(plans))
        plans.clear()
        noted.set()

    heart = Heartbeat(beat)
    heart.start()
    heart.note({"one": STEPS})
    assert noted.wait(10)
    heart.note({"two": STEPS})
    heart.stop()
    assert seen == [{"one": STEPS}, {"two": STEPS}]


def test_what_could_not_be_noted_comes_again() -> None:
    seen: list[Plans] = []
    heart = Heartbeat(lambda plans: seen.append(dict(plans)))
    heart.start()
    heart.note({"one": STEPS})
    heart.note({"two": STEPS})
    heart.stop()
    assert seen == [{"one": STEPS}, {"one": STEPS, "two": STEPS}]


def test_one_that_never_began_can_be_stopped() -> None:
    Heartbeat(lambda _: None).stop()
