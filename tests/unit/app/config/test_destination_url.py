"""Which URLs a destination may have, and that a request to each of them is possible."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st
from yarl import URL

from app.alarms.conditions import destination_alarms
from app.config.destination_url import fault_of, identity_of
from app.ops.checks import destination

SECRET = "S3CRET"
OPEN = {"state": "open"}


@pytest.mark.parametrize(
    "url",
    [
        *("http://bridge/hook", "https://webhooks.traderspost.io/trading/webhook/a/b?c=d#e", "HTTP://H/x"),
        *("http://my_bridge:8080/", "http://127.0.0.1:1/x", "http://[::1]:80/x", "http://[fe80::1%25eth0]/x"),
        *("http://user:pass@h/x", "http://us%20er:p%40ss@h/", "http://:p@h/", "http://h:/x", "http://a.b./"),
        *(
            "http://\u00fc.example/",
            "http://xn--tda.example/",
            "http://" + "a" * 63 + ".example/",
            "http://h",
        ),
        *(
            "http://" + ".".join(["a" * 49] * 5) + "/",
            "http://h/\u00e9?\u00e9",
            "http://\u00e9@h/",
            "http://a-b/",
        ),
    ],
)
def test_a_usable_url_is_accepted(url: str) -> None:
    assert fault_of(url) is None


@pytest.mark.parametrize(
    ("url", "words"),
    [
        (f"http://host..example/{SECRET}", "1 to 63"),
        (f"http://{'a' * 64}.example/{SECRET}", "1 to 63"),
        (f"http://.example/{SECRET}", "1 to 63"),
        (f"http://{'.'.join(['a' * 60] * 5)}/{SECRET}", "253"),
        (f"http://-a.example/{SECRET}", "1 to 63"),
        (f"http://h%00/{SECRET}", "1 to 63"),
        (f"http://a,b/{SECRET}", "1 to 63"),
        (f"http://{chr(0xFC) * 60}.example/{SECRET}", "1 to 63"),
        (f"http://h:99999/{SECRET}", "1 to 65535"),
        (f"http://h:0/{SECRET}", "1 to 65535"),
        (f"http://h:-1/{SECRET}", "1 to 65535"),
        (f"http://h:http/{SECRET}", "1 to 65535"),
        (f"http://999.1.1.1/{SECRET}", "IP address"),
        (f"http://[::1/{SECRET}", "IP address"),
        (f"http://[{SECRET}]/", "IP address"),
        (f"http://h/{SECRET} x", "whitespace"),
        (f" http://h/{SECRET}", "whitespace"),
        (f"http://h/{SECRET}\n", "whitespace"),
        (f"http://h/{SECRET}\u2028", "whitespace"),
        (f"http://h/{SECRET}\u202e", "whitespace"),
        (f"http://h/{SECRET}\ud800", "whitespace"),
        (f"ftp://h/{SECRET}", "http://"),
        (f"http:///{SECRET}", "http://"),
        (f"//h/{SECRET}", "http://"),
        (SECRET, "http://"),
        (f"http://\u0444:{SECRET}@h/", "Latin-1"),
        (f"http://a%3Ab:{SECRET}@h/", "Latin-1"),
    ],
)
def test_an_unusable_url_is_refused_without_quoting_it(url: str, words: str) -> None:
    fault = fault_of(url)
    assert words in str(fault)
    assert SECRET not in str(fault)
    assert destination(OPEN, fault)["status"] == "degraded"
    assert [alarm.code for alarm in destination_alarms(url)] == ["destination_wrong"]


def test_paper_and_a_valid_url_raise_no_alarm() -> None:
    for url in (None, "http://bridge/hook"):
        assert (fault_of(url), destination_alarms(url)) == (None, [])
    assert destination(OPEN)["status"] == "ok"


HOSTS = st.text("abz09-_.\u00fc\u00df\u0130\u4e2d\u200d\u3002:%@[]\\", min_size=1, max_size=80)


@given(host=HOSTS | st.lists(HOSTS, max_size=4).map(".".join), port=st.integers(-1, 70_000))
def test_every_valid_url_has_a_host_that_can_be_resolved(host: str, port: int) -> None:
    url = f"http://{host}:{port}/x"
    if fault_of(url):
        return
    name = URL(url).raw_host
    assert name
    name.encode("idna")  # as the resolver does
    assert 0 < (URL(url).port or 0) <= 65_535


@pytest.mark.parametrize("url", ["https://[::1", "http://a:99999/x", "https://bridge .example/x", "x"])
def test_a_url_without_parts_is_the_same_as_itself_alone(url: str) -> None:
    assert identity_of(url) == identity_of(url)
    assert identity_of(url) != identity_of("https://bridge.example/x")


def test_users_are_part_of_what_a_url_is() -> None:
    assert identity_of("https://a:b@x.example") == identity_of("HTTPS://a:b@X.example:443/#y")
    assert identity_of("https://a:b@x.example") != identity_of("https://a:c@x.example")
