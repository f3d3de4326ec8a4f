"""The code under test as a git repository that a host can clone and pull from."""

from __future__ import annotations

import io
import shutil
import tarfile
import tempfile
from pathlib import Path
from typing import TYPE_CHECKING

from tests.hosts.docker import call

if TYPE_CHECKING:
    from tests.hosts.host import Host

SOURCE = "/srv/source.git"
PROJECT = "/opt/trading-signal-processor"

_IDENTITY = ["-c", "user.name=Test bench", "-c", "user.email=test@localhost"]


def source_archive(checkout: Path) -> bytes:
    """A tar archive of a bare repository `source.git`: the history, and on top what is not committed yet.

    A clean checkout arrives with the very commit it has, so that versions can be compared.
    """
    with tempfile.TemporaryDirectory(prefix="checkout-") as folder:
        tree, bare = Path(folder, "tree"), Path(folder, "source.git")
        _git("clone", "--quiet", str(checkout), str(tree))
        # One name whatever is checked out here: hosts that are kept follow it.
        _git("-C", str(tree), "checkout", "--quiet", "-B", "main")
        _overlay_edits(checkout, tree)
        _git("clone", "--quiet", "--bare", str(tree), str(bare))
        archive = io.BytesIO()
        with tarfile.open(fileobj=archive, mode="w") as tar:
            tar.add(bare, arcname="source.git", filter=_owned_by_root)
        return archive.getvalue()


def install(host: Host, archive: bytes, project: str = PROJECT) -> None:
    """Clone the code on a host at `project`, or bring an existing clone there to it; ignored files stay."""
    host.run(f"rm -rf {SOURCE}").require()
    host.unpack(archive, str(Path(SOURCE).parent))
    clone = f"git clone --quiet {SOURCE} {project}"
    # By name: the clone of a host that was kept may be on another branch, with a remote's HEAD long gone.
    git = f"git -C {project}"
    follow = f"{git} fetch --quiet origin && {git} checkout --quiet --force -B main --track origin/main"
    host.run(f"if test -d {project}/.git; then {follow}; else {clone}; fi").require()


def _overlay_edits(checkout: Path, tree: Path) -> None:
    listed = _git(
        "-C", str(checkout), "ls-files", "-z", "--modified", "--deleted", "--others", "--exclude-standard"
    )
    names = [name for name in listed.split("\0") if name]
    for name in names:
        source, target = checkout / name, tree / name
        target.parent.mkdir(parents=True, exist_ok=True)
        if source.exists():
            shutil.copy2(source, target, follow_symlinks=False)
        else:
            target.unlink(missing_ok=True)
    if names:
        _git("-C", str(tree), "add", "--all")
        _git(*_IDENTITY, "-C", str(tree), "commit", "--quiet", "--message", "Edits under test")


def _owned_by_root(entry: tarfile.TarInfo) -> tarfile.TarInfo:
    entry.uid = entry.gid = 0  # git refuses to work in another user's repository
    entry.uname = entry.gname = "root"
    return entry


def _git(*arguments: str) -> str:
    return call(["git", *arguments]).require().stdout
