"""One host for all chaos tests: each test repairs what it breaks."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING, Any

import pytest

from tests.chaos.judge import TICKERS
from tests.hosts.destination import Destination
from tests.hosts.ready import start_ready
from tests.hosts.stack import Stack

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator


@pytest.fixture(scope="package")
def stack(ready_image: str, source: bytes) -> Iterator[Stack]:
    """Start a stack on its own host."""
    with start_ready(ready_image, source, "chaos") as host:
        yield Stack(host)


@pytest.fixture(scope="package")
def destination(stack: Stack) -> Destination:
    """Start a receiver outside the stack as its destination; all fifty tickers are approved."""
    receiver = Destination(stack.host)
    stack.approve(*TICKERS)
    stack.configure(DEST_WEBHOOK_URL=Destination.url)
    stack.run_py("--quick").require()
    return receiver


@pytest.fixture
def deliver(stack: Stack, destination: Destination) -> Callable[..., None]:
    """Set keys of `webhook_config.json`, and return when they are applied."""

    def configure(**values: Any) -> None:
        destination.answers("200")
        stack.host.write(f"{stack.project}/config/webhook_config.json", json.dumps(values), mode=0o600)
        in_force = "(SELECT documents::jsonb -> 'webhook_config.json' FROM configuration)"
        stack.wait_until(f"{in_force} = '{json.dumps(values)}'::jsonb", within=15)

    return configure
