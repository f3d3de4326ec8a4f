"""How the hosts of a fleet are divided into batches."""

from __future__ import annotations

from typing import Any

import pytest

from tests.unit.playbooks.modules import load

SERVES = {"postgres": {"state": "running"}, "trading-signal-processor": {"state": "running"}}
STOPPED = {"postgres": {"state": "running"}, "trading-signal-processor": {"state": "exited"}}


def host(containers: dict[str, Any]) -> dict[str, Any]:
    return {"project_stack": {"stack": {"containers": containers}}}


@pytest.mark.parametrize(
    ("fleet", "sizes"),
    [
        ([SERVES, SERVES, SERVES], [1, 1, 1]),
        ([{}, STOPPED, {}], [3]),
        ([{}, {}, SERVES, SERVES, STOPPED], [2, 1, 1, 1]),
        ([], []),
    ],
)
def test_batches_have_one_host_where_clients_may_notice(
    fleet: list[dict[str, Any]], sizes: list[int]
) -> None:
    not_in_this_run: dict[str, Any] = {"ansible_host": "10.0.0.9"}
    hostvars = {str(number): host(containers) for number, containers in enumerate(fleet)} | {
        "other": not_in_this_run
    }
    everyone = ["other", *map(str, range(len(fleet)))]
    assert load("filter.batches").batches(everyone, hostvars) == sizes
