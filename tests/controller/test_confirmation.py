"""Destructive flows need a confirmation: on a terminal the project's name, elsewhere --yes."""

from __future__ import annotations

import json
import os
from typing import TYPE_CHECKING

import pytest

if TYPE_CHECKING:
    from tests.controller.checkout import Checkout


def destroyed(checkout: Checkout) -> list[str]:
    return sorted(path.name for path in checkout.root.glob("destroyed-*"))


def test_without_a_terminal_nothing_is_touched(checkout: Checkout) -> None:
    done = checkout.run("--db")
    assert (done.returncode, done.stdout) == (8, "")
    assert "volume trading-signal-processor_postgres_data" in done.stderr
    assert "A verified dump is made in backups/db first" in done.stderr
    assert "Add --yes" in done.stderr
    assert destroyed(checkout) == []


def test_a_program_reads_the_same_from_the_document(checkout: Checkout) -> None:
    done = checkout.run("--db", "--json")
    assert done.returncode == 8
    assert json.loads(done.stdout)["exit_code"] == 8


def test_yes_confirms_and_still_lists_what_is_deleted(checkout: Checkout) -> None:
    done = checkout.run("--db", "--yes", "--no-dump", "--limit", "web")
    assert done.returncode == 0
    assert "Fresh database on a, b destroys there:" in done.stderr
    assert "WITHOUT a dump" in done.stderr
    assert destroyed(checkout) == ["destroyed-a", "destroyed-b"]
    assert "    dump: none" in done.stdout


@pytest.mark.parametrize(
    ("typed", "code"), [("trading-signal-processor", 0), ("yes", 8), ("", 8), ("Trading-Signal-Processor", 8)]
)
def test_a_terminal_asks_for_the_projects_name(checkout: Checkout, typed: str, code: int) -> None:
    ours, theirs = os.openpty()
    try:
        with (
            os.fdopen(theirs, "r") as terminal,
            checkout.start("--db", "--limit", "here", stdin=terminal) as process,
        ):
            os.write(ours, f"{typed}\n".encode())
            _, err = process.communicate(timeout=60)
    finally:
        os.close(ours)
    assert process.returncode == code
    assert "Type trading-signal-processor to go on: " in err
    assert destroyed(checkout) == (["destroyed-here"] if code == 0 else [])


def test_a_flow_that_restored_everything_is_a_failed_precondition(checkout: Checkout) -> None:
    """Also of several hosts: those after it were never tried."""
    done = checkout.run("--db", "--yes", "--limit", "web", "-e", "full=true")
    assert done.returncode == 3
    assert "Nothing was changed" in done.stdout
    assert "nothing was destroyed: the disk is full" in done.stdout
    assert "  b: never tried" in done.stdout
    assert destroyed(checkout) == []


def test_a_failure_after_the_destruction_reports_what_is_left(checkout: Checkout) -> None:
    done = checkout.run("--db", "--yes", "-e", "dead=true", "-e", "serve=false")
    assert done.returncode == 6
    assert "state:  NOTHING SERVES; the old database is gone, its copy is old.dump" in done.stdout
