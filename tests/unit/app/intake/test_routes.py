"""The paths of the webhook, misspelt ones, and the candidates for the secret in an address."""

from __future__ import annotations

from urllib.parse import quote, quote_plus, unquote

import pytest
from hypothesis import given
from hypothesis import strategies as st

from app.intake.routes import is_misspelt, secret_in_path, secrets_in

SECRETS = st.text(st.characters(exclude_categories=["Cs"]), min_size=1, max_size=40)


def secret_found_in(raw: str) -> bytes | None:
    """Return the secret that `secret_in_path` finds in a path as the server passes it."""
    return secret_in_path(unquote(raw), raw.encode())


@pytest.mark.parametrize("raw", ["/webhook/in", "/webhook/in/", "/webhook/in//", "/webhook%2Fin"])
def test_a_trailing_slash_is_not_a_secret(raw: str) -> None:
    rest = secret_found_in(raw)
    assert rest is not None
    assert set(secrets_in(rest, b"")) <= {b"/"}


@given(SECRETS)
def test_a_secret_in_the_path_is_found_with_and_without_a_slash(secret: str) -> None:
    for end in ("", "/"):
        rest = secret_found_in(f"/webhook/in/{quote(secret, safe='')}{end}")
        assert rest is not None
        assert secret.encode() in set(secrets_in(rest, b""))


@given(SECRETS, st.sampled_from([quote, quote_plus]))
def test_a_secret_in_the_query_is_found_however_it_is_encoded(secret: str, encode: object) -> None:
    assert callable(encode)
    query = f"a=1&secret={encode(secret, safe='')}&b".encode()
    assert secret.encode() in set(secrets_in(b"", query))


@pytest.mark.parametrize("secret", ["a+b/c==", "50%", "a b", "x=y", "é"])
def test_a_secret_that_is_not_encoded_is_found_too(secret: str) -> None:
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
def test_misspelt_paths_of_the_webhook(path: str) -> None:
    assert secret_in_path(path, path.encode()) is None
    assert is_misspelt(path, "POST")
    assert is_misspelt(path, "GET")


@pytest.mark.parametrize(
    "path",
    ["/admin/webhook/config", "/Admin/webhook", "/health", "/docs", "/static/webhook.js", "/ws/hook", "/x"],
)
def test_other_paths(path: str) -> None:
    assert secret_in_path(path, path.encode()) is None
    assert not is_misspelt(path, "POST")


def test_an_address_without_a_path_counts_only_for_a_post() -> None:
    assert is_misspelt("/", "POST")
    assert not is_misspelt("/", "GET")
