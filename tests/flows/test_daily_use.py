"""Daily use: flows keep rows and configuration, flows that read change nothing, alerts are delivered."""

from __future__ import annotations

import json
import time
import uuid
from typing import TYPE_CHECKING

import msgspec
import pytest
import requests

from tests.hosts.destination import Destination
from tests.hosts.probe import Probe
from tests.hosts.stack import APP, DATABASE, EDGE
from tests.hosts.state import FILES, state

if TYPE_CHECKING:
    from tests.hosts.stack import Stack

pytestmark = pytest.mark.minutes(6)

# The limit is a second; tests on busy machines allow five times that.
DEADLINE = 5.0

# What JSON libraries often change: trailing zeros, big integers, exponents, escapes, and odd spacing.
ALERT = (
    '{"ticker": " nvda ", "action":"buy" , "price": 1.10, "volume": 123456789012345678901234567890,'
    ' "ratio": 1E-7, "note": "entr\\u00e9e ✓ \\/ \\"quoted\\"", "nested": {"b": [1, 2.50,  null], "a": {}},'
    ' "interval": "5", "run": "%s"}'
)
NORMALISED = {"ticker", "signal_id"}


@pytest.fixture(scope="module", autouse=True)
def history(stack: Stack) -> list[list[list[str]]]:
    """Store signals with three different ends and an open position, before the other tests."""
    stack.approve("AAPL", "NVDA")
    stack.run_py("--quick").require()
    for ticker, action in (("NVDA", "buy"), ("AAPL", "buy"), ("AAPL", "sell"), ("MSFT", "buy")):
        body = f'{{"ticker": "{ticker}", "action": "{action}", "run": "{uuid.uuid4()}"}}'
        stack.outcome(stack.post(body.encode()).json()["signal_id"])
    return stack.kept_rows()


def test_the_app_has_every_privilege_and_the_edge_none(stack: Stack) -> None:
    """The profile `maximum` as the kernel sees it; of `hardened` Molecule shows it."""
    status = "cat /proc/$(docker inspect --format '{{{{.State.Pid}}}}' {})/status"
    app, edge = (stack.host.run(status.format(name)).require().stdout for name in (APP, EDGE))
    none = "CapPrm:\t0000000000000000\nCapEff:\t0000000000000000\nCapBnd:\t0000000000000000\n"
    assert "\nUid:\t0\t0\t0\t0\n" in app
    assert "CapEff:\t0000000000000000" not in app
    assert "\nUid:\t10002\t10002\t10002\t10002\n" in edge
    assert none in edge
    assert "NoNewPrivs:\t1\n" in edge
    kernel = "echo probe >/proc/sys/kernel/hostname"
    assert stack.host.run(f"docker exec {APP} sh -c '{kernel}'").code == 0
    modes = stack.host.run("stat --format %a config backups .run .env data logs", folder=stack.project)
    assert modes.require().stdout.split() == ["700", "700", "700", "600", "777", "777"]
    assert stack.host.run("git diff --summary HEAD", folder=stack.project).require().stdout == ""


def test_quick_with_nothing_changed_replaces_no_container(stack: Stack) -> None:
    """Same containers, same start times: no open connection was cut."""
    before = stack.containers()
    assert set(before) == {APP, DATABASE, EDGE}
    with Probe(stack.health_url) as probe:
        stack.run_py("--quick").require()
    assert stack.containers() == before
    assert (probe.answered > 0, probe.failed) == (True, 0)


@pytest.mark.exhaustive
def test_quick_after_a_changed_setting_replaces_only_the_application(
    stack: Stack, history: list[list[list[str]]]
) -> None:
    """The database's container is not restarted; rows and positions stay."""
    before = stack.containers()
    stack.configure(LOG_LEVEL="DEBUG")
    stack.run_py("--quick").require()
    after = stack.containers()
    assert after[APP] != before[APP]
    assert (after[DATABASE], after[EDGE]) == (before[DATABASE], before[EDGE])
    assert stack.kept_rows() == history


def test_a_full_deploy_replaces_the_application_and_keeps_the_rows(
    stack: Stack, history: list[list[list[str]]]
) -> None:
    """No flag: built from nothing, swapped even where nothing changed."""
    before = stack.containers()
    with Probe(stack.health_url) as probe:
        result = stack.run_py().require()
    after = stack.containers()
    assert after[APP] != before[APP]
    assert after[DATABASE] == before[DATABASE]
    assert stack.kept_rows() == history
    assert stack.health()["version"] in result.output
    assert (probe.answered > 0, probe.failed) == (True, 0)


