"""The table: every fault and every interruption, and its expected result. One line of the result each."""

from __future__ import annotations

import signal
from dataclasses import dataclass
from typing import TYPE_CHECKING

from tests.faults import making
from tests.faults.bench import Trigger, strike
from tests.hosts import breaking
from tests.hosts.stack import APP, DATABASE, EDGE

if TYPE_CHECKING:
    from collections.abc import Callable

BEFORE, FETCH, BUILD, MIGRATION = "before anything", "in fetch", "in build", "in migration"
SWAP, AFTER, DUMP, RESTORE = "between stop and start", "after start", "in dump", "in restore"
UNTOUCHED = 0.0  # seconds: not one probe failed, also where the app was swapped
DOWN = float("inf")
_RESTORE = "--restore-db /root/good.dump --yes"


@dataclass(frozen=True)
class Row:
    """One fault. `flow` as typed after `run.py`; `gap` in seconds, at the most."""

    name: str
    stage: str
    flow: str
    what: str
    codes: tuple[int, ...]
    says: str  # what the output must contain, in addition to the exit code
    made: making.Maker = making.nothing
    trigger: Trigger | None = None
    gap: float = UNTOUCHED
    serves: tuple[str, ...] = ("before",)  # before, target, nothing: right after the flow has ended
    destroys: bool = False  # the rows may go, once they are dumped
    interrupted: bool = False  # the same is typed again, and must end 0
    closes: str = ""  # step at which the operator's terminal closes
    cut: str = ""  # event of the engine at which the power is cut; the host boots before the checks


def _appended(line: str) -> Callable[[str], str]:
    return lambda text: f"{text}{line}\n"


def _unhealthy(text: str) -> str:
    return text.replace("status=checks.overall(found.values())", 'status="unhealthy"')


