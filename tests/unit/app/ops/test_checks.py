"""Only what stops this process from accepting or handling signals is unhealthy."""

import time
from collections import Counter
from datetime import UTC, datetime

import pytest

from app.alarms.conditions import delivery_alarms
from app.db.clock import ClockStep
from app.errors import ConfigFileError
from app.ops import checks
from app.ops.checks import Check, Probe
from app.runtime.queues import Queues
from app.runtime.supervisor import WorkerState
from app.signals.reasons import Reason
from app.signals.refusals import RefusalCode
from app.web.locale import Preferences, current

ALIVE, DEAD = WorkerState(True, 1.0, 0, ""), WorkerState(False, 31.0, 2, "x")  # noqa: FBT003


@pytest.mark.parametrize(
    ("check", "status"),
    [
        (checks.database(Probe(1.5)), "ok"),
        (checks.database(Probe(0.0, error="no answer in 2 s")), "failed"),
        (checks.workers({"a": ALIVE}), "ok"),
        (checks.workers({"a": ALIVE, "b": DEAD}), "failed"),
        (checks.workers({}), "failed"),
        (checks.backlog(Queues(received=79), 100), "ok"),
        (checks.backlog(Queues(received=80), 100), "degraded"),
        (checks.backlog(Queues(received=1, oldest_received=61), 100), "degraded"),
        (checks.sells(Queues()), "ok"),
        *((checks.sells(Queues(at_risk=Counter({code: 1}))), "degraded") for code in checks.AT_RISK),
        *((checks.sells(Queues(), {code: 1}), "degraded") for code in checks.OTHER_KIND),
        (checks.sells(Queues(), {"disk_low": 1}), "ok"),
        (checks.top_n(Probe(1.0, list_size=2, list_age=5.0)), "ok"),
        (checks.top_n(Probe(1.0, list_size=2, list_age=59.0, list_max_age=60)), "ok"),
        (checks.top_n(Probe(1.0, list_size=2, list_age=60.0, list_max_age=60)), "degraded"),
        (checks.top_n(Probe(1.0, list_size=2, list_age=5.0, refresh_error="403")), "degraded"),
        (checks.top_n(Probe(1.0)), "degraded"),
        (checks.top_n(Probe(1.0, list_size=2, list_age=5.0), paused=True), "degraded"),
        (checks.intake(paused=False), "ok"),
        (checks.intake(paused=True), "degraded"),
        (checks.outcomes({}), "ok"),
        (checks.outcomes({3: "disk full", 7: "out of memory"}), "degraded"),
        (checks.configuration({}), "ok"),
        (checks.configuration({"x.json": ConfigFileError("x.json", Reason(RefusalCode.OBJECT))}), "degraded"),
        (checks.destination({"state": "open"}), "ok"),
        (checks.destination({"state": "held"}), "degraded"),
        (checks.disk(10**9), "ok"),
        (checks.disk(10**8), "degraded"),
    ],
)
def test_checks(check: Check, status: str) -> None:
    assert check["status"] == status
    assert ("reason" in check) == (status != "ok")


def test_an_unusable_destination_url_is_reported_with_its_error() -> None:
    check = checks.destination({"state": "open"}, Reason(RefusalCode.DESTINATION_PORT))
    assert check["reason"] == (
        "the destination's URL is not valid: its port must be a number from 1 to 65535"
    )


@pytest.mark.parametrize(
    ("seconds", "words", "portuguese"),
    [(-7196.4, "back by 7196 s", "recuou 7196 s"), (61.0, "ahead by 61 s", "avançou 61 s")],
)
def test_check_and_alarm_describe_a_clock_step_in_the_same_words(
    seconds: float, words: str, portuguese: str
) -> None:
    step = ClockStep(seconds, time.monotonic())
    check = checks.clock_step(step, time.monotonic())
    assert check["reason"] == f"the database's clock stepped {words}"
    (alarm,) = delivery_alarms(
        limited_until=None, entries_limited_until=None, waiting=0, clock_step=step, now=datetime.now(UTC)
    )
    assert f"clock stepped {words} within" in alarm.text
    chosen = current.set(Preferences(language="pt-BR"))
    try:
        assert f"O relógio do banco de dados {portuguese} na última hora" in alarm.text
    finally:
        current.reset(chosen)


def test_the_public_health_answer_quotes_neither_a_page_nor_a_file() -> None:
    failed = Probe(1.0, list_size=2, list_age=5.0, refresh_error="evil.example: h1dden")
    secret = Reason(RefusalCode.STRATEGY_UNKNOWN, name="h1dden", names="s3cret")
    wrong = ConfigFileError("x.json", secret, place="active", line=3)
    reasons = [
        checks.top_n(failed)["reason"],
        checks.top_n(Probe(1.0, refresh_error="h1dden"))["reason"],
        checks.configuration({"x.json": wrong})["reason"],
    ]
    assert reasons == [
        "the last refresh failed, the reason is on /admin",
        "the last refresh failed, the reason is on /admin; there is no list yet: buys wait",
        "config/x.json: line 3: active: is not valid; the last valid content stays current",
    ]


def test_the_worst_check_decides_the_status() -> None:
    ok: Check = {"status": "ok"}
    assert checks.overall([ok]) == "healthy"
    assert checks.overall([ok, {"status": "degraded"}]) == "degraded"
    assert checks.overall([{"status": "failed"}, {"status": "degraded"}]) == "unhealthy"
