"""Sessions, wrong attempts, and which requests need authentication."""

import hashlib
import hmac
import re
from typing import TYPE_CHECKING

import pytest
from itsdangerous import BadSignature, TimestampSigner, URLSafeTimedSerializer
from msgspec import structs
from starlette.datastructures import Headers

from app.admin.pages import local_path
from app.config.access import AccessToken
from app.web.authentication import ADMIN, LIFETIME_SECONDS, Sessions, is_foreign, is_public, signing_key
from app.web.throttle import FORGOTTEN_AFTER_SECONDS, REFUSALS_A_MINUTE, ScopeRefusals, WrongAttempts

if TYPE_CHECKING:
    from collections.abc import Callable

ANA = AccessToken(name="ana", sha256=hashlib.sha256(b"token of ana").hexdigest(), scope="operate")


@pytest.fixture
def at(monkeypatch: pytest.MonkeyPatch) -> "Callable[[float], None]":
    """Set the clock for issuing and checking cookies, in seconds since the epoch."""

    def set_clock(seconds: float) -> None:
        monkeypatch.setattr(TimestampSigner, "get_timestamp", lambda _: int(seconds))

    return set_clock


def test_a_session_is_read_back_by_another_process_with_the_same_token() -> None:
    cookie = Sessions("secret").issue()
    access = Sessions("secret").read(cookie)
    assert access is not None
    assert access.session
    assert access.seconds_left == pytest.approx(LIFETIME_SECONDS, abs=5)


def test_a_session_ends_after_twelve_hours(at: "Callable[[float], None]") -> None:
    at(1_000_000)
    cookie = Sessions("secret").issue()
    at(1_000_000 + LIFETIME_SECONDS)
    assert Sessions("secret").read(cookie) is not None
    at(1_000_000 + LIFETIME_SECONDS + 1)
    assert Sessions("secret").read(cookie) is None


def test_a_new_token_ends_every_session() -> None:
    assert Sessions("another").read(Sessions("secret").issue()) is None


def test_a_changed_cookie_is_not_a_session() -> None:
    cookie = Sessions("secret").issue()
    assert Sessions("secret").read("x" + cookie) is None
    assert Sessions("secret").read(cookie[:-1]) is None
    assert Sessions("secret").read("") is None


def test_without_a_token_no_session_is_accepted() -> None:
    nobody = Sessions("")
    assert not nobody.is_possible
    assert nobody.holder_of("") is None
    assert nobody.read(nobody.issue()) is None


def test_the_token_is_compared_whole_and_as_bytes() -> None:
    assert Sessions("pässwort").holder_of("pässwort") == ADMIN
    assert Sessions("secret").holder_of("secre") is None
    assert Sessions("secret").holder_of("secret ") is None


def test_a_token_is_compared_whatever_its_characters_are() -> None:
    for offered in ("tökén", "\ud800", "\0", "日本", ""):
        assert Sessions("secret", [ANA]).holder_of(offered) is None
    assert Sessions("secret", [ANA]).holder_of("token of ana") == ANA
    assert Sessions("", [ANA]).holder_of("token of ana") is None
    nothing = AccessToken(name="x", sha256=hashlib.sha256(b"").hexdigest(), scope="operate")
    assert Sessions("secret", [nothing]).holder_of("") is None


@pytest.mark.parametrize("holder", [ADMIN, ANA])
def test_no_plain_hash_of_the_token_signs_a_cookie(holder: AccessToken) -> None:
    salt = "admin session" if holder == ADMIN else "named session"
    options = {"key_derivation": "hmac", "digest_method": hashlib.sha256}
    cookie = Sessions("secret", [ANA]).issue(holder)
    for key in (b"secret", hashlib.sha256(b"secret").digest(), hashlib.sha256(b"secret").hexdigest()):
        with pytest.raises(BadSignature):
            URLSafeTimedSerializer(key, salt=salt, signer_kwargs=options).loads(cookie)
    content = URLSafeTimedSerializer(signing_key("secret"), salt=salt, signer_kwargs=options).loads(cookie)
    marks = {
        hmac.new(key, b"operate " + ANA.sha256.encode(), "sha256").hexdigest() for key in (b"", b"secret")
    }
    assert not marks & set(content)


def test_the_key_is_derived_once_for_a_process() -> None:
    signing_key.cache_clear()
    for _ in range(3):
        Sessions("secret").read(Sessions("secret").issue())
    assert signing_key.cache_info().misses == 1


