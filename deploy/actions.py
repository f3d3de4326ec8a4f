"""THE table: flag → playbook. Parser, `--help`, the README's table and tests are made from it."""

from __future__ import annotations

from dataclasses import dataclass, field, replace
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from collections.abc import Mapping

PROJECT = "trading-signal-processor"  # what has to be typed before anything is destroyed


@dataclass(frozen=True)
class Action:
    """One flow: what the operator types, what runs, and what it may touch."""

    name: str  # `run_flow` in the playbooks, and the attribute the parser sets
    flags: tuple[str, ...]  # none for the default flow
    playbook: str | None  # under playbooks/; None streams directly
    label: str  # "Deploying …": the headline while it runs
    summary: str  # one line for --help and the README
    database: str = "kept"
    changes: bool = False  # may change anything on a host
    destroys: tuple[str, ...] = ()  # what is shown to the operator before typing the project's name
    dumps: bool = False  # makes a dump before that, unless --no-dump
    deploys: bool = False  # ends with a served version: --install-docker and the log flags may join
    shows_log: bool = False  # may be joined to a deploying flow, after it
    # The argument its flag takes, as --help shows it; [NAME]: it may be left out; a|b: one of these words
    takes: str = ""
    lists: str = (
        ""  # the playbook that shows what its argument may be, where that is left out; changes nothing
    )
    for_one_host: bool = False
    rolls_back: bool = False  # --no-rollback may join
    moves: bool = False  # takes the checkout to another commit, and so plays from a copy of the controller
    fetches: bool = False  # first of all; then it may leave its hosts to the target's controller
    # Refused where the checkout's path breaks programs. Fails open: never for a flow that reads, stops, rolls
    # back, restores or backs up, which has to work, as far as it can, where a stack is already.
    needs_clean_path: bool = False
    extra_variables: Mapping[str, Any] = field(default_factory=dict)  # those of this row

    @property
    def listing(self) -> Action:
        """What its flag does without an argument: show what there is."""
        return replace(
            self, playbook=self.lists, label=f"List for {self.flags[0]}", changes=False, deploys=False
        )

    @property
    def needs_argument(self) -> bool:
        """Whether its flag takes an argument that may not be left out."""
        return bool(self.takes) and not self.takes.startswith("[")

    @property
    def words(self) -> list[str]:
        """What its argument must be one of; empty where anything may be typed."""
        return self.takes.split("|") if "|" in self.takes else []

    @property
    def destructive(self) -> bool:
        """Whether it needs the project's name typed, or --yes."""
        return bool(self.destroys)


_VOLUME = (
    "volume trading-signal-processor_postgres_data (or the one that POSTGRES_VOLUME in .env names): "
    "every signal, delivery and position"
)

_UPDATE = Action(
    name="update",
    flags=("--update", "--upgrade"),
    playbook="update.yml",
    label="Update",
    summary="back up configuration, pull, build without cache, swap only the app",
    database="kept, container untouched",
    changes=True,
    needs_clean_path=True,
    deploys=True,
    rolls_back=True,
    moves=True,
    fetches=True,
)