FAULTS = (
    Row("dockerfile", BEFORE, "", "no Dockerfile", (3,), "Dockerfile", making.replaced("Dockerfile", "true")),
    Row("port", BEFORE, "--quick", "the port is taken", (3,), "8081", making.port_taken),
    Row("env-unreadable", BEFORE, "--quick", "`.env` cannot be read", (3,), ".env", making.replaced(".env", "mkdir .env")),
    Row("env-broken", BEFORE, "", "`.env` cannot be parsed", (3,), ".env", making.edited(".env", _appended('LOG_LEVEL="open'))),
    Row("value", BEFORE, "--quick", "a wrong value in `.env`", (5,), "WORKER_CONCURRENCY", making.edited(".env", _appended("WORKER_CONCURRENCY=many"))),
    Row("daemon", BEFORE, "--quick", "the daemon is dead", (3,), "dockerd", making.daemon_dead),
    Row("edit", BEFORE, "--update", "a tracked file was edited", (3,), "README.md", making.edited("README.md", _appended("edited"))),
    Row("diverged", BEFORE, "--quickupdate", "the branch has diverged", (3,), "Our own change", making.diverged),
    Row("unknown-version", BEFORE, "--rollback nowhere", "a version that never was", (3,), "nowhere"),
    Row("unconfirmed", BEFORE, "--db", "nobody confirms", (8,), "--yes"),
    Row("truncated", BEFORE, _RESTORE, "the dump is truncated", (3,), "good.dump", making.truncated_dump),
    Row("volume", BEFORE, "--rebuild --yes", "the volume is in use by others", (3,), "squatter", making.volume_in_use, gap=DOWN),
    Row("remote", FETCH, "--update", "the remote is away", (5,), "fetch origin", making.remote_away),
    Row("remote-damaged", FETCH, "--quickupdate", "the remote has lost objects", (5,), "fetch origin", making.remote_damaged),
    Row("build", BUILD, "", "the build fails", (5,), "this build breaks here", making.edited("Dockerfile", _appended("RUN echo this build breaks here && exit 9"))),
    Row("build-update", BUILD, "--update", "the build fails", (5,), "this build breaks here", making.offering(breaking.broken_build)),
    Row("build-rebuild", BUILD, "--rebuild --yes", "the build fails", (5,), "this build breaks here", making.edited("Dockerfile", _appended("RUN echo this build breaks here && exit 9"))),
    Row("daemon-restarted", BUILD, "--quickupdate", "the daemon is restarted", (0, 5, 6), "", making.news, Trigger("Back up the configuration", making.restart_daemon), gap=DOWN, serves=("before", "target", "nothing")),
    Row("disk-update", BEFORE, "--quickupdate", "no room for the configuration's backup", (3,), "too little room", making.disk_full),
    Row("run-full", BUILD, "--quickupdate", "no file can be made beside the lock", (5,), "", making.own_file_system, Trigger("Send requests to the stand-in", making.fill_run), serves=("target",)),
    Row("clock-back", BUILD, "--quickupdate", "the clock goes back an hour", (0,), "", making.moving_clock, Trigger("Back up the configuration", making.move_clock(seconds=-3600)), serves=("target",)),
    Row("migration", MIGRATION, "--quickupdate", "the migration fails", (5,), "no_such_table", making.offering(breaking.broken_migration)),
    Row("migration-waits", MIGRATION, "--update", "the migration waits for a lock", (5,), "lock timeout", making.table_locked),
    Row("swap", SWAP, "--quickupdate", "the new version cannot start", (5,), "is back and passed its gate", making.offering(breaking.starts_once)),
    Row("pruned", SWAP, "--quickupdate", "its image is pruned", (5,), "No such image", making.offering(lambda _: {"app/news.txt": "pruned\n"}), Trigger("Start the stand-in", making.prune_image)),
    Row("gate-default", MIGRATION, "", "it does not get healthy", (5,), "did not get healthy", making.edited("app/ops/health.py", _unhealthy)),
    Row("gate-no-rollback", AFTER, "--quickupdate --no-rollback -e health_wait=15", "it cannot start", (5,), "--rollback", making.left_failed, serves=("target",)),
    Row("clock-on", DUMP, "--db --yes", "the clock goes on by a day", (0,), "", making.moving_clock, Trigger("Stop the app", making.move_clock(seconds=86400)), gap=DOWN, destroys=True),
    Row("disk-backup", BEFORE, "--backup-db", "the disk is full", (3,), "too little room", making.disk_full),
    Row("no-inodes", BEFORE, "--quickupdate", "`/tmp` has few inodes left", (3,), "inodes left", making.no_inodes),
    Row("tmp-full", BEFORE, "--quickupdate", "`/tmp` is nearly full", (3,), "too little room", making.tmp_full),
    Row("port-metrics", BEFORE, "--quick", "the page's port is the metrics' own", (3,), "PROMETHEUS_PORT", making.edited(".env", _appended("SERVER_PORT=8008"))),
    Row("renamed", FETCH, "--update", "the branch was renamed at the remote", (3,), "no branch main any more", making.renamed_branch),
    Row("volume-version", BEFORE, "--update", "the volume is PostgreSQL 16's", (3,), "PostgreSQL 16", making.other_postgres),
    Row("exported-proxy", BEFORE, "--quickupdate", "a proxy that is not there is exported", (0,), "", making.exporting("proxy"), serves=("target",)),
    Row("exported-all", BEFORE, "--quickupdate", "forty variables are exported", (0,), "without effect", making.exporting(), serves=("target",)),
    Row("disk-db", DUMP, "--db --yes", "the disk is full", (3,), "--no-dump", making.disk_full, gap=DOWN),
    Row("cluster", DUMP, "--backup-db", "the database is damaged", (5,), "pg_filenode.map", making.damaged_cluster),
    Row("restore-killed", RESTORE, _RESTORE, "`pg_restore` is killed", (3,), "could not be restored", making.killed_restore, gap=DOWN),
)  # fmt: skip