def test_stop_and_start_keep_the_rows(stack: Stack, history: list[list[list[str]]]) -> None:
    """`--stop` removes the containers and keeps the volume; while it is down the reading flags report it."""
    stack.run_py("--stop").require()
    assert stack.containers() == {}
    with pytest.raises(requests.ConnectionError):
        stack.health()

    assert stack.run_py("--status-only").code == 6
    logs = stack.run_py("--logs")
    assert logs.code == 3
    assert "--quick" in logs.output
    assert stack.containers() == {}

    stack.run_py("--quick").require()
    assert stack.kept_rows() == history


def test_reading_changes_nothing(stack: Stack) -> None:
    """No container, image, volume or file differs afterwards, and the engine did nothing meanwhile."""
    before = state(stack, FILES)
    since = stack.host.run("date +%s.%N").stdout.strip()
    for flag in ("--status-only", "--logs", "--help", "--version"):
        stack.run_py(flag).require()
    until = stack.host.run("date +%s.%N").stdout.strip()

    assert state(stack, FILES) == before
    events = stack.host.run(
        f"docker events --since {since} --until {until} --format '{{{{.Type}}}} {{{{.Action}}}}'"
    ).require()
    deeds = [line for line in events.stdout.splitlines() if not _is_health_check(line)]
    assert deeds == []


def _is_health_check(event: str) -> bool:
    return event.startswith(("container exec_", "container health_status"))


def test_status_shows_containers_health_version_and_urls(stack: Stack) -> None:
    """The overview for an operator."""
    output = stack.run_py("--status-only").require().output
    for expected in (APP, DATABASE, "healthy", stack.health()["version"], "/admin"):
        assert expected in output


def test_json_is_one_document_for_programs(stack: Stack) -> None:
    """Standard output has only the document; output for people is on stderr."""
    document = json.loads(stack.run_py("--status-only", "--json").require().stdout)
    assert stack.health()["version"] in json.dumps(document)


def test_logs_show_the_applications_lines(stack: Stack) -> None:
    """The application's own lines, the newest among them."""
    answer = stack.post(f'{{"ticker": "NVDA", "action": "buy", "run": "{uuid.uuid4()}"}}'.encode())
    signal_id = answer.json()["signal_id"]
    stack.outcome(signal_id)
    assert signal_id in stack.run_py("--logs").require().output


def test_follow_logs_until_interrupted(stack: Stack) -> None:
    """New lines appear as they are written; Ctrl-C is the normal end, and the application does not notice."""
    before = stack.containers()
    process = stack.host.spawn("python3 run.py --follow-logs", folder=stack.project)
    assert process.stdout is not None
    pid = int(process.stdout.readline())
    process.stdout.readline()  # it follows: lines written from now on must appear
    answer = stack.post(f'{{"ticker": "NVDA", "action": "buy", "run": "{uuid.uuid4()}"}}'.encode())

    assert any(answer.json()["signal_id"] in line for line in process.stdout)
    stack.host.run(f"kill -INT {pid}").require()
    process.stdout.read()
    assert process.wait(timeout=30) == 0
    assert stack.containers() == before


@pytest.fixture(scope="module")
def destination(stack: Stack) -> Destination:
    """Start a receiver outside the stack as its destination."""
    receiver = Destination(stack.host)
    stack.approve("AAPL", "NVDA")
    stack.configure(DEST_WEBHOOK_URL=Destination.url)
    stack.run_py("--quick").require()
    return receiver


def _alert(template: str = ALERT) -> bytes:
    return (template % uuid.uuid4().hex).encode()


def _fields(body: bytes) -> dict[str, bytes]:
    """Return every field's value exactly as written in the body."""
    raw = msgspec.json.decode(body, type=dict[str, msgspec.Raw])
    return {name: bytes(value) for name, value in raw.items() if name not in NORMALISED}


