"""Lock and journal of a checkout: which run may take over from which, and what is never lost."""

from __future__ import annotations

import errno
import json
import os
import subprocess
import sys
import threading
import time
from concurrent.futures import ThreadPoolExecutor
from typing import TYPE_CHECKING, Any

import pytest

from deploy.lock import described, refusal, took_over
from deploy.onhost import fence, journal, leftovers, lock, runs
from tests.controller.checkout import REPOSITORY

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path

GONE = 2**22 + 1  # no process can have this number


def mine(run_id: str = "a" * 12, **changes: Any) -> lock.Holder:
    return {**lock.claim(run_id, "quick"), **changes}


def elsewhere(run_id: str = "b" * 12) -> lock.Holder:
    """Return a claim from another machine, whose processes are not visible here."""
    return mine(run_id, machine="elsewhere", machine_id="e" * 32, pid=GONE)


def aged(project: Path, seconds: float) -> None:
    """Make the last heartbeat older."""
    path = project / ".run" / "lock"
    holder = json.loads(path.read_text("utf-8"))
    holder["seen"]["at"] -= seconds
    path.write_text(json.dumps(holder), "utf-8")


def test_the_second_run_is_refused_with_the_first_runs_identity(tmp_path: Path) -> None:
    assert lock.take(tmp_path, mine()) == {"taken": True, "kept": False, "replaced": None, "why": ""}
    second = lock.take(tmp_path, mine("b" * 12))
    assert second["taken"] is False
    assert (second["holder"]["run_id"], second["holder"]["pid"]) == ("a" * 12, os.getpid())
    assert lock.take(tmp_path, mine())["kept"] is True
    assert lock.release(tmp_path, "b" * 12) is False
    assert lock.release(tmp_path, "a" * 12) is True
    assert lock.holder_in(tmp_path / ".run") is None


@pytest.mark.parametrize(
    ("changes", "why"),
    [
        ({"pid": GONE}, f"its process {GONE} is gone"),
        ({"started": 1}, f"its process {os.getpid()} is gone"),  # the number is another process's now
        ({"machine_id": "m", "boot": "before"}, None),
    ],
    ids=["gone", "number of another process now", "machine of that name restarted"],
)
def test_a_dead_run_is_replaced(tmp_path: Path, changes: dict[str, Any], why: str | None) -> None:
    lock.take(tmp_path, mine("d" * 12, **changes))
    found = lock.take(tmp_path, mine())
    if why is None:  # another machine of that name: only the lease's age decides
        assert found["taken"] is False
        return
    assert (found["taken"], found["replaced"]["run_id"], found["why"]) == (True, "d" * 12, why)