_INTERRUPTIONS = (
    ("quick-int", BEFORE, "--quick", signal.SIGINT, "Quick deploy: ", making.nothing, UNTOUCHED, False),
    ("site-term", BUILD, "", signal.SIGTERM, "Set modes and owners", making.nothing, UNTOUCHED, False),
    ("update-kill-fetch", FETCH, "--update", signal.SIGKILL, "The checkout can be moved", making.news, UNTOUCHED, False),
    ("update-kill-build", BUILD, "--quickupdate", signal.SIGKILL, "Back up the configuration", making.news, UNTOUCHED, False),
    ("update-int-migration", MIGRATION, "--quickupdate", signal.SIGINT, "Bring the password in line", making.news_with_a_migration, UNTOUCHED, False),
    ("update-kill-migration", MIGRATION, "--quickupdate", signal.SIGKILL, "Bring the password in line", making.news_with_a_migration, UNTOUCHED, False),
    ("update-term-rehearsal", MIGRATION, "--quickupdate", signal.SIGTERM, "Start the stand-in", making.news, UNTOUCHED, False),
    ("update-kill-rehearsal", MIGRATION, "--quickupdate", signal.SIGKILL, "Start the stand-in", making.news, UNTOUCHED, False),
    ("update-int-swap", SWAP, "--quickupdate", signal.SIGINT, "Send requests to the stand-in", making.news, UNTOUCHED, False),
    ("update-kill-swap", SWAP, "--quickupdate", signal.SIGKILL, "Send requests to the stand-in", making.news, UNTOUCHED, False),
    ("update-kill-after", AFTER, "--quickupdate", signal.SIGKILL, "Replace the app", making.news, UNTOUCHED, False),
    ("update-kill-move", AFTER, "--quickupdate", signal.SIGKILL, "Ask the app for its health", making.news, UNTOUCHED, False),
    ("update-kill-returned", AFTER, "--quickupdate", signal.SIGKILL, "Send requests to the app", making.news, UNTOUCHED, False),
    ("update-kill-edge", AFTER, "--quickupdate", signal.SIGKILL, "Bring the edge in line", making.news, UNTOUCHED, False),
    ("rollback-kill-swap", SWAP, "--rollback", signal.SIGKILL, "Send requests to the stand-in", making.nothing, UNTOUCHED, False),
    ("db-int-dump", DUMP, "--db --yes", signal.SIGINT, "Stop the app", making.nothing, DOWN, True),
    ("db-kill-dump", DUMP, "--db --yes", signal.SIGKILL, "Stop the app", making.nothing, DOWN, True),
    ("db-kill-destroyed", SWAP, "--db --yes", signal.SIGKILL, "Remove the database's container", making.nothing, DOWN, True),
    ("rebuild-kill-build", BUILD, "--rebuild --yes", signal.SIGKILL, "Set modes and owners", making.nothing, DOWN, True),
    ("restore-kill", RESTORE, _RESTORE, signal.SIGKILL, "Restore the dump into", making.good_dump, DOWN, False),
)  # fmt: skip


def _interruption(
    name: str,
    stage: str,
    flow: str,
    number: signal.Signals,
    step: str,
    made: making.Maker,
    gap: float,
    destroys: bool,  # noqa: FBT001 - a column of the table above
) -> Row:
    killed = number is signal.SIGKILL
    swaps = ("before", "target") if stage in {SWAP, AFTER} else ("before",)
    return Row(
        name, stage, flow, f"{'`kill -9`' if killed else number.name} after “{step}”",
        (137,) if killed else (130,), "" if killed else "nterrupted", made, Trigger(step, strike(number)),
        gap, ("before", "target", "nothing") if gap == DOWN else swaps, destroys, interrupted=True,
    )  # fmt: skip


