"""Throw-away hosts: containers with their own engine, port 80 and clone of this checkout.

Everything happens inside: `run.py` makes its environment there, installs Docker there and deploys there. So
tests can run next to a real deployment and break anything. A host can be stored as an image with all the data
of its engine; any number of hosts can be started from that.
"""

from __future__ import annotations

import io
import os
import shlex
import subprocess
import tarfile
import uuid
from pathlib import Path, PurePosixPath
from typing import TYPE_CHECKING, Self

from tests.hosts.docker import Result, call, docker

if TYPE_CHECKING:
    from types import TracebackType

LABEL = "trading-signal-processor.test-host"
CA_BUNDLE = Path("/etc/ssl/certs/ca-certificates.crt")

# The engine's data is a volume (overlayfs does not stack), and `docker commit` leaves volumes out: a snapshot
# carries the data as one archive. The extended attributes are overlayfs's own marks for deleted folders.
ENGINE_DATA = "/var/lib/docker"
ENGINE_ARCHIVE = "/var/lib/docker.tar"
TAR = "tar --xattrs --xattrs-include='*' --numeric-owner --sparse"


class Host:
    """One throw-away host; use it as a context manager, or call `remove()`."""

    def __init__(self, image: str, purpose: str, *, owner: int | None = None) -> None:
        """Start a host from `image` (a bare one or a snapshot); `purpose` becomes part of its name.

        When the process `owner`, by default this one, has ended, the host counts as left.
        """
        self.name = f"tsp-test-{purpose}-{uuid.uuid4().hex[:8]}"
        environment = [part for pair in network_settings().items() for part in ("--env", "=".join(pair))]
        docker(
            "run", "--detach", "--init", "--privileged", "--cgroupns=private",
            "--name", self.name, "--hostname", purpose, "--label", f"{LABEL}={owner or os.getpid()}",
            "--volume", ENGINE_DATA, *environment,
            image, "sleep", "infinity",
        )  # fmt: skip
        try:
            self._prepare()
        except BaseException:  # the container must not outlive a Ctrl-C here either
            self.remove()
            raise

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.remove()

    @property
    def address(self) -> str:
        """Return the host's IPv4 address, reachable from this machine."""
        return docker(
            "inspect", "--format", "{{range .NetworkSettings.Networks}}{{.IPAddress}}{{end}}", self.name
        )

    def run(
        self,
        command: str,
        *,
        folder: str = "/root",
        timeout: float = 120,
        stdin: bytes | None = None,
        environment: dict[str, str] | None = None,
    ) -> Result:
        """Run a shell command to its end, without a terminal. After `timeout` seconds it is killed (124)."""
        argv = ["docker", "exec", "--interactive", "--workdir", folder]
        for variable, value in (environment or {}).items():
            argv += ["--env", f"{variable}={value}"]
        # `timeout` runs inside: ending the client alone would leave the command behind.
        argv += [self.name, "timeout", "--kill-after=10", str(timeout), "bash", "-c", command]
        return call(argv, stdin=stdin, timeout=timeout + 30)

    def spawn(self, command: str, *, folder: str = "/root") -> subprocess.Popen[str]:
        """Start a command and return at once; its output can be read from the returned process's pipes.

        The command's process id inside the host is the first line of its output.
        """
        return subprocess.Popen(
            ["docker", "exec", "--workdir", folder, self.name, "bash", "-c", f"echo $$; exec {command}"],
            stdin=subprocess.DEVNULL,
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            text=True,
        )

    def read(self, path: str) -> str:
        """Return the text of a file on the host."""
        return self.run(f"cat {shlex.quote(path)}").require().stdout

    def write(self, path: str, content: str | bytes, *, mode: int = 0o644) -> None:
        """Write one file, replacing what is there; its folder is made if missing."""
        data = content.encode() if isinstance(content, str) else content
        target = PurePosixPath(path)
        archive = io.BytesIO()
        with tarfile.open(fileobj=archive, mode="w") as tar:
            entry = tarfile.TarInfo(target.name)
            entry.size, entry.mode = len(data), mode
            tar.addfile(entry, io.BytesIO(data))
        self.unpack(archive.getvalue(), str(target.parent))

    def unpack(self, archive: bytes, folder: str) -> None:
        """Unpack a tar archive into a folder of the host."""
        place = shlex.quote(folder)
        self.run(f"mkdir -p {place} && tar -xf - -C {place}", stdin=archive, timeout=120).require()

    def snapshot(self, image: str) -> None:
        """Store the host with its engine's data as `image`. The engine is stopped, and stays stopped."""
        self.stop_engine()
        self.run(f"{TAR} -cf {ENGINE_ARCHIVE} -C {ENGINE_DATA} .", timeout=300).require()
        docker("commit", self.name, image, timeout=300)
        self.run(f"rm {ENGINE_ARCHIVE}").require()

    def stop_engine(self) -> None:
        """Stop dockerd as the service manager would, and wait until it is gone."""
        stop = "pid=$(cat /run/docker.pid) && kill $pid && tail --pid=$pid -f /dev/null"
        self.run(f"test ! -e /run/docker.pid || {{ {stop}; }}").require()

    def cut_power_at(self, event: str) -> subprocess.Popen[str]:
        """Kill every process of this host when its engine reports `event`, a shell pattern ("die NAME").

        Processes of the host itself stay. Returns when the engine is watched; `boot` restarts it.
        """
        pattern = event.replace(" ", "\\ ")
        watch = (
            "docker events --filter type=container --format '{{.Action}} {{.Actor.Attributes.name}}'"
            f' | while read -r line; do case "$line" in {pattern})'
            " pkill --signal KILL --inverse -x sleep ;; esac; done"
        )
        watcher = self.spawn(f"bash -c {shlex.quote(f'echo watching; {watch}')}")
        assert watcher.stdout is not None
        while "watching" not in watcher.stdout.readline():
            pass
        return watcher

    def boot(self) -> None:
        """Start the engine as after a boot: nothing is mounted, and /run is empty."""
        self.run(
            "awk '$2 ~ \"^/var/lib/docker/|^/run/docker/\" {print $2}' /proc/mounts | xargs -r umount --lazy;"
            " rm -rf /run/docker /run/docker.pid /run/docker.sock /run/containerd"
        ).require()
        self.run("setsid dockerd >>/var/log/dockerd.log 2>&1 </dev/null & true").require()
        self.run("timeout 90 sh -c 'until docker version; do sleep 0.2; done' >/dev/null 2>&1").require()

    def remove(self) -> None:
        """Remove the container and its volume."""
        call(["docker", "rm", "--force", "--volumes", self.name], timeout=300)

    def _prepare(self) -> None:
        unpack = f"{TAR} -xf {ENGINE_ARCHIVE} -C {ENGINE_DATA} && rm -f {ENGINE_ARCHIVE} /run/docker.pid"
        restored = self.run(f"test -e {ENGINE_ARCHIVE} && {unpack}", timeout=300).code == 0
        if not restored and CA_BUNDLE.exists():
            # Behind a TLS-inspecting proxy the packages' servers are only trusted with this machine's bundle.
            self.write("/usr/local/share/ca-certificates/machine.crt", CA_BUNDLE.read_bytes())
            self.run("update-ca-certificates").require()


def network_settings() -> dict[str, str]:
    """Return the variables by which this machine reaches the package registries, for its hosts."""
    names = ("PIP_INDEX_URL", "PIP_EXTRA_INDEX_URL", "http_proxy", "https_proxy", "no_proxy")
    return {
        variable: value
        for variable, value in os.environ.items()
        if value == str(CA_BUNDLE) or variable in names or variable.lower() in names
    }
