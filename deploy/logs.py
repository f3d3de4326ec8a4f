"""`--follow-logs`: `docker logs -f` of every host at once, until Ctrl-C.

A direct stream over the shell or ssh: a playbook has no output before a task ends.
"""

from __future__ import annotations

import asyncio
import contextlib
import shlex
import signal
import sys
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from deploy.exitcodes import ExitCode, worst
from deploy.hostkeys import way_out
from deploy.output import is_gone
from deploy.report import write

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from deploy.inventory import Inventory
    from deploy.masking import Mask

CONTAINER = "trading-signal-processor"
TAIL = 100
_LINE_LIMIT = 1 << 20  # bytes; a log line may hold a signal of 64 KiB, escaped
_SSH_FAILED = 255
_NO_PROGRAM = 127  # as the shell says it


@dataclass(frozen=True)
class Target:
    """A host to follow, and how to run a command there: through `ssh` (empty for this machine), as whom."""

    host: str
    ssh: tuple[str, ...] = ()
    become: tuple[str, ...] = ()

    def command(self, *words: str) -> list[str]:
        """The argv that runs `words` on the host. ssh hands them to a shell, so they are quoted."""
        words = (*self.become, *words)
        return [*self.ssh, shlex.join(words)] if self.ssh else [*words]


def target(host: str, variables: Mapping[str, Any]) -> Target:
    """How to reach `host`, from the variables Ansible uses. Host keys are checked, no password asked for."""
    become = ("sudo", "-n") if variables.get("ansible_become") else ()
    if variables.get("ansible_connection") == "local":
        return Target(host, become=become)
    argv = ["ssh", "-o", "BatchMode=yes", "-o", "ConnectTimeout=15", "-o", "StrictHostKeyChecking=yes"]
    for option, name in (
        ("-p", "ansible_port"),
        ("-l", "ansible_user"),
        ("-i", "ansible_ssh_private_key_file"),
    ):
        if variables.get(name):
            argv += [option, str(variables[name])]
    for name in ("ansible_ssh_common_args", "ansible_ssh_extra_args"):
        argv += shlex.split(str(variables.get(name) or ""))
    return Target(host, (*argv, str(variables.get("ansible_host") or host)), become)


def follow(inventory: Inventory, hosts: Sequence[str], extra: Mapping[str, Any], mask: Mask) -> ExitCode:
    """Stream until Ctrl-C, the normal end (0). 3 if the app does not run, 4 if a host is unreachable.

    `extra` are the variables of the command line, which win.
    """
    targets = [target(host, inventory.variables(host, extra)) for host in hosts]
    with contextlib.suppress(KeyboardInterrupt):
        return asyncio.run(_follow(targets, mask))
    return ExitCode.DONE


async def _follow(targets: Sequence[Target], mask: Mask) -> ExitCode:
    loop, this = asyncio.get_running_loop(), asyncio.current_task()
    if this:
        loop.add_signal_handler(signal.SIGTERM, this.cancel)
        if sys.stdout.isatty():  # a stream ends with the terminal that shows it; under nohup it is a file
            loop.add_signal_handler(signal.SIGHUP, this.cancel)
    width = max(len(one.host) for one in targets) if len(targets) > 1 else 0
    try:
        async with asyncio.TaskGroup() as streams:  # ends every stream in order before it lets go
            running = [streams.create_task(_stream(one, width, mask)) for one in targets]
    except asyncio.CancelledError:
        return ExitCode.DONE
    return worst(task.result() for task in running)


async def _stream(one: Target, width: int, mask: Mask) -> ExitCode:
    """Follow one host: first whether the app runs there, then its log line by line."""
    status, said = await _ask(one)
    if status == _SSH_FAILED and one.ssh:
        _complain(mask, "\n".join([f"{one.host}: cannot be reached: {said}", *way_out(said).splitlines()]))
        return ExitCode.UNREACHABLE
    if status == _NO_PROGRAM:
        _complain(mask, f"{one.host}: {said}; its log cannot be followed without")
        return ExitCode.PRECONDITION
    if status or said != "running":
        reason = "there is no container" if "no such container" in said.lower() else said
        start = f"python3 run.py --quick --limit {one.host}"
        _complain(mask, f"{one.host}: the app does not run ({reason}). Start it with: {start}")
        return ExitCode.PRECONDITION
    prefix = f"{one.host:<{width}} | " if width else ""
    process = await asyncio.create_subprocess_exec(
        *one.command("docker", "logs", "--follow", "--tail", str(TAIL), CONTAINER),
        stdin=asyncio.subprocess.DEVNULL,
        stdout=asyncio.subprocess.PIPE,
        stderr=asyncio.subprocess.STDOUT,
        limit=_LINE_LIMIT,
        start_new_session=True,  # Ctrl-C reaches us alone, and we end it below
    )
    try:
        if process.stdout:
            async for line in process.stdout:
                write(sys.stdout, prefix + mask.text(line.decode("utf-8", "replace")))
                if is_gone(sys.stdout):  # nobody reads any more
                    return ExitCode.DONE
        await process.wait()
    finally:
        if process.returncode is None:
            process.terminate()
            await process.wait()
    _complain(mask, f"{one.host}: the log ended: the container was stopped or replaced")
    return ExitCode.DONE


async def _ask(one: Target) -> tuple[int, str]:
    """Exit status and words of a look at the container's state."""
    try:
        process = await asyncio.create_subprocess_exec(
            *one.command("docker", "container", "inspect", "--format", "{{.State.Status}}", CONTAINER),
            stdin=asyncio.subprocess.DEVNULL,
            stdout=asyncio.subprocess.PIPE,
            stderr=asyncio.subprocess.PIPE,
        )
    except FileNotFoundError as error:
        return _NO_PROGRAM, f"{error.filename} is not installed on this machine"
    out, problems = await process.communicate()
    text = (out if process.returncode == 0 else problems).decode("utf-8", "replace").strip()
    return process.returncode or 0, text


def _complain(mask: Mask, text: str) -> None:
    write(sys.stderr, mask.text(text) + "\n")