# The terminal is closed: the run continues to its end, and reports it by its exit code.
_CLOSED = (
    ("update-closed-fetch", FETCH, "--quickupdate", "The checkout can be moved", making.news, False),
    ("update-closed-build", BUILD, "--update", "Back up the configuration", making.news, False),
    ("update-closed-rehearsal", MIGRATION, "--quickupdate", "Start the stand-in", making.news, False),
    ("update-closed-swap", SWAP, "--quickupdate", "Send requests to the stand-in", making.news, False),
    ("update-closed-gate", AFTER, "--quickupdate", "Replace the app", making.news, False),
    ("update-closed-record", AFTER, "--quickupdate", "Move the checkout", making.news, False),
    ("db-closed-check", BEFORE, "--db --yes", "Ask the new image", making.nothing, True),
    ("db-closed-stop", DUMP, "--db --yes", "Stop the app", making.nothing, True),
    ("db-closed-dump", DUMP, "--db --yes", "Dump the database", making.nothing, True),
    ("db-closed-destroyed", SWAP, "--db --yes", "Remove the database's container", making.nothing, True),
    ("db-closed-migration", MIGRATION, "--db --yes", "Migrate the schema", making.nothing, True),
    ("db-closed-app", AFTER, "--db --yes", "Replace the app", making.nothing, True),
    ("restore-closed-check", BEFORE, _RESTORE, "Ask the new image", making.good_dump, False),
    ("restore-closed-read", RESTORE, _RESTORE, "Restore the dump into", making.good_dump, False),
    ("restore-closed-stop", RESTORE, _RESTORE, "Stop the app", making.good_dump, False),
    ("restore-closed-hold", RESTORE, _RESTORE, "Carry over what limits count", making.good_dump, False),
    ("restore-closed-names", RESTORE, _RESTORE, "Put it in the place", making.good_dump, False),
    ("restore-closed-app", AFTER, _RESTORE, "Replace the app", making.good_dump, False),
)  # fmt: skip


def _closed(
    name: str,
    stage: str,
    flow: str,
    step: str,
    made: making.Maker,
    destroys: bool,  # noqa: FBT001 - a column of the table above
) -> Row:
    serves = ("target",) if "update" in flow else ("before",)
    return Row(
        name, stage, flow, f"the terminal is closed at “{step}”", (0,), "", made,
        gap=DOWN, serves=serves, destroys=destroys, interrupted=True, closes=step,
    )  # fmt: skip


_NEXT = f"start {APP}"
_READING = f"exec_start: pg_restore*trading_signals_incoming* {DATABASE}"
_HOLDING = "start trading-signal-processor-restore-*"
_RENAMING = f"exec_start: psql*ON_ERROR_STOP=1 {DATABASE}"

# After the boot the old version or the new one serves, except where the database was destroyed.
_POWER_CUTS = (
    ("update-cut-build", BUILD, "--update", f"create {APP}-{APP}-run-*", making.news, False),
    ("update-cut-rehearsal", MIGRATION, "--quickupdate", f"start {APP}-standin", making.news, False),
    ("update-cut-covered", SWAP, "--quickupdate", f"exec_start: edge traffic standin {EDGE}", making.news, False),
    ("update-cut-stopped", SWAP, "--quickupdate", f"die {APP}", making.news, False),
    ("update-cut-started", SWAP, "--quickupdate", _NEXT, making.news, False),
    ("update-cut-removed", AFTER, "--quickupdate", f"destroy {APP}", making.news, False),
    ("update-cut-renamed", AFTER, "--quickupdate", f"rename {APP}", making.news, False),
    ("update-cut-returned", AFTER, "--quickupdate", f"exec_start: edge traffic app {EDGE}", making.news, False),
    ("update-cut-ended", AFTER, "--quickupdate", f"die {APP}-standin", making.news, False),
    ("db-cut-stopping", BEFORE, "--db --yes", f"kill {APP}", making.nothing, True),
    ("db-cut-stopped", DUMP, "--db --yes", f"die {APP}", making.nothing, True),
    ("db-cut-destroyed", SWAP, "--db --yes", f"destroy {DATABASE}", making.nothing, True),
    ("db-cut-database", SWAP, "--db --yes", f"start {DATABASE}", making.nothing, True),
    ("db-cut-migrated", MIGRATION, "--db --yes", f"destroy {APP}-{APP}-run-*", making.nothing, True),
    ("db-cut-started", AFTER, "--db --yes", f"start {APP}", making.nothing, True),
    ("restore-cut-reading", RESTORE, _RESTORE, _READING, making.good_dump, False),
    ("restore-cut-stopping", RESTORE, _RESTORE, f"kill {APP}", making.good_dump, False),
    ("restore-cut-stopped", RESTORE, _RESTORE, f"die {APP}", making.good_dump, False),
    ("restore-cut-holding", RESTORE, _RESTORE, _HOLDING, making.good_dump, False),
    ("restore-cut-renaming", RESTORE, _RESTORE, _RENAMING, making.good_dump, False),
    ("restore-cut-started", RESTORE, _RESTORE, f"start {APP}", making.good_dump, False),
)  # fmt: skip


