"""Masking of output: what counts as a secret, and that no text or document contains one."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING

import pytest
from hypothesis import given
from hypothesis import strategies as st

from deploy.events import Status, Step
from deploy.masking import MASK, Mask, local_secrets, printable, read_env, secret_values
from deploy.report import Report

if TYPE_CHECKING:
    from pathlib import Path


@pytest.mark.parametrize(
    ("line", "secret"),
    [
        ("ADMIN_TOKEN=abcdefgh12345678", "abcdefgh12345678"),
        ("export WEBHOOK_SECRET='with blanks in it'", "with blanks in it"),
        ('POSTGRES_PASSWORD="quoted-password"', "quoted-password"),
        ("FINVIZ_ELITE_AUTH=token-of-finviz # mine", "token-of-finviz"),
        ("DEST_WEBHOOK_URL=https://bridge.example/hook/password", "https://bridge.example/hook/password"),
        ("  SPACED_TOKEN = spaced-out-value  ", "spaced-out-value"),
    ],
)
def test_secrets_of_an_env_file_are_found(tmp_path: Path, line: str, secret: str) -> None:
    (tmp_path / ".env").write_text(f"# comment\n\n{line}\nnot a line\n", "utf-8")
    assert secret_values(read_env(tmp_path / ".env")) == {secret}


def test_each_of_several_urls_is_a_secret(tmp_path: Path) -> None:
    (tmp_path / ".env").write_text("NOTIFY_URLS='tgram://token/chat mailtos://user:pw@mail'\n", "utf-8")
    assert secret_values(read_env(tmp_path / ".env")) == {
        "tgram://token/chat mailtos://user:pw@mail",
        "tgram://token/chat",
        "mailtos://user:pw@mail",
    }


def test_advice_that_shows_a_reference_stays_readable(tmp_path: Path) -> None:
    """`.env.example` writes DATABASE_URL with a reference, and so does what a refusal says about it."""
    advice = "DATABASE_URL=postgresql+asyncpg://postgres:${POSTGRES_PASSWORD}@postgres:5432/trading_signals"
    (tmp_path / ".env").write_text(f"POSTGRES_PASSWORD=long-password\n{advice}\n", "utf-8")
    found = read_env(tmp_path / ".env")
    assert found["DATABASE_URL"] == advice.replace("${POSTGRES_PASSWORD}", "long-password").partition("=")[2]
    mask = Mask(secret_values(found))
    assert mask.text(f"Write {advice} there") == f"Write {advice} there"
    assert mask.text(found["DATABASE_URL"]) == MASK


@pytest.mark.parametrize(
    ("value", "expected"),
    [
        ("$ONE", "first-value"),
        ("a${ONE}b${NONE}", "afirst-valueb"),
        ("${NONE:-other}", "other"),
        ("${NONE-other}", "other"),
        ("'${ONE}'", "${ONE}"),
        ('"${ONE}"', "first-value"),
        ("${", "${"),
        ("5$", "5$"),
    ],
)
def test_references_are_resolved_as_compose_does(tmp_path: Path, value: str, expected: str) -> None:
    (tmp_path / ".env").write_text(f"ONE=first-value\nTWO={value}\n", "utf-8")
    assert read_env(tmp_path / ".env")["TWO"] == expected


@pytest.mark.parametrize(
    "line", ["LOG_LEVEL=information", "POSTGRES_PASSWORD=short", "ADMIN_TOKEN=", "#ADMIN_TOKEN=commented-out"]
)
def test_ordinary_words_stay_readable(tmp_path: Path, line: str) -> None:
    (tmp_path / ".env").write_text(line, "utf-8")
    assert secret_values(read_env(tmp_path / ".env")) == set()


def test_secrets_of_backups_are_masked_where_a_backup_may_be_restored(tmp_path: Path) -> None:
    for folder, secret in ((".", "secret-of-today"), ("backups/x", "secret-of-before")):
        (tmp_path / folder).mkdir(parents=True, exist_ok=True)
        (tmp_path / folder / ".env").write_text(f"ADMIN_TOKEN={secret}\n")
    assert local_secrets(tmp_path, backups=False) == {"secret-of-today"}
    assert local_secrets(tmp_path, backups=True) == {"secret-of-today", "secret-of-before"}


def test_no_env_file_means_no_secrets(tmp_path: Path) -> None:
    assert read_env(tmp_path / ".env") == {}


def test_a_secret_that_holds_another_is_hidden_whole() -> None:
    assert Mask({"password", "password-and-more"}).text("x password-and-more y") == f"x {MASK} y"


def test_structures_keep_their_shape() -> None:
    tree = {"a": ["the-secret-1", {"b": "say the-secret-1"}], "n": 1, "z": None}
    assert Mask({"the-secret-1"}).tree(tree) == {"a": [MASK, {"b": f"say {MASK}"}], "n": 1, "z": None}


def test_without_secrets_nothing_is_touched() -> None:
    assert Mask(()).text("anything") == "anything"


@given(
    secret=st.text(st.characters(blacklist_characters="*"), min_size=8),
    before=st.text(),
    after=st.text(),
)
def test_no_secret_survives(secret: str, before: str, after: str) -> None:
    assert secret not in Mask({secret}).text(before + secret + after)


@given(st.text())
def test_no_control_character_is_left(text: str) -> None:
    shown = printable(text)
    assert all(character.isprintable() or character in "\n\t" for character in shown)
    assert printable(shown) == shown
    assert json.loads(printable(json.dumps(text, ensure_ascii=False))) == text


def test_text_of_every_language_stays_and_controls_are_escaped() -> None:
    assert printable("ação 中文 ✓ 😀\n\tx\r\n") == "ação 中文 ✓ 😀\n\tx\n"
    assert printable("\x1b[2J\x9b2J\u202e\u2028\x7f\r\ud800\U000e0041") == (
        r"\u001b[2J\u009b2J\u202e\u2028\u007f\u000d\ud800\udb40\udc41"
    )


ODD = "\x1b]0;owned\x07\x9b31m\u202egnp.exe\u2028"


def test_a_report_shows_foreign_text_escaped(capsys: pytest.CaptureFixture[str]) -> None:
    report = Report(Mask({"a secret"}))
    report.say(f"{ODD} a secret")
    step = Step(ODD, "play", ODD, Status.FAILED, 1.0)
    report.event({"stdout": ""}, step)
    report.document({"error": ODD})
    out = capsys.readouterr().out
    assert all(character.isprintable() or character == "\n" for character in out)
    assert out.count(r"\u202egnp.exe\u2028") == 4
    assert "a secret" not in out
    assert json.loads(out[out.index("{") :]) == {"error": ODD}