@pytest.mark.parametrize(
    "instead",
    [
        structs.replace(ANA, scope="read"),
        structs.replace(ANA, sha256="0" * 64),
        structs.replace(ANA, name="bob"),
    ],
)
def test_a_cookie_is_of_one_token_with_one_scope(instead: AccessToken) -> None:
    cookie = Sessions("secret", [ANA]).issue(ANA)
    access = Sessions("secret", [ANA]).read(cookie)
    assert access is not None
    assert access.token == ANA
    assert Sessions("secret", [instead]).read(cookie) is None
    assert Sessions("secret").read(cookie) is None


def test_refused_requests_do_not_fill_the_log() -> None:
    now = [0.0]
    refusals = ScopeRefusals(clock=lambda: now[0])
    assert [refusals.admits("ana") for _ in range(REFUSALS_A_MINUTE + 1)] == [True] * 20 + [False]
    assert refusals.admits("bob")
    now[0] = 60
    assert refusals.admits("ana")


def test_wrong_attempts_wait_longer_each_time_up_to_five_seconds() -> None:
    attempts = WrongAttempts(clock=lambda: 0)
    assert [attempts.record("a") for _ in range(8)] == [0.25, 0.5, 1, 2, 4, 5, 5, 5]
    assert attempts.record("b") == 0.25


def test_a_right_token_or_a_quiet_time_clears_the_record() -> None:
    now = [0.0]
    attempts = WrongAttempts(clock=lambda: now[0])
    attempts.record("a")
    attempts.record("a")
    attempts.forget("a")
    assert attempts.record("a") == 0.25
    now[0] = FORGOTTEN_AFTER_SECONDS + 1
    assert attempts.record("a") == 0.25


def test_a_flood_of_addresses_does_not_fill_the_memory() -> None:
    attempts = WrongAttempts(clock=lambda: 0)
    attempts.record("first")
    for number in range(1000):
        attempts.record(f"address {number}")
    assert attempts.record("first") == 0.25
    assert attempts.record("address 999") == 0.5


@pytest.mark.parametrize(
    "path",
    [
        "/health",
        "/health/detailed",
        "/docs",
        "/openapi.json",
        "/webhook/in",
        "/webhook/in/secret",
        "/admin/sign-in",
        "/static/page/base.css",
    ],
)
def test_the_public_list(path: str) -> None:
    assert is_public(path)


@pytest.mark.parametrize(
    "path",
    [
        "/",
        "/admin",
        "/admin/",
        "/admin/sign-in/",
        "/admin/sign-out",
        "/ADMIN/signals",
        "//admin/signals",
        "/static",
        "/docs/oauth2-redirect",
        "/ws/admin-updates",
        "/webhook/input",
        "/no/such/route",
    ],
)
def test_everything_else_needs_the_token(path: str) -> None:
    assert not is_public(path)


@pytest.mark.parametrize(
    ("headers", "required", "foreign"),
    [
        ({"origin": "http://host:8080", "host": "host:8080"}, True, False),
        ({"origin": "https://HOST", "host": "host"}, True, False),
        (
            {"origin": "https://public.example", "host": "app", "x-forwarded-host": "public.example"},
            True,
            False,
        ),
        ({"origin": "https://evil.example", "host": "host"}, False, True),
        ({"origin": "https://host.evil.example", "host": "host"}, False, True),
        ({"origin": "http://host:8081", "host": "host:8080"}, False, True),
        ({"origin": "null", "host": "host"}, False, True),
        ({"origin": "", "host": ""}, False, True),
        ({"host": "host"}, True, True),
        ({"host": "host"}, False, False),
    ],
)
def test_where_a_request_comes_from(headers: dict[str, str], *, required: bool, foreign: bool) -> None:
    assert is_foreign(Headers(headers), required=required) is foreign


@pytest.mark.parametrize("target", ["/admin", "/admin?status=failed&ticker=A", "/docs"])
def test_sign_in_redirects_to_the_requested_page(target: str) -> None:
    assert local_path(target) == target


@pytest.mark.parametrize(
    "target", ["https://evil.example", "//evil.example", "/\\evil.example", "/a\r\nX: y", "", "admin"]
)
def test_sign_in_never_redirects_to_another_site(target: str) -> None:
    assert local_path(target) == "/admin"


def test_a_cookie_value_needs_no_quoting() -> None:
    assert re.fullmatch(r"[A-Za-z0-9._-]+", Sessions("secret").issue())
