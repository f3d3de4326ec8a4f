"""Which paths are the webhook, which were meant to be, and every reading of a secret in an address."""

from __future__ import annotations

from urllib.parse import quote, quote_plus, unquote

import pytest
from hypothesis import given
from hypothesis import strategies as st

from app.intake.access import is_misspelt, secret_in_path, secrets_in

SECRETS = st.text(st.characters(exclude_categories=["Cs"]), min_size=1, max_size=40)


def rest_of(raw: str) -> bytes | None:
    """What a request's path is read as, the way the server hands it over."""
    return secret_in_path(unquote(raw), raw.encode())


@pytest.mark.parametrize("raw", ["/webhook/in", "/webhook/in/", "/webhook/in//", "/webhook%2Fin"])
def test_a_slash_at_the_end_is_no_secret(raw: str) -> None:
    rest = rest_of(raw)
    assert rest is not None
    assert set(secrets_in(rest, b"")) <= {b"/"}


@given(SECRETS)
def test_a_secret_in_the_path_is_found_with_and_without_a_slash(secret: str) -> None:
    for end in ("", "/"):
        rest = rest_of(f"/webhook/in/{quote(secret, safe='')}{end}")
        assert rest is not None
        assert secret.encode() in set(secrets_in(rest, b""))


@given(SECRETS, st.sampled_from([quote, quote_plus]))
def test_a_secret_in_the_query_is_found_however_it_is_encoded(secret: str, encode: object) -> None:
    assert callable(encode)
    query = f"a=1&secret={encode(secret, safe='')}&b".encode()
    assert secret.encode() in set(secrets_in(b"", query))


@pytest.mark.parametrize("secret", ["a+b/c==", "50%", "a b", "x=y", "é"])
def test_a_secret_typed_in_as_it_is_is_found_too(secret: str) -> None:
    assert secret.encode() in set(secrets_in(b"", b"secret=" + secret.encode()))
    if "/" not in secret:
        assert secret.encode() in set(secrets_in(secret.encode(), b""))


@pytest.mark.parametrize(
    "path",
    [
        "/Webhook/in",
        "/WEBHOOK/IN/secret",
        "/webhook",
        "/webhook/",
        "/webhooks/in",
        "/webhook/inn",
        "/webhook/in/a/b",
        "/webook/in",
        "/wehbook/in",
        "/web-hook/in",
        "/api/webhook",
        "//webhook/in",
        "/webhook//in",
        "/hook",
    ],
)
def test_what_was_meant_to_be_the_webhook(path: str) -> None:
    assert secret_in_path(path, path.encode()) is None
    assert is_misspelt(path, "POST")
    assert is_misspelt(path, "GET")


@pytest.mark.parametrize(
    "path",
    ["/admin/webhook/config", "/Admin/webhook", "/health", "/docs", "/static/webhook.js", "/ws/hook", "/x"],
)
def test_what_was_not(path: str) -> None:
    assert secret_in_path(path, path.encode()) is None
    assert not is_misspelt(path, "POST")


def test_an_address_without_a_path_is_meant_only_when_something_is_sent() -> None:
    assert is_misspelt("/", "POST")
    assert not is_misspelt("/", "GET")
