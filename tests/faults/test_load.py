"""`make faults`: no flow that keeps the database, and no crash, loses an alert."""

from __future__ import annotations

import contextlib
import itertools
import json
import time
import uuid
from dataclasses import asdict
from typing import TYPE_CHECKING

import pytest
import requests

from tests.faults.results import Line
from tests.hosts import breaking
from tests.hosts.load import Traffic
from tests.hosts.stack import APP, Stack
from tests.hosts.upstream import Upstream

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

TICKER = "NOTLISTED"  # rejected at once: only intake is measured
LEVELS = itertools.cycle(("DEBUG", "INFO"))
EDGE_SECONDS = 3.0  # 1 s is promised for a new image of the edge; busy machines get more
CERTIFICATE = (
    "mkdir -p config/tls && openssl req -x509 -newkey rsa:2048 -nodes -days 2 -subj /CN=edge"
    " -keyout config/tls/key.pem -out config/tls/cert.pem"
)


@pytest.fixture(scope="module")
def upstream(stack: Stack) -> Upstream:
    """The remote that the stack's checkout follows."""
    return Upstream(stack.host)


@pytest.fixture(scope="module", autouse=True)
def served_over_tls(stack: Stack, upstream: Upstream) -> None:
    """Prepare a certificate, and a good version to roll back to."""
    stack.host.run(CERTIFICATE, folder=stack.project).require()
    stack.configure(TLS_CERT_FILE="config/tls/cert.pem", TLS_KEY_FILE="config/tls/key.pem")
    upstream.push({"app/news.txt": "the first\n"})
    stack.run_py("--quickupdate").require()


def _urls(stack: Stack) -> tuple[str, str]:
    return stack.webhook_url, stack.webhook_url.replace("http://", "https://")


@contextlib.contextmanager
def _measured(stack: Stack, found: list[tuple[Traffic, list[str]]]) -> Iterator[None]:
    """Send alerts during the block; record their results in `found`."""
    with Traffic(*_urls(stack), secret=stack.secret, tickers=(TICKER,)) as traffic:
        time.sleep(1)
        yield
        time.sleep(1)
    of_load = f"FROM signals WHERE ticker = '{TICKER}'"
    stored = [id_ for (id_,) in stack.sql(f"SELECT id {of_load}")]
    problems = list(traffic.lost)
    if missing := set(traffic.accepted) - set(stored):
        problems.append(f"{len(missing)} accepted alerts are not in the database")
    ((repeated,),) = stack.sql(f"SELECT count(*) - count(DISTINCT body) {of_load}")
    if repeated != "0":
        problems.append("an alert is in the database twice")
    found.append((traffic, problems))


def _quick_unchanged(stack: Stack, _: Upstream) -> None:
    stack.run_py("--quick").require()


def _quick_changed(stack: Stack, _: Upstream) -> None:
    stack.configure(LOG_LEVEL=next(LEVELS))
    stack.run_py("--quick").require()


def _default(stack: Stack, _: Upstream) -> None:
    stack.run_py().require()


def _update(stack: Stack, upstream: Upstream) -> None:
    upstream.push({"app/news.txt": f"{uuid.uuid4()}\n"})
    stack.run_py("--update").require()


def _quick_update(stack: Stack, upstream: Upstream) -> None:
    upstream.push({"app/news.txt": f"{uuid.uuid4()}\n"})
    stack.run_py("--quickupdate").require()


def _rollback(stack: Stack, _: Upstream) -> None:
    stack.run_py("--rollback").require()


def _dies_in_its_gate(stack: Stack, upstream: Upstream) -> None:
    with upstream.offering(breaking.starts_once(upstream)):
        assert stack.run_py("--quickupdate").code == 5


def _new_certificate(stack: Stack, _: Upstream) -> None:
    stack.host.run(CERTIFICATE, folder=stack.project).require()
    stack.run_py("--quick").require()


def _kill_app(stack: Stack, _: Upstream) -> None:
    before = stack.containers()[APP]
    stack.host.run(f"kill -KILL {stack.app_process()}").require()
    give_up = time.monotonic() + 30
    while stack.containers().get(APP, before) == before:
        assert time.monotonic() < give_up
    time.sleep(3)  # held requests are answered by then


def _five_swaps(stack: Stack, upstream: Upstream) -> None:
    for _ in range(5):
        _quick_changed(stack, upstream)