def test_an_approved_signal_is_kept_and_delivered_byte_for_byte(
    stack: Stack, destination: Destination
) -> None:
    """202 after the commit, the row as it came, and the destination gets every extra field unchanged."""
    already = len(destination.received())
    body, sent_at = _alert(), time.time()
    answer = stack.post(body)

    assert answer.status_code == 202
    said = answer.json()
    assert (said["queued"], said["ticker"], said["duplicate"]) == (True, "NVDA", False)
    (delivery,) = destination.received(count=already + 1, timeout=DEADLINE)[already:]
    assert delivery.at - sent_at < DEADLINE
    assert _fields(delivery.body) == _fields(body)
    arrived = msgspec.json.decode(delivery.body)
    assert arrived["ticker"] == "NVDA"
    assert arrived["signal_id"] == said["signal_id"]
    assert delivery.headers["webhook-id"] == said["signal_id"]

    assert stack.outcome(said["signal_id"])[0] == "forwarded"
    kept = stack.sql(f"SELECT ticker, encode(body, 'hex') FROM signals WHERE id = '{said['signal_id']}'")  # noqa: S608
    assert kept == [["NVDA", body.hex()]]
    assert stack.sql("SELECT status FROM positions WHERE ticker = 'NVDA' AND status = 'open'") == [["open"]]


def test_the_secret_is_neither_kept_nor_forwarded(stack: Stack, destination: Destination) -> None:
    """A sender that cannot set headers puts the secret into the body; it is removed there."""
    already = len(destination.received())
    secret = stack.secret
    body = _alert('{"ticker": "AAPL", "action": "buy", "secret": "' + secret + '", "run": "%s"}')
    answer = stack.post(body, **{"X-Webhook-Secret": ""})

    assert answer.status_code == 202, answer.text
    (delivery,) = destination.received(count=already + 1, timeout=DEADLINE)[already:]
    assert secret.encode() not in delivery.body
    needle = secret.encode().hex()
    assert stack.sql(f"SELECT count(*) FROM signals WHERE encode(body, 'hex') LIKE '%{needle}%'") == [["0"]]  # noqa: S608


def test_a_ticker_outside_the_list_is_rejected_with_its_reason(
    stack: Stack, destination: Destination
) -> None:
    """The timeline shows why nothing was sent."""
    before = len(destination.received())
    answer = stack.post(_alert('{"ticker": "MSFT", "action": "buy", "run": "%s"}'))

    assert answer.status_code == 202
    status, reason = stack.outcome(answer.json()["signal_id"])
    assert status == "rejected"
    assert "not in the Top-2" in reason
    assert len(destination.received()) == before


def test_a_repeated_alert_is_processed_once(stack: Stack, destination: Destination) -> None:
    """The sender's second attempt gets the first one's id, and nothing is delivered twice."""
    already = len(destination.received())
    body = _alert()
    first, second = stack.post(body).json(), stack.post(body).json()

    assert second["signal_id"] == first["signal_id"]
    assert second["duplicate"] is True
    # The next signal follows the repeated one, so its arrival shows that nothing else came before.
    last = stack.post(_alert()).json()
    arrived = destination.received(count=already + 2, timeout=DEADLINE)[already:]
    assert [one.headers["webhook-id"] for one in arrived] == [first["signal_id"], last["signal_id"]]


def test_a_wrong_secret_is_refused(stack: Stack) -> None:
    """401, and no signal is stored."""
    before = stack.sql("SELECT count(*) FROM signals")
    assert stack.post(_alert(), **{"X-Webhook-Secret": "guessed"}).status_code == 401
    assert stack.sql("SELECT count(*) FROM signals") == before


def test_without_a_destination_the_same_path_runs_on_paper(stack: Stack, destination: Destination) -> None:
    """Both outcomes occur, and the built-in destination stores the deliveries."""
    before = len(destination.received())
    stack.configure(DEST_WEBHOOK_URL="")
    stack.run_py("--quick").require()
    approved, rejected = (
        stack.post(_alert(f'{{"ticker": "{ticker}", "action": "buy", "run": "%s"}}')).json()["signal_id"]
        for ticker in ("AAPL", "MSFT")
    )

    assert stack.outcome(approved)[0] == "forwarded"
    assert stack.outcome(rejected)[0] == "rejected"
    kept = stack.sql("SELECT webhook_id FROM paper_deliveries ORDER BY id")
    assert kept[-1:] == [[approved]]
    assert len(destination.received()) == before


def test_the_idle_application_is_small(stack: Stack) -> None:
    """Under 120 MB of resident memory, after the signals of this module."""
    assert stack.app_memory() < 120 * 2**20
