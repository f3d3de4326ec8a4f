"""Exit code of several hosts: the worst of 6, 5, 4, 7, 3, 0."""

from __future__ import annotations

import itertools

import pytest
from hypothesis import given
from hypothesis import strategies as st

from deploy.exitcodes import ExitCode, worst

ORDER = [6, 5, 4, 7, 3, 1, 0]


def test_the_order_of_severity() -> None:
    for worse, better in itertools.pairwise(ORDER):
        assert worst([ExitCode(better), ExitCode(worse)]) == worse


@given(st.lists(st.sampled_from(ORDER), min_size=1))
def test_the_worst_exit_code_counts(codes: list[int]) -> None:
    assert ORDER.index(worst(map(ExitCode, codes))) == min(map(ORDER.index, codes))


def test_without_hosts_the_exit_code_is_0() -> None:
    assert worst([]) is ExitCode.DONE


@pytest.mark.parametrize(("name", "number"), [("DONE", 0), ("USAGE", 2), ("LOCKED", 7), ("INTERRUPTED", 130)])
def test_numbers_are_a_contract(name: str, number: int) -> None:
    assert ExitCode[name] == number
