"""Makes the controller's own environment from the hashed locks, and re-executes inside it.

Standard library only. The environment is made under another name (`.venv.new`) and renamed into place: a
half-made one is never used. `python3 -m deploy.bootstrap dev` makes `.venv-dev`, the developers' one, in the
same way.
"""

from __future__ import annotations

import ast
import contextlib
import errno
import hashlib
import importlib.util
import os
import re
import shutil
import signal
import subprocess
import sys
from pathlib import Path
from typing import TYPE_CHECKING

from deploy import environment
from deploy.onhost import certificates
from deploy.package_errors import way_out

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping, Sequence

ENVIRONMENTS = {"deploy": ".venv", "dev": ".venv-dev"}  # lock file in requirements/ → directory
# What breaks in the checkout's path: a colon ends an entry of a search path and the source of a mount.
# Ansible expands $NAME and reads {{, {% and {# as templates. Lists of containers are read line by line.
_MISREAD = re.compile(r":|\n|\$(?=\w|\{)|\{[{%#]")
STAMP = "made-from"  # written last: an environment without it is not finished

# pip's settings → uv's, so that a machine that reaches its packages through a mirror needs no second set-up.
_UV_NAMES = {
    "index-url": "UV_DEFAULT_INDEX",
    "extra-index-url": "UV_INDEX",
    "find-links": "UV_FIND_LINKS",
    "trusted-host": "UV_INSECURE_HOST",
    "cert": "SSL_CERT_FILE",
    "timeout": "UV_HTTP_TIMEOUT",
}

# Exported settings of pip and uv that change what is installed, or where, instead of how it is reached.
_ELSEWHERE = frozenset(
    {
        *("PIP_CONSTRAINT", "PIP_DRY_RUN", "PIP_NO_DEPS", "PIP_PREFIX", "PIP_PYTHON", "PIP_REQUIREMENT"),
        *("PIP_ROOT", "PIP_TARGET", "PIP_USER", "PIP_UPLOADED_PRIOR_TO"),
        *("UV_CONSTRAINT", "UV_BUILD_CONSTRAINT", "UV_OVERRIDE", "UV_EXCLUDE", "UV_EXCLUDE_NEWER"),
        *(
            "UV_PYTHON",
            "UV_SYSTEM_PYTHON",
            "UV_PROJECT",
            "UV_WORKING_DIR",
            "UV_ENV_FILE",
            "UV_NO_VERIFY_HASHES",
        ),
    }
)


class BootstrapError(Exception):
    """The environment could not be made. The text says what, why and what to type; `exit_code` is 1 or 3."""

    def __init__(self, message: str, exit_code: int) -> None:
        super().__init__(message)
        self.exit_code = exit_code


def fingerprint(root: Path, kind: str, place: Path | None = None) -> str:
    """What an environment must have been made from to be current: the locks, the Python, and its place.

    The place counts because scripts in a virtual environment name their interpreter by its full path.
    """
    digest = hashlib.sha256()
    for lock in ("uv", kind):
        digest.update((root / "requirements" / f"{lock}.txt").read_bytes())
    python = f"{sys.version_info.major}.{sys.version_info.minor}"
    return f"{digest.hexdigest()} python-{python} {place or root / ENVIRONMENTS[kind]}\n"


def is_current(root: Path, kind: str, place: Path | None = None) -> bool:
    """Whether the environment exists, works and matches the locks: two small reads, no process started.

    `place` is where it lies, if that is not its own place in `root`.
    """
    target = place or root / ENVIRONMENTS[kind]
    try:
        stamp = (target / STAMP).read_text("utf-8")
    except OSError:
        return False
    return stamp == fingerprint(root, kind, place) and os.access(target / "bin" / "python", os.X_OK)


@contextlib.contextmanager
def _exclusive(root: Path) -> Iterator[None]:
    """One process at a time makes an environment here. The lock is on the folder itself: no file is left."""
    import fcntl  # noqa: PLC0415 - does not exist on Windows, which is refused before

    descriptor = os.open(root, os.O_RDONLY)
    os.set_inheritable(descriptor, True)  # noqa: FBT003 - the standard library takes it so
    try:
        fcntl.flock(descriptor, fcntl.LOCK_EX)
        yield
    finally:
        os.close(descriptor)


