"""`make faults`: from early versions to this one, back, and forward again."""

from __future__ import annotations

import json
import shlex
import time
import uuid
from dataclasses import asdict
from typing import TYPE_CHECKING

import pytest

from tests.faults.results import Line
from tests.hosts.checkout import PROJECT, SOURCE, install
from tests.hosts.probe import Probe
from tests.hosts.ready import start_fresh
from tests.hosts.stack import Stack

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

# The first version, and two later ones: they lack modules, roles and plugins of this one.
EARLY = ("35bff4b", "b77cc01", "0e2ff1a")
# One whose app publishes the ports and serves TLS itself.
WITH_OWN_TLS = "173ef0c"
NOISE_SECONDS = 3.0  # by which two gaps differ on a busy machine
FILES = "sha256sum .env config/*.json"


@pytest.fixture
def stack(ready_image: str, source: bytes, early: str) -> Iterator[Stack]:
    """Deploy the stack of an early version by its own controller, on a bare host."""
    with start_fresh(ready_image, source, "long-way") as host:
        install(host, source)
        host.run(f"git reset --quiet --hard {early}", folder=PROJECT).require()
        stack = Stack(host)
        stack.run_py("--quick").require()
        yield stack


def _head(stack: Stack, place: str = PROJECT) -> str:
    return stack.host.run(f"git -C {place} rev-parse main").require().stdout.strip()


def _current(stack: Stack) -> str:
    return str(json.loads(stack.host.read(f"{PROJECT}/.run/versions.json"))["current"])


def _play(stack: Stack, flow: str) -> float:
    """Run a flow that must succeed; return the longest time without an answer."""
    with Probe(stack.health_url) as probe:
        result = stack.run_py(flow)
    assert result.code == 0, result.output
    return probe.longest_gap


@pytest.mark.parametrize("early", EARLY)
def test_there_and_back_and_there_again(
    stack: Stack, record_property: Callable[[str, object], None], early: str
) -> None:
    """Rows, configuration, checkout and record are right each time, and the update follows the remote.

    The app of that version publishes the port itself. A move to or from the edge has a swap's gap.
    """
    here, today = _head(stack), _head(stack, SOURCE)
    assert here.startswith(early)
    body = f'{{"ticker": "AAPL", "action": "buy", "run": "{uuid.uuid4()}"}}'
    signal_id = stack.post(body.encode()).json()["signal_id"]
    stack.outcome(signal_id, within=60)
    stack.configure(LOG_LEVEL="DEBUG")
    gaps = [_play(stack, "--quick")]
    files = stack.host.run(FILES, folder=PROJECT).require().stdout
    for flow, commit in (("--update", today), ("--rollback", here)):
        gaps.append(_play(stack, flow))
        assert stack.health()["version"] == commit[:12]
        assert (_head(stack), _current(stack)) == (commit, commit[:12])
        assert stack.host.run(FILES, folder=PROJECT).require().stdout == files
        assert stack.sql(f"SELECT count(*) FROM signals WHERE id = '{signal_id}'") == [["1"]]  # noqa: S608 - our own uuid
    result = stack.run_py("--update")  # by the early controller, which hands over to this one
    assert result.code == 0, result.output
    assert (stack.health()["version"], _head(stack), _current(stack)) == (today[:12], today, today[:12])
    assert stack.sql(f"SELECT count(*) FROM signals WHERE id = '{signal_id}'") == [["1"]]  # noqa: S608 - our own uuid
    late = [f"{gap:.1f} s" for gap in gaps[1:] if gap > gaps[0] + NOISE_SECONDS]
    record_property("line", asdict(Line("way", (f"`{early}`", *(f"{gap:.1f}" for gap in gaps)), late)))
    assert not late, gaps


# The app has read it inside; outside only root can read the key.
TLS_FILES = {"TLS_CERT_FILE": "/srv/config/tls/cert.pem", "TLS_KEY_FILE": "/srv/config/tls/key.pem"}
CERTIFICATE = (
    "mkdir -p config/tls && openssl req -x509 -newkey rsa:2048 -nodes -days 2 -subj /CN=mine"
    " -keyout config/tls/key.pem -out config/tls/cert.pem"
)
SHOWN = "openssl s_client -connect 127.0.0.1:443 </dev/null 2>&1 | openssl x509 -noout -subject 2>/dev/null"


@pytest.mark.parametrize("early", [WITH_OWN_TLS])
def test_tls_moves_to_the_edge_and_back(stack: Stack, early: str) -> None:
    """No TLS client ever gets another certificate, and a trusted proxy stays trusted."""
    stack.host.run(CERTIFICATE, folder=PROJECT).require()
    stack.configure(**TLS_FILES, FORWARDED_ALLOW_IPS="*")
    gaps = [_play(stack, "--quick")]
    watch = f"echo $$ >/root/watch; while sleep 0.1; do {SHOWN}; done >/root/shown"
    stack.host.run(f"setsid --fork bash -c {shlex.quote(watch)} </dev/null >/dev/null 2>&1").require()
    flows = (("--update", True), ("--rollback", False), ("--update", True))
    for number, (flow, has_edge) in enumerate(flows, start=1):
        gaps.append(_play(stack, flow))
        assert ("trading-edge" in stack.containers(), "trading-acme" in stack.containers()) == (has_edge,) * 2
        answer = stack.post(b'{"ticker": "AAPL"', **{"X-Forwarded-For": "203.0.113.7"})
        assert answer.status_code == 422
        assert _clients_of_refused(stack, number) == ["203.0.113.7"] * number
        assert "mine" in stack.host.run(SHOWN).stdout
    stack.host.run("kill -- -$(cat /root/watch)").require()
    shown = stack.host.read("/root/shown").replace(" ", "").splitlines()
    assert set(shown) == {"subject=CN=mine"}
    assert max(gaps[1:]) <= gaps[0] + NOISE_SECONDS, (early, gaps)


def _clients_of_refused(stack: Stack, posts: int) -> list[str]:
    """Return the clients of so many refused posts, which are written every second."""
    give_up = time.monotonic() + 15
    while (
        len(clients := stack.sql("SELECT client FROM refused_posts")) < posts and time.monotonic() < give_up
    ):
        time.sleep(0.5)
    return [client for (client,) in clients]
