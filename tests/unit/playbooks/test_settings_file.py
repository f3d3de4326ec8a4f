"""The file .env gets all its secrets, whatever the line endings of its template; else no file."""

from __future__ import annotations

import re
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from tests.unit.playbooks.modules import load

TEMPLATE = (Path(__file__).parents[3] / ".env.example").read_text("utf-8")
SECRETS = ("POSTGRES_PASSWORD", "ADMIN_TOKEN", "WEBHOOK_SECRET")


def make(root: Path, template: str) -> dict[str, Any]:
    """Call the module, and return its result."""
    return dict(load("settings_file").MODULE.call({"path": str(root), "template": template}))


def assigned(text: str) -> dict[str, str]:
    return dict(re.findall(r"^([A-Z_]+)=(.*)$", text, re.MULTILINE))


@pytest.mark.parametrize("ending", ["\n", "\r\n", "\r"])
@pytest.mark.parametrize("empty", ["", " ", "\t", '""', "''", "  # made on the first run"])
def test_every_secret_is_filled_in(tmp_path: Path, ending: str, empty: str) -> None:
    template = re.sub(rf"^({'|'.join(SECRETS)})=$", rf"\1={empty}", TEMPLATE, flags=re.MULTILINE)
    assert make(tmp_path, template.replace("\n", ending)) == {"changed": True}
    content = (tmp_path / ".env").read_bytes()
    assert b"\r" not in content
    found = assigned(content.decode())
    assert all(re.fullmatch(r"[A-Za-z0-9_-]{43}", found[name]) for name in SECRETS)
    assert len({found[name] for name in SECRETS}) == 3
    others = {name: value for name, value in assigned(TEMPLATE).items() if name not in SECRETS}
    assert {name: found[name] for name in others} == others
    assert (tmp_path / ".env").stat().st_mode & 0o777 == 0o600
    assert [path.name for path in tmp_path.iterdir()] == [".env"]


def test_a_file_that_is_there_is_never_written(tmp_path: Path) -> None:
    (tmp_path / ".env").write_text("mine")
    assert make(tmp_path, TEMPLATE) == {"changed": False}
    assert (tmp_path / ".env").read_text() == "mine"


@pytest.mark.parametrize("name", SECRETS)
@pytest.mark.parametrize("line", ["", "# {name}=", "{name}=\n{name}=", "{name} ", "NOT_{name}="])
def test_a_secret_that_cannot_be_filled_in_is_an_error(tmp_path: Path, name: str, line: str) -> None:
    template = TEMPLATE.replace(f"\n{name}=\n", f"\n{line.format(name=name)}\n")
    assert template != TEMPLATE
    assert name in make(tmp_path, template)["msg"]
    assert list(tmp_path.iterdir()) == []


@given(st.text(alphabet="A_= \t#\"'\r\n", max_size=60))
def test_no_template_gives_an_empty_secret(text: str) -> None:
    settings = load("module_utils.settings")
    template = text + "\n" + TEMPLATE
    try:
        found = assigned(settings.filled(template, lambda: "made"))
    except ValueError:
        return
    assert all(found[name] == "made" for name in SECRETS)