def _run(argv: Sequence[str], what: str, env: Mapping[str, str] | None = None) -> str:
    """Run one command of the making; its stdout. A failure names the step and shows its last lines.

    An interruption ends it with everything that it started: nobody writes any more when this has returned.
    """
    with subprocess.Popen(
        argv,
        env=env,
        stdin=subprocess.DEVNULL,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
        start_new_session=True,
        close_fds=False,  # they hold the lock of `_exclusive`, too: a killed run.py leaves them writing
    ) as process:
        try:
            out, problems = process.communicate()
        except BaseException:
            os.killpg(process.pid, signal.SIGKILL)
            process.communicate()  # the pipes close when the last of them has ended
            raise
    if process.returncode:
        tail = "\n".join(f"    {line}" for line in (problems or out).strip().splitlines()[-8:])
        raise BootstrapError(
            f"could not make the Python environment: {what} failed ({_ended(process.returncode)}).\n{tail}\n"
            f"Nothing was changed. {way_out(problems + out)}\nThen run the same again.",
            exit_code=1,
        )
    return out


def _ended(status: int) -> str:
    """Say how a program ended, by its exit status or the negative number of a signal."""
    return f"exit {status}" if status >= 0 else f"killed by signal {-status}"


def uv_settings(pip_config: str, environment: Mapping[str, str]) -> dict[str, str]:
    """uv's variables for what `pip config list` printed, without those that are set for uv already.

    `pip_config` lines look like `global.index-url='https://…'`; `:env:` wins over `install`, and that over
    `global`.
    """
    rank = {"global": 0, "install": 1, ":env:": 2}
    found: dict[str, tuple[int, str]] = {}
    for line in pip_config.splitlines():
        key, separator, quoted = line.partition("=")
        section, _, name = key.rpartition(".")
        uv_name = _UV_NAMES.get(name)
        if not separator or uv_name is None or section not in rank or uv_name in environment:
            continue
        value = " ".join(str(ast.literal_eval(quoted)).split())
        if value and rank[section] >= found.get(uv_name, (-1, ""))[0]:
            found[uv_name] = (rank[section], value)
    settings = {name: value for name, (_, value) in found.items()}
    if "UV_FIND_LINKS" in settings:
        settings["UV_FIND_LINKS"] = settings["UV_FIND_LINKS"].replace(" ", ",")
    if "UV_INDEX" in settings:
        # pip looks at all its indexes alike; uv would stop at the first. Hashes make that harmless.
        settings.setdefault("UV_INDEX_STRATEGY", environment.get("UV_INDEX_STRATEGY", "unsafe-best-match"))
    return settings


def pip_certificates(pip_config: str, environment: Mapping[str, str]) -> dict[str, str]:
    """pip's variable for the certificates that this machine trusts; nothing where the operator chose others.

    Before version 24.2 pip knows a list of its own only, which lacks the CA of a company, unless a
    distribution changed that.
    """
    chosen = {"PIP_CERT", "REQUESTS_CA_BUNDLE", "CURL_CA_BUNDLE"} & environment.keys()
    if chosen or re.search(r"^[\w:-]+\.cert=", pip_config, re.MULTILINE):
        return {}
    return {"PIP_CERT": file} if (file := certificates.bundle()) else {}


def _repoint(environment: Path, final: Path) -> None:
    """Make scripts and settings written at `environment` name the place it will be renamed to."""
    old, new = str(environment).encode(), str(final).encode()
    for path in [environment / "pyvenv.cfg", *(environment / "bin").iterdir()]:
        if path.is_symlink() or not path.is_file():
            continue
        content = path.read_bytes()
        if old in content and b"\0" not in content[:1024]:
            path.write_bytes(content.replace(old, new))


def _step_aside(target: Path, old: Path) -> None:
    """Move a stale environment out of the way; in a container's image it can only be removed (overlayfs)."""
    try:
        target.rename(old)
    except OSError as error:
        if error.errno != errno.EXDEV:
            raise
        shutil.rmtree(target)


