"""The remote that a host's checkout follows, and commits that its maintainers push there."""

from __future__ import annotations

import contextlib
from typing import TYPE_CHECKING

from tests.hosts.checkout import SOURCE

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping

    from tests.hosts.host import Host

_DESK = "/srv/desk"  # the maintainers' clone
_GIT = f"git -C {_DESK} -c user.name=Maintainer -c user.email=maintainer@localhost"


class Upstream:
    """A real remote: the bare repository on the host, and a clone to commit in."""

    def __init__(self, host: Host) -> None:
        self._host = host
        host.run(f"rm -rf {_DESK} && git clone --quiet {SOURCE} {_DESK}").require()

    @property
    def tip(self) -> str:
        """Return the full id of the commit that the remote's branch is at."""
        return self._host.run(f"git -C {SOURCE} rev-parse HEAD").require().stdout.strip()

    def read(self, path: str) -> str:
        """Return a file's content at the tip."""
        return self._host.read(f"{_DESK}/{path}")

    def names(self, pattern: str) -> list[str]:
        """Return the tracked files that match a pattern, sorted."""
        return self._host.run(f"git -C {_DESK} ls-files '{pattern}'").require().stdout.split()

    def push(self, files: Mapping[str, str], message: str = "A change") -> str:
        """Commit whole files, also ones that git ignores, and push; return the full commit id."""
        for path, content in files.items():
            self._host.write(f"{_DESK}/{path}", content)
        names = " ".join(files)
        self._host.run(
            f"{_GIT} add --force {names} && {_GIT} commit --quiet --message '{message}'"
            f" && {_GIT} push --quiet"
        ).require()
        return self.tip

    def remove(self, *paths: str) -> str:
        """Commit the deletion of these files and folders, and push; return the full commit id."""
        names = " ".join(paths)
        self._host.run(
            f"{_GIT} rm -r --quiet {names} && {_GIT} commit --quiet --message 'Less' && {_GIT} push --quiet"
        ).require()
        return self.tip

    def revert(self) -> str:
        """Revert the last commit, and push; return the full commit id."""
        self._host.run(f"{_GIT} revert --no-edit HEAD && {_GIT} push --quiet").require()
        return self.tip

    @contextlib.contextmanager
    def offering(self, files: Mapping[str, str]) -> Iterator[str]:
        """Push a commit, yield its id, and remove it from the remote afterwards."""
        before = self.tip
        try:
            yield self.push(files)
        finally:
            self._host.run(f"{_GIT} reset --quiet --hard {before} && {_GIT} push --quiet --force").require()