def test_a_machine_that_was_restarted_has_no_old_runs(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    here = {**lock.machine(), "machine_id": "m"}
    monkeypatch.setattr(lock, "machine", lambda: here)
    lock.take(tmp_path, mine("d" * 12, boot="before"))
    assert lock.take(tmp_path, mine())["why"] == f"its process {os.getpid()} is gone"


def test_another_machine_counts_as_dead_after_two_minutes_of_silence(tmp_path: Path) -> None:
    """The host's monotonic clock counts; a heartbeat restarts the interval."""
    lock.take(tmp_path, elsewhere())
    aged(tmp_path, 119)
    assert lock.take(tmp_path, mine())["taken"] is False
    assert lock.beat(tmp_path, "b" * 12) is True
    aged(tmp_path, 119)
    assert lock.take(tmp_path, mine())["taken"] is False
    aged(tmp_path, 2)
    found = lock.take(tmp_path, mine())
    assert (found["taken"], found["why"]) == (True, "no heartbeat for 121 s")
    assert lock.beat(tmp_path, "b" * 12) is False


def test_a_run_that_the_caller_reports_dead_counts_as_dead_at_once(tmp_path: Path) -> None:
    """run.py sees the processes of its own machine, the host does not."""
    lock.take(tmp_path, elsewhere())
    assert lock.take(tmp_path, mine(), dead=["c" * 12])["taken"] is False
    assert lock.take(tmp_path, mine(), dead=["b" * 12])["taken"] is True


def test_of_many_runs_that_find_a_dead_run_one_takes_over(tmp_path: Path) -> None:
    lock.take(tmp_path, mine("d" * 12, pid=GONE))
    with ThreadPoolExecutor(16) as pool:
        answers = list(pool.map(lambda n: lock.take(tmp_path, mine(f"{n:012}")), range(16)))
    assert [answer["taken"] for answer in answers].count(True) == 1
    assert sorted(path.name for path in (tmp_path / ".run").iterdir()) == ["lock"]


def test_an_unreadable_lock_has_an_unknown_holder(tmp_path: Path) -> None:
    (tmp_path / ".run").mkdir()
    for text in ("", "{}", "[1]", '{"run_id": "x"}', "nonsense"):
        (tmp_path / ".run" / "lock").write_text(text, "utf-8")
        assert lock.take(tmp_path, mine()) == {"taken": False, "holder": {}}
    assert "--unlock --limit prod1" in refusal({}, "prod1")
    assert lock.release(tmp_path, "") is True


def test_the_message_names_actor_machine_flow_and_start() -> None:
    holder = mine(flow="update", user="alice", machine="ops1", pid=4711, since="2026-11-24T10:00:00Z")
    said = refusal(holder, "prod1")
    assert said.startswith(
        f"--update (run {'a' * 12}) by alice on ops1 since 2026-11-24T10:00:00Z is at work on prod1, "
        "process 4711 on ops1."
    )
    assert "is at work on /srv/code, process 4711" in refusal(holder, "local", "/srv/code")
    answer = {"replaced": holder, "why": "its process 4711 is gone", "ended": ["docker build (12)"]}
    assert took_over(answer).endswith("is gone; what it had left was ended: docker build (12)")


def test_a_checkout_that_only_provides_code_is_locked_and_not_journalled(tmp_path: Path) -> None:
    assert runs.hold(tmp_path, mine())["taken"]
    assert not runs.hold(tmp_path, mine("b" * 12))["taken"]
    assert runs.end(tmp_path, "a" * 12, {"exit_code": 0}, failed=False)
    assert (lock.holder_in(tmp_path / ".run"), journal.runs(tmp_path, 5)) == (None, [])
    lock.take(tmp_path, mine("d" * 12, pid=GONE))
    assert runs.hold(tmp_path, mine())["ended"] == []


def test_a_run_is_three_lines_and_one_entry(tmp_path: Path) -> None:
    plan = [{"step": "Image", "changes": "yes", "why": "new code"}]
    runs.begin(tmp_path, mine())
    assert runs.alive(tmp_path, "a" * 12) is True
    assert runs.alive(tmp_path, "a" * 12, plan) is True
    assert [(run["exit_code"], run["plan"]) for run in journal.runs(tmp_path, 10)] == [(None, plan)]
    assert runs.end(tmp_path, "a" * 12, {"exit_code": 5, "failure": "it broke"}, failed=True) is True
    (run,) = journal.runs(tmp_path, 10)
    assert (run["flow"], run["exit_code"], run["failure"]) == ("quick", 5, "it broke")
    assert run["plan"] == plan
    assert run["started"] <= run["ended"]
    assert lock.holder_in(tmp_path / ".run") is None


def test_a_run_that_never_began_here_leaves_no_line(tmp_path: Path) -> None:
    """Every host releases a lock that only some of them had granted."""
    runs.begin(tmp_path, mine("b" * 12))
    assert runs.end(tmp_path, "a" * 12, {"exit_code": 7}, failed=True) is True
    assert [run["run_id"] for run in journal.runs(tmp_path, 10)] == ["b" * 12]
    assert lock.holder_in(tmp_path / ".run") is not None


def test_a_run_that_lost_its_lock_is_notified(tmp_path: Path) -> None:
    runs.begin(tmp_path, mine())
    lock.release(tmp_path, "a" * 12)
    runs.begin(tmp_path, mine("b" * 12))
    assert runs.alive(tmp_path, "a" * 12, [{"step": "Image"}]) is False
    assert runs.end(tmp_path, "a" * 12, {"exit_code": 0}, failed=False) is False
    assert not [run for run in journal.runs(tmp_path, 10) if "plan" in run]
    assert lock.holder_in(tmp_path / ".run") is not None


def test_a_line_torn_by_a_power_cut_loses_only_itself(tmp_path: Path) -> None:
    runs.begin(tmp_path, mine())
    with (tmp_path / ".run" / "journal.jsonl").open("a", encoding="utf-8") as file:
        file.write('{"line":"end","run_id":"aaaaaaaa')
    journal.append(tmp_path, {"line": "end", "run_id": "a" * 12, "exit_code": 0})
    assert [run["exit_code"] for run in journal.runs(tmp_path, 10)] == [0]


def test_the_journal_stays_small_and_keeps_what_is_recent(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(journal, "LIMIT_BYTES", 2000)
    for number in range(100):
        journal.append(tmp_path, {"line": "start", "run_id": f"{number}", "flow": "quick"})
        journal.append(tmp_path, {"line": "end", "run_id": f"{number}", "exit_code": 0})
    files = sorted(path.name for path in (tmp_path / ".run").iterdir())
    assert files == ["journal.1.jsonl", "journal.jsonl"]
    assert sum((tmp_path / ".run" / name).stat().st_size for name in files) < 5000
    found = journal.runs(tmp_path, 20)
    assert [run["run_id"] for run in found] == [str(number) for number in range(99, 79, -1)]


def test_a_full_disk_leaves_no_lock(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def full(*_: object) -> None:
        raise OSError(28, "No space left on device")

    with monkeypatch.context() as patched:
        patched.setattr(journal, "append", full)
        with pytest.raises(OSError, match="No space left"):
            runs.begin(tmp_path, mine())
    assert lock.holder_in(tmp_path / ".run") is None

    runs.begin(tmp_path, mine())
    monkeypatch.setattr(journal, "append", full)
    with pytest.raises(OSError, match="No space left"):
        runs.end(tmp_path, "a" * 12, {"exit_code": 0}, failed=False)
    assert lock.holder_in(tmp_path / ".run") is None


def test_a_full_folder_still_releases_the_lock(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """The final heartbeat cannot be written either."""
    runs.begin(tmp_path, mine())

    def full(*_: object, **__: object) -> int:
        raise OSError(errno.ENOSPC, "No space left on device")

    monkeypatch.setattr("os.open", _only_reading(full))
    with pytest.raises(OSError, match="No space left"):
        runs.end(tmp_path, "a" * 12, {"exit_code": 0}, failed=False)
    assert lock.holder_in(tmp_path / ".run") is None


def _only_reading(full: Callable[..., int]) -> Callable[..., int]:
    """`os.open` of a full disk: what is there can be read."""
    real = os.open
    return lambda path, flags, *rest: (full if flags & os.O_CREAT else real)(path, flags, *rest)


class TestFence:
    """A step runs only while its run holds the lock; the next holder waits for the step to end."""

    def test_only_the_holder_passes(self, tmp_path: Path) -> None:
        lock.take(tmp_path, mine())
        with fence.passing(tmp_path, "a" * 12):
            pass
        for other in ("b" * 12, "by-hand", ""):
            with (
                pytest.raises(fence.FenceError, match=f"belongs to run {'a' * 12}"),
                fence.passing(tmp_path, other),
            ):
                raise AssertionError("the step was carried out")

    def test_a_run_whose_lock_was_released_does_not_pass(self, tmp_path: Path) -> None:
        lock.take(tmp_path, mine())
        lock.release(tmp_path, "a" * 12)
        with pytest.raises(fence.FenceError, match="had, was released"), fence.passing(tmp_path, "a" * 12):
            raise AssertionError("the step was carried out")
        with fence.passing(tmp_path, "by-hand"):  # a role on its own, and no run
            pass

    def test_a_resumed_run_learns_of_the_run_that_took_over_and_ended(self, tmp_path: Path) -> None:
        """The lock is free then; the journal records which run took it over."""
        runs.begin(tmp_path, mine())
        assert runs.begin(tmp_path, {**mine("b" * 12), "flow": "update"}, dead=["a" * 12])["taken"]
        holder = runs.taken_by(tmp_path, "a" * 12)
        assert holder is not None
        assert (holder["run_id"], holder["flow"]) == ("b" * 12, "update")
        runs.end(tmp_path, "b" * 12, {"exit_code": 0}, failed=False)
        assert lock.holder_in(tmp_path / ".run") is None
        ended = runs.taken_by(tmp_path, "a" * 12)
        assert ended is not None
        assert f"--update (run {'b' * 12}) by {holder['user']} on {holder['machine']} since" in described(
            ended
        )
        with (
            pytest.raises(fence.FenceError, match=f"taken over by run {'b' * 12} of .* which has ended"),
            fence.passing(tmp_path, "a" * 12),
        ):
            raise AssertionError("the step was carried out")
        assert runs.taken_by(tmp_path, "b" * 12) is None  # no run followed

    def test_a_lock_that_cannot_be_read_is_another_runs(self, tmp_path: Path) -> None:
        (tmp_path / ".run").mkdir()
        (tmp_path / ".run" / "lock").write_text("{", "utf-8")
        for run_id in ("a" * 12, "by-hand"):
            with pytest.raises(fence.FenceError, match="cannot be read"), fence.passing(tmp_path, run_id):
                raise AssertionError("the step was carried out")

    def test_an_expired_lease_without_a_take_over_still_passes(self, tmp_path: Path) -> None:
        """The machine was suspended: a refusal of the rescue could leave nothing serving."""
        lock.take(tmp_path, mine())
        aged(tmp_path, 1000)
        with fence.passing(tmp_path, "a" * 12):
            pass

    def test_each_step_of_a_run_without_run_py_renews_its_lease(self, tmp_path: Path) -> None:
        """It has no heartbeat; on another machine it counts as dead after half an hour without a step."""
        elsewhere = {"machine": "elsewhere", "machine_id": "1"}
        lock.take(tmp_path, {**lock.claim_by_hand("a" * 12, "quick"), **elsewhere})
        aged(tmp_path, 1700)
        holder = lock.look(tmp_path)
        assert (holder or {})["dead"] == ""
        with fence.passing(tmp_path, "a" * 12):
            pass
        assert ((lock.look(tmp_path) or {})["silent"] or 0) < 60
        aged(tmp_path, 1900)
        assert lock.take(tmp_path, mine("b" * 12))["why"].startswith("no heartbeat for 19")

    def test_a_step_of_run_py_renews_nothing(self, tmp_path: Path) -> None:
        """Its heartbeat is the only one, so that a run that hangs is noticed."""
        lock.take(tmp_path, mine())
        aged(tmp_path, 100)
        with fence.passing(tmp_path, "a" * 12):
            pass
        assert ((lock.look(tmp_path) or {})["silent"] or 0) > 90

    def test_a_full_disk_prevents_no_step(self, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
        lock.take(tmp_path, mine())

        def full(*_: object, **__: object) -> int:
            raise OSError(errno.ENOSPC, "No space left on device")

        monkeypatch.setattr("os.open", _only_reading(full))
        with fence.passing(tmp_path, "a" * 12):
            pass

    def test_a_take_over_waits_for_the_step_in_progress(self, tmp_path: Path) -> None:
        """The old holder is inside a step: the lock moves at once, the new run begins after that step."""
        lock.take(tmp_path, elsewhere())
        aged(tmp_path, 121)
        order: list[str] = []

        def take_over() -> None:
            assert runs.begin(tmp_path, mine())["replaced"]["run_id"] == "b" * 12
            order.append("the next run begins")

        with ThreadPoolExecutor(1) as pool:
            with fence.passing(tmp_path, "b" * 12):
                taking = pool.submit(take_over)
                _until(lambda: (lock.holder_in(tmp_path / ".run") or {}).get("run_id") == "a" * 12)
                with pytest.raises(fence.FenceError), fence.passing(tmp_path, "b" * 12):
                    raise AssertionError("a second step was carried out")
                order.append("the step ends")
            taking.result(timeout=60)
        assert order == ["the step ends", "the next run begins"]

    def test_a_step_that_never_ends_lets_no_run_take_over(
        self, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        lock.take(tmp_path, elsewhere())
        aged(tmp_path, 121)
        settle = fence.settle
        monkeypatch.setattr(fence, "settle", lambda project: settle(project, 0.2))
        with fence.passing(tmp_path, "b" * 12), pytest.raises(leftovers.LeftoverError, match="under way"):
            runs.begin(tmp_path, mine())
        assert lock.holder_in(tmp_path / ".run") is None


def _until(holds: Callable[[], bool]) -> None:
    pause = threading.Event()
    give_up = time.monotonic() + 60
    while not holds():
        assert time.monotonic() < give_up, "it never came"
        pause.wait(0.02)


def test_only_containers_with_the_runs_id_are_removed(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The engine is asked for this run's containers only; an operator's `compose run` has no such label."""
    asked: list[list[str]] = []

    def docker(argv: list[str]) -> list[str]:
        asked.append(argv)
        return ["ours"] if argv[1] == "ps" else []

    monkeypatch.setattr(runs, "_docker", docker)
    assert runs.sweep(tmp_path, "a" * 12) == ["container ours"]
    listing, stop, remove = asked[-3:]
    assert listing[-2:] == ["--filter", f"label=trading-signal-processor.run={'a' * 12}"]
    assert (stop, remove) == (["docker", "stop", "ours"], ["docker", "rm", "--force", "ours"])
    assert runs.sweep(tmp_path, "") == []


def test_images_that_a_dead_run_was_shipping_are_removed(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """By the role's name for them; images of another run stay."""
    names = (REPOSITORY / "roles/images/vars/main.yml").read_text("utf-8")
    assert "{{ source_dir }}/.run/images-{{ run_id }}.tar.gz" in names
    assert "{{ project_dir }}/.run/images-{{ run_id }}.tar.gz" in names
    monkeypatch.setattr(runs, "_docker", lambda _: [])
    (tmp_path / ".run").mkdir()
    for run_id in ("a" * 12, "b" * 12):
        (tmp_path / ".run" / f"images-{run_id}.tar.gz").touch()
    runs.sweep(tmp_path, "a" * 12)
    assert [path.name for path in (tmp_path / ".run").iterdir()] == [f"images-{'b' * 12}.tar.gz"]


START_BOTH = [
    *("rm --force new", "start edge", "update --restart=unless-stopped edge"),
    *("start app", "update --restart=unless-stopped app"),
]


@pytest.mark.parametrize(
    ("new", "old", "edge", "done"),
    [
        (None, True, None, []),  # no swap was under way
        (False, True, None, ["rm --force new", "start app", "update --restart=unless-stopped app"]),
        (False, False, None, ["rm --force new", "start app", "update --restart=unless-stopped app"]),
        (True, False, None, ["rm --force app", "rename new app", "start app"]),
        (True, None, None, ["rm --force app", "rename new app", "start app"]),
        (False, None, None, ["rm --force app", "rename new app", "start app"]),
        # the port moves from the edge to a version without one
        (False, True, True, START_BOTH),
        (False, True, False, START_BOTH),
        (True, True, True, START_BOTH),
        (True, True, False, ["rm --force edge app", "rename new app"]),
    ],
    ids=[
        *(
            "none",
            "old serves",
            "both stopped",
            "new serves",
            "old one gone",
            "old one gone, new one stopped",
        ),
        *("edge serves", "edge stopped", "both run", "edge stopped and new serves"),
    ],
)
def test_an_interrupted_swap_leaves_one_container(
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    *,
    new: bool | None,
    old: bool | None,
    edge: bool | None,
    done: list[str],
) -> None:
    names = {
        f"{journal.CONTAINER}.next-{'a' * 12}": "new",
        journal.CONTAINER: "app",
        "trading-edge": "edge",
        f"trading-edge.next-{'a' * 12}": "next edge",
    }
    running = {"new": new, "app": old, "edge": edge, "next edge": None}
    asked: list[str] = []

    def docker(argv: list[str]) -> list[str]:
        if argv[1] != "ps":
            asked.append(" ".join(names.get(word, word) for word in argv[1:]))
        return []

    def inspect(name: str) -> dict[str, Any]:
        state = running.get(names.get(name, ""))
        bindings = {"80/tcp": [{"HostPort": "80"}]}
        found = {"State": {"Status": "running", "Running": state}, "HostConfig": {"PortBindings": bindings}}
        return {} if state is None else found

    monkeypatch.setattr(runs, "_docker", docker)
    monkeypatch.setattr("deploy.onhost.edge.inspect", inspect)
    monkeypatch.setattr("deploy.onhost.edge.remove_remains", lambda: None)
    monkeypatch.setattr("deploy.onhost.edge.settle", lambda *_: [])
    ended = runs.sweep(tmp_path, "a" * 12)
    assert (asked, bool(ended)) == (done, bool(done))


def test_reading_creates_no_files(tmp_path: Path) -> None:
    assert lock.look(tmp_path) is None
    assert journal.runs(tmp_path, 5) == []
    assert lock.release(tmp_path, "x") is False
    assert list(tmp_path.iterdir()) == []


def test_lock_and_journal_take_little_time(tmp_path: Path) -> None:
    """Two locks, two lines: 15 ms on a quiet machine, and the container engine asked twice."""
    started = time.perf_counter()
    runs.begin(tmp_path, mine())
    runs.end(tmp_path, "a" * 12, {"exit_code": 0}, failed=False)
    assert time.perf_counter() - started < 2


def test_onhost_imports_nothing_of_ansible() -> None:
    """On a host these files are module_utils of our collection, and import only the standard library."""
    script = "import sys; from deploy.onhost import runs; print([m for m in sys.modules if 'ansible' in m])"
    done = subprocess.run([sys.executable, "-c", script], capture_output=True, text=True, check=True)
    assert done.stdout == "[]\n"
