"""When a list that differs very much from the one in force is believed (SPEC §12). Pure.

A page that is broken or made for somebody else may well have tickers: other ones.
"""

from collections.abc import Sequence
from typing import NamedTuple

ON_PROBATION = "on probation"  # how the reason begins that is kept of such a refresh
SUSPECT_SHARE = 0.8
AGREEING_REFRESHES = 3
_AGREEING_SHARE = 0.2  # a live list moves a little between refreshes, and still says the same


class Candidate(NamedTuple):
    """A list on probation: its newest version, and how many refreshes in a row agreed on it."""

    tickers: tuple[str, ...]
    agreed: int


def difference(one: Sequence[str], other: Sequence[str]) -> float:
    """Return the share (0…1) of the longer list that the other does not have; ranks do not count."""
    longer = max(len(one), len(other))
    return 1 - len(set(one) & set(other)) / longer if longer else 0.0


def judge(
    found: Sequence[str], in_force: Sequence[str] | None, candidate: Candidate | None
) -> Candidate | None:
    """Return None when the list is accepted, else it as the candidate that the next refresh is judged with.

    `in_force`: the fresh list of the same strategy, None where there is none to compare with.
    """
    if in_force is None or difference(found, in_force) <= SUSPECT_SHARE:
        return None
    agrees = candidate is not None and difference(found, candidate.tickers) <= _AGREEING_SHARE
    agreed = candidate.agreed + 1 if candidate is not None and agrees else 1
    return None if agreed >= AGREEING_REFRESHES else Candidate(tuple(found), agreed)
