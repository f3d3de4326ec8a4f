"""The client of the receiver that runs on a host."""

from __future__ import annotations

import base64
import time
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

import requests

if TYPE_CHECKING:
    from tests.hosts.host import Host

PORT = 9000
TAKEN = frozenset({"200", "nul", "huge"})  # the receiver's answers that are a 2xx


@dataclass(frozen=True)
class Delivery:
    """One request as the destination got it; `at` is the arrival in unix seconds.

    `answer` is the answer, by the receiver's names; `told` whether that answer's status was sent.
    """

    at: float
    path: str
    headers: dict[str, str]
    body: bytes
    answer: str
    told: bool

    @property
    def taken(self) -> bool:
        """Return whether the sender got a 2xx."""
        return self.told and self.answer in TAKEN


class Destination:
    """A receiver on a host, outside the stack."""

    # The name under which the application reaches the host it runs on.
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
        """Return all requests so far, after `count` requests or `timeout` seconds."""
        answer = requests.get(
            f"{self._base}/received", params={"count": count, "timeout": timeout}, timeout=timeout + 30
        )
        answer.raise_for_status()
        return [Delivery(**{**entry, "body": base64.b64decode(entry["body"])}) for entry in answer.json()]

    def answers(self, *names: str) -> None:
        """Answer with these in turn, repeatedly; requests that wait for an answer are cut off."""
        self._tell("answers", names)

    def away(self, seconds: float) -> None:
        """Refuse every connection for so long from now on."""
        self._tell("away", seconds)

    def until_back(self, within: float) -> None:
        """Wait until it listens again; raises after `within` seconds."""
        give_up = time.monotonic() + within
        while True:
            try:
                self.received()
            except requests.ConnectionError:
                if time.monotonic() > give_up:
                    raise
                time.sleep(0.1)  # no event reports when a port opens
            else:
                return

    def _tell(self, what: str, value: object) -> None:
        requests.put(f"{self._base}/{what}", json=value, timeout=10).raise_for_status()
