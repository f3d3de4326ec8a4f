"""Comparison of a row's result with its expectation and with what must survive."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING

from tests.faults.results import Outcome
from tests.faults.table import AFTER, SWAP, UNTOUCHED, Row
from tests.hosts.stack import STANDIN

if TYPE_CHECKING:
    from tests.faults.bench import Bench, Ended, Remains, Seen

PAUSES = "config/system_config.json"  # a restore pauses delivery, and reports it


def carry_out(bench: Bench, row: Row) -> tuple[Outcome, str]:
    """Cause the fault, run the flow, check everything; return the result, and the flow's output."""
    assert bench.wait_for_service(), "the row before left nothing that serves"
    bench.seed()
    before = bench.seen()
    again: Ended | None = None
    with row.made(bench):
        target = bench.target(row.flow)
        first = _play(bench, row)
        serves = bench.wait_for_service() if row.cut else bench.serving()
        left = bench.remains()
        if row.interrupted:
            again = bench.play(row.flow)
    if not bench.wait_for_service():
        bench.stack.run_py("--quick", "--install-docker")
    after = bench.seen()
    if row.flow.startswith("--restore-db"):
        bench.resume()

    problems = [
        *_of_the_ending(row, first, again),
        *_of_the_service(row, first, serves, before, target),
        *_of_what_is_left(row, left, after.remains),
        *_of_what_must_survive(row, before, after, target),
    ]
    if row.destroys and _copied(bench) < len((before.rows or ((),))[0]):
        problems.append("no copy holds the rows that were destroyed")
    outcome = Outcome(row.name, _cells(row, first, again, serves, before, after, target), problems)
    return outcome, "\n".join(ended.output for ended in (first, again) if ended)


def _play(bench: Bench, row: Row) -> Ended:
    if row.cut:
        return bench.play_and_cut(row.flow, row.cut)
    if row.closes:
        return bench.play_on_a_terminal(row.flow, row.closes)
    return bench.play(row.flow, row.trigger)


def _of_the_ending(row: Row, first: Ended, again: Ended | None) -> list[str]:
    found = []
    if first.code not in row.codes:
        found.append(f"ended {first.code}")
    if row.says not in first.output:
        found.append(f"does not say “{row.says}”")
    if again and again.code != 0:
        found.append(f"again: ended {again.code}")
    if again and 137 in row.codes and "took over the lock" not in again.output:
        found.append("again: does not say that it took over")
    return found


def _of_the_service(row: Row, first: Ended, serves: str, before: Seen, target: str) -> list[str]:
    names = {"before": before.serves, "target": target[:12], "nothing": ""}
    found = []
    if serves not in {names[name] for name in row.serves}:
        found.append(f"serves {serves or 'nothing'}")
    if row.gap == UNTOUCHED and first.failed:
        found.append(f"{first.failed} probes failed")
    if first.longest_gap > row.gap != UNTOUCHED:
        found.append(f"no answer for {first.longest_gap:.1f} s")
    if 5 in row.codes and first.code == 5 and not serves:
        found.append("5, and nothing serves")
    return found


def _of_what_is_left(row: Row, left: Remains, after: Remains) -> list[str]:
    killed = 137 in row.codes
    found = []
    if left.locked and not killed:
        found.append("the lock is still there")
    # A stand-in stays where it alone serves; a run that is typed again ends it.
    may_stay = {STANDIN} if row.stage in {SWAP, AFTER} else set()
    if (running := set(filter(None, left.running.split(", "))) - may_stay) and not killed:
        found.append(f"still there: {', '.join(sorted(running))}")
    if after.locked:
        found.append("the lock is there to the end")
    if after.running:
        found.append(f"there to the end: {after.running}")
    return found


def _of_what_must_survive(row: Row, before: Seen, after: Seen, target: str) -> list[str]:
    found = []
    if not after.serves:
        found.append("nothing serves, to the end")
    if not row.destroys and after.rows != before.rows:
        found.append("rows differ")
    if _own(row, after.files) != _own(row, before.files):
        found.append("files of the operator differ")
    if (
        after.branch != before.branch
        or after.head not in {before.head, target}
        or after.edits != before.edits
    ):
        found.append("the checkout differs")
    return found


def _own(row: Row, files: str) -> list[str]:
    """Return the lines about files that the flow must not write."""
    paused = row.flow.startswith("--restore-db") and row.interrupted
    return [line for line in files.splitlines() if not (paused and PAUSES in line)]


def _copied(bench: Bench) -> int:
    """Return the most signals that any copy of the database contains."""
    manifests = bench.sh("cat backups/db/*.json | tr -d '\\n' | sed 's/}{/}\\n{/g'").splitlines()
    return max(int(json.loads(text).get("signals", 0)) for text in manifests)


def _gap(first: Ended, serves: str) -> str:
    """Return the longest time without an answer; None if it lasts at the end."""
    if not first.failed:
        return "none"
    return f"{first.longest_gap:.1f} s" if serves else "to the end"


def _cells(
    row: Row, first: Ended, again: Ended | None, serves: str, before: Seen, after: Seen, target: str
) -> list[str]:
    names = {target[:12]: "the new one", before.serves: "the version before", "": "nothing"}
    says = next((line for line in first.output.splitlines() if row.says and row.says in line), "")
    return [
        row.stage,
        f"`{row.flow or '(none)'}`".replace(" --yes", ""),
        row.what,
        f"{first.code}" + (f", again {again.code}" if again else ""),
        names.get(serves, serves),
        str(first.failed),
        _gap(first, serves),
        "dumped, then gone" if row.destroys else "all there" if after.rows == before.rows else "DIFFER",
        "same" if _own(row, after.files) == _own(row, before.files) else "DIFFER",
        "same" if after.branch == before.branch else "DIFFER",
        "HELD" if after.remains.locked else "free",
        after.remains.running or "nothing",
        " ".join(says.split())[:120] or "-",
    ]
