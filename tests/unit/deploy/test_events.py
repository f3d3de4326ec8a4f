"""Event stream → state, on the events of a real run and on single ones."""

from __future__ import annotations

from typing import Any

import pytest

from deploy.actions import BY_NAME
from deploy.events import BUILD, PRECONDITIONS, RunState, Status, explain
from deploy.exitcodes import ExitCode
from deploy.verdict import Outcome, judge, to_ask

HOSTS = ["a", "b", "c", "d"]


def play(events: list[dict[str, Any]], hosts: list[str] = HOSTS) -> RunState:
    state = RunState(hosts)
    for event in events:
        state.apply(event)
    return state


def test_every_host_has_its_outcome(recorded: list[dict[str, Any]]) -> None:
    verdict = judge(play(recorded), BY_NAME["quick"], ansible_status=4, interrupted=False)
    assert verdict.outcomes == {
        "a": Outcome.DONE,  # its failure was rescued by the play
        "b": Outcome.FAILED,
        "c": Outcome.NEVER_TRIED,  # failed in the preconditions, so nothing was tried
        "d": Outcome.UNREACHABLE,
    }
    assert verdict.left == ["b", "c", "d"]


def test_only_a_host_that_failed_after_the_preconditions_is_diagnosed(
    recorded: list[dict[str, Any]],
) -> None:
    assert to_ask(play(recorded), ansible_status=4) == ["b"]


def test_reports_are_merged_in_the_order_of_the_events(recorded: list[dict[str, Any]]) -> None:
    hosts = play(recorded).hosts
    assert hosts["a"].report == {
        "version": "new",
        "health": "healthy",
        "gap_ms": 640,
        "serving": True,
        "warnings": [],
    }
    assert hosts["b"].report["version"] == "old"
    assert hosts["c"].report == {}


def test_a_failure_has_place_reason_and_output(recorded: list[dict[str, Any]]) -> None:
    failure = play(recorded).hosts["b"].failure
    assert failure
    assert (failure.play, failure.step) == ("Deploy", "compose: Replace the container")
    assert "ended with exit code 125" in failure.message
    assert failure.detail == ("port is already allocated",)


def test_steps_have_readable_names_states_and_times(recorded: list[dict[str, Any]]) -> None:
    steps = {(step.host, step.name): step for step in play(recorded).steps}
    assert steps["a", "compose: Build the image"].status is Status.CHANGED
    assert steps["a", "compose: Build the image"].seconds == pytest.approx(0.277689)
    assert steps["a", "compose: Replace the container"].status is Status.SKIPPED
    assert steps["a", "compose: Ask twice"].status is Status.IGNORED
    assert steps["a", "Look"].status is Status.OK
    assert steps["d", "Look"].status is Status.UNREACHABLE
    assert steps["a", "compose: Include more"].bookkeeping
    assert not steps["a", "compose: Build the image"].bookkeeping


def test_a_running_step_is_known_until_it_ends(recorded: list[dict[str, Any]]) -> None:
    state = RunState(HOSTS)
    position = next(i for i, e in enumerate(recorded) if e["event"] == "runner_on_start")
    for event in recorded[: position + 1]:
        state.apply(event)
    running = state.hosts["a"].running
    assert running
    assert running.name == "Look"
    assert running.since > 1_700_000_000  # the event's own time, in seconds of the epoch
    for event in recorded[position + 1 :]:
        state.apply(event)
    assert not any(host.running for host in state.hosts.values())


def test_an_interrupted_run_has_no_recap_and_leaves_hosts_half_way(recorded: list[dict[str, Any]]) -> None:
    start = next(i for i, e in enumerate(recorded) if e["event_data"].get("task") == "Build the image")
    verdict = judge(play(recorded[: start + 2]), BY_NAME["quick"], ansible_status=99, interrupted=True)
    assert verdict.outcomes["a"] is Outcome.STOPPED
    assert verdict.outcomes["b"] is Outcome.NEVER_TRIED
    assert verdict.code is ExitCode.INTERRUPTED


def test_output_of_ansible_outside_of_steps_is_shortened() -> None:
    state = play([{"event": "error", "stdout": f"line {n}\r\n"} for n in range(100)])
    assert state.notes[-1] == "line 99"
    assert len(state.notes) == 20


def test_an_unknown_event_changes_nothing() -> None:
    state = play([{"event": "playbook_on_something_new"}])
    assert (state.steps, state.failed) == ([], [])


