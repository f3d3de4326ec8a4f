"""The commands of docs/tutorial.md, run in their order in one shell, do what the text says."""

from __future__ import annotations

import json
import re
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest

from tests.hosts.checkout import PROJECT

if TYPE_CHECKING:
    from tests.hosts.stack import Stack

pytestmark = pytest.mark.exhaustive

TUTORIAL = Path(__file__).resolve().parents[2] / "docs" / "tutorial.md"
BLOCKS = re.findall(r"^```sh\n(.*?)^```$", TUTORIAL.read_text("utf-8"), re.MULTILINE | re.DOTALL)
NEXT_BLOCK = "--- next block ---"
SECONDS = 600


@pytest.fixture(scope="module")
def outputs(stack: Stack) -> list[str]:
    """Return each block's output on stdout."""
    script = "".join(f"{block}echo; echo '{NEXT_BLOCK}'\n" for block in BLOCKS)
    result = stack.host.run(f"set -e\n{script}", folder=PROJECT, timeout=SECONDS).require()
    return result.stdout.split(f"{NEXT_BLOCK}\n")[:-1]


def documents(output: str) -> list[dict[str, Any]]:
    """Return the JSON objects of an output, in their order."""
    decoder, found, start = json.JSONDecoder(), [], output.find("{")
    while start >= 0:
        value, end = decoder.raw_decode(output, start)
        found.append(value)
        start = output.find("{", end)
    return found


def test_the_alerts_are_decided_as_in_the_tutorial(outputs: list[str]) -> None:
    (bought,), (other,) = documents(outputs[3]), documents(outputs[4])
    assert (bought["queued"], bought["ticker"], other["queued"]) == (True, "NVDA", True)

    (newest,) = documents(outputs[5])
    decided = {signal["ticker"]: (signal["status"], signal["reason"]) for signal in newest["signals"]}
    assert decided == {"NVDA": ("forwarded", "delivered"), "GME": ("rejected", "not in the Top-15")}


def test_the_book_and_the_trade_are_those_of_the_tutorial(outputs: list[str]) -> None:
    _, book, _, trades = documents(outputs[6])
    (position,), (trade,) = book["positions"], trades["trades"]
    assert (position["ticker"], position["quantity"]) == ("NVDA", "6")
    assert (trade["ticker"], trade["quantity"], trade["result"]) == ("NVDA", "10", "21.00")


def test_the_flows_of_the_tutorial_end_well(stack: Stack, outputs: list[str]) -> None:
    """Every block ended with 0, otherwise the shell would have stopped; the last deployment serves."""
    assert len(outputs) == len(BLOCKS)
    assert stack.health()["version"] in outputs[1]
    assert outputs[2].strip() == stack.settings()["ADMIN_TOKEN"]
    assert stack.host.run("ls backups/db/*-backup.dump", folder=PROJECT).code == 0
    assert stack.health()["version"] in outputs[-1]
