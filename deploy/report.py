"""The run on the screen: a live view on a terminal, plain lines elsewhere, one JSON document if asked for."""

from __future__ import annotations

import contextlib
import json
import os
import sys
import time
from typing import TYPE_CHECKING, Any, TextIO

from rich.console import Console
from rich.live import Live
from rich.table import Table
from rich.text import Text

from deploy import summary
from deploy.events import RunState, Status, Step
from deploy.masking import printable
from deploy.plan.step import Changes

if TYPE_CHECKING:
    from collections.abc import Iterator

    from deploy.actions import Action
    from deploy.masking import Mask
    from deploy.plan.flows import Planned

_COLOURS = {
    Status.OK: "green",
    Status.CHANGED: "yellow",
    Status.SKIPPED: "bright_black",
    Status.IGNORED: "bright_black",
    Status.FAILED: "bold red",
    Status.UNREACHABLE: "bold red",
}
_CHANGES = {Changes.YES: "yellow", Changes.DEPENDS: "cyan", Changes.NO: "bright_black"}


def shown(step: Step, verbosity: int) -> bool:
    """Whether a finished step is worth a line: always with -v, else not when skipped or mere bookkeeping."""
    if verbosity or step.status in {Status.FAILED, Status.UNREACHABLE, Status.CHANGED}:
        return True
    return step.status is Status.OK and not step.bookkeeping


def step_line(step: Step, width: int = 0) -> str:
    """`host  status  role: task  (1.2 s)`: what a log file gets; `width` of the host column."""
    return f"{step.host:<{width}}  {step.status:<9}  {step.name}  ({step.seconds:.1f} s)"


def write(stream: TextIO, text: str) -> None:
    """Write with control characters escaped."""
    stream.write(printable(text))


class Report:
    """Shows steps while they run and finish. Everything passes `mask`.

    With `json_only` all of it goes to stderr, so that stdout holds one document.
    """

    def __init__(self, mask: Mask, *, json_only: bool = False, verbosity: int = 0) -> None:
        self._mask = mask
        self._verbosity = verbosity
        self._out: TextIO = sys.stderr if json_only else sys.stdout
        self._console = Console(file=self._out, highlight=False, soft_wrap=True)
        self._lively = (
            self._out.isatty() and not os.environ.get("NO_COLOR") and not self._console.is_dumb_terminal
        )
        self._state: RunState | None = None
        self._quiet = False

    @contextlib.contextmanager
    def live(self, action: Action, state: RunState, *, looks: bool = False) -> Iterator[None]:
        """Show the running steps of `state` inside the block. What only looks shows its result instead."""
        self._state = state
        self._quiet = (looks or not action.changes) and not self._verbosity
        if not self._quiet:
            self.say(f"{action.label}: {', '.join(state.hosts)}")
        if not self._lively:
            yield
            return
        with Live(console=self._console, transient=True, refresh_per_second=4, get_renderable=self._running):
            yield

    def event(self, event: dict[str, Any], step: Step | None) -> None:
        """Show what one event brought: a finished step, or with -vv Ansible's own words."""
        if step and shown(step, self._verbosity) and not self._quiet:
            width = max(map(len, self._state.hosts)) if self._state else 0
            text = self._plain(step_line(step, width))
            if self._lively:
                self._console.print(Text(text, style=_COLOURS[step.status]))
            else:
                write(self._out, text + "\n")
        if self._verbosity > 1 and (said := str(event.get("stdout") or "").strip()):
            self.say(said.replace("\r\n", "\n"))

    def say(self, text: str) -> None:
        """A line of our own; every known secret in it is masked."""
        text = self._plain(text)
        if self._lively:
            self._console.print(Text(text))
        else:
            write(self._out, text + "\n")

    def plan(self, host: str, planned: list[Planned], notes: list[str], warnings: list[str]) -> None:
        """What a flow is going to do on a host: a table on a terminal, aligned lines elsewhere."""
        self.say(f"\n  {host}:")
        if self._lively:
            table = Table.grid(padding=(0, 2, 0, 0))
            for one in planned:
                words = one.as_dict()
                colour = _CHANGES[one.answer.changes]
                why = Text(self._plain(words["why"]))
                table.add_row(
                    "   ", Text(self._plain(words["step"])), Text(words["changes"], style=colour), why
                )
            self._console.print(table, soft_wrap=False)
        else:
            self.say("\n".join(summary.plan_lines(planned)))
        for line in [*notes, *(f"warning: {warning}" for warning in warnings)]:
            self.say(f"    {line}")

    def document(self, document: dict[str, Any]) -> None:
        """The one JSON document on stdout."""
        write(sys.stdout, json.dumps(self._mask.tree(document), indent=2, ensure_ascii=False) + "\n")

    def _plain(self, text: str) -> str:
        return printable(self._mask.text(text))

    def _running(self) -> Table:
        now = time.time()
        table = Table.grid(padding=(0, 2))
        for host in list(self._state.hosts.values()) if self._state else []:
            if host.running:
                elapsed = f"{max(0.0, now - host.running.since):.0f} s"
                table.add_row(
                    Text(self._plain(host.name), style="cyan"),
                    Text(self._plain(host.running.name)),
                    Text(elapsed),
                )
        return table
