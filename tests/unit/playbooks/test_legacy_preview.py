"""What --check says of the replaced system on a machine without an image of ours."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import pytest

from tests.unit.playbooks.modules import load

if TYPE_CHECKING:
    from pathlib import Path

DOCKER = """#!/bin/sh
echo "$*" >>"$(dirname "$0")/asked"
case "$*" in
  "image inspect sha256:theirs") ;;
  "image inspect "* | *"import-legacy --help") exit 1 ;;
  *json_object_agg*) echo '{"signals": 7, "positions": 3}' ;;
  *string_agg*) echo 'AAPL, T1' ;;
esac
"""
ASKED: dict[str, Any] = {
    "image": "ours",
    "app_image": "app:latest",
    "app_container": "app",
    "app_runs": False,
    "network": "n",
}


@pytest.fixture
def asked(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """Return the file with what is asked of an engine that has only an image of the replaced system."""
    docker = tmp_path / "docker"
    docker.write_text(DOCKER)
    docker.chmod(0o755)
    monkeypatch.setenv("PATH", f"{tmp_path}:/usr/bin:/bin")
    return tmp_path / "asked"


def test_without_an_image_of_ours_that_of_the_replaced_system_serves(asked: Path) -> None:
    """The rows are counted and the open positions named; the lines say how to see the rest."""
    source = {
        "kind": "stack",
        "container": "trading-db",
        "is_running": True,
        "image": "sha256:theirs",
        "volume": "v",
    }
    result = load("legacy_preview").answer({**ASKED, "source": source})
    assert result["error"] == ""
    assert result["lines"][:3] == ["positions: 3 rows", "signals: 7 rows", "open or closing there: AAPL, T1"]
    assert "docs/moving-over.md" in result["lines"][3]
    assert "--entrypoint=sleep sha256:theirs infinity" in asked.read_text()


def test_a_dump_that_nothing_here_can_read_says_where_it_can_be_checked(asked: Path) -> None:
    """No container is started for it."""
    source = {"kind": "dump", "path": "/x", "checked": False, "format": "custom"}
    result = load("legacy_preview").answer({**ASKED, "source": source})
    assert (result["error"], len(result["lines"])) == ("", 1)
    assert "check it where this system" in result["lines"][0]
    assert asked.read_text() == "image inspect ours\n"
