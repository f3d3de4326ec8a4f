"""DATABASE_URL: what of libpq's parameters is passed on, translated, ignored and refused."""

from __future__ import annotations

from urllib.parse import quote, unquote, urlsplit

import pytest
from hypothesis import given
from hypothesis import strategies as st

from app.db.address import Keepalive, parse
from app.errors import ConfigurationError
from app.settings import Settings

BASE = "postgresql+asyncpg://postgres:s3cret@postgres:5432/trading_signals"
PLAIN = "postgresql://postgres:s3cret@postgres:5432/trading_signals"


def test_a_plain_url_only_loses_the_driver() -> None:
    assert parse(BASE).url == PLAIN
    assert parse(BASE).ignored == ()


@pytest.mark.parametrize(
    "query",
    [
        "sslmode=require",
        "target_session_attrs=read-write",
        "options=-c%20search_path%3Dpublic",
        "sslmode=verify-full&sslrootcert=%2Fetc%2Fca.pem",
        "search_path=public",
        "datestyle=ISO",
        "idle_in_transaction_session_timeout=5000",
        "chanel_binding=prefer",  # PostgreSQL refuses it by name
        "desk.side=long",
    ],
)
def test_parameters_of_asyncpg_and_the_server_are_passed_on(query: str) -> None:
    assert parse(f"{BASE}?{query}").url == f"{PLAIN}?{query}"


@pytest.mark.parametrize(
    "query",
    [
        "channel_binding=prefer",
        "gssencmode=disable",
        "sslsni=1",
        "load_balance_hosts=random",
        "timezone=UTC",
        "jit=off",
    ],
)
def test_a_parameter_without_effect_is_removed_and_named(query: str) -> None:
    found = parse(f"{BASE}?{query}&sslmode=disable")
    assert found.url == f"{PLAIN}?sslmode=disable"
    assert found.ignored == (query.partition("=")[0],)


def test_time_limits_keepalive_and_name_are_translated() -> None:
    found = parse(
        f"{BASE}?connect_timeout=10&application_name=desk&keepalives_idle=7&keepalives_interval=3"
        "&keepalives_count=2&tcp_user_timeout=9000"
    )
    assert found.url == PLAIN
    assert (found.connect_seconds, found.application_name) == (10, "desk")
    assert found.keepalive == Keepalive(idle=7, interval=3, count=2, user_timeout_ms=9000)
    assert not parse(f"{BASE}?keepalives=0").keepalive.enabled


@pytest.mark.parametrize(("asked", "seconds"), [("0", None), ("-1", None), ("1", 2), ("5", 5), ("86400", 30)])
def test_connect_timeout_is_bounded(asked: str, seconds: int | None) -> None:
    assert parse(f"{BASE}?connect_timeout={asked}").connect_seconds == seconds


@pytest.mark.parametrize(
    ("query", "named"),
    [
        ("CHANNEL_BINDING=require", "channel_binding"),
        ("2nd=1", "a name is not valid"),
        ("search_path=a%00b", "search_path"),
        ("gsslib=s3cret", "gsslib"),
        ("port=5432,5433", "port"),
        ("port=s3cret", "65535"),
        ("host=a:s3cret", "65535"),
        ("channel_binding=require", "channel_binding"),  # asyncpg cannot enforce it
        ("gssencmode=require", "gssencmode"),
        ("require_auth=scram-sha-256", "require_auth"),
        ("hostaddr=10.0.0.1", "hostaddr"),
        ("connect_timeout=soon", "connect_timeout"),
        ("keepalives_idle=1.5", "keepalives_idle"),
        ("sslmode=on", "sslmode"),
        ("target_session_attrs=master", "target_session_attrs"),
        ("replication=database", "replication"),
        ("sslmode", "name=value"),
    ],
)
def test_an_unknown_or_unenforceable_parameter_is_refused_by_name(
    query: str, named: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    with pytest.raises(ValueError, match=named):
        parse(f"{BASE}?{query}")
    monkeypatch.setenv("DATABASE_URL", f"{BASE}?{query}")
    with pytest.raises(ConfigurationError, match="DATABASE_URL=") as refused:
        Settings.from_environment()
    assert "s3cret" not in str(refused.value)


@pytest.mark.parametrize("password", ["pa?ss=s3cret", "pa#s3cret"])
def test_a_password_that_is_not_encoded_is_not_shown(password: str) -> None:
    with pytest.raises(ValueError, match="%3F") as refused:
        parse(f"postgresql://postgres:{password}@postgres/trading_signals")
    assert "s3cret" not in str(refused.value)


@pytest.mark.parametrize(
    ("query", "passed", "ignored"),
    [
        ("TimeZone=Asia%2FTokyo", "", ("timezone",)),
        ("JIT=on", "", ("jit",)),
        ("DateStyle=ISO", "datestyle=ISO", ()),
        ("SSLMODE=require", "sslmode=require", ()),
    ],
)
def test_names_are_read_in_any_case(query: str, passed: str, ignored: tuple[str, ...]) -> None:
    found = parse(f"{BASE}?{query}")
    assert (found.url.partition("?")[2], found.ignored) == (passed, ignored)


@pytest.mark.parametrize(
    "url",
    [
        "postgresql://postgres:S3CRETPART/et@127.0.0.1:5544/x",
        "postgresql://postgres:123/et@127.0.0.1:5544/x",
        "postgresql://postgres:a@S3CRETPART@127.0.0.1/x",
        "postgresql://postgres:a[S3CRETPART@127.0.0.1/x",
        "postgresql://postgres:a@127.0.0.1:S3CRETPART/x",
        "postgresql://postgres:a@127.0.0.1:99999/x",
        "postgresql://postgres:a@127.0.0.1:0/x",
        "postgresql://postgres:a@one:5432,two:S3CRETPART/x",
        "postgresql://postgres:a@one,/x",
        "postgresql://postgres:a@::1/x",
    ],
)
def test_a_host_or_port_that_is_not_valid_is_refused_without_its_text(url: str) -> None:
    with pytest.raises(ValueError, match="%2F") as refused:
        parse(url)
    assert "S3CRETPART" not in str(refused.value)
    assert "99999" not in str(refused.value)


@pytest.mark.parametrize(
    "url",
    [
        "postgresql:///x",
        "postgresql://one:5432,two:5433/x",
        "postgresql://u:a:b@one,two/x?port=5432,5433",
        "postgresql://u:p@[::1]:5432/x",
        "postgresql://u:p@%2Ftmp/x",
        "postgresql://u@/x?host=/var/run/postgresql",
        "postgresql://u@one:/x",
    ],
)
def test_hosts_of_every_form_are_passed_on(url: str) -> None:
    assert urlsplit(unquote(parse(url).url)) == urlsplit(unquote(url))


@given(st.text(max_size=30), st.text(max_size=30), st.text(max_size=30))
def test_any_url_is_read_or_refused_without_its_content(name: str, value: str, password: str) -> None:
    secret = f"s3cret{password}"
    url = f"postgresql://u:{quote(secret, safe='')}@h/d?{name}={value}"
    try:
        said = parse(url).url.partition("s3cret")[0]
    except ValueError as error:
        said = str(error)
    assert "s3cret" not in said
    assert said
