"""The health check, the alarm and the metric that follow from the edge's certificate report."""

import json
from datetime import UTC, datetime
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from app.alarms.alarm import Alarm
from app.alarms.conditions import certificate_alarms
from app.ops import certificate, checks
from app.ops.certificate import Certificate, Report
from app.web.locale import Preferences, current

NOW = 1_800_000_000
DAY = 86_400
LONG_UP = 1000.0


def report(**changes: object) -> dict[str, object]:
    """Return a report as images/edge/acme.sh writes it."""
    found: dict[str, object] = {
        "checked_at": NOW,
        "domain": "alerts.example.com",
        "not_after": NOW + 61 * DAY + 5,
        "problem": "",
        "failing_since": None,
    }
    return found | changes


def written(folder: Path, content: str | bytes) -> Path:
    """Write a file with this content and return its path."""
    path = folder / "state.json"
    path.write_bytes(content if isinstance(content, bytes) else content.encode())
    return path


def certificate_with(**changes: object) -> Certificate:
    """Return the certificate of such a report."""
    return Certificate(Report(**report(**changes)), NOW)  # type: ignore[arg-type]


def test_the_service_s_own_report_is_read(tmp_path: Path) -> None:
    path = written(tmp_path, json.dumps(report(added_later=1)))
    found = certificate.read(path, now=NOW + 1, uptime=LONG_UP)
    assert found is not None
    assert found.whole_days_left == 61
    assert found.report == Report(NOW, "alerts.example.com", NOW + 61 * DAY + 5, "", None)


@pytest.mark.parametrize(
    "content",
    [
        None,
        "",
        "{",
        "[]",
        "{}",
        b"\xff",
        json.dumps(report(not_after="soon")),
        json.dumps(report(domain=None)),
    ],
)
def test_without_a_report_the_service_does_not_run(tmp_path: Path, content: str | bytes | None) -> None:
    path = tmp_path / "absent" if content is None else written(tmp_path, content)
    assert certificate.read(path, now=NOW, uptime=LONG_UP) == Certificate(None, NOW)
    assert certificate.read(path, now=NOW, uptime=59) is None


@pytest.mark.parametrize("seconds", [301, -301])
def test_a_stale_report_counts_as_none(tmp_path: Path, seconds: int) -> None:
    path = written(tmp_path, json.dumps(report()))
    assert certificate.read(path, now=NOW + seconds, uptime=LONG_UP) == Certificate(None, NOW + seconds)


@given(content=st.binary(max_size=200))
def test_no_report_raises(content: bytes) -> None:
    path = Path("/dev/shm/certificate-report")  # noqa: S108  # Hypothesis has no folder for each example
    path.write_bytes(content)
    certificate.read(path, now=NOW, uptime=LONG_UP)


@pytest.mark.parametrize(
    ("found", "reason", "code"),
    [
        (None, None, None),
        (certificate_with(), None, None),
        (certificate_with(not_after=NOW + 10 * DAY), None, None),
        (
            certificate_with(not_after=NOW + 10 * DAY - 1),
            "the certificate ends in 9 days",
            "certificate_ending",
        ),
        (certificate_with(not_after=NOW), "the certificate ends in 0 days", "certificate_ending"),
        (certificate_with(not_after=NOW - 1), "the certificate has ended", "certificate_ended"),
        (
            certificate_with(not_after=None),
            "there is no certificate yet: HTTPS has a placeholder",
            "certificate_missing",
        ),
        (
            Certificate(None, NOW),
            "the service acme does not run: the certificate is not renewed",
            "certificate_failing",
        ),
        (certificate_with(problem="refused", failing_since=NOW - 3599), None, None),
        (certificate_with(problem="refused", failing_since=NOW - 3600), None, "certificate_failing"),
    ],
)
def test_check_and_alarm(found: Certificate | None, reason: str | None, code: str | None) -> None:
    check = checks.certificate(found)
    assert (check["status"], check.get("reason")) == ("degraded" if reason else "ok", reason)
    assert [alarm.code for alarm in certificate_alarms(found)] == ([code] if code else [])


def test_days_and_domain_are_in_the_check() -> None:
    found = certificate_with(not_after=NOW + 5 * DAY)
    check = checks.certificate(found)
    assert (check["days_left"], check["domain"]) == (5, "alerts.example.com")


def only(found: Certificate) -> Alarm:
    """Return the certificate's only alarm."""
    (alarm,) = certificate_alarms(found)
    return alarm


def test_the_alarm_has_the_reason() -> None:
    """The authenticated view gives the reason; the public check does not."""
    refused = certificate_with(not_after=NOW + 3 * DAY, problem="connection refused", failing_since=NOW - 9)
    assert only(refused).text == "The certificate ends in 3 days. Last problem: connection refused."
    assert "refused" not in str(checks.certificate(refused))
    ended = only(certificate_with(not_after=NOW - 7))
    assert ended.severity == "critical"
    assert ended.since == datetime.fromtimestamp(NOW - 7, UTC)
    token = current.set(Preferences(language="pt-BR"))
    try:
        assert only(Certificate(None, NOW)).text.endswith("o serviço acme não está rodando.")
        assert only(certificate_with(not_after=None)).text.endswith("nenhum conhecido.")
    finally:
        current.reset(token)
