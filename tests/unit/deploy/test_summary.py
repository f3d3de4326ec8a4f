"""The summary of a run: first line, hosts, next command, document."""

from __future__ import annotations

import json
from typing import Any

import pytest

from deploy import summary
from deploy.actions import BY_NAME
from deploy.events import Failure, RunState, Status, Step
from deploy.report import shown, step_line
from deploy.request import Request
from deploy.summary import Ending
from deploy.verdict import judge
from tests.hosts import document


def ending(
    recorded: list[dict[str, Any]],
    *,
    serving: bool,
    interrupted: bool = False,
    **request: Any,
) -> Ending:
    """Return the recorded run (`b` failed half-way), after the diagnosis of `b`."""
    state = RunState(["a", "b", "c", "d"])
    for event in recorded:
        state.apply(event)
    state.hosts["b"].report = {"serving": serving, "version": "old" if serving else None, "log": "last words"}
    action = BY_NAME["quick"]
    verdict = judge(state, action, ansible_status=2, interrupted=interrupted)
    return Ending(Request(action, **request), state, verdict, seconds=12.34)


def test_the_first_line_reports_that_the_old_version_serves(recorded: list[dict[str, Any]]) -> None:
    assert summary.headline(ending(recorded, serving=True)) == (
        "Quick deploy FAILED after 12.3 s; the old version still serves."
    )


def test_the_first_line_reports_where_nothing_serves(recorded: list[dict[str, Any]]) -> None:
    """Only `b`: `c` was never tried and `d` failed before anything began, so what they had still runs."""
    assert summary.headline(ending(recorded, serving=False)) == (
        "Quick deploy FAILED after 12.3 s; NOTHING SERVES on b."
    )


def test_a_host_that_is_as_it_was_is_not_reported_as_dead(recorded: list[dict[str, Any]]) -> None:
    """What serves there may be the system that an import replaces, or nothing as before."""
    end = ending(recorded, serving=False)
    end.state.hosts["b"].report["unchanged"] = True
    assert "    state:  nothing was changed" in summary.lines(end)


def test_an_unknown_state_is_not_reported_as_dead(recorded: list[dict[str, Any]]) -> None:
    """The diagnosis can fail too: a dead daemon, a second Ctrl-C."""
    end = ending(recorded, serving=False)
    end.state.hosts["b"].report = {"serving": None}
    assert summary.headline(end).endswith("; it is NOT KNOWN what serves on b.")
    assert "    state:  unknown: diagnose.yml found no answer; check with --status-only" in summary.lines(end)


@pytest.mark.parametrize(
    ("serving", "words"), [(True, "The stack still serves."), (False, "NOTHING SERVES on b.")]
)
def test_the_first_line_reports_it_also_after_an_interruption(
    recorded: list[dict[str, Any]], *, serving: bool, words: str
) -> None:
    line = summary.headline(ending(recorded, serving=serving, interrupted=True))
    assert line == f"Quick deploy interrupted after 12.3 s. {words}"


def test_a_host_lost_half_way_is_not_reported_as_unchanged(recorded: list[dict[str, Any]]) -> None:
    end = ending(recorded, serving=True)
    end.state.hosts["b"].failure = None
    end.state.hosts["a"].failure = Failure("Deploy", "compose: Up", "timed out", unreachable=True)
    end.state.hosts["a"].finished = []
    lost = Ending(
        end.request, end.state, judge(end.state, end.request.action, ansible_status=4, interrupted=False), 1
    )
    assert summary.headline(lost).endswith("the old version still serves. What serves on a is not known.")
    assert "    state:  unknown; check with --status-only once the host answers" in summary.lines(lost)


def test_every_host_is_accounted_for(recorded: list[dict[str, Any]]) -> None:
    text = summary.lines(ending(recorded, serving=True))
    assert text[2].startswith("  a: done · version new · healthy · gap in service 640 ms · ")
    assert "  c: never tried" in text
    assert "    failed: compose: Replace the container" in text
    assert "            | port is already allocated" in text
    assert "    state:  version old serves" in text
    assert "      last words" in text
    assert any(line.startswith("  d: unreachable") for line in text)


