"""Which PostgreSQL made a volume, and which one an image has."""

from __future__ import annotations

import pytest

from tests.unit.playbooks.modules import load


@pytest.mark.parametrize(
    ("text", "version"),
    [("15\n", "15"), ("16", "16"), ("9.6\n", "9"), ("", ""), ("none", ""), (" 17 ", "17")],
)
def test_the_major_version_of_a_cluster(text: str, version: str) -> None:
    assert load("cluster_facts").major(text) == version


@pytest.mark.parametrize(
    ("variables", "version"),
    [
        (["PG_MAJOR=16", "PG_VERSION=16.4"], "16"),
        (["PATH=/usr/lib/postgresql/15/bin:/usr/bin"], "15"),
        (["PATH=/usr/local/bin", "PG_MAJOR=17"], "17"),
        (["PATH=/usr/bin"], ""),
        ([], ""),
    ],
)
def test_the_major_version_of_an_image(variables: list[str], version: str) -> None:
    assert load("cluster_facts").image_major(variables) == version
