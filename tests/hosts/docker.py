"""The docker commands that tests use."""

from __future__ import annotations

import subprocess
import time
from dataclasses import dataclass
from typing import IO, TYPE_CHECKING

if TYPE_CHECKING:
    from pathlib import Path


@dataclass(frozen=True)
class Result:
    """The result of a command: its exit code, both streams as text, and its duration in seconds."""

    command: str
    code: int
    stdout: str
    stderr: str
    seconds: float

    @property
    def output(self) -> str:
        """Return both streams, as a person at a terminal sees them."""
        return self.stdout + self.stderr

    def require(self) -> Result:
        """Return itself, or raise with everything that was printed if the code is not 0."""
        if self.code != 0:
            raise CommandFailedError(self)
        return self


class CommandFailedError(RuntimeError):
    """A command of the test bench itself did not end with 0."""

    def __init__(self, result: Result) -> None:
        super().__init__(f"`{result.command}` ended {result.code}\n{result.stderr}\n{result.stdout}")
        self.result = result


def call(
    argv: list[str],
    *,
    stdin: bytes | IO[bytes] | None = None,
    timeout: float = 120,
    environment: dict[str, str] | None = None,
    folder: Path | None = None,
) -> Result:
    """Run a program to its end. `timeout` is in seconds; what exceeds it is killed and raises."""
    started = time.monotonic()
    done = subprocess.run(
        argv,
        input=stdin if isinstance(stdin, bytes) else None,
        stdin=None if isinstance(stdin, bytes) else (stdin or subprocess.DEVNULL),
        capture_output=True,
        timeout=timeout,
        env=environment,
        cwd=folder,
        check=False,
    )
    return Result(
        command=" ".join(argv),
        code=done.returncode,
        stdout=done.stdout.decode(errors="replace"),
        stderr=done.stderr.decode(errors="replace"),
        seconds=time.monotonic() - started,
    )


def docker(*arguments: str, stdin: bytes | IO[bytes] | None = None, timeout: float = 120) -> str:
    """Run `docker …` and return its stripped standard output; raises unless it ends with 0."""
    return call(["docker", *arguments], stdin=stdin, timeout=timeout).require().stdout.strip()


def has_image(name: str) -> bool:
    """Return whether the engine has this image."""
    return call(["docker", "image", "inspect", name]).code == 0
