"""`--check` changes nothing, and the flow then does what the plan shows."""

from __future__ import annotations

import json
import uuid
from functools import partial
from typing import TYPE_CHECKING, Any

import pytest

from deploy.plan.flows import FLOWS
from tests.hosts.serving import serving_all_along
from tests.hosts.stack import APP, Stack
from tests.hosts.state import state
from tests.hosts.upstream import Upstream

if TYPE_CHECKING:
    from collections.abc import Callable

HARMLESS = ("Preconditions", "Fetch")
# Every file and folder with mode, owner and time, and the files' content.
CONTENTS = (
    "find . -name .venv -prune -o -printf '%p %m %u %T@\\n'",
    "find . -name .venv -prune -o -type f -print0 | xargs -0 sha256sum",
)
MIGRATION = """-- a table that nobody reads
-- depends: 20261122_04_vB2sN-renewal

-- migrate: apply

CREATE TABLE nobody (id bigint);

-- migrate: rollback

DROP TABLE nobody;
"""


@pytest.fixture(scope="module")
def upstream(stack: Stack) -> Upstream:
    """Return the remote that the stack's checkout follows."""
    return Upstream(stack.host)


def document(stack: Stack, *arguments: str) -> dict[str, Any]:
    """Return the document of a successful `run.py --json`."""
    result = stack.run_py(*arguments, "--json").require()
    found: dict[str, Any] = json.loads(result.stdout)
    return found


def a_changed_setting(stack: Stack, _: Upstream) -> None:
    """Change a setting: only the app must be replaced."""
    stack.configure(LOG_LEVEL="DEBUG")


def a_commit_with_a_migration(_: Stack, upstream: Upstream) -> None:
    """Push a commit with a migration: its image and schema are not here yet."""
    upstream.push(
        {"app/news.txt": f"{uuid.uuid4()}\n", "app/db/migrations/20261124_01_zZ1zZ-nobody.sql": MIGRATION}
    )


def a_newer_version(stack: Stack, upstream: Upstream) -> None:
    """Update, so that there is a version to go back to."""
    upstream.push({"app/news.txt": f"{uuid.uuid4()}\n"})
    stack.run_py("--quickupdate").require()


def nothing(_: Stack, __: Upstream) -> None:
    """Change nothing."""


exhaustive = partial(pytest.param, marks=pytest.mark.exhaustive)


@pytest.mark.parametrize(
    ("flow", "flags", "prepare", "surely"),
    [
        ("quick", "--quick", a_changed_setting, {"App container"}),
        exhaustive("quick", "--quick", nothing, set()),
        exhaustive("backup", "--backup-db", nothing, {"Dump"}),
        (
            "quickupdate",
            "--quickupdate",
            a_commit_with_a_migration,
            {"Fetch", "Image", "App container"},  # whether it is a fast-forward is known after the fetch
        ),
        exhaustive("rollback", "--rollback", a_newer_version, {"App container", "Checkout", "Record"}),
        exhaustive("restore", "--restore-db $(ls backups/db/*.dump)", nothing, {"Databases change names"}),
        ("db", "--db", nothing, {"Copy of the database", "Destruction", "Volume", "Schema"}),
        exhaustive("site", "", nothing, {"Image", "App container"}),
        exhaustive("stop", "--stop", nothing, {"Containers"}),
        exhaustive("quick", "--quick", nothing, {"Database container", "App container"}),
    ],
)
def test_the_flow_carries_out_the_plan(
    stack: Stack,
    upstream: Upstream,
    flow: str,
    flags: str,
    prepare: Callable[[Stack, Upstream], None],
    surely: set[str],
) -> None:
    """Nothing differs after --check; then the flow has the same plan, and does nothing else."""
    prepare(stack, upstream)
    before = state(stack, *CONTENTS)
    shown = document(stack, flags, "--check")
    assert state(stack, *CONTENTS) ^ before == set()
    plan = shown["hosts"]["localhost"]["plan"]
    assert {step["step"] for step in plan if step["changes"] == "yes"} >= surely

    done = document(stack, flags, "--yes")
    made = done["hosts"]["localhost"]["plan"]
    assert done["hosts"]["localhost"]["otherwise"] == []
    assert [step["step"] for step in made] == [step["step"] for step in plan]
    known = {step["step"]: step["changes"] for step in plan if step["changes"] != "depends"}
    assert {step["step"]: step["changes"] for step in made if step["step"] in known} == known
    foreseen = {task for step in FLOWS[flow] for task in step.tasks}
    changed = {
        one["name"] for one in done["steps"] if one["status"] == "changed" and one["play"] not in HARMLESS
    }
    assert changed <= foreseen


@pytest.mark.parametrize("flags", ["--update", exhaustive("--rebuild")])
def test_check_of_the_slow_flows_changes_nothing_either(stack: Stack, flags: str) -> None:
    """Nothing is confirmed, fetched, built or removed; the last line has the command to carry it out."""
    before = state(stack, *CONTENTS)
    result = stack.run_py(flags, "--check").require()
    assert state(stack, *CONTENTS) ^ before == set()
    assert "nothing was touched" in result.output
    assert result.output.rstrip().splitlines()[-1] == f"Next: python3 run.py {flags}  carries it out"


def test_check_reports_a_failed_precondition_as_the_flow_does(stack: Stack) -> None:
    """Exit 3, with the same message."""
    said = []
    with serving_all_along(stack):
        stack.host.run("mv Dockerfile /root/", folder=stack.project).require()
        try:
            for flags in (["--quick", "--check"], ["--quick"]):
                result = stack.run_py(*flags, "--json")
                assert result.code == 3
                said.append(json.loads(result.stdout)["hosts"]["localhost"]["failure"]["message"])
        finally:
            stack.host.run("mv /root/Dockerfile .", folder=stack.project).require()
    assert said[0] == said[1]
    assert "Dockerfile" in said[0]


def test_without_the_remote_there_is_no_plan(stack: Stack) -> None:
    """Exit 3: what an update would bring is not known."""
    git = "git config remote.origin.url"
    url = stack.host.run(git, folder=stack.project).require().stdout.strip()
    stack.host.run(f"{git} /srv/nowhere.git", folder=stack.project).require()
    try:
        result = stack.run_py("--update", "--check")
    finally:
        stack.host.run(f"{git} {url}", folder=stack.project).require()
    assert result.code == 3
    assert "The remote origin did not answer" in result.output


def test_a_deviation_from_the_plan_is_named(stack: Stack) -> None:
    """The app's container is removed by another program, after the flow made its plan."""
    process = stack.host.spawn("python3 run.py --quick", folder=stack.project)
    assert process.stdout is not None
    assert any("plan: Look at everything that decides" in line for line in process.stdout)
    stack.host.run(f"docker rm --force {APP}").require()
    rest = process.stdout.read()
    assert process.wait(timeout=60) == 0, rest
    assert "not as planned: App container: changed, and was not going to" in rest
    assert stack.health()["checks"]["workers"]["status"] == "ok"  # the earlier restore left delivery paused


def test_before_docker_is_there_only_that_is_known(stack: Stack) -> None:
    """Without --install-docker a failed precondition, with it the first step. Last: the engine is gone."""
    stack.host.stop_engine()
    refused = stack.run_py("--quick", "--check")
    assert refused.code == 3
    assert "dockerd" in refused.output
    plan = document(stack, "--quick", "--check", "--install-docker")["hosts"]["localhost"]["plan"]
    assert plan[0]["changes"] == "yes"
    assert {step["changes"] for step in plan[1:]} == {"depends"}
    assert stack.host.run("test -e /run/docker.pid").code == 1
