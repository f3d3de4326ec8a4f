"""Secrets of sources are masked however they are written; networks and times are read or refused."""

from __future__ import annotations

import ipaddress
import json

import pytest
from hypothesis import given
from hypothesis import strategies as st

from app.config.access import networks_of, read_sources
from app.intake.sources import Sources

SECRETS = ('pass"word/\u00e9\U0001f600', "word/\u00e9\U0001f600-tail", "back\\slash", "plain-secret")


def _sources(*secrets: str, **values: object) -> Sources:
    entries = [{"name": f"s{number}", "secret": secret, **values} for number, secret in enumerate(secrets)]
    sources, faults = read_sources({"sources": entries}, "f", "")
    assert not faults
    assert not any(secret in repr(sources) for secret in secrets)
    return Sources("", sources)


@pytest.mark.parametrize("is_ascii", [True, False])
@given(parts=st.lists(st.sampled_from([*SECRETS, "x", '"', "\u00e9"])), data=st.data())
def test_a_secret_is_masked_as_text_and_escaped(
    parts: list[str],
    data: st.DataObject,
    is_ascii: bool,  # noqa: FBT001
) -> None:
    text = "".join(parts)
    body = json.dumps({"x": text}, ensure_ascii=is_ascii).encode()
    masked = _sources(*SECRETS).mask(body)
    shown = json.loads(masked)["x"]
    assert not any(secret in shown for secret in SECRETS)
    assert not any(secret in _sources(*SECRETS).mask(text.encode()).decode() for secret in SECRETS)
    if not any(secret in text for secret in SECRETS):
        assert masked == body
    secret = data.draw(st.sampled_from(SECRETS))
    length = data.draw(st.integers(2, len(secret)))
    cut = json.dumps("xx" + secret[:length], ensure_ascii=is_ascii).encode()[:-1]
    assert _sources(*SECRETS).mask(cut, is_cut=True) == b'"xx***'


def test_overlapping_secrets_are_one_mask() -> None:
    assert _sources("overlap-AB", "lap-ABcdef").mask(b"1 overlap-ABcdef 2") == b"1 *** 2"


def test_an_ipv4_address_written_as_ipv6_is_the_ipv4_address() -> None:
    source = {
        "name": "s",
        "secret": "12345678",
        "allow_from": ["::ffff:203.0.113.7", "::ffff:10.0.0.0/104", "::1"],
    }
    ((found,), _) = read_sources({"sources": [source]}, "f", "")
    expected = ("203.0.113.7/32", "10.0.0.0/8", "::1/128")
    assert networks_of(found) == tuple(map(ipaddress.ip_network, expected))
    sources = Sources("", (found,))
    assert [sources.allows(found, each) for each in ("203.0.113.7", "::ffff:10.9.9.9", "203.0.113.8")] == [
        True, True, False,
    ]  # fmt: skip
