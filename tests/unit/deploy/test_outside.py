"""Errors of requests to outside URLs are described in our words, without any part of the URL."""

from __future__ import annotations

import pytest

from deploy import outside
from tests.hosts.answering import serving

NO_URL = "it is no http:// or https:// URL"


@pytest.mark.parametrize(
    ("url", "problem"),
    [
        ("http://127.0.0.1:9/s3cr3t", "no connection"),
        ("ftp://127.0.0.1/s3cr3t", NO_URL),
        ("s3cr3t", NO_URL),
        ("http:///s3cr3t", NO_URL),
        ("http://[s3cr3t", NO_URL),
        ("http://127.0.0.1:99999/s3cr3t", NO_URL),
        ("http://127.0.0.1:s3cr3t/", NO_URL),
        ("http://s3cr3t\n.invalid/", NO_URL),
        ("http://" + "s3cr3t" * 60 + ".invalid/", NO_URL),
    ],
)
def test_a_post_that_cannot_be_made(url: str, problem: str) -> None:
    found = outside.post([url], {})
    assert found == [f"how the run ended could not be posted to DEPLOY_WEBHOOK_URL: {problem}"]


@pytest.mark.parametrize("status", [301, 302, 307, 400, 404, 500, 503])
def test_an_answer_that_is_no_success(status: int) -> None:
    with serving(status) as receiver:
        found = outside.post([receiver.url], {"exit_code": 0})
    assert found == [f"how the run ended was not accepted by DEPLOY_WEBHOOK_URL: HTTP {status}"]
    assert (receiver.posts, receiver.gets) == ([("/", {"exit_code": 0})], [])


def test_the_same_url_gets_one_post() -> None:
    with serving(204) as receiver:
        assert outside.post([receiver.url, receiver.url], {}) == []
    assert len(receiver.posts) == 1


def test_a_probe_of_many_hosts_keeps_them_apart() -> None:
    with serving(200) as one, serving(503) as other:
        found = outside.probe({"a": one.url, "b": other.url, "c": "http://127.0.0.1:9/"})
    assert {name: (probed["status"], probed["problem"]) for name, probed in found.items()} == {
        "a": (200, None),
        "b": (503, None),
        "c": (None, "no connection"),
    }


def test_nothing_to_probe() -> None:
    assert outside.probe({}) == {}
