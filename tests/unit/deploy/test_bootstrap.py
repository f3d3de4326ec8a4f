"""The environment that run.py makes: when it is current, what is refused, which options uv gets."""

from __future__ import annotations

import importlib.util
import re
import sys
from pathlib import Path

import pytest

from deploy import bootstrap
from deploy.bootstrap import BootstrapError
from deploy.onhost import certificates


@pytest.fixture
def clone(tmp_path: Path) -> Path:
    """Create the part of a checkout that the bootstrap reads."""
    root = tmp_path / "clone"
    (root / "requirements").mkdir(parents=True)
    for name in ("uv", "deploy"):
        (root / "requirements" / f"{name}.txt").write_text(f"# {name}\n", "utf-8")
    return root


def test_a_python_without_ensurepip_names_the_package(clone: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    find = importlib.util.find_spec
    monkeypatch.setattr(importlib.util, "find_spec", lambda name: None if name == "ensurepip" else find(name))
    with pytest.raises(BootstrapError) as failure:
        bootstrap.ensure(clone, "deploy")
    assert failure.value.exit_code == 3
    assert f"apt-get install -y python3.{sys.version_info.minor}-venv" in str(failure.value)


def test_windows_is_refused_with_advice_to_use_wsl(clone: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(bootstrap, "on_windows", lambda: True)
    with pytest.raises(BootstrapError) as failure:
        bootstrap.ensure(clone, "deploy")
    assert failure.value.exit_code == 3
    assert "WSL 2" in str(failure.value)


@pytest.mark.parametrize(
    "name", ["a b", "a,b", "a{b}", "a #1", "it's", "a$", "a$ b", "100%", "\\", "é", "a\tb"]
)
def test_a_path_that_works_is_not_refused(name: str) -> None:
    bootstrap.check_place(Path("/srv", name))


@pytest.mark.parametrize(
    ("name", "shown"),
    [
        ("a:b", "':'"),
        ("a\nb", "'\\n'"),
        ("$HOME", "'$'"),
        ("a${HOME}", "'$'"),
        ("{{x}}", "'{{'"),
        ("{%:", "':' '{%'"),
        ("a{#", "'{#'"),
    ],
)
def test_a_path_that_programs_misread_is_refused(name: str, shown: str) -> None:
    with pytest.raises(BootstrapError, match=re.escape(f"and {shown} in its path")) as failure:
        bootstrap.check_place(Path("/srv", name))
    assert failure.value.exit_code == 3


@pytest.mark.parametrize("broken", ["no stamp", "no python", "another place"])
def test_a_broken_environment_is_not_current(clone: Path, broken: str) -> None:
    target = clone / ".venv"
    (target / "bin").mkdir(parents=True)
    (target / "bin" / "python").symlink_to(sys.executable)
    (target / bootstrap.STAMP).write_text(bootstrap.fingerprint(clone, "deploy"), "utf-8")
    assert bootstrap.is_current(clone, "deploy")
    if broken == "no stamp":
        (target / bootstrap.STAMP).unlink()
    elif broken == "no python":
        (target / "bin" / "python").unlink()
        (target / "bin" / "python").symlink_to("/nowhere/python")  # the system's Python was upgraded
    else:
        clone = clone.rename(clone.with_name("moved"))
    assert not bootstrap.is_current(clone, "deploy")


@pytest.mark.parametrize(
    ("config", "environment", "expected"),
    [
        ("", {}, {}),
        ("global.index-url='https://mirror/simple'", {}, {"UV_DEFAULT_INDEX": "https://mirror/simple"}),
        ("global.index-url='https://m/'", {"UV_DEFAULT_INDEX": "mine"}, {}),
        (
            "global.index-url='https://a/'\n:env:.index-url='https://c/'\ninstall.index-url='https://b/'",
            {},
            {"UV_DEFAULT_INDEX": "https://c/"},
        ),
        (
            "global.extra-index-url='https://a/ https://b/'",
            {},
            {"UV_INDEX": "https://a/ https://b/", "UV_INDEX_STRATEGY": "unsafe-best-match"},
        ),
        ("global.find-links='\\n/wheels\\n/more'", {}, {"UV_FIND_LINKS": "/wheels,/more"}),
        ("global.cert='/etc/ca.crt'", {"SSL_CERT_FILE": "/mine"}, {}),
        ("global.no-such-thing='x'\ndownload.index-url='https://a/'", {}, {}),
    ],
)
def test_pips_settings_are_handed_on_to_uv(
    config: str, environment: dict[str, str], expected: dict[str, str]
) -> None:
    assert bootstrap.uv_settings(config, environment) == expected


@pytest.mark.parametrize(
    ("config", "environment", "chosen"),
    [
        ("global.index-url='https://m/'", {}, False),
        ("global.cert='/etc/ca.crt'", {}, True),
        (":env:.cert='/etc/ca.crt'", {}, True),
        ("", {"PIP_CERT": "/mine"}, True),
        ("", {"REQUESTS_CA_BUNDLE": "/mine"}, True),
        ("", {"SSL_CERT_FILE": "/mine"}, False),  # older versions of pip do not read it
    ],
)
def test_pip_uses_the_systems_certificates_unless_others_are_configured(
    config: str, environment: dict[str, str], monkeypatch: pytest.MonkeyPatch, *, chosen: bool
) -> None:
    monkeypatch.setattr(certificates, "BUNDLES", ("/nowhere/bundle", "/dev/null", "/etc/passwd"))
    found = bootstrap.pip_certificates(config, environment)
    assert found == ({} if chosen else {"PIP_CERT": "/dev/null"})


def test_without_system_certificates_pip_uses_its_own(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(certificates, "BUNDLES", ("/nowhere/bundle",))
    assert bootstrap.pip_certificates("", {}) == {}