def _make(root: Path, kind: str) -> None:
    """Build the environment under another name and rename it. Called under the lock."""
    target = root / ENVIRONMENTS[kind]
    fresh, old = target.with_name(target.name + ".new"), target.with_name(target.name + ".old")
    for leftover in (fresh, old):  # of a run that was killed
        shutil.rmtree(leftover, ignore_errors=True)
    lock = root / "requirements" / f"{kind}.txt"
    python = str(fresh / "bin" / "python")
    try:
        _run([sys.executable, "-m", "venv", "--prompt", target.name, str(fresh)], "python -m venv")
        pip = [python, "-m", "pip", "--disable-pip-version-check", "--no-input"]
        env = {name: value for name, value in os.environ.items() if name not in _ELSEWHERE}
        config = _run([*pip, "config", "list"], "pip config list", env)
        env.update(pip_certificates(config, env))
        _run(
            [
                *pip,
                "install",
                "--quiet",
                "--no-compile",
                "--require-hashes",
                "-r",
                f"{root}/requirements/uv.txt",
            ],
            "installing uv",
            env,
        )
        env.update(uv_settings(config, env))
        env.setdefault("UV_SYSTEM_CERTS", "true")  # as pip does: uv's own list lacks the CA of a company
        _run(
            [python, "-m", "uv", "pip", "sync", "--quiet", "--python", python, "--require-hashes", str(lock)],
            f"installing requirements/{kind}.txt",
            env,
        )
        _repoint(fresh, target)
        (fresh / STAMP).write_text(fingerprint(root, kind), "utf-8")
        if target.exists():
            _step_aside(target, old)
        fresh.rename(target)
    finally:
        shutil.rmtree(fresh, ignore_errors=True)
        shutil.rmtree(old, ignore_errors=True)


def on_windows() -> bool:
    """Whether this is Windows itself; inside WSL it is not."""
    return os.name == "nt"


def check_place(root: Path) -> None:
    """Refuse a path of the checkout that a program reads as something else. Raises BootstrapError."""
    misread = " ".join(map(ascii, sorted(set(_MISREAD.findall(str(root))))))
    if misread:
        raise BootstrapError(
            f"this checkout lies at {root}, and {misread} in its path cannot work: "
            "Python, Ansible and Docker read that as their own. Move it to a path of letters, digits, spaces "
            "and the characters - _ . + @ = ~, then run the same again.",
            exit_code=3,
        )


def _check_machine() -> None:
    """Refuse what cannot work, before anything is written."""
    if on_windows():
        raise BootstrapError(
            "Ansible does not run on Windows. Open a WSL 2 shell, clone the project there, run it again.",
            exit_code=3,
        )
    if importlib.util.find_spec("ensurepip") is None:
        version = f"{sys.version_info.major}.{sys.version_info.minor}"
        raise BootstrapError(
            f"this Python ({sys.executable}) cannot make virtual environments: its 'ensurepip' is missing.\n"
            f"On Debian and Ubuntu: apt-get install -y python{version}-venv\nThen run the same again.",
            exit_code=3,
        )


def ensure(root: Path, kind: str) -> Path:
    """The environment's Python, made first if missing, stale or broken. Raises BootstrapError only."""
    target = root / ENVIRONMENTS[kind]
    try:
        if not is_current(root, kind):
            _check_machine()
            with _exclusive(root):
                if not is_current(root, kind):  # another run may have made it while this one waited
                    sys.stderr.write(f"Making {target.name} from requirements/{kind}.txt (once) …\n")
                    _make(root, kind)
    except OSError as error:
        what = error.strerror or "it failed"
        raise BootstrapError(
            f"could not make {target}: {what} ({error.filename or root}). {way_out(what)}", exit_code=1
        ) from error
    return target / "bin" / "python"


def enter(root: Path) -> None:
    """Return inside a current environment; elsewhere make `.venv` and replace this process by itself in it.

    An environment of another tree with the same locks is as good: an update's own controller begins in it.
    """
    if is_current(root, "deploy", Path(sys.prefix)):
        return
    python = ensure(root, "deploy")
    environment.leave()  # what comes next reduces it again, and knows what was exported
    os.execv(python, [str(python), *sys.orig_argv[1:]])  # noqa: S606 - the same command, in our own packages


if __name__ == "__main__":
    if len(sys.argv) != 2 or sys.argv[1] not in ENVIRONMENTS:
        sys.exit("usage: python3 -m deploy.bootstrap deploy|dev")
    environment.enter()
    try:
        ensure(Path(__file__).resolve().parent.parent, sys.argv[1])
    except BootstrapError as failure:
        sys.stderr.write(f"{failure}\n")
        sys.exit(failure.exit_code)
    finally:
        environment.leave()