def _power_cut(
    name: str,
    stage: str,
    flow: str,
    event: str,
    made: making.Maker,
    destroys: bool,  # noqa: FBT001 - a column of the table above
) -> Row:
    serves = (
        ("before", "target", "nothing") if destroys and stage in {SWAP, MIGRATION} else ("before", "target")
    )
    return Row(
        name, stage, flow, f"the power is cut at “{event}”", (137,), "", made,
        gap=DOWN, serves=serves, destroys=destroys, interrupted=True, cut=event,
    )  # fmt: skip


INTERRUPTIONS = tuple(_interruption(*row) for row in _INTERRUPTIONS)
CLOSED = tuple(_closed(*row) for row in _CLOSED)
POWER_CUTS = tuple(_power_cut(*row) for row in _POWER_CUTS)
ROWS = (*FAULTS, *INTERRUPTIONS, *CLOSED, *POWER_CUTS)

# The most harmful rows are also in `make test`, where their own tests check more.
IN_MAKE_TEST = {
    "port": "flows/test_faults.py::test_a_port_in_use",
    "daemon": "flows/test_faults.py::test_a_dead_daemon",
    "edit": "flows/test_update.py::test_an_edited_tracked_file",
    "diverged": "flows/test_update.py::test_a_diverged_branch",
    "remote": "flows/test_update.py::test_an_unreachable_remote",
    "build-update": "flows/test_update.py::test_a_version_that_cannot_be_deployed",
    "migration": "flows/test_update.py::test_a_version_that_cannot_be_deployed",
    "swap": "flows/test_update.py::test_a_failed_swap_is_undone",
    "build-rebuild": "flows/test_database_flows.py::test_a_rebuild_that_cannot_be_built_destroys_nothing",
    "cluster": "flows/test_database_flows.py::test_a_backup_that_fails_leaves_nothing",
    "unconfirmed": "flows/test_database_flows.py::test_destruction_needs_a_confirmation",
    "update-cut-stopped": "flows/test_interruptions.py::test_an_interrupted_swap_leaves_a_container_that_starts_after_the_boot",
    "db-cut-stopped": "flows/test_interruptions.py::test_an_app_stopped_for_a_dump_restarts",
    "exported-all": "flows/test_exported.py::test_forty_exported_variables_change_nothing",
    "update-kill-build": "flows/test_interruptions.py::test_two_runs_at_once_and_the_first_is_killed",
    "update-kill-swap": "flows/test_interruptions.py::"
    "test_an_update_that_ends_between_stop_and_start_is_completed_by_a_repetition",
    "update-kill-rehearsal": "flows/test_interruptions.py::"
    "test_a_killed_stand_in_leaves_no_container_next_to_the_app",
}
