"""Molecule scenarios over SSH. `make molecule` runs all of them, with hosts of both Debians.

In `make test` it is one host, of Debian 12: to make one more bare machine ready takes some minutes. The other
profile's privileges are shown by `tests/flows/test_daily_use.py`, too.
"""

from __future__ import annotations

import os
import sys
from pathlib import Path

import pytest

from tests.hosts.docker import call

TESTS = Path(__file__).parents[1]


@pytest.mark.usefixtures("ready_image")
@pytest.mark.parametrize(
    ("scenario", "hosts"),
    [
        pytest.param("source", ["bookworm", "trixie"], marks=pytest.mark.exhaustive),
        ("hardened", ["hardened"]),
        pytest.param("maximum", ["maximum"], marks=pytest.mark.exhaustive),
        pytest.param("fleet", ["one", "two", "three"], marks=pytest.mark.exhaustive),
    ],
)
def test_a_scenario(scenario: str, hosts: list[str]) -> None:
    """It converges, once more changes nothing, and its verification passed on every host, not on none."""
    path = f"{Path(sys.executable).parent}{os.pathsep}{os.environ['PATH']}"
    result = call(
        ["molecule", "test", "--scenario-name", scenario],
        folder=TESTS,
        timeout=1800,
        environment={
            **os.environ,
            "PATH": path,
            "PY_COLORS": "0",
            "ANSIBLE_NOCOLOR": "1",
            "SECOND_DEBIAN": "bookworm",
        },
    )
    assert result.code == 0, result.output
    for host in hosts:
        assert f"ok: [{host}]" in result.output, f"nothing was verified on {host}"
