"""Plans are noted at once; what could not be noted is tried again with the next sign of life."""

from __future__ import annotations

import threading
from typing import TYPE_CHECKING

from deploy.heartbeat import Heartbeat, Leases

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


class TestLeases:
    """A run that cannot renew its lease, or has lost it, gets one message."""

    def setup_method(self) -> None:
        self.now, self.losses = 1000.0, 0
        self.leases = Leases(self._lost, lambda: self.now)
        self.leases.renewed("one")

    def _lost(self) -> None:
        self.losses += 1

    def test_ninety_seconds_without_a_sign_of_life_that_got_through(self) -> None:
        self.now += 89
        self.leases.missed("one", "no route to host")
        assert (self.leases.lost, self.losses) == ({}, 0)
        self.now += 1
        self.leases.missed("one", "no route to host")
        assert (
            "no sign of life of this run got through for 90 s (no route to host)" in self.leases.lost["one"]
        )
        assert self.losses == 1

    def test_one_that_got_through_counts_anew(self) -> None:
        self.now += 89
        self.leases.renewed("one")
        self.now += 89
        self.leases.missed("one", "")
        assert self.leases.lost == {}

    def test_a_machine_that_slept_goes_on_if_nobody_took_over(self) -> None:
        self.now += 1000
        self.leases.renewed("one")
        assert (self.leases.lost, self.losses) == ({}, 0)

    def test_the_first_reason_stays_and_the_run_hears_of_it_once(self) -> None:
        self.leases.gone("one", "taken over")
        self.leases.gone("one", "released")
        self.leases.gone("two", "taken over")
        assert self.leases.lost == {"one": "taken over", "two": "taken over"}
        assert self.losses == 1
