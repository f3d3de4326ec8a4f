"""Modes and owners are set on the listed entries, whatever the application's user puts there meanwhile."""

from __future__ import annotations

import os
import stat
from typing import TYPE_CHECKING

import pytest

from tests.unit.playbooks.modules import load

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path

RULE = {"path": "data", "folders": "0750", "files": "0640"}


@pytest.fixture
def root(tmp_path: Path) -> Path:
    """Create a checkout whose data/ has a folder with two files, and a file outside of it."""
    root = tmp_path / "checkout"
    (root / "data" / "exports").mkdir(parents=True)
    for name in ("one", "two"):
        (root / "data" / "exports" / name).write_text("x")
        (root / "data" / "exports" / name).chmod(0o600)
    (tmp_path / "outside").mkdir()
    (tmp_path / "outside" / "one").write_text("x")
    (tmp_path / "outside" / "one").chmod(0o600)
    return root


def mode(path: Path) -> int:
    return stat.S_IMODE(path.lstat().st_mode)


def test_everything_below_follows_the_rule_once(root: Path) -> None:
    tree = load("module_utils.tree")
    changed = tree.in_line(root, [RULE], check=False)
    assert set(changed) == {"data", "data/exports", "data/exports/one", "data/exports/two"}
    assert (mode(root / "data/exports"), mode(root / "data/exports/one")) == (0o750, 0o640)
    assert tree.in_line(root, [RULE], check=False) == []


def test_a_listing_changes_nothing(root: Path) -> None:
    assert len(load("module_utils.tree").in_line(root, [RULE], check=True)) == 4
    assert mode(root / "data/exports/one") == 0o600


def test_folders_to_skip_keep_their_modes_with_all_that_is_in_them(root: Path) -> None:
    tree = load("module_utils.tree")
    (root / "data" / "other").mkdir(mode=0o700)
    assert set(tree.in_line(root, [{**RULE, "skip": ["exp*"]}], check=False)) == {"data", "data/other"}
    assert mode(root / "data/exports/one") == 0o600


def test_a_missing_folder_is_nothing(root: Path) -> None:
    assert load("module_utils.tree").in_line(root, [{**RULE, "path": "logs"}], check=False) == []


def _link(entry: Path, outside: Path) -> None:
    entry.symlink_to(outside / "one")


def _second_name(entry: Path, outside: Path) -> None:
    os.link(outside / "one", entry)


def _pipe(entry: Path, _outside: Path) -> None:
    os.mkfifo(entry, 0o600)


@pytest.mark.parametrize("put", [_link, _second_name, _pipe])
def test_an_entry_replaced_between_listing_and_change_is_not_changed(
    root: Path, put: Callable[[Path, Path], None]
) -> None:
    """The application's user owns data/: between the listing and the change it may put anything there."""
    tree, outside = load("module_utils.tree"), root.parent / "outside"
    for path, name, folder in tree.entries(root, "data"):
        if path == "data/exports/one":
            (root / path).unlink()
            put(root / path, outside)
        tree.apply(path, name, folder, RULE, check=False)
    assert mode(outside / "one") == 0o600
    assert mode(root / "data/exports/two") == 0o640


def test_a_folder_that_becomes_a_link_is_not_followed(root: Path) -> None:
    """Its entries are reached by the folder that was listed, not by its path."""
    tree, outside = load("module_utils.tree"), root.parent / "outside"
    for path, name, folder in tree.entries(root, "data"):
        if path == "data/exports/one":
            (root / "data/exports").rename(root / "data/moved")
            (root / "data/exports").symlink_to(outside)
        tree.apply(path, name, folder, RULE, check=False)
    assert mode(outside / "one") == 0o600
    assert mode(root / "data/moved/one") == 0o640


def test_a_folder_that_is_a_link_from_the_start_is_not_changed(root: Path) -> None:
    (root / "logs").symlink_to(root.parent / "outside")
    assert load("module_utils.tree").in_line(root, [{**RULE, "path": "logs"}], check=False) == []
    assert mode(root.parent / "outside/one") == 0o600


def test_an_entry_that_cannot_be_changed_is_named(root: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def refused(*_: object, **__: object) -> None:
        raise PermissionError(1, "Operation not permitted", "/proc/self/fd/7")

    monkeypatch.setattr(os, "chmod", refused)
    with pytest.raises(PermissionError) as caught:
        load("module_utils.tree").in_line(root, [RULE], check=False)
    assert caught.value.filename == str(root / "data")
