"""`--restore-config`: the list, and the restoration after a bad edit of each file, while the app serves."""

from __future__ import annotations

import json
import shlex
from typing import TYPE_CHECKING, Any

import pytest

from tests.hosts.probe import Probe
from tests.hosts.serving import serving_all_along

if TYPE_CHECKING:
    from collections.abc import Iterator

    from tests.hosts.docker import Result
    from tests.hosts.stack import Stack

ENV, WEBHOOK = ".env", "config/webhook_config.json"
FILES = (ENV, "config/finviz_config.json", WEBHOOK, "config/system_config.json")
# Content with which every start fails, and every flow that reads today's files first.
BAD = {ENV: "SERVER_PORT='80\n", **dict.fromkeys(FILES[1:], '{"no": ,\n')}
COPY = "20200101T000000Z-update"
NEWEST = "ls -d backups/*Z-* | sort | tail -1 | xargs basename"


@pytest.fixture(scope="module")
def backup(stack: Stack) -> str:
    """Make a backup of valid files, and return its name."""
    stack.approve("AAPL")
    stack.run_py("--quick").require()
    stack.run_py("--quickupdate").require()
    return stack.host.run(NEWEST, folder=stack.project).stdout.strip()


@pytest.fixture(autouse=True)
def _afterwards(stack: Stack, backup: str) -> Iterator[None]:
    """Restore the files of the backup after each test, and remove newer ones: ten are kept."""
    good = state_of(stack)
    yield
    if state_of(stack) != good:
        stack.run_py("--restore-config", backup).require()
    stack.host.run("rm -rf backups/*-restore_config", folder=stack.project).require()


# A backup with a valid manifest, in which one file differs from that of a good backup.
OTHER = """
import hashlib, json, pathlib, shutil, sys
backup, copy, name, content = sys.argv[1:]
folder = pathlib.Path("backups", copy)
shutil.copytree(pathlib.Path("backups", backup), folder)
(folder / name).write_text(content)
manifest = json.loads((folder / "manifest.json").read_text())
manifest["files"][name]["sha256"] = hashlib.sha256(content.encode()).hexdigest()
(folder / "manifest.json").write_text(json.dumps(manifest))
"""


def restore_other(stack: Stack, backup: str, name: str, content: str) -> Result:
    """Try a copy of the backup with another file in it."""
    words = shlex.join(["python3", "-c", OTHER, backup, COPY, name, content])
    stack.host.run(words, folder=stack.project).require()
    try:
        with serving_all_along(stack):
            return stack.run_py("--restore-config", COPY, "--json")
    finally:
        stack.host.run(f"rm -r backups/{COPY}", folder=stack.project).require()


def state_of(stack: Stack, folder: str = ".") -> str:
    """Return bytes, modes and owners of the four files."""
    names = " ".join(FILES)
    command = f"cd {folder} && sha256sum {names}; stat --format '%n %a %u %g' {names}"
    return stack.host.run(command, folder=stack.project).stdout


def listed(stack: Stack) -> list[dict[str, Any]]:
    """Return the backups as the document lists them."""
    document = json.loads(stack.run_py("--restore-config", "--json").require().stdout)
    backups: list[dict[str, Any]] = document["hosts"]["localhost"]["config_backups"]
    return backups


@pytest.mark.parametrize(
    "name", [FILES[1], *(pytest.param(FILES[index], marks=pytest.mark.exhaustive) for index in (0, 2, 3))]
)
def test_a_bad_edit_is_restored_and_todays_files_are_kept(stack: Stack, backup: str, name: str) -> None:
    """Content and mode are restored; no request is refused."""
    good = state_of(stack)
    with Probe(stack.health_url) as probe:
        stack.host.write(f"{stack.project}/{name}", BAD[name], mode=0o644)
        bad = state_of(stack)
        (found,) = [one for one in listed(stack) if one["name"] == backup]
        assert found["differs"] == [name]
        result = stack.run_py("--restore-config", backup, "--json").require()
    assert (probe.answered > 0, probe.failed) == (True, 0)
    assert state_of(stack) == good
    host = json.loads(result.stdout)["hosts"]["localhost"]
    assert (host["otherwise"], host["serving"]) == ([], True)
    kept = stack.host.run(NEWEST, folder=stack.project).stdout.strip()
    assert kept.endswith("-restore_config")
    assert any(f"--restore-config {kept}" in note for note in host["notes"])
    sums = [line for line in state_of(stack, f"backups/{kept}").splitlines() if name in line]
    assert sums[0] in bad
    assert f"as in backups/{backup} again: {name}" in stack.run_py("--history").output


