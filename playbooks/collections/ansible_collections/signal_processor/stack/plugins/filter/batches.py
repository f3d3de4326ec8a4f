"""How many hosts a play works on at the same time: one that serves, neighbours where none does."""

from __future__ import annotations

from itertools import groupby
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Mapping


def serves(host: Mapping[str, Any]) -> bool:
    """Whether the app runs there, by what the preconditions saw: it may be somebody's only one."""
    return any(
        container["state"] == "running" and service != "postgres"
        for service, container in host["project_stack"]["stack"]["containers"].items()
    )


def batches(names: Iterable[str], hostvars: Mapping[str, Mapping[str, Any]]) -> list[int]:
    """Sizes of batches for `serial`, in the order of `names`. Hosts this run is not for are passed over."""
    hosts = [hostvars[name] for name in names if name in hostvars]
    serving = [serves(host) for host in hosts if "project_stack" in host]
    sizes: list[int] = []
    for one_at_a_time, neighbours in groupby(serving):
        count = len(list(neighbours))
        sizes += [1] * count if one_at_a_time else [count]
    return sizes


class FilterModule:
    """What Ansible looks for in this file."""

    def filters(self) -> dict[str, Callable[..., Any]]:
        """Return the filters by their names."""
        return {"batches": batches}
