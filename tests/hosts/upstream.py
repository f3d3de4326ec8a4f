"""The remote that a host's checkout follows, and commits that its maintainers push there."""

from __future__ import annotations

import contextlib
from typing import TYPE_CHECKING

from tests.hosts.checkout import SOURCE

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping

    from tests.hosts.host import Host

_DESK = "/srv/desk"  # where the maintainers work
_GIT = f"git -C {_DESK} -c user.name=Maintainer -c user.email=maintainer@localhost"


class Upstream:
    """A real remote: the bare repository on the host, with a clone beside it to commit in."""

    def __init__(self, host: Host) -> None:
        self._host = host
        host.run(f"rm -rf {_DESK} && git clone --quiet {SOURCE} {_DESK}").require()

    @property
    def tip(self) -> str:
        """The commit that the remote's branch is at, in full."""
        return self._host.run(f"git -C {SOURCE} rev-parse HEAD").require().stdout.strip()

    def read(self, path: str) -> str:
        """A file as it is at the tip."""
        return self._host.read(f"{_DESK}/{path}")

    def names(self, pattern: str) -> list[str]:
        """The tracked files that match a pattern, sorted."""
        return self._host.run(f"git -C {_DESK} ls-files '{pattern}'").require().stdout.split()

    def push(self, files: Mapping[str, str], message: str = "A change") -> str:
        """Commit whole files, also ones that git ignores, and push; returns the commit in full."""
        for path, content in files.items():
            self._host.write(f"{_DESK}/{path}", content)
        names = " ".join(files)
        self._host.run(
            f"{_GIT} add --force {names} && {_GIT} commit --quiet --message '{message}'"
            f" && {_GIT} push --quiet"
        ).require()
        return self.tip

    def remove(self, *paths: str) -> str:
        """Commit that these files and folders are gone, and push; returns the commit in full."""
        names = " ".join(paths)
        self._host.run(
            f"{_GIT} rm -r --quiet {names} && {_GIT} commit --quiet --message 'Less' && {_GIT} push --quiet"
        ).require()
        return self.tip

    def revert(self) -> str:
        """Take the last commit back with another one, and push; returns that commit in full."""
        self._host.run(f"{_GIT} revert --no-edit HEAD && {_GIT} push --quiet").require()
        return self.tip

    @contextlib.contextmanager
    def offering(self, files: Mapping[str, str]) -> Iterator[str]:
        """Have a commit on the remote that is gone again afterwards; yields it."""
        before = self.tip
        try:
            yield self.push(files)
        finally:
            self._host.run(f"{_GIT} reset --quiet --hard {before} && {_GIT} push --quiet --force").require()