FLOWS: tuple[tuple[str, Callable[[Stack, Upstream], None]], ...] = (
    ("`--quick`, nothing changed", _quick_unchanged),
    ("`--quick`, a setting changed", _quick_changed),
    ("no flag", _default),
    ("`--update`", _update),
    ("`--quickupdate`", _quick_update),
    ("`--rollback`", _rollback),
    ("a version that dies in its gate", _dies_in_its_gate),
    ("a renewed certificate", _new_certificate),
    ("the app is killed", _kill_app),
    ("five swaps in a row", _five_swaps),
)


@pytest.mark.parametrize(("what", "deed"), FLOWS, ids=[what for what, _ in FLOWS])
def test_no_alert_is_lost(
    stack: Stack,
    upstream: Upstream,
    record_property: Callable[[str, object], None],
    what: str,
    deed: Callable[[Stack, Upstream], None],
) -> None:
    """0 failed, none above 3 s, and every 202 in the database once."""
    found: list[tuple[Traffic, list[str]]] = []
    with _measured(stack, found):
        deed(stack, upstream)
    ((traffic, problems),) = found
    record_property("line", asdict(_line(what, traffic, problems)))
    assert not problems, problems[:20]


def test_a_new_image_of_the_edge_causes_a_short_gap(
    stack: Stack, record_property: Callable[[str, object], None]
) -> None:
    """The port is closed meanwhile: posts are refused, and no accepted one is lost."""
    answer = "images/edge/answers/503.http"
    stack.host.run(f"sed -i 's/^Retry-After: [0-9]*/&0/' {answer}", folder=stack.project).require()
    found: list[tuple[Traffic, list[str]]] = []
    try:
        with _measured(stack, found):
            result = stack.run_py("--quick", "--json", timeout=1200).require()
    finally:
        stack.host.run(f"git checkout --quiet {answer}", folder=stack.project).require()
    ((traffic, problems),) = found
    gap = json.loads(result.stdout)["hosts"]["localhost"]["gap_ms"] / 1000
    lost = [problem for problem in problems if not problem.startswith("no answer")]
    if gap > EDGE_SECONDS:
        lost.append(f"nobody had the port for {gap:.1f} s")
    record_property("line", asdict(_line(f"a new image of the edge ({gap:.1f} s)", traffic, lost)))
    assert not lost, lost[:20]


@pytest.mark.parametrize("flow", ["--db --yes", "--maintenance on"])
def test_a_flow_that_cannot_serve_answers_retry_after(
    stack: Stack, record_property: Callable[[str, object], None], flow: str
) -> None:
    """503 with Retry-After within 3 s, never a refused connection."""
    # each request is held for 2.4 s: all of them stay below the edge's 500 connections of an address
    with Traffic(*_urls(stack), secret=stack.secret, tickers=(TICKER,), rate=25) as traffic:
        stack.run_py(*flow.split()).require()
        time.sleep(1)
    if flow.startswith("--maintenance"):
        page = requests.get(stack.health_url.replace("health", "admin"), timeout=5)
        assert (page.status_code, page.headers["Retry-After"]) == (503, "60")
        stack.run_py("--maintenance", "off").require()
    answers = [refusal for sent in traffic.sent for refusal in sent.refused.values()]
    problems = [f"no answer to {number}" for sent in traffic.sent for number in sent.unanswered]
    problems += [f"{one}" for one in answers if one.status != 503 or not one.retry_after or one.seconds > 3]
    assert answers
    record_property("line", asdict(_line(f"`{flow}`: 503", traffic, problems)))
    assert not problems, problems[:20]
    assert stack.health()["version"]


def test_the_edge_answers_for_an_app_that_is_absent(stack: Stack) -> None:
    """503 with Retry-After within 3 s; when it is back, it gets its requests at once."""
    stack.host.run(f"docker stop {APP}").require()
    began = time.monotonic()
    answer = stack.post(b'{"ticker": "NOTLISTED", "action": "sell"}')
    assert (answer.status_code, answer.headers["Retry-After"]) == (503, "5")
    assert time.monotonic() - began < 3
    stack.host.run(f"docker start {APP}").require()
    give_up = time.monotonic() + 30
    while stack.post(b'{"ticker": "NOTLISTED", "action": "sell"}').status_code != 202:
        assert time.monotonic() < give_up


def _line(what: str, traffic: Traffic, problems: list[str]) -> Line:
    alerts = sum(len(one.accepted) + len(one.refused) + len(one.unanswered) for one in traffic.sent)
    slowest = max(one.slowest_seconds for one in traffic.sent)
    shown = [f"{len(problems)}: {problems[0]} …"] if problems else []
    return Line("load", (what, str(alerts), str(len(traffic.lost)), f"{slowest:.2f}"), shown)
