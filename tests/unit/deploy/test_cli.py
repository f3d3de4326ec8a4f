"""The command line: what parses into what, and what is refused with which message."""

from __future__ import annotations

import json
import re
import shutil
import subprocess
import sys
import time
import tomllib
from typing import TYPE_CHECKING

import pytest

from deploy import cli
from deploy.actions import ACTIONS, BY_NAME, Action, markdown_table
from deploy.request import Request
from tests.controller.checkout import REPOSITORY

if TYPE_CHECKING:
    from pathlib import Path


def parse(line: str) -> Request:
    found = cli.parse(line.split())
    assert isinstance(found, Request)
    return found


@pytest.mark.parametrize("action", ACTIONS, ids=lambda action: action.name)
def test_every_row_of_the_table_is_reached_by_its_flag(action: Action) -> None:
    argument = action.words[0] if action.words else action.takes
    request = parse(" ".join([*action.flags[:1], *argument.split()]))
    assert (request.action, request.argument) == (action, argument)


def test_without_a_backup_the_backups_are_listed() -> None:
    """This flow needs no lock and changes nothing."""
    request = parse("--restore-config --limit web")
    assert (request.action.name, request.argument) == ("restore_config", "")
    assert (request.action.changes, request.action.deploys) == (False, False)
    assert request.action.playbook == "config_backups.yml"
    assert parse("--restore-config 2026 --logs").then is BY_NAME["logs"]


def test_the_action_that_lists_an_arguments_choices_exists() -> None:
    for action in ACTIONS:
        assert not action.lists or (REPOSITORY / "playbooks" / action.lists).is_file()
        assert not action.lists or action.takes.startswith("[")


@pytest.mark.parametrize("word", ["of", "ON", "on|off", "true"])
def test_another_word_than_those_allowed_is_refused(word: str) -> None:
    with pytest.raises(cli.UsageError, match=f"--maintenance must be on or off.*{re.escape(word)}"):
        cli.parse(["--maintenance", word])


@pytest.mark.parametrize(
    ("line", "flow", "then"),
    [
        ("--quick --logs", "quick", "logs"),
        ("--logs --quick", "quick", "logs"),
        ("--quick --follow-logs", "quick", "follow_logs"),
        ("--quick --quick", "quick", None),
    ],
)
def test_a_log_flag_joins_a_deploying_flow(line: str, flow: str, then: str | None) -> None:
    request = parse(line)
    assert request.action is BY_NAME[flow]
    assert request.then is (BY_NAME[then] if then else None)


def test_options_arrive_as_typed() -> None:
    request = parse(
        "--quick -i one -i two --limit web,!b -e a=1 -e @vars.yml --forks 3 "
        "--install-docker --adopt --json -vv"
    )
    assert request.inventories == ("one", "two")
    assert request.limit == "web,!b"
    assert request.extra_vars == ("a=1", "@vars.yml")
    assert (request.forks, request.verbosity) == (3, 2)
    assert (request.install_docker, request.adopt, request.json) == (True, True, True)
    assert parse("--rollback --check").check
    request = parse("--db --yes --no-dump")
    assert (request.yes, request.no_dump) == (True, True)
    assert parse("--backup-db --keep 9").keep == 9
    assert (parse("--quick --wait 30").wait, parse("--wait --quick").wait, parse("--quick").wait) == (
        30,
        600,
        0,
    )


def test_the_path_of_the_checkout_stops_no_flow_that_reads_stops_or_rolls_back() -> None:
    refused = {action.name for action in ACTIONS if action.needs_clean_path}
    assert refused == {"site", "quick", "update", "quickupdate", "rebuild", "db", "import_legacy"}


def test_every_run_has_an_id_of_its_own() -> None:
    assert parse("").run_id != parse("").run_id


