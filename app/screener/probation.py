"""Probation: when a list that differs much from the current one is accepted. Pure.

A page that is broken, or made for another client, may well contain tickers: other ones.
"""

from collections.abc import Sequence
from typing import NamedTuple

SUSPECT_SHARE = 0.8
AGREEING_REFRESHES = 3
_AGREEING_SHARE = 0.2  # a live list changes a little between two refreshes


class ListCandidate(NamedTuple):
    """A list on probation: its newest version, and how many refreshes in a row agreed on it."""

    tickers: tuple[str, ...]
    agreed: int


def difference(one: Sequence[str], other: Sequence[str]) -> float:
    """Return the share (0 to 1) of the longer list that the other one does not have; ranks do not count."""
    longer = max(len(one), len(other))
    return 1 - len(set(one) & set(other)) / longer if longer else 0.0


def next_candidate(
    found: Sequence[str], current: Sequence[str] | None, candidate: ListCandidate | None
) -> ListCandidate | None:
    """Return the candidate for the next refresh; None when the list that was found is accepted.

    `current`: the fresh list of the same strategy, None where there is none to compare with.
    """
    if current is None or difference(found, current) <= SUSPECT_SHARE:
        return None
    agrees = candidate is not None and difference(found, candidate.tickers) <= _AGREEING_SHARE
    agreed = candidate.agreed + 1 if candidate is not None and agrees else 1
    return None if agreed >= AGREEING_REFRESHES else ListCandidate(tuple(found), agreed)
