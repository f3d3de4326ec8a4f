"""A wrong value stops the start, with one line that names variable, value and what is allowed."""

import subprocess
from pathlib import Path

import pytest

from app.errors import ConfigurationError
from app.settings import Settings, check_tls_files

URL = "postgresql+asyncpg://postgres:hidden@postgres:5432/trading_signals"


@pytest.fixture(autouse=True)
def _bare_environment(monkeypatch: pytest.MonkeyPatch) -> None:
    for name in Settings.model_fields:
        monkeypatch.delenv(name.upper(), raising=False)
    monkeypatch.setenv("DATABASE_URL", URL)


def test_the_defaults_are_the_specifications() -> None:
    settings = Settings.from_environment()
    assert settings.database_url == "postgresql://postgres:hidden@postgres:5432/trading_signals"
    assert (settings.top_n, settings.finviz_refresh_sec, settings.queue_max_size) == (15, 10, 100_000)
    assert (settings.dest_webhook_max_req_per_min, settings.dest_webhook_max_req_per_hour) == (60, 500)
    assert settings.map_side_to_action_traderspost
    assert settings.enable_prometheus


def test_an_empty_variable_is_absent(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("TOP_N", "")
    assert Settings.from_environment().top_n == 15


@pytest.mark.parametrize(
    ("name", "value", "line"),
    [
        ("TOP_N", "0", "TOP_N='0' is not valid: it must be greater than or equal to 1"),
        ("WORKER_CONCURRENCY", "four", "WORKER_CONCURRENCY='four' is not valid: it must be a valid integer"),
        ("SERVER_PORT", "70000", "SERVER_PORT='70000' is not valid: it must be less than or equal to 65535"),
        ("LOG_LEVEL", "loud", "LOG_LEVEL='LOUD' is not valid: it must be 'DEBUG', 'INFO'"),
        (
            "ENABLE_PROMETHEUS",
            "perhaps",
            "ENABLE_PROMETHEUS='perhaps' is not valid: it must be a valid boolean",
        ),
        ("DEST_WEBHOOK_TIMEOUT", "-1", "DEST_WEBHOOK_TIMEOUT='-1' is not valid: it must be greater than 0"),
        (
            "DEST_WEBHOOK_URL",
            "ftp://hidden",
            "DEST_WEBHOOK_URL=(not shown) is not valid: it must be an http://",
        ),
        ("DATABASE_URL", "mysql://hidden", "DATABASE_URL=(not shown) is not valid: it must be a URL such as"),
        (
            "WEBHOOK_SIGNING_SECRET",
            "hidden!",
            "WEBHOOK_SIGNING_SECRET=(not shown) is not valid: it must be base64",
        ),
        ("NOTIFY_URLS", "hidden", "NOTIFY_URLS=(not shown) is not valid: it must be up to 10 URLs"),
        ("NOTIFY_URLS", "json://hidden hidden", "NOTIFY_URLS=(not shown) is not valid: it must be up to"),
        ("NOTIFY_URLS", "json://hidden " * 11, "NOTIFY_URLS=(not shown) is not valid: it must be up to"),
        *(
            ("TLS_DOMAIN", value, f"TLS_DOMAIN={value!r} is not valid: it must be a host name such as")
            for value in (
                *("https://a.example", "a.example:443", "localhost", "10.0.0.1", "a_b.example", "-a.example"),
                *(
                    "a.example.",
                    "*.a.example",
                    "a..example",
                    "bücher.example",
                    "a.example b.example",
                    "a\n.example",
                ),
                f"{'a' * 64}.example",
                "a." * 130 + "example",
            )
        ),
        *(
            ("TLS_EMAIL", value, f"TLS_EMAIL={value!r} is not valid: it must be an e-mail address")
            for value in ("me", "me@", "@a.example", "me you@a.example", "me@a.example\n", "me@a b")
        ),
        *(
            ("TLS_ACME_URL", value, f"TLS_ACME_URL={value!r} is not valid: it must be the https:// URL")
            for value in (
                "http://acme.example/directory",
                "acme.example",
                "https://",
                "https://[",
                "https://a/\x1b",
            )
        ),
        ("HEARTBEAT_URL", "ftp://hidden", "HEARTBEAT_URL=(not shown) is not valid: it must be an http://"),
    ],
)
def test_a_wrong_value_is_one_line(monkeypatch: pytest.MonkeyPatch, name: str, value: str, line: str) -> None:
    monkeypatch.setenv(name, value)
    with pytest.raises(ConfigurationError) as error:
        Settings.from_environment()
    assert str(error.value).startswith(line)
    assert "\n" not in str(error.value)
    assert "hidden" not in str(error.value)


def test_a_missing_database_is_refused_with_its_place(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("DATABASE_URL")
    with pytest.raises(ConfigurationError, match=r"DATABASE_URL is not set: add it to \.env"):
        Settings.from_environment()


def test_secrets_do_not_show() -> None:
    settings = Settings(database_url=URL, admin_token="hidden", webhook_secret="hidden")
    assert "hidden" not in repr(settings)


@pytest.mark.parametrize(
    "url",
    [
        "https://hook:[S3CRET]@host/",
        "https://u:a[S3CRET]b@host/x",
        "https://[S3CRET]/",
        "https://hook:S3CRET]@host/",
        "https://hook:S3CRET\u2100@host/",
    ],
)
def test_no_part_of_a_wrong_destination_is_shown(monkeypatch: pytest.MonkeyPatch, url: str) -> None:
    monkeypatch.setenv("DEST_WEBHOOK_URL", url)
    with pytest.raises(ConfigurationError) as refused:
        Settings.from_environment()
    assert str(refused.value) == (
        "DEST_WEBHOOK_URL=(not shown) is not valid: it must be an http:// or https:// URL with a host, "
        "or nothing for paper"
    )


def test_a_domain_counts_in_lower_case(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("TLS_DOMAIN", "Alerts.xn--bcher-kva.Example")
    settings = Settings.from_environment()
    assert (settings.tls_domain, settings.has_tls) == ("alerts.xn--bcher-kva.example", True)


def test_without_domain_and_files_there_is_no_tls(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("TLS_EMAIL", "me@example.com")
    assert not Settings.from_environment().has_tls


@pytest.fixture
def certificate(tmp_path: Path) -> tuple[Path, Path]:
    """A certificate for 127.0.0.1 that signs itself, and its key."""
    files = tmp_path / "cert.pem", tmp_path / "key.pem"
    subprocess.run(
        [
            *(
                "openssl",
                "req",
                "-x509",
                "-newkey",
                "ec",
                "-pkeyopt",
                "ec_paramgen_curve:prime256v1",
                "-nodes",
            ),
            *("-days", "2", "-subj", "/CN=127.0.0.1", "-addext", "subjectAltName=IP:127.0.0.1"),
            *("-out", files[0], "-keyout", files[1]),
        ],
        check=True,
        capture_output=True,
    )
    return files


def test_certificate_files_are_checked_and_do_not_stop_a_start(
    certificate: tuple[Path, Path], monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    """The edge keeps the last good pair; without the application alerts would be lost."""
    monkeypatch.setenv("TLS_CERT_FILE", str(certificate[0]))
    with pytest.raises(ConfigurationError, match="TLS_KEY_FILE is not set"):
        check_tls_files(Settings.from_environment())
    monkeypatch.setenv("TLS_KEY_FILE", str(tmp_path / "nothing.pem"))
    with pytest.raises(ConfigurationError, match="No such file"):
        check_tls_files(Settings.from_environment())
    monkeypatch.setenv("TLS_KEY_FILE", str(certificate[1]))
    check_tls_files(Settings.from_environment())
    assert Settings.from_environment().has_tls
