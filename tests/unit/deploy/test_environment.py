"""Which exported variables reach the started programs: by example, and for any environment."""

from __future__ import annotations

import os
import stat
import subprocess
from pathlib import Path

import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from deploy import environment
from deploy.environment import Facts
from deploy.onhost import allowlist
from tests.controller import exported

FACTS = Facts("/home/me", "/var/tmp")  # noqa: S108 - a path, and nothing is written there

NAMES = st.one_of(
    st.sampled_from(sorted({*allowlist.NAMES, *exported.OF_OTHERS, *exported.ansible_settings()})),
    st.builds("".join, st.tuples(st.sampled_from(allowlist.PREFIXES), st.text("ABC_", min_size=1))),
    st.text("ABCxyz_0", min_size=1, max_size=12),
)
ENVIRONMENTS = st.dictionaries(NAMES, st.text(st.characters(exclude_characters="\0"), max_size=20))


@given(ENVIRONMENTS)
@example({**exported.ansible_settings(), **exported.OF_OTHERS, **exported.of_the_stack()})
def test_nothing_passes_but_what_is_listed(environ: dict[str, str]) -> None:
    found = environment.of_children(environ, FACTS)
    assert found["HOME"] == "/home/me"
    assert found["LANG"] == "C.UTF-8"
    for name in found.keys() - {"HOME", "LANG", "TMPDIR", "PATH", "no_proxy", "NO_PROXY"}:
        assert allowlist.passes(name)
        assert found[name] == environ[name]
    assert not [name for name in found if name.startswith(("COMPOSE_", "PYTHON", "LC_"))]
    assert not [name for name in found if name.startswith("ANSIBLE_") and "VAULT" not in name]
    assert all(name in found for name in environ if allowlist.passes(name) and name != "TMPDIR")


@given(ENVIRONMENTS)
def test_the_reduction_is_idempotent(environ: dict[str, str]) -> None:
    once = environment.of_children(environ, FACTS)
    assert environment.of_children(once, FACTS) == once


@pytest.mark.parametrize("name", sorted(exported.of_the_stack()))
def test_a_setting_of_the_stack_never_passes(name: str) -> None:
    assert name not in environment.of_children({name: "x"}, FACTS)


@pytest.mark.parametrize(
    ("given_", "expected"),
    [
        ({"http_proxy": "p"}, "localhost,127.0.0.1,::1"),
        ({"HTTPS_PROXY": "p", "NO_PROXY": "a.example"}, "a.example,localhost,127.0.0.1,::1"),
        ({"all_proxy": "p", "no_proxy": " 127.0.0.1 , .corp,"}, "127.0.0.1,.corp,localhost,::1"),
        ({"http_proxy": "p", "no_proxy": "*"}, "*"),
        ({"http_proxy": "p", "no_proxy": "a,*"}, "*"),
        ({}, None),
    ],
)
def test_loopback_is_reached_without_a_proxy(given_: dict[str, str], expected: str | None) -> None:
    found = environment.of_children(given_, FACTS)
    assert (found.get("no_proxy"), found.get("NO_PROXY")) == (expected, expected)


def test_both_spellings_of_a_proxy_variable_keep_their_values() -> None:
    found = allowlist.cleaned({"http_proxy": "p", "no_proxy": "a", "NO_PROXY": "b"})
    assert (found["no_proxy"], found["NO_PROXY"]) == (
        "a,localhost,127.0.0.1,::1",
        "b,localhost,127.0.0.1,::1",
    )


def test_a_step_keeps_what_it_sets_for_its_module() -> None:
    step = {
        "APP_VERSION": "1",
        "STACK_CPUS": "2",
        "IMAGES_FROM": "auto",
        "TRADING_SIGNAL_PROCESSOR_RUN": "id",
    }
    environ = {**step, "SERVER_PORT": "8099", "COMPOSE_FILE": "x", "PATH": "/bin"}
    assert allowlist.cleaned(environ, own=True) == {**step, "PATH": "/bin"}
    assert allowlist.cleaned(environ) == {"PATH": "/bin"}


