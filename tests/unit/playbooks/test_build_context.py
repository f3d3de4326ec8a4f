"""The build context of an image is the same for one commit in every kind of checkout."""

from __future__ import annotations

import os
import subprocess
import tempfile
from pathlib import Path

import pytest

from tests.unit.playbooks.modules import load

FILES = {
    ".gitattributes": "* text=auto eol=lf\napp/vendor/** -text\n",
    ".gitignore": "/.env\n*.log\n",
    ".dockerignore": "*\n!app\n",
    "Dockerfile": "FROM scratch\n",
    "app/main.py": "x = 1\ny = 2\n",
    "app/vendor/mixed.js": "a\r\nb\n",
    "images/venv.sh": "#!/bin/sh\necho\n",
    "requirements/app.txt": "x==1\n",
    "README.md": "not part of it\n",
}
IDENTITY = ("-c", "user.name=t", "-c", "user.email=t@t", "-c", "commit.gpgsign=false")


def git(root: Path, *argv: str) -> str:
    argv = ("git", *IDENTITY, "-C", str(root), *argv)
    return subprocess.run(argv, capture_output=True, text=True, check=True).stdout.strip()


@pytest.fixture
def origin(tmp_path: Path) -> Path:
    """Create a repository with one commit."""
    root = tmp_path / "origin"
    subprocess.run(["git", "init", "-q", "-b", "main", str(root)], check=True)
    for name, content in FILES.items():
        (root / name).parent.mkdir(parents=True, exist_ok=True)
        (root / name).write_bytes(content.encode())
    (root / "images/venv.sh").chmod(0o755)
    git(root, "add", "--all")
    git(root, "commit", "-qm", "one")
    return root


def clone(origin: Path, name: str, *options: str, umask: str = "022") -> Path:
    root = origin.parent / name
    command = ["sh", "-c", 'umask "$1"; shift; exec git clone -q "$@"', "sh", umask, *options]
    subprocess.run([*command, str(origin), str(root)], check=True)
    return root


def context(root: Path, umask: int = 0o022) -> dict[str, tuple[int, bytes]]:
    """Return mode and content of every file of the build context."""
    before = os.umask(umask)
    try:
        with tempfile.TemporaryDirectory() as folder:
            load("module_utils.build_context").lay_out(root, Path(folder))
            return {
                str(path.relative_to(folder)): (
                    path.stat().st_mode & 0o7777,
                    b"" if path.is_dir() else path.read_bytes(),
                )
                for path in Path(folder).rglob("*")
            }
    finally:
        os.umask(before)


def exported(root: Path, umask: str) -> Path:
    """Export the tree of a commit as an update does."""
    folder = root / ".run" / "releases" / "one"
    before = os.umask(int(umask, 8))
    try:
        load("update_source").export(root, git(root, "rev-parse", "HEAD"), folder)
    finally:
        os.umask(before)
    return folder


def test_one_commit_gives_one_context(origin: Path) -> None:
    expected = context(clone(origin, "plain"))
    assert expected["app/main.py"] == (0o644, b"x = 1\ny = 2\n")
    assert expected["app/vendor/mixed.js"] == (0o644, b"a\r\nb\n")
    assert expected["images/venv.sh"] == (0o755, b"#!/bin/sh\necho\n")
    assert expected["app"] == (0o755, b"")
    assert not {"README.md", ".git"} & set(expected)

    narrow = clone(origin, "narrow", umask="077")
    windows = clone(origin, "windows", "-c", "core.autocrlf=true")
    assert context(narrow) == expected
    assert context(narrow, umask=0o077) == expected
    assert context(windows) == expected
    assert context(exported(narrow, "077")) == expected
    assert context(exported(windows, "022")) == expected


def test_line_endings_and_modes_of_the_work_tree_do_not_matter(origin: Path) -> None:
    root = clone(origin, "edited")
    expected = context(root)
    (root / "app/main.py").write_bytes(b"x = 1\r\ny = 2\r\n")
    (root / "app/main.py").chmod(0o777)
    (root / "images/venv.sh").chmod(0o600)
    assert context(root) == expected


def test_edits_and_new_files_are_built_and_what_git_ignores_is_not(origin: Path) -> None:
    root = clone(origin, "dirty")
    (root / "app/main.py").write_text("x = 3\r\n")
    (root / "app/new.py").write_text("")
    (root / "app/debug.log").write_text("")
    (root / "requirements/app.txt").unlink()
    before = git(root, "count-objects"), git(root, "status", "--porcelain")
    found = context(root)
    assert found["app/main.py"] == (0o644, b"x = 3\n")
    assert found["app/new.py"] == (0o644, b"")
    assert "app/debug.log" not in found
    assert "requirements/app.txt" not in found
    assert (git(root, "count-objects"), git(root, "status", "--porcelain")) == before


def test_a_tree_without_git_is_built_as_it_is(origin: Path, tmp_path: Path) -> None:
    root = tmp_path / "tree"
    for name, content in FILES.items():
        (root / name).parent.mkdir(parents=True, exist_ok=True)
        (root / name).write_bytes(content.encode())
        (root / name).chmod(0o600)
    (root / "images/venv.sh").chmod(0o700)
    (root / "app/__pycache__").mkdir()
    (root / "app/__pycache__/main.pyc").write_bytes(b"x")
    assert context(root) == context(clone(origin, "beside"))


def test_scripts_with_windows_line_endings_are_named_and_restored(origin: Path) -> None:
    facts, root = load("checkout_facts"), clone(origin, "scripts", "-c", "core.autocrlf=true")
    assert facts.windows_scripts(root) == []
    (root / "images/venv.sh").write_bytes(b"#!/bin/sh\r\necho\r\n")
    assert facts.windows_scripts(root) == ["images/venv.sh"]
    (root / "images/venv.sh").unlink()
    git(root, "checkout", "--", "images/venv.sh")
    assert facts.windows_scripts(root) == []