@pytest.mark.parametrize(
    ("line", "words"),
    [
        ("--quik", "unknown flag --quik (did you mean --quick?)"),
        ("--nonsense-xyzzy", "unknown flag --nonsense-xyzzy"),
        ("--sto", "unknown flag --sto"),  # no abbreviations: a later flag must not change what a script means
        ("quick", "unexpected argument 'quick'"),
        ("--quick --stop", "--quick and --stop do not go together: one flow a run"),
        ("--quick --stop --logs", "do not go together"),
        ("--logs --follow-logs", "do not go together"),
        ("--stop --logs", "a log flag joins deploying flows only"),
        ("--status-only --follow-logs", "a log flag joins deploying flows only"),
        ("--stop --install-docker", "--install-docker belongs to deploying flows, not to --stop"),
        ("--status-only --install-docker", "--install-docker belongs to deploying flows"),
        ("--logs --adopt", "--adopt belongs to flows that change something"),
        ("--db --adopt", "--db destroys only what is this checkout's: first --quick --adopt"),
        ("--quick --keep 3", "--keep belongs to --backup-db"),
        ("--backup-db --keep 0", "'0' is not a whole number above 0"),
        ("--status-only --wait", "--wait belongs to flows that take the lock"),
        ("--unlock --wait", "--wait belongs to flows that take the lock"),
        ("--quick --check --wait", "--wait belongs to flows that take the lock"),
        ("--quick --wait soon", "'soon' is not a whole number above 0"),
        ("--quick --no-dump", "--no-dump belongs to --rebuild and --db"),
        (
            "--status-only --check",
            "--check shows what a flow would change, and --status-only changes nothing",
        ),
        ("--restore-config --check", "--restore-config changes nothing: run it"),
        ("--restore-config --wait", "--wait belongs to flows that take the lock"),
        ("--restore-config --adopt", "--adopt belongs to flows that change something"),
        ("--restore-config x --no-rollback", "--no-rollback belongs to flows that can go back"),
        ("--db --quick", "--db and --quick do not go together"),
        ("--json --follow-logs", "a stream has no end"),
        ("--json --quick --follow-logs", "a stream has no end"),
        ("-i hosts.yml", "-i needs --limit"),
        ("--limit", "expected one argument"),
        ("--forks many", "'many' is not a whole number above 0"),
        ("--forks 0", "'0' is not a whole number above 0"),
    ],
)
def test_nonsense_is_refused_in_one_line(line: str, words: str, capsys: pytest.CaptureFixture[str]) -> None:
    assert cli.main(line.split()) == 2
    said = capsys.readouterr()
    assert words in said.err
    assert said.err.count("\n") == 1


def test_a_refusal_is_a_document_too_when_json_is_asked_for(capsys: pytest.CaptureFixture[str]) -> None:
    assert cli.main(["--json", "--nope"]) == 2
    document = json.loads(capsys.readouterr().out)
    assert document["exit_code"] == 2
    assert "--nope" in document["error"]


def test_help_needs_no_environment_and_makes_none(tmp_path: Path) -> None:
    shutil.copy(REPOSITORY / "run.py", tmp_path)
    shutil.copy(REPOSITORY / "pyproject.toml", tmp_path)
    shutil.copytree(REPOSITORY / "deploy", tmp_path / "deploy", ignore=shutil.ignore_patterns("__pycache__"))
    subprocess.run([sys.executable, "run.py", "--help"], cwd=tmp_path, capture_output=True, check=True)
    assert not list(tmp_path.glob(".venv*"))


def test_help_lists_the_table(capsys: pytest.CaptureFixture[str]) -> None:
    assert cli.main(["--help"]) == 0
    text = re.sub(r"\s+", " ", capsys.readouterr().out)
    for action in ACTIONS:
        assert action.summary in text
        assert all(flag in text for flag in action.flags)


def test_version_is_the_projects(capsys: pytest.CaptureFixture[str]) -> None:
    project = tomllib.loads((REPOSITORY / "pyproject.toml").read_text("utf-8"))["project"]
    assert cli.main(["--version"]) == 0
    assert capsys.readouterr().out.strip().endswith(project["version"])


def test_help_loads_neither_ansible_nor_rich() -> None:
    code = (
        "import sys; from deploy import cli; cli.main(['--help']); "
        "sys.exit(bool({'ansible', 'ansible_runner', 'rich'} & set(sys.modules)))"
    )
    assert (
        subprocess.run(
            [sys.executable, "-c", code], cwd=REPOSITORY, capture_output=True, check=False
        ).returncode
        == 0
    )


def test_help_is_quick() -> None:
    """The target is 0.35 s; the test fails at five times that."""
    started = time.monotonic()
    subprocess.run([sys.executable, "run.py", "--help"], cwd=REPOSITORY, capture_output=True, check=True)
    assert time.monotonic() - started < 5 * 0.35


def test_the_readme_holds_the_table_as_it_is() -> None:
    assert markdown_table() in (REPOSITORY / "README.md").read_text("utf-8")


def test_every_playbook_of_the_table_exists() -> None:
    missing = [
        a.playbook for a in ACTIONS if a.playbook and not (REPOSITORY / "playbooks" / a.playbook).is_file()
    ]
    assert missing == []


@pytest.mark.parametrize(
    "arguments",
    [
        ["--limit", ""],
        ["--limit", "  "],
        ["--limit", ","],
        ["--limit", "a,,b"],
        ["--limit", "a,"],
        ["--limit="],
        ["--rebuild", "--yes", "-i", "fleet.yml", "--limit", ""],
        ["-i", "", "--limit", "a"],
        ["--rollback", ""],
        ["--restore-db", " "],
        ["--maintenance", ""],
    ],
)
def test_an_empty_value_of_an_unset_shell_variable_is_refused(arguments: list[str]) -> None:
    """An empty limit would mean this machine, an empty inventory this folder."""
    with pytest.raises(cli.UsageError, match="is a variable of the shell unset"):
        cli.parse(arguments)
