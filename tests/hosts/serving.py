"""Assertion that the application serves during a block, and is the same process afterwards."""

from __future__ import annotations

import contextlib
from typing import TYPE_CHECKING

from tests.hosts.probe import Probe

if TYPE_CHECKING:
    from collections.abc import Iterator

    from tests.hosts.host import Host
    from tests.hosts.stack import Stack


@contextlib.contextmanager
def serving_all_along(stack: Stack) -> Iterator[None]:
    """Assert that the application answers every time, and that it is the very same process afterwards.

    The engine gets no request: it may be dead by then.
    """
    process = stack.app_process()
    before = _process_start(stack.host, process), stack.health()["version"]
    with Probe(stack.health_url) as probe:
        yield
    assert (probe.answered > 0, probe.failed) == (True, 0)
    assert (_process_start(stack.host, process), stack.health()["version"]) == before


def _process_start(host: Host, process: int) -> str:
    return host.run(f"cut -d' ' -f22 /proc/{process}/stat").require().stdout
