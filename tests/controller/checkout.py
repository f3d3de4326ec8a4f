"""A folder laid out like the repository, whose playbooks need no Docker, and the controller to run on it."""

from __future__ import annotations

import shutil
import subprocess
import sys
from dataclasses import dataclass
from pathlib import Path
from typing import IO

from deploy import bootstrap
from tests.hosts import document

REPOSITORY = Path(__file__).resolve().parents[2]
PIECES = Path(__file__).parent

# What run.py does inside its environment, in the environment that runs the tests.
CONTROLLER = (
    "import sys; from pathlib import Path; from deploy import cli, flow; "
    "sys.exit(flow.run(cli.parse(sys.argv[2:]), Path(sys.argv[1])))"
)

# Parts that need no Docker are the real ones.
REAL = (
    *("playbooks/lock.yml", "playbooks/unlock.yml", "playbooks/history.yml", "roles/lock", "roles/journal"),
    *("playbooks/by_hand.yml", "roles/by_hand"),
    "playbooks/collections",
)


# What `install` adds: run.py itself, and what it needs to find its packages.
CONTROLLERS_OWN = ("run.py", "deploy", "requirements", "pyproject.toml")


@dataclass(frozen=True)
class Checkout:
    """Hosts `here` (group local), `a` and `b` (group web), `dead` (nothing listens there)."""

    root: Path

    def start(
        self,
        *arguments: str,
        stdout: int | IO[str] = subprocess.PIPE,
        stdin: int | IO[str] = subprocess.DEVNULL,
    ) -> subprocess.Popen[str]:
        """Start the controller as a process, output captured, without a terminal unless one is given."""
        return subprocess.Popen(
            [sys.executable, "-c", CONTROLLER, str(self.root), *arguments],
            cwd=REPOSITORY,
            text=True,
            stdin=stdin,
            stdout=stdout,
            stderr=subprocess.PIPE,
        )

    def run(self, *arguments: str) -> subprocess.CompletedProcess[str]:
        """Run the controller to its end, and validate a document that it prints against docs/."""
        with self.start(*arguments) as process:
            out, err = process.communicate(timeout=180)
        if "--json" in arguments and out:
            document.check(out)
        return subprocess.CompletedProcess(arguments, process.returncode, out, err)

    def install(self) -> None:
        """Add run.py, and an environment for it that has the packages of the one that runs the tests."""
        for name in CONTROLLERS_OWN:
            source = REPOSITORY / name
            if source.is_dir():
                shutil.copytree(source, self.root / name, ignore=shutil.ignore_patterns("__pycache__"))
            else:
                shutil.copy(source, self.root / name)
        venv, own = Path(sys.prefix), self.root / ".venv"
        (own / "bin").mkdir(parents=True)
        (own / "bin" / "python").symlink_to(Path(sys.executable).resolve())
        shutil.copy(venv / "pyvenv.cfg", own)
        (own / "lib").symlink_to(venv / "lib")
        (own / bootstrap.STAMP).write_text(bootstrap.fingerprint(self.root, "deploy"), "utf-8")

    def run_py(
        self, *arguments: str, environ: dict[str, str], stdin: IO[str] | None = None
    ) -> subprocess.CompletedProcess[str]:
        """Run run.py as typed, with exactly this environment; call `install` before."""
        return subprocess.run(
            [sys.executable, str(self.root / "run.py"), *arguments],
            env=environ,
            stdin=stdin or subprocess.DEVNULL,
            capture_output=True,
            text=True,
            timeout=180,
            check=False,
        )


def lay_out(root: Path) -> Checkout:
    """Make a checkout at `root`, which must not exist yet."""
    shutil.copytree(PIECES / "pieces", root)
    shutil.copy(REPOSITORY / "ansible.cfg", root)
    for name in REAL:
        (root / name).parent.mkdir(parents=True, exist_ok=True)
        copy = shutil.copytree if (REPOSITORY / name).is_dir() else shutil.copy
        copy(REPOSITORY / name, root / name)
    return Checkout(root)