ACTIONS: tuple[Action, ...] = (
    Action(
        name="site",
        flags=(),
        playbook="site.yml",
        label="Full deploy",
        summary="full deploy: image built without cache, app container replaced",
        changes=True,
        needs_clean_path=True,
        deploys=True,
    ),
    Action(
        name="quick",
        flags=("--quick",),
        playbook="quick.yml",
        label="Quick deploy",
        summary="deploy with a cached build; containers replaced only where something changed",
        changes=True,
        needs_clean_path=True,
        deploys=True,
    ),
    _UPDATE,
    replace(
        _UPDATE,
        name="quickupdate",
        flags=("--quickupdate", "--quickupgrade"),
        playbook="quickupdate.yml",
        label="Quick update",
        summary="the same with a cached build",
    ),
    Action(
        name="rebuild",
        flags=("--rebuild",),
        playbook="rebuild.yml",
        label="Rebuild",
        summary="remove containers, volume, the project's images, temporary files; build all from nothing",
        database="destroyed",
        changes=True,
        needs_clean_path=True,
        deploys=True,
        destroys=(
            "containers trading-signal-processor, trading-edge, trading-acme and trading-db",
            _VOLUME,
            "the project's images but for those just made, data/, unfinished copies in backups/",
        ),
        dumps=True,
    ),
    Action(
        name="db",
        flags=("--db",),
        playbook="db.yml",
        label="Fresh database",
        summary="remove the database's container, volume and image; an empty database, same app",
        database="destroyed",
        changes=True,
        needs_clean_path=True,
        destroys=("container trading-db and its image", _VOLUME),
        dumps=True,
    ),
    Action(
        name="stop",
        flags=("--stop",),
        playbook="stop.yml",
        label="Stop",
        summary="remove the containers; volumes and configuration stay",
        changes=True,
    ),
    Action(
        name="status",
        flags=("--status-only",),
        playbook="status.yml",
        label="Status",
        summary="containers, health, version, URLs, whether the remote has a newer commit; "
        "changes nothing (0 serving, 6 not)",
    ),
    Action(
        name="rollback",
        flags=("--rollback",),
        playbook="rollback.yml",
        label="Rollback",
        summary="back to the previous (or named) good version: image and code; health-gated",
        changes=True,
        deploys=True,
        takes="[VERSION]",
        rolls_back=True,
        moves=True,
    ),
    Action(
        name="logs",
        flags=("--logs",),
        playbook="logs.yml",
        label="Log",
        summary="last 100 lines of the app's log; with a deploying flag, after it",
        shows_log=True,
        extra_variables={"status_log_lines": 100},
    ),
    Action(
        name="diagnose",
        flags=("--diagnose",),
        playbook="diagnose.yml",
        label="Diagnosis",
        summary="read-only report: containers, last lines of both logs, volume, network, disk, ports, health",
    ),
    Action(
        name="backup",
        flags=("--backup-db",),
        playbook="backup.yml",
        label="Backup",
        summary="verified dump of the database into backups/db, of which the newest 5 (`--keep N`) stay; "
        "nothing that runs is touched",
        changes=True,
    ),
    Action(
        name="restore",
        flags=("--restore-db",),
        playbook="restore.yml",
        label="Restore",
        summary="put a verified dump in the database's place; delivery starts paused",
        database="replaced",
        changes=True,
        takes="FILE",
        for_one_host=True,
        destroys=("database trading_signals: kept aside under another name, and no longer used",),
    ),
    Action(
        name="restore_config",
        flags=("--restore-config",),
        playbook="restore_config.yml",
        label="Configuration restore",
        summary="back up today's configuration, put a backup of it in its place, deploy as --quick does; "
        "without BACKUP: list them",
        changes=True,
        deploys=True,
        takes="[BACKUP]",
        lists="config_backups.yml",
    ),
    Action(
        name="import_legacy",
        flags=("--import-legacy",),
        playbook="import_legacy.yml",
        label="Import of the replaced system",
        summary="take over from the replaced system, then deploy as --quick does: SOURCE is its folder, its "
        "database's container (`trading-db`), its compose project, or a pg_dump",
        database="rows added",
        changes=True,
        needs_clean_path=True,
        deploys=True,
        takes="SOURCE",
        for_one_host=True,
    ),
    Action(
        name="maintenance",
        flags=("--maintenance",),
        playbook="maintenance.yml",
        label="Maintenance",
        summary="the edge answers 503 with Retry-After and a plain page instead of the app, until it is off",
        changes=True,
        takes="on|off",
    ),
    Action(
        name="history",
        flags=("--history",),
        playbook="history.yml",
        label="History",
        summary="who ran what, when, from which version to which with the commits in between, how it ended",
    ),
    Action(
        name="unlock",
        flags=("--unlock",),
        playbook="unlock.yml",
        label="Unlock",
        summary="show and release a lock left behind; that of a run at work only with --yes",
    ),
    Action(
        name="follow_logs",
        flags=("--follow-logs",),
        playbook=None,
        label="Following the log",
        summary="follow the app's log until Ctrl-C; with a deploying flag, after it",
        shows_log=True,
    ),
)

BY_NAME: dict[str, Action] = {action.name: action for action in ACTIONS}
DEFAULT = BY_NAME["site"]
UNLOCK = BY_NAME["unlock"]
DIAGNOSIS = BY_NAME["diagnose"]  # also asked after a failure: who serves now, and what is wrong?
LOG_LINES_AFTER_FAILURE = 30  # of the app, that it shows then


def markdown_table() -> str:
    """The README's table of flags, one row per action, ending in a newline."""
    rows = [
        "| flag | playbook | what it does | database |",
        "|---|---|---|---|",
    ]
    for action in ACTIONS:
        takes = action.takes.replace("|", r"\|")
        typed = (f"`{flag} {takes}`" if takes else f"`{flag}`" for flag in action.flags)
        flags = ", ".join(typed) or "none"
        playbook = f"`{action.playbook}`" if action.playbook else "direct stream"
        database = f"**{action.database}**" if action.destructive else action.database
        rows.append(f"| {flags} | {playbook} | {action.summary} | {database} |")
    return "\n".join(rows) + "\n"


if __name__ == "__main__":
    print(markdown_table(), end="")  # noqa: T201 - printing is what this command is for
