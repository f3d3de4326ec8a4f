"""Ids of signals: unique, and in the order of their milliseconds."""

from __future__ import annotations

import time
from uuid import RFC_4122

from app.runtime.ids import new_id


def test_they_are_of_version_7_and_of_now() -> None:
    before = time.time_ns() // 1_000_000
    made = new_id()
    assert (made.version, made.variant) == (7, RFC_4122)
    assert before <= made.int >> 80 <= time.time_ns() // 1_000_000


def test_they_follow_each_other_and_none_comes_twice() -> None:
    made = []
    for _ in range(20):
        made += [new_id() for _ in range(50)]
        time.sleep(0.002)
    assert len(set(made)) == len(made)
    firsts = made[::50]
    assert firsts == sorted(firsts)