def test_git_accepts_the_checkout_of_the_user_who_called_sudo(tmp_path: Path) -> None:
    """As root, git accepts a repository of root's, and of the user in SUDO_UID."""
    owner = 4321 if os.geteuid() == 0 else os.getuid()
    environ = {"PATH": os.environ["PATH"], "HOME": str(tmp_path), "SUDO_UID": str(owner), "SUDO_GID": "4321"}
    found = {**allowlist.cleaned(environ), "GIT_CONFIG_NOSYSTEM": "1"}
    checkout = tmp_path / "checkout"
    subprocess.run(["git", "init", "--quiet", checkout], env=found, check=True)
    for place in (checkout, checkout / ".git"):
        os.chown(place, owner, -1)
    done = subprocess.run(
        ["git", "-C", checkout, "status"], env=found, capture_output=True, text=True, check=False
    )
    assert (done.returncode, done.stderr) == (0, "")
    assert found["SUDO_GID"] == "4321"


@pytest.mark.parametrize("path", [{}, {"PATH": ""}])
def test_without_a_search_path_there_is_one(path: dict[str, str]) -> None:
    assert allowlist.cleaned(path)["PATH"] == allowlist.SEARCH_PATH


@pytest.mark.parametrize(
    ("environ", "expected"),
    [
        ({"LC_ALL": "C"}, "C.UTF-8"),
        ({"LC_ALL": "POSIX", "LANG": "C.UTF-8"}, "C.UTF-8"),
        ({"LANG": "no_SUCH.UTF-8"}, "C.UTF-8"),
        ({"LC_CTYPE": "no_SUCH.ISO-8859-1"}, "C.UTF-8"),
        ({"LC_ALL": "", "LANG": "C.utf8"}, "C.utf8"),
        ({}, "C.UTF-8"),
    ],
)
def test_the_locale_is_always_one_that_ansible_takes(environ: dict[str, str], expected: str) -> None:
    assert environment.usable_locale(environ) == expected


@pytest.mark.parametrize("text", ["a\0b", "x" * 5000, "de_DE@", ";", "LC_CTYPE=C;LC_TIME=C"])
def test_an_odd_locale_is_replaced(text: str) -> None:
    assert environment.usable_locale({"LC_ALL": text}) == "C.UTF-8"


@pytest.mark.parametrize(
    ("environ", "settings", "expected"),
    [
        ({"SERVER_PORT": "8099"}, {"SERVER_PORT": "80"}, ["SERVER_PORT"]),
        ({"SERVER_PORT": "80"}, {"SERVER_PORT": "80"}, []),
        ({"STACK_CPUS": "7"}, {}, ["STACK_CPUS"]),
        ({"STACK_CPUS": ""}, {}, ["STACK_CPUS"]),
        ({"OTHER": "x"}, {"SERVER_PORT": "80"}, []),
        ({"PIP_INDEX_URL": "x", "CA_BUNDLE": "y"}, {"PIP_INDEX_URL": "z"}, []),
        ({"POSTGRES_PASSWORD": "secret"}, {"POSTGRES_PASSWORD": ""}, ["POSTGRES_PASSWORD"]),
    ],
)
def test_what_has_no_effect_is_named_where_it_differs(
    environ: dict[str, str], settings: dict[str, str], expected: list[str]
) -> None:
    used = {"SERVER_PORT", "STACK_CPUS", "PIP_INDEX_URL", "CA_BUNDLE"}
    assert environment.overridden(environ, settings, used) == expected


def test_names_that_compose_interpolates() -> None:
    text = "a: ${ONE:-1} $TWO ${THREE:?no ${FOUR}} $$FIVE $${SIX} $$$SEVEN"
    assert environment.interpolated(text) == {"ONE", "TWO", "THREE", "FOUR", "SEVEN"}


@pytest.mark.parametrize("home", ["", "relative", "/nowhere", "/proc", "left by another user"])
def test_a_home_that_cannot_be_used(home: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    if home.startswith("left"):
        (tmp_path / ".ansible").touch()  # where a folder is needed; root may write to any folder
        home = str(tmp_path)
    monkeypatch.setenv("HOME", home)
    monkeypatch.setenv("PYTHONPATH", "x")
    before = dict(os.environ)
    environment.enter(keep=["PYTHONPATH"])
    private = Path(os.environ["HOME"])
    assert stat.S_IMODE(private.stat().st_mode) == 0o700
    assert os.environ["PYTHONPATH"] == "x"
    assert environment.exported()["HOME"] == home
    environment.leave()
    environment.leave()
    assert not private.exists()
    assert dict(os.environ) == before


def test_a_home_that_can_be_used_stays(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / ".ansible" / "tmp").mkdir(parents=True)
    monkeypatch.setenv("HOME", str(tmp_path))
    environment.enter()
    inside = os.environ["HOME"]
    environment.leave()
    assert inside == str(tmp_path)
    assert [path.name for path in tmp_path.rglob("*")] == [".ansible", "tmp"]
