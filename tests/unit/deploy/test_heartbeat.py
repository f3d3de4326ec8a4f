"""Plans are recorded at once; a failed record is repeated with the next heartbeat."""

from __future__ import annotations

import threading
from typing import TYPE_CHECKING

from deploy.heartbeat import Heartbeat, Leases

if TYPE_CHECKING:
    from deploy.heartbeat import Plans

STEPS = [{"step": "Image", "changes": "yes", "why": "new code"}]


def test_a_plan_is_recorded_without_waiting_for_the_next_heartbeat() -> None:
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


def test_a_failed_record_is_repeated() -> None:
    seen: list[Plans] = []
    heart = Heartbeat(lambda plans: seen.append(dict(plans)))
    heart.start()
    heart.note({"one": STEPS})
    heart.note({"two": STEPS})
    heart.stop()
    assert seen == [{"one": STEPS}, {"one": STEPS, "two": STEPS}]


def test_a_heartbeat_that_never_began_can_be_stopped() -> None:
    Heartbeat(lambda _: None).stop()


class TestLeases:
    """A run that cannot renew its lease, or has lost it, gets one message."""

    def setup_method(self) -> None:
        self.now, self.losses = 1000.0, 0
        self.leases = Leases(self._lost, lambda: self.now)
        self.leases.renewed("one")

    def _lost(self) -> None:
        self.losses += 1

    def test_a_lease_is_lost_after_ninety_seconds_without_a_heartbeat(self) -> None:
        self.now += 89
        self.leases.missed("one", "no route to host")
        assert (self.leases.lost, self.losses) == ({}, 0)
        self.now += 1
        self.leases.missed("one", "no route to host")
        assert "no heartbeat of this run got through for 90 s (no route to host)" in self.leases.lost["one"]
        assert self.losses == 1

    def test_a_heartbeat_renews_the_lease(self) -> None:
        self.now += 89
        self.leases.renewed("one")
        self.now += 89
        self.leases.missed("one", "")
        assert self.leases.lost == {}

    def test_a_suspended_machine_continues_if_no_run_took_over(self) -> None:
        self.now += 1000
        self.leases.renewed("one")
        assert (self.leases.lost, self.losses) == ({}, 0)

    def test_the_first_reason_is_kept_and_reported_once(self) -> None:
        self.leases.gone("one", "taken over")
        self.leases.gone("one", "released")
        self.leases.gone("two", "taken over")
        assert self.leases.lost == {"one": "taken over", "two": "taken over"}
        assert self.losses == 1