@pytest.mark.parametrize(
    ("result", "message", "detail"),
    [
        ({"msg": "Say this."}, "Say this.", ()),
        ({"msg": "Task failed: Say this."}, "Say this.", ()),
        ({}, "no reason given", ()),
        (
            {"msg": "non-zero return code", "cmd": ["docker", "ps"], "rc": 1, "stderr": "no daemon\n"},
            "`docker ps` ended with exit code 1",
            ("no daemon",),
        ),
        ({"msg": "non-zero return code", "cmd": "a\nb", "rc": 2}, "`a …` ended with exit code 2", ()),
        ({"msg": "taken back: non-zero return code"}, "taken back: non-zero return code", ()),
        ({"msg": "x", "stderr": "", "stdout": "only here"}, "x", ("only here",)),
        ({"msg": "it said: boom", "stderr": "boom"}, "it said: boom", ()),
        (
            {
                "msg": "One or more items failed",
                "results": [{"msg": "fine"}, {"failed": True, "msg": "this"}],
            },
            "this",
            (),
        ),
        ({"censored": "hidden", "stderr": "s3cret"}, "no details: they may hold a secret (no_log)", ()),
    ],
)
def test_explanations(result: dict[str, Any], message: str, detail: tuple[str, ...]) -> None:
    assert explain(result) == (message, detail)


def test_long_output_is_cut_to_its_end() -> None:
    _, detail = explain({"msg": "x", "stderr": "\n".join(str(n) for n in range(100))})
    assert detail == tuple(str(n) for n in range(88, 100))


def finished(play_name: str, kind: str, host: str = "a") -> list[dict[str, Any]]:
    data = {"host": host, "task": "T", "res": {}}
    return [
        {"event": "playbook_on_play_start", "event_data": {"name": play_name}},
        {"event": "runner_on_start", "event_data": data},
        {"event": kind, "event_data": data},
    ]


@pytest.mark.parametrize(
    ("flow", "play_name", "kind", "report", "code"),
    [
        ("quick", PRECONDITIONS, "runner_on_failed", {}, 3),
        ("quick", PRECONDITIONS, "runner_on_unreachable", {}, 4),
        ("quick", "Deploy", "runner_on_unreachable", {}, 4),
        ("quick", "Deploy", "runner_on_failed", {"serving": True}, 5),
        ("quick", "Deploy", "runner_on_failed", {"serving": False}, 6),
        ("quick", "Deploy", "runner_on_failed", {}, 6),
        ("import_legacy", BUILD, "runner_on_failed", {"serving": False, "unchanged": True}, 3),
        ("import_legacy", "Deploy", "runner_on_failed", {"serving": False, "unchanged": False}, 6),
        ("quick", "Deploy", "runner_on_ok", {"serving": True}, 0),
        ("stop", "Stop", "runner_on_ok", {"serving": False}, 0),
        ("status", "Status", "runner_on_ok", {"serving": True}, 0),
        ("status", "Status", "runner_on_ok", {"serving": False}, 6),
        ("status", PRECONDITIONS, "runner_on_failed", {}, 3),
        ("status", "Status", "runner_on_failed", {}, 6),
        ("logs", "Log", "runner_on_failed", {}, 1),
    ],
)
def test_the_code_of_one_host(
    flow: str, play_name: str, kind: str, report: dict[str, Any], code: int
) -> None:
    state = play(finished(play_name, kind), ["a"])
    state.hosts["a"].report.update(report)
    status = 0 if kind == "runner_on_ok" else 2
    assert judge(state, BY_NAME[flow], ansible_status=status, interrupted=False).code == code


@pytest.mark.parametrize(("is_unchanged", "code"), [(True, 3), (False, 6)])
def test_a_host_that_another_one_stopped_half_way_may_be_unchanged(*, is_unchanged: bool, code: int) -> None:
    begun = [*finished(BUILD, "runner_on_ok"), *finished("Deploy", "runner_on_ok")[:2]]
    state = play([*begun, *finished(BUILD, "runner_on_failed", host="b")[2:]], ["a", "b"])
    for host in state.hosts.values():
        host.report.update({"serving": False, "unchanged": True})
    state.hosts["a"].report["unchanged"] = is_unchanged
    verdict = judge(state, BY_NAME["import_legacy"], ansible_status=2, interrupted=False)
    assert verdict.outcomes == {"a": Outcome.STOPPED, "b": Outcome.FAILED}
    assert verdict.code == code


def test_hosts_that_continue_without_an_unreachable_host_are_done() -> None:
    events = [
        *finished(PRECONDITIONS, "runner_on_unreachable", host="b"),
        *finished("Status", "runner_on_ok"),
        {"event": "playbook_on_stats", "event_data": {"dark": {"b": 1}}},
    ]
    state = play(events, ["a", "b"])
    state.hosts["a"].report["serving"] = True
    verdict = judge(state, BY_NAME["status"], ansible_status=4, interrupted=False)
    assert verdict.outcomes == {"a": Outcome.DONE, "b": Outcome.UNREACHABLE}
    assert verdict.code is ExitCode.UNREACHABLE


def test_a_run_that_passed_over_a_host_is_no_success() -> None:
    state = play(finished("Deploy", "runner_on_ok"), ["a", "b"])
    assert judge(state, BY_NAME["quick"], ansible_status=0, interrupted=False).code is ExitCode.INTERNAL


def test_a_playbook_that_cannot_be_read_is_no_success() -> None:
    assert (
        judge(play([], ["a"]), BY_NAME["quick"], ansible_status=4, interrupted=False).code
        is ExitCode.INTERNAL
    )