def test_the_next_command_is_for_exactly_the_rest(recorded: list[dict[str, Any]]) -> None:
    end = ending(
        recorded,
        serving=True,
        limit="web",
        inventories=("my hosts.yml",),
        extra_vars=("a=b c",),
        install_docker=True,
        adopt=True,
    )
    assert summary.next_command(end).endswith(
        "python3 run.py --quick -i 'my hosts.yml' --limit b,c,d -e 'a=b c' --install-docker --adopt"
    )


BACKUP = {
    "name": "20261129T101112Z-update",
    "made": "2026-11-29T10:11:12Z",
    "flow": "update",
    "run": "r",
    "commit": "0123456789abcdef",
    "differs": [".env"],
    "without": [],
    "problem": "",
}


def listed(*backups: dict[str, Any], **request: Any) -> Ending:
    """Return the end of `--restore-config` without a backup."""
    state = RunState(["a"])
    state.hosts["a"].plays = ["Configuration backups"]
    state.hosts["a"].report = {"config_backups": list(backups)}
    action = BY_NAME["restore_config"].listing
    verdict = judge(state, action, ansible_status=0, interrupted=False)
    return Ending(Request(action, **request), state, verdict, seconds=1)


def test_the_backups_are_listed_with_what_differs_and_the_command_for_one() -> None:
    older = BACKUP | {"name": "20261128T101112Z-rollback", "flow": "rollback", "commit": "", "differs": []}
    lacks = BACKUP | {"differs": [], "without": ["config/system_config.json"]}
    broken = BACKUP | {"differs": [], "problem": "it has no manifest.json", "made": ""}
    end = listed(BACKUP, older, lacks, broken, limit="a")
    text = summary.lines(end)
    assert text[0] == "The configuration backups, newest first."
    assert [line.split("  ")[-1] for line in text[3:7]] == [
        "differs: .env",
        "as today",
        "as today; not in it: config/system_config.json",
        "CANNOT BE PUT BACK: it has no manifest.json",
    ]
    assert text[3].startswith("    20261129T101112Z-update    2026-11-29T10:11:12Z  update    0123456789ab  ")
    assert text[-1] == "Next: python3 run.py --restore-config NAME --limit a  puts one back"
    found = summary.document(end)
    document.check(json.dumps(found))
    assert (found["flow"], found["hosts"]["a"]["plan"]) == ("restore_config", [])
    assert found["hosts"]["a"]["config_backups"][0] == BACKUP


def test_without_a_backup_the_flows_that_make_one_are_named() -> None:
    assert "    no configuration backup yet: --update, --rollback" in "\n".join(summary.lines(listed()))


@pytest.mark.parametrize(
    ("maintenance", "command"),
    [
        (False, "python3 run.py --quick  starts it"),
        (True, "python3 run.py --maintenance off  ends maintenance"),
    ],
)
def test_status_names_the_command_after_which_clients_are_served(*, maintenance: bool, command: str) -> None:
    state = RunState(["a"])
    state.hosts["a"].plays = ["Status"]
    state.hosts["a"].report = {"serving": False, "maintenance": maintenance}
    action = BY_NAME["status"]
    verdict = judge(state, action, ansible_status=0, interrupted=False)
    assert summary.next_command(Ending(Request(action), state, verdict, seconds=1)) == command


def test_with_every_host_left_the_limit_stays_as_typed() -> None:
    request = Request(BY_NAME["site"], limit="web")
    assert summary.command_line(request, ["a", "b"], everything=True) == "python3 run.py --limit web"
    assert summary.command_line(Request(BY_NAME["site"]), ["here"], everything=True) == "python3 run.py"


