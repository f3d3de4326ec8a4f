"""The environment of a run: what the operator exported is reduced to an allow-list before anything starts.

Every program that the controller starts inherits what `enter` keeps: Ansible, git, docker, ssh, pip and uv.
Standard library only, as it comes before the controller's own environment of packages exists.
"""

from __future__ import annotations

import contextlib
import locale
import os
import re
import shutil
import tempfile
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

from deploy.onhost import allowlist

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping

LOCALE = "C.UTF-8"
_LOCALES = (LOCALE, "en_US.UTF-8")  # the second one where the C library has no C.UTF-8
_EXPORTED_LOCALE = ("LC_ALL", "LC_CTYPE", "LANG")  # the first that is set decides, as in the C library
_INTERPOLATED = re.compile(r"\$\{?([A-Za-z_][A-Za-z0-9_]*)")
_PRIVATE_HOME = "trading-signal-processor-home-"
# What a build takes from the machine it runs on; the stack itself has nothing of it.
_OF_THE_BUILD = frozenset({"PIP_INDEX_URL", "CA_BUNDLE", "PACKAGE_CACHE"})


@dataclass(frozen=True)
class Facts:
    """What is known of this machine: may the folders be written, which locale exists."""

    home: str  # the exported HOME if it can be written, else a private folder
    tmpdir: str = ""  # the exported TMPDIR if it can be written
    locale: str = LOCALE


def of_children(environ: Mapping[str, str], facts: Facts) -> dict[str, str]:
    """Return the environment that programs get, made from what was exported. Pure."""
    found = allowlist.cleaned(environ)
    found.pop("TMPDIR", None)
    if facts.tmpdir:
        found["TMPDIR"] = facts.tmpdir
    return {**found, "HOME": facts.home, "LANG": facts.locale}


def overridden(environ: Mapping[str, str], settings: Mapping[str, str], used: Iterable[str]) -> list[str]:
    """Return the exported variables that look like settings of the stack and differ from `.env`. Pure.

    They have no effect. `settings` are the assignments of `.env`, `used` the names that the compose files
    interpolate.
    """
    names = (set(settings) | set(used)) - _OF_THE_BUILD - allowlist.NAMES
    return sorted(name for name in names if name in environ and environ[name] != settings.get(name))


def interpolated(text: str) -> set[str]:
    """Return the names of the variables that a compose file interpolates. Pure."""
    return set(_INTERPOLATED.findall(text.replace("$$", "")))


def usable_locale(environ: Mapping[str, str]) -> str:
    """Return the locale for programs: the exported one if it exists and is UTF-8, else C.UTF-8."""
    exported = next((environ[name] for name in _EXPORTED_LOCALE if environ.get(name)), "")
    return next((name for name in (exported, *_LOCALES) if name and _is_utf8(name)), LOCALE)


def _is_utf8(name: str) -> bool:
    before = locale.setlocale(locale.LC_ALL)
    try:
        locale.setlocale(locale.LC_ALL, name)
        return locale.nl_langinfo(locale.CODESET).upper().replace("-", "") == "UTF8"
    except (locale.Error, ValueError):
        return False
    finally:
        with contextlib.suppress(locale.Error):
            locale.setlocale(locale.LC_ALL, before)


def is_writable(folder: str) -> bool:
    """Whether this is the absolute path of a folder in which this process may make files."""
    if not Path(folder).is_absolute():
        return False
    try:
        with tempfile.TemporaryFile(
            dir=folder
        ):  # permissions alone do not decide: /proc, a mount that is read-only
            return True
    except OSError:
        return False


def is_usable_home(folder: str) -> bool:
    """Whether Ansible can keep its files there, also in what an earlier run as another user has left."""
    places = [Path(folder, name) for name in ("", ".ansible", ".ansible/tmp", ".ansible/cp")]
    return is_writable(folder) and all(is_writable(str(place)) for place in places if os.path.lexists(place))


_state: dict[str, dict[str, str]] = {}  # of this process, like `os.environ`: `exported` while it is entered


def enter(keep: Iterable[str] = ()) -> None:
    """Reduce the environment of this process to what programs get, and what it is to `keep` for itself.

    Raises OSError where HOME cannot be used and there is no room for a private one.
    """
    exported = dict(os.environ)
    home, tmpdir = exported.get("HOME", ""), exported.get("TMPDIR", "")
    if not is_usable_home(home):
        home = tempfile.mkdtemp(prefix=_PRIVATE_HOME)  # 0700
    facts = Facts(home, tmpdir if is_writable(tmpdir) else "", usable_locale(exported))
    kept = {name: exported[name] for name in keep if name in exported}
    allowlist.replace(os.environ, {**of_children(exported, facts), **kept})
    _state["exported"] = exported


def leave() -> None:
    """Give this process back the environment that it was started with, and remove a private HOME."""
    if "exported" not in _state:
        return
    home = os.environ["HOME"]
    allowlist.replace(os.environ, _state.pop("exported"))
    if Path(home).name.startswith(_PRIVATE_HOME):
        shutil.rmtree(home, ignore_errors=True)


def exported() -> Mapping[str, str]:
    """Return what the operator exported."""
    return _state.get("exported", os.environ)
