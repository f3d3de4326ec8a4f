"""Deploying: the time of `run.py` compared with the same by hand, and the gap in service. On a throw-away host."""

from __future__ import annotations

import itertools
from dataclasses import dataclass, field
from functools import cached_property
from typing import TYPE_CHECKING

from benchmarks.measurement import Measurement
from benchmarks.row import Result, Row, at_most, more_at_most
from tests.hosts import breaking
from tests.hosts.probe import Probe
from tests.hosts.stack import APP
from tests.hosts.upstream import Upstream

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping

    from benchmarks.bench import Bench
    from tests.hosts.stack import Stack

_BUILD_AND_UP = "`docker compose build && docker compose up -d --wait`"

UNCHANGED = Row(
    "deploy.quick",
    "`--quick` with nothing changed",
    "`python3 run.py --quick`",
    "s",
    _BUILD_AND_UP,
    more_at_most(6, "s"),
)
UNCHANGED_GAP = Row(
    "deploy.quick_gap",
    "app downtime of that",
    "longest time without an answer, probed 20 times a second",
    "s",
    budget=at_most(0, "s"),
)
CHANGED = Row(
    "deploy.changed",
    "`--quick` with a changed Python file",
    "`python3 run.py --quick`",
    "s",
    _BUILD_AND_UP,
    more_at_most(10, "s"),
)
UPDATE = Row(
    "deploy.update",
    "`--update` with one commit",
    "`python3 run.py --update`: fetch, backup, build without cache, stand-in, swap, gate",
    "s",
    "`git pull && docker compose build --no-cache && docker compose up -d --no-deps --wait` of the app",
    more_at_most(10, "s"),
)
UPDATE_GAP = Row("deploy.update_gap", "app downtime of that", UNCHANGED_GAP.how, "s", budget=at_most(0, "s"))
FAILED_GAP = Row(
    "deploy.failed_gap",
    "app downtime when a swap fails and is taken back",
    "`python3 run.py --quickupdate` to a version that starts once, as the stand-in, and never again",
    "s",
    budget=at_most(0, "s"),
)
REFUSED = Row(
    "deploy.refused",
    "a second run while an update is at work: refused",
    "`python3 run.py --quick`, exit code 7",
    "s",
    budget=at_most(3, "s"),
)
IMAGE = Row(
    "deploy.image",
    "size of the image",
    "`docker image inspect`",
    "MB",
    "its base image",
    more_at_most(120, "MB"),
)

_FILE = "app/settings.py"  # any module: what changes is a comment at its end


@dataclass
class _Desk:
    """Both methods of deploying the checkout of one host."""

    stack: Stack
    _numbers: Iterator[int] = field(default_factory=itertools.count)

    @cached_property
    def upstream(self) -> Upstream:
        return Upstream(self.stack.host)

    @cached_property
    def _compose(self) -> str:
        labels = '{{index .Config.Labels "com.docker.compose.project.config_files"}}'
        used = self._said(f"docker inspect --format '{labels}' {APP}")
        profile = "hardened" if "hardened" in used else "maximum"
        return f"docker compose --file docker-compose.yml --file docker-compose.{profile}.yml"

    def run_py(self, flag: str) -> float:
        """Return the seconds of a flow."""
        return self.stack.run_py(flag).require().seconds

    def by_hand(self, build: str, up: str, *, first: str = "true", version: str = "") -> float:
        """Return the seconds to build and start with compose alone, by default the running version."""
        version = version or f"$(docker inspect --format '{{{{.Config.Image}}}}' {APP} | cut -d: -f2)"
        settings = f"export PIP_INDEX_URL=${{PIP_INDEX_URL:-}} APP_VERSION={version}"
        command = f"{first} && {settings} && {self._compose} {build} && {self._compose} {up}"
        return self.stack.host.run(command, folder=self.stack.project, timeout=900).require().seconds

    def edit(self) -> None:
        """Change a Python file of the checkout."""
        self._said(f"echo '# bench {next(self._numbers)}' >> {_FILE}")

    def commit(self) -> None:
        """Commit the change upstream."""
        self.upstream.push({_FILE: f"{self.upstream.read(_FILE)}# bench {next(self._numbers)}\n"})

    def tidy(self) -> None:
        """Revert edits, and deploy the checkout."""
        self._said(f"git checkout --quiet -- {_FILE}")
        self.stack.run_py("--quick").require()

    def refused(self) -> float:
        """Return the seconds until a run is refused because another one holds the lock."""
        result = self.stack.run_py("--quick")
        if result.code != 7:
            raise RuntimeError(f"not refused:\n{result.output}")
        return result.seconds

    def image_megabytes(self, name: str) -> float:
        """Return the image's size that the engine reports, in MB."""
        return int(self._said(f"docker image inspect --format '{{{{.Size}}}}' {name}")) / 1e6

    def _said(self, command: str) -> str:
        return self.stack.host.run(command, folder=self.stack.project).require().stdout.strip()


