"""What decides a flow's steps on one host, as the role `plan` reports it."""

from __future__ import annotations

from dataclasses import dataclass, field, fields
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from collections.abc import Mapping

APP, DATABASE, EDGE, ACME = "trading-signal-processor", "postgres", "edge", "acme"  # names of the services

_REASONS = {
    "absent": "there is none",
    "definition": "its definition or a setting in .env changed",
    "image": "its image changed",
    "stopped": "it does not run",
}


@dataclass(frozen=True)
class Source:
    """What the remote has for an update; reported before anything else."""

    fetch: bool = False  # the remote has something new
    known: bool = True  # the commit is here already
    changed_controller: tuple[str, ...] = ()
    own_commits: tuple[str, ...] = ()  # where the commit is not known: local ones that may stand in its way


@dataclass(frozen=True)
class Facts:
    """The members of `host_report.plan` (group_vars/all.yml); the defaults: what was not looked at."""

    docker_to_come: bool = False  # --check: nothing can be seen before --install-docker has done its work
    docker_made: bool = False
    to_make: tuple[str, ...] = ()  # files and folders of the checkout
    aside: bool = False  # an interrupted update left the operator's files aside
    head: str = ""
    containers: dict[str, dict[str, Any]] = field(default_factory=dict)  # by service, as stack_facts has them
    volume: bool = False
    standin_is_left: bool = False  # by a run that was cut off in a swap
    foreign: tuple[str, ...] = ()
    base_images: tuple[str, ...] = ()  # lines of images/base-images.sh
    privileges_known: bool = True
    version: str = ""  # what is deployed
    commit: str = ""  # of an update or a rollback
    no_cache: bool = False
    replace_app: bool = False
    database_held: bool = False  # it runs, and the flow leaves it alone
    changed: dict[str, str] = field(default_factory=dict)  # service → what of it is not in line
    orphans: tuple[str, ...] = ()
    has_acme: bool = False  # TLS is on, and something keeps its certificate current
    seen: dict[str, Any] = field(default_factory=dict)  # as plan_facts has it
    legacy: dict[str, Any] = field(default_factory=dict)  # legacy_plan of roles/legacy
    no_dump: bool = False
    dumps_kept: int = 5
    archive: dict[str, Any] = field(default_factory=dict)  # of the dump to restore
    restored: dict[str, Any] = field(
        default_factory=dict
    )  # the configuration backup, as config_restore has it
    pauses: bool = False  # delivery is not paused yet
    source: Source = field(default_factory=Source)

    def pending(self, had: list[str] | None) -> list[str] | None:
        """The migrations of the version to come that a database lacks; None where either is not known."""
        known = self.seen.get("migrations")
        return None if known is None or had is None else sorted(set(known) - set(had))

    def not_in_line(self, service: str) -> str:
        """Why compose replaces or starts a container; an unhealthy one it leaves as it is."""
        reason = self.changed.get(service, "")
        if service == APP and reason == "definition" and self.running not in {"", self.version}:
            return f"version {self.version} takes the place of {self.running}"
        return _REASONS.get(reason, "")

    @property
    def running(self) -> str:
        """The version of the app's container; empty without one."""
        return str(self.containers.get(APP, {}).get("version", ""))

    def base_image(self, role: str) -> tuple[str, str]:
        """Kind and name of a base image that changes; empty texts where it stays what it is."""
        for line in self.base_images:
            name, kind, image, *changed = line.split()
            if name == role and (changed or kind in {"absent", "missing"}):
                return kind, image
        return "", ""


def facts_of(report: Mapping[str, Any]) -> Facts | None:
    """The facts in a host's report; None if the host did not get that far."""
    if "plan" not in report:
        return None
    return Facts(
        **_members(Facts, report["plan"]), source=Source(**_members(Source, report.get("source") or {}))
    )


def _members(kind: type, given: Mapping[str, Any]) -> dict[str, Any]:
    """What a report has of the class, with lists as tuples; another version's report may have more."""
    names = {one.name for one in fields(kind)} - {"source"}
    return {k: tuple(v) if isinstance(v, list) else v for k, v in given.items() if k in names}