@pytest.mark.parametrize(
    ("said", "typed"),
    [
        (
            "No ED25519 host key is known for 10.0.0.7 and you have requested strict checking.",
            "ssh-keyscan 10.0.0.7 >> ~/.ssh/known_hosts",
        ),
        (
            "No RSA host key is known for [trading.example.com]:2222 and you have requested strict checking.",
            "ssh-keyscan -p 2222 trading.example.com >> ~/.ssh/known_hosts",
        ),
        ("@ WARNING: REMOTE HOST IDENTIFICATION HAS CHANGED! @", "find out why"),
    ],
)
def test_a_host_refused_by_its_key_has_the_next_command(
    recorded: list[dict[str, Any]], said: str, typed: str
) -> None:
    end = ending(recorded, serving=True)
    end.state.hosts["d"].failure = Failure("P", "Look", f"Failed to connect: {said}", unreachable=True)
    assert any(typed in line for line in summary.lines(end))


def test_the_document_has_the_content_of_the_screen(recorded: list[dict[str, Any]]) -> None:
    document = summary.document(ending(recorded, serving=False))
    assert document["exit_code"] == 6
    assert document["seconds"] == 12.34
    assert {name: host["outcome"] for name, host in document["hosts"].items()} == {
        "a": "done",
        "b": "failed",
        "c": "never tried",
        "d": "unreachable",
    }
    assert document["hosts"]["b"]["serving"] is False
    assert document["hosts"]["c"]["version"] is None
    assert len(document["steps"]) == len(ending(recorded, serving=False).state.steps)


@pytest.mark.parametrize(
    ("status", "bookkeeping", "verbosity", "visible"),
    [
        (Status.OK, False, 0, True),
        (Status.OK, True, 0, False),
        (Status.OK, True, 1, True),
        (Status.CHANGED, True, 0, True),
        (Status.SKIPPED, False, 0, False),
        (Status.SKIPPED, False, 1, True),
        (Status.IGNORED, False, 0, False),
        (Status.FAILED, True, 0, True),
        (Status.UNREACHABLE, True, 0, True),
    ],
)
def test_which_steps_are_shown(status: Status, *, bookkeeping: bool, verbosity: int, visible: bool) -> None:
    assert shown(Step("a", "Deploy", "Build", status, 1.0, bookkeeping), verbosity) is visible


def test_columns_line_up() -> None:
    step = Step("a", "Deploy", "compose: Build", Status.OK, 1.26)
    assert step_line(step, width=5) == "a      ok         compose: Build  (1.3 s)"


def test_the_old_version_is_named_only_where_it_serves(recorded: list[dict[str, Any]]) -> None:
    """The swap was done, and something after it failed: what serves is compared with what served before."""
    end = ending(recorded, serving=True)
    end.state.hosts["b"].report |= {"before": "old"}
    assert summary.headline(end).endswith("; the old version still serves.")
    end.state.hosts["b"].report |= {"before": "older"}
    assert summary.headline(end).endswith("; version old serves on b, not older, which ran before.")


def test_the_first_failure_is_named_first_and_later_ones_follow(recorded: list[dict[str, Any]]) -> None:
    """A rescue that fails for the same reason must not hide it; one that quotes it is shown alone."""
    end = ending(recorded, serving=False)
    host = end.state.hosts["b"]
    first = host.failure
    assert first
    host.fail(Failure("Update", "versions: Bring back", "no space left"))
    text = summary.lines(end)
    assert text.index(f"    failed: {first.step}") < text.index(
        "    then failed: versions: Bring back: no space left"
    )
    document = summary.document(end)["hosts"]["b"]["failure"]
    assert (document["step"], document["detail"][-1]) == (
        first.step,
        "then failed: versions: Bring back: no space left",
    )
    host.fail(Failure("Update", "versions: The version failed", f"{first.message} It is back. no space left"))
    assert [one.step for one in host.failures] == ["versions: The version failed"]