def quick(bench: Bench) -> Mapping[str, Result]:
    """Measure a deployment in which nothing changed.

    Compose labels the image with its own version, so each way takes the other's for a new one. It has therefore
    just been at work itself when it is measured.
    """
    desk, by_hand = _Desk(bench.stack), ("build --quiet", "up --detach --wait")
    gaps = []

    def flow() -> float:
        desk.tidy()
        with Probe(desk.stack.health_url) as probe:
            seconds = desk.run_py("--quick")
        gaps.append(probe.longest_gap if probe.failed else 0.0)
        return seconds

    def hand() -> float:
        desk.by_hand(*by_hand)
        return desk.by_hand(*by_hand)

    figures, references = bench.alternate(3, flow, hand)
    return {UNCHANGED.key: Result(figures, references), UNCHANGED_GAP.key: Result(tuple(gaps))}


def changed(bench: Bench) -> Mapping[str, Result]:
    """Measure a changed Python file: a layer is built and the app replaced."""
    desk = _Desk(bench.stack)

    def flow() -> float:
        desk.edit()
        return desk.run_py("--quick")

    def hand() -> float:
        desk.edit()
        return desk.by_hand("build --quiet", "up --detach --wait", version=f"hand-{next(desk._numbers)}")  # noqa: SLF001

    figures, references = bench.alternate(3, flow, hand)
    desk.tidy()
    return {CHANGED.key: Result(figures, references)}


def update(bench: Bench) -> Mapping[str, Result]:
    """Measure an update by one commit: by the flow, with a probe on the service, and by hand."""
    desk = _Desk(bench.stack)
    desk.tidy()
    gaps = []

    def flow() -> float:
        desk.commit()
        with Probe(desk.stack.health_url) as probe:
            seconds = desk.run_py("--update")
        gaps.append(probe.longest_gap)
        return seconds

    def hand() -> float:
        desk.commit()
        return desk.by_hand(
            f"build --no-cache --quiet {APP}",
            f"up --detach --no-deps --wait {APP}",
            first="git pull --quiet --ff-only",
            version="$(git rev-parse --short=12 HEAD)",
        )

    figures, references = bench.alternate(3, flow, hand)
    return {UPDATE.key: Result(figures, references), UPDATE_GAP.key: Result(tuple(gaps))}


def taken_back(bench: Bench) -> Mapping[str, Result]:
    """Swap in a version that ends, and measure until the previous one is restored."""
    desk = _Desk(bench.stack)
    desk.tidy()

    def flow() -> float:
        with (
            desk.upstream.offering(breaking.starts_once(desk.upstream)),
            Probe(desk.stack.health_url) as probe,
        ):
            result = desk.stack.run_py("--quickupdate")
        desk.stack.host.run(f"rm {breaking.STARTED}", folder=desk.stack.project).require()
        if result.code != 5:
            raise RuntimeError(f"not taken back:\n{result.output}")
        return probe.longest_gap

    (figures,) = bench.alternate(3, flow)
    return {FAILED_GAP.key: Result(figures)}


def refused(bench: Bench) -> Mapping[str, Result]:
    """Measure the refusal of another command while an update builds."""
    desk = _Desk(bench.stack)
    desk.tidy()
    desk.commit()
    host, project = bench.stack.host, bench.stack.project
    with host.spawn("python3 run.py --update", folder=project) as update:
        host.run("until test -e .run/lock; do sleep 0.1; done", folder=project).require()
        figures = tuple(desk.refused() for _ in range(bench.rounds(3)))
        output, _ = update.communicate()
    if update.returncode:
        raise RuntimeError(f"the update failed:\n{output}")
    return {REFUSED.key: Result(figures)}


def image(bench: Bench) -> Mapping[str, Result]:
    """Measure the size of a version's image."""
    desk = _Desk(bench.stack)
    own, base = desk.image_megabytes(f"{APP}:latest"), desk.image_megabytes(f"{APP}/base-python:current")
    return {IMAGE.key: Result((own,), (base,))}


MEASUREMENTS = (
    Measurement("deploy.quick", (UNCHANGED, UNCHANGED_GAP), quick, has_base=False),
    Measurement("deploy.changed", (CHANGED,), changed, has_base=False),
    Measurement("deploy.update", (UPDATE, UPDATE_GAP), update, has_base=False),
    Measurement("deploy.taken_back", (FAILED_GAP,), taken_back, has_base=False),
    Measurement("deploy.refused", (REFUSED,), refused, has_base=False),
    Measurement("deploy.image", (IMAGE,), image, has_base=False),
)
