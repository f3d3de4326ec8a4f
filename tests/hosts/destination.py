"""The test's side of the receiver that runs on a host."""

from __future__ import annotations

import base64
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

import requests

if TYPE_CHECKING:
    from tests.hosts.host import Host

PORT = 9000


@dataclass(frozen=True)
class Delivery:
    """One request as the destination got it; `at` is the arrival in unix seconds."""

    at: float
    path: str
    headers: dict[str, str]
    body: bytes


class Destination:
    """A receiver on a host, outside the stack."""

    # The name under which the application reaches the host it runs on (SPEC §6).
    url = f"http://host.docker.internal:{PORT}/broker"

    def __init__(self, host: Host) -> None:
        """Start the receiver and wait until it listens; it ends with the host."""
        self._base = f"http://{host.address}:{PORT}"
        host.write("/srv/receiver.py", (Path(__file__).parent / "receiver.py").read_bytes())
        process = host.spawn(f"python3 -u /srv/receiver.py {PORT}")
        said = [process.stdout.readline() for _ in range(2)] if process.stdout else []
        if said[1:] != ["listening\n"]:
            raise RuntimeError(f"the receiver did not start on port {PORT}: {said}")

    def received(self, *, count: int = 0, timeout: float = 5) -> list[Delivery]:
        """Everything that came so far, as soon as that is `count` requests or `timeout` seconds passed."""
        answer = requests.get(
            f"{self._base}/received", params={"count": count, "timeout": timeout}, timeout=timeout + 30
        )
        answer.raise_for_status()
        return [
            Delivery(entry["at"], entry["path"], entry["headers"], base64.b64decode(entry["body"]))
            for entry in answer.json()
        ]