def test_the_plan_is_about_the_settings_of_the_backup(stack: Stack, backup: str) -> None:
    """Compose cannot read today's files; nothing is changed."""
    stack.host.write(f"{stack.project}/{ENV}", BAD[ENV], mode=0o600)
    before = state_of(stack), stack.host.run("ls -R backups", folder=stack.project).stdout
    with serving_all_along(stack):
        result = stack.run_py("--restore-config", backup, "--check", "--json").require()
    assert (state_of(stack), stack.host.run("ls -R backups", folder=stack.project).stdout) == before
    plan = {one["step"]: one for one in json.loads(result.stdout)["hosts"]["localhost"]["plan"]}
    assert plan["Configuration"]["changes"] == "yes"
    assert plan["App container"]["changes"] != "yes"  # it runs with these settings already


@pytest.mark.parametrize(
    ("damage", "why"),
    [
        (f"echo >> {WEBHOOK}", "sha256"),
        pytest.param(f"rm {ENV}", "it has no .env", marks=pytest.mark.exhaustive),
        pytest.param("rm manifest.json", "it has no manifest.json", marks=pytest.mark.exhaustive),
        pytest.param(f"ln -sf /etc/hostname {WEBHOOK}", f"it has no {WEBHOOK}", marks=pytest.mark.exhaustive),
    ],
)
def test_a_damaged_backup_is_refused(stack: Stack, backup: str, damage: str, why: str) -> None:
    """Exit 3, and everything is as before."""
    stack.host.run(
        f"cp -a {backup} {COPY} && cd {COPY} && {damage}", folder=f"{stack.project}/backups"
    ).require()
    stack.host.write(f"{stack.project}/{FILES[3]}", '{"mine": 1}', mode=0o600)
    before = state_of(stack)
    try:
        with serving_all_along(stack):
            result = stack.run_py("--restore-config", COPY, "--json")
    finally:
        stack.host.run(f"rm -r {COPY}", folder=f"{stack.project}/backups").require()
    assert (result.code, state_of(stack)) == (3, before)
    assert why in json.loads(result.stdout)["hosts"]["localhost"]["failure"]["message"]


def test_a_backup_that_the_image_refuses_is_undone_to_todays_files(stack: Stack, backup: str) -> None:
    """The backup is complete, but every start with it fails."""
    good = state_of(stack)
    result = restore_other(stack, backup, WEBHOOK, BAD[WEBHOOK])
    assert (result.code, state_of(stack)) == (3, good)
    message = json.loads(result.stdout)["hosts"]["localhost"]["failure"]["message"]
    assert "today's files are in place" in message


def test_settings_with_which_nothing_starts_are_refused_before_anything_changes(
    stack: Stack, backup: str
) -> None:
    good = state_of(stack)
    text = stack.host.read(f"{stack.project}/{ENV}")
    result = restore_other(stack, backup, ENV, f"{text}\nPROMETHEUS_PORT=0\n")
    assert (result.code, state_of(stack)) == (3, good)
    message = json.loads(result.stdout)["hosts"]["localhost"]["failure"]["message"]
    assert "PROMETHEUS_PORT" in message
    assert "This .env is in a backup" in message


def test_the_list_takes_no_lock_and_changes_nothing(stack: Stack, backup: str) -> None:
    """Not even the journal."""
    before = stack.host.run(
        "find . -path ./.git -prune -o -printf '%p %T@ %m\n' | sort", folder=stack.project
    )
    result = stack.run_py("--restore-config").require()
    after = stack.host.run("find . -path ./.git -prune -o -printf '%p %T@ %m\n' | sort", folder=stack.project)
    assert after.stdout == before.stdout
    assert backup in result.output
    assert result.output.rstrip().endswith("python3 run.py --restore-config NAME  puts one back")


@pytest.mark.parametrize(
    "name", [pytest.param("nothing-of-that-name", marks=pytest.mark.exhaustive), "../../etc"]
)
def test_an_unknown_name_is_refused_with_the_list(stack: Stack, backup: str, name: str) -> None:
    result = stack.run_py("--restore-config", name)
    assert result.code == 3
    assert backup in result.output
