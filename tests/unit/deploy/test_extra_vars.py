"""`-e` as typed → files for ansible-playbook, in the right order and readable by their owner only."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest

from deploy import cli, extra_vars
from deploy.actions import BY_NAME
from deploy.extra_vars import ExtraVarsError
from deploy.request import Request


@pytest.mark.parametrize(
    ("text", "found"),
    [
        ("a=1", {"a": "1"}),
        ("a=1 b='two words'", {"a": "1", "b": "two words"}),
        ("on=true off=False", {"on": True, "off": False}),
        ('{"n": 1, "on": true}', {"n": 1, "on": True}),
        ("url=http://x/?a=b", {"url": "http://x/?a=b"}),
    ],
)
def test_variables_as_typed(text: str, found: dict[str, Any]) -> None:
    assert extra_vars.parse(text) == found


@pytest.mark.parametrize("text", ['{"a": ', "no-equals-sign", "", "a='open"])
def test_invalid_extra_vars_are_refused(text: str) -> None:
    with pytest.raises(ExtraVarsError):
        extra_vars.check([text])


def test_a_missing_file_is_refused_before_anything_runs() -> None:
    with pytest.raises(ExtraVarsError, match="-e @/nowhere: no such file"):
        extra_vars.check(["@/nowhere"])


def test_options_become_extra_vars() -> None:
    request = cli.parse(["--quick", "--install-docker", "--adopt"])
    assert isinstance(request, Request)
    assert extra_vars.extra_variables(request, request.action) == {
        "run_id": request.run_id,
        "run_flow": "quick",
        "docker_install": True,
        "project_adopt": True,
    }
    fresh = Request(BY_NAME["db"], no_dump=True)
    assert extra_vars.extra_variables(fresh, fresh.action)["database_no_dump"] is True
    off = Request(BY_NAME["maintenance"], argument="off")
    assert extra_vars.extra_variables(off, off.action)["compose_maintenance"] == "off"
    back = Request(BY_NAME["restore_config"], argument="2026")
    found = extra_vars.extra_variables(back, back.action)
    assert (found["config_backup_wanted"], found["config_backup_folder"]) == ("2026", str(Path.cwd()))
    legacy = Request(BY_NAME["import_legacy"], argument="trading-db")
    found = extra_vars.extra_variables(legacy, legacy.action)
    assert (found["legacy_source"], found["legacy_folder"]) == ("trading-db", str(Path.cwd()))
    assert extra_vars.extra_variables(Request(BY_NAME["logs"]), BY_NAME["logs"])["status_log_lines"] == 100


def test_extra_vars_of_the_operator_override_ours(tmp_path: Path) -> None:
    mine = tmp_path / "mine.yml"
    mine.write_text("a: 3\n", "utf-8")
    arguments = extra_vars.arguments({"a": 1}, ["a=2", f"@{mine}"], tmp_path)
    assert arguments[::2] == ["-e"] * 3
    first, second, third = (Path(name.removeprefix("@")) for name in arguments[1::2])
    assert json.loads(first.read_text("utf-8")) == {"a": 1}
    assert json.loads(second.read_text("utf-8")) == {"a": "2"}
    assert third == mine
    assert [path.stat().st_mode & 0o777 for path in (first, second)] == [0o600, 0o600]
