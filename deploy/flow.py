"""One run from request to exit code: inventory → playbook → (what serves now?) → log → summary."""

from __future__ import annotations

import contextlib
import os
import shutil
import sys
import tempfile
import threading
import time
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

from deploy import (
    confirm,
    environment,
    extra_vars,
    handover,
    inventory,
    lock,
    logs,
    output,
    passthrough,
    reserve,
    runner,
    summary,
    unlock,
    vault,
    verdict,
)
from deploy.actions import DIAGNOSIS, LOG_LINES_AFTER_FAILURE, UNLOCK, Action
from deploy.events import RunState
from deploy.exitcodes import ExitCode, worst
from deploy.heartbeat import Leases
from deploy.masking import Mask, local_secrets, printable, read_env, secret_values
from deploy.onhost import causes
from deploy.report import Report

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

    from deploy.request import Request

_WAIT_PAUSE_SECONDS = 1.0
_NOT_PLAYED = 1  # as if Ansible had failed
_FETCH = "fetch"  # the tag of an update's first plays: a commit that is known is not looked for again
_CHANGES = "changes"  # the tag of whatever changes something: --check is the flow's own playbook without it


def run(request: Request, root: Path) -> ExitCode:
    """Carry out `request` from the checkout at `root`, report all of it, return the exit code."""
    output.guard()
    # Ansible reads its configuration while it is imported: the checkout's, in any working directory.
    os.environ["ANSIBLE_CONFIG"] = str(root / "ansible.cfg")
    os.environ["ANSIBLE_HOST_PATTERN_MISMATCH"] = "ignore"  # an unknown limit is refused in our own words
    request = handover.take(request, root)
    checkout = Path(request.checkout or root)
    mask = Mask(local_secrets(checkout, backups=bool(request.action.lists)))
    try:
        mask = Mask(mask.secrets | secret_values(extra_vars.check(request.extra_vars)))
        sources = inventory.sources(root, request.inventories)
        with _passwords(request) as (request, options):
            known = inventory.Inventory(sources, request.ansible.reach)
            try:
                return _run(request, root, known, mask, options)
            finally:
                handover.tidy(request, root)
    except passthrough.PasswordError as error:
        return _refuse(request, mask, ExitCode.USAGE, str(error))
    except (inventory.InventoryError, extra_vars.ExtraVarsError) as error:
        return _refuse(request, mask, ExitCode.USAGE, str(error))
    except handover.Due as due:
        handover.give(due, root)
    except confirm.DeclinedError as error:
        return _refuse(request, mask, ExitCode.DECLINED, str(error))
    except reserve.NoRoomError as error:
        return _refuse(request, mask, ExitCode.PRECONDITION, str(error))
    except OSError as error:
        why = f"a playbook could not be run: {error}. Check the free space of this machine."
        return _refuse(request, mask, ExitCode.INTERNAL, why)


def _refuse(request: Request, mask: Mask, code: ExitCode, why: str) -> ExitCode:
    if request.checkout:
        handover.give_up(request.checkout, request.run_id, code, mask.text(why))
    sys.stderr.write(printable(f"run.py: {mask.text(why)}\n"))
    if request.json:
        Report(mask, json_only=True).document({"exit_code": int(code), "error": why})
    return code


@contextlib.contextmanager
def _passwords(request: Request) -> Iterator[tuple[Request, tuple[str, ...]]]:
    """Ask for the passwords; yield the request with their folder, and the options of ansible-playbook.

    The folder goes at the end, but for a controller that goes on with this run. Raises PasswordError and
    OSError.
    """
    folder = Path(request.passwords or "")
    if request.ansible.asks and not request.passwords:
        folder = Path(tempfile.mkdtemp(prefix="trading-signal-processor-"))  # 0700
    keep = not request.ansible.asks
    try:
        options, ids = request.ansible.settled(folder)
        vault.configure(ids)
        yield replace(request, passwords="" if keep else str(folder)), tuple(options)
    except handover.Due:
        keep = True
        raise
    finally:
        if not keep:
            shutil.rmtree(folder, ignore_errors=True)


def _run(
    request: Request, root: Path, known: inventory.Inventory, mask: Mask, options: tuple[str, ...]
) -> ExitCode:
    limit = inventory.DEFAULT_LIMIT if request.limit is None else request.limit
    # A look at this machine needs no check of what was typed: that saves reading the inventory twice.
    trusted = request.limit is None and not request.action.changes and request.action.playbook is not None
    hosts = [] if trusted else known.hosts(limit)
    if request.action.playbook is None:
        return logs.follow(known, hosts, extra_vars.values(request.extra_vars), mask)
    if request.action.for_one_host and len(hosts) > 1:
        raise inventory.InventoryError(
            f"{request.action.flags[0]} is for one host; --limit {limit} names {', '.join(hosts)}"
        )
    if request.action.destructive and not request.check:
        confirm.confirm(request, hosts)
    report = Report(mask, json_only=request.json, verbosity=request.verbosity)
    with runner.Interruption() as interruption:
        code = _Session(request, root, known, report, interruption, mask, options).run(hosts)
    if request.then and request.then.playbook is None and code is ExitCode.DONE and not request.check:
        return logs.follow(known, hosts, extra_vars.values(request.extra_vars), mask)
    return code


class _Session:
    """The playbooks of one run: same request, same screen, same answer to Ctrl-C."""

    def __init__(
        self,
        request: Request,
        root: Path,
        known: inventory.Inventory,
        report: Report,
        interruption: runner.Interruption,
        mask: Mask,
        options: tuple[str, ...],
    ) -> None:
        self._request = request
        self._options = options
        self._root = root
        self._known = known
        self._inventories = known.paths
        self._report = report
        self._interruption = interruption
        self._mask = mask

    def run(self, hosts: list[str]) -> ExitCode:
        """The flow, then the log if a playbook shows it; summary on the screen, or the document of --json.

        No hosts: whichever the default limit selects.
        """
        ending = self._flow(self._request.action, hosts)
        code = ending.verdict.code
        self._show(ending)
        then = self._request.then
        if then and then.playbook and code is ExitCode.DONE and not self._request.check:
            after = self._flow(then, hosts)
            self._show(after)
            code = worst([code, after.verdict.code])
            for name, host in after.state.hosts.items():
                ending.state.hosts[name].report["log"] = host.report.get("log")
        document = {**summary.document(ending), "exit_code": int(code)}
        if self._request.json:
            self._report.document(document)
        if self._request.action.changes and not self._request.check:
            self._post(document, hosts)
        return code

    def _post(self, document: dict[str, Any], hosts: list[str]) -> None:
        """Post how the run ended where somebody wants to know. That it failed is a warning."""
        from deploy import outside  # noqa: PLC0415 - requests costs a look at the status its speed

        urls = [environment.exported().get(outside.VARIABLE, "")]
        problems: list[str] = []
        try:
            extra = extra_vars.values(self._request.extra_vars)
            urls += [self._known.text(name, outside.INVENTORY_VARIABLE, extra) for name in hosts]
        except (inventory.InventoryError, extra_vars.ExtraVarsError):
            problems.append(f"{outside.INVENTORY_VARIABLE} in the inventory cannot be read")
        problems += outside.post(filter(None, urls), self._mask.tree(document))
        for problem in problems:
            self._report.say(f"warning: {problem}")

    def _flow(self, action: Action, hosts: list[str]) -> summary.Ending:
        """One playbook on `hosts`, under their locks if it changes anything; then, perhaps, what serves."""
        started = time.monotonic()
        state = RunState(hosts)
        if action.changes:
            self._note_ignored_variables(state)
        reserved = reserve.Reserve() if action.changes and not self._request.check else None
        try:
            judged = self._judged(action, state, reserved)
        finally:
            if reserved:
                reserved.release()
        if action.changes and not self._request.check:
            self._probe(state)
        return summary.Ending(
            replace(self._request, action=action), state, judged, time.monotonic() - started
        )

    def _probe(self, state: RunState) -> None:
        """Ask each stack that serves from this machine, as senders of alerts would."""
        from deploy import outside  # noqa: PLC0415 - as above

        urls = {
            name: url
            for name, host in state.hosts.items()
            if host.report.get("serving")
            for url in host.report.get("urls") or []
            if url.endswith("/health")
        }
        for name, probed in outside.probe(urls).items():
            state.hosts[name].report["probe"] = probed

    def _judged(self, action: Action, state: RunState, reserved: reserve.Reserve | None) -> verdict.Verdict:
        """The verdict of one playbook on the hosts of `state`, under their locks."""
        live = self._report.live(action, state, looks=self._request.check)
        with self._lock(action, state) as held, live:
            taken = self._take(held) and not self._interruption.requested
            if taken and action.moves and not (self._request.check or self._request.checkout):
                self._leave_the_checkout()
            status = self._play(action, state, held.note_plans) if taken else _NOT_PLAYED
            state.expect(state.hosts or self._known.hosts(inventory.DEFAULT_LIMIT))
            if taken and status and action.changes:
                held.note_losses()
            doubtful = verdict.to_ask(state, ansible_status=status) if action.changes else []
            if doubtful:
                if reserved:
                    reserved.release()
                self._ask_what_serves(state, doubtful, keep=not held.lost)
            judged = held.verdict = verdict.judge(
                state, action, ansible_status=status, interrupted=self._interruption.requested
            )
        return judged

    def _take(self, held: lock.Lock) -> bool:
        """Take the locks; with --wait, try again for as long as another run holds one."""
        give_up = time.monotonic() + self._request.wait
        announced, pause = "", threading.Event()
        while not held.take():
            if held.holder is None or time.monotonic() >= give_up or self._interruption.requested:
                return False
            name, holder = held.holder
            if holder["run_id"] != announced:
                announced = str(holder["run_id"])
                self._report.say(
                    f"Waiting up to {self._request.wait} s for the lock of {name}: "
                    f"{lock.described(holder)} is at work."
                )
            pause.wait(_WAIT_PAUSE_SECONDS)
            held.forget_failure()
        return True

    def _leave_the_checkout(self) -> None:
        """Play from a copy of the controller from here on: the flow moves the checkout. Raises OSError."""
        copy = handover.play_from_copy(self._root, self._request.run_id)
        self._request = replace(self._request, checkout=str(self._root))
        self._inventories = [str(copy / inventory.SHIPPED), *self._inventories[1:]]
        self._root = copy

    def _play(self, action: Action, state: RunState, progressed: Callable[[], None]) -> int:
        """The flow's playbook. Raises handover.Due where it has left the hosts to another controller."""
        if action is UNLOCK:
            return unlock.play(state, self._playbook, force=self._request.yes)
        variables = extra_vars.extra_variables(self._request, action)
        status = self._playbook(str(action.playbook), state, variables, progressed)
        if status == runner.KILLED and not (self._interruption.requested or self._interruption.lost):
            self._report.say("Ansible was killed (is there memory left?); the step that it was at was ended.")
        fetched = action.fetches and self._request.commit is None and not self._request.check
        if fetched and status == 0 and not self._interruption.requested:
            found = [host.report["source"] for host in state.hosts.values()]
            if tree := handover.tree_to_follow(found):
                self._report.say("The update changes the controller itself: its own goes on from here.")
                raise handover.Due(replace(self._request, commit=found[0]["commit"]), tree)
            if handover.is_behind(found):
                self._report.say(
                    "The update brought another run.py than the one you typed, which is not in a clone: "
                    "this run was done with yours. Bring the new version here before the next one."
                )
        return status

    def _note_ignored_variables(self, state: RunState) -> None:
        """Say which exported variables look like settings of the stack: `.env` alone decides."""
        checkout = Path(self._request.checkout or self._root)
        texts = [file.read_text("utf-8") for file in checkout.glob("docker-compose*.yml")]
        used = set().union(*map(environment.interpolated, texts))
        names = environment.overridden(environment.exported(), read_env(checkout / ".env"), used)
        if names:
            note = (
                f"exported here, and without effect: {', '.join(names)} (the values of .env count; "
                "write it there, or type: unset NAME)"
            )
            for host in state.hosts.values():
                host.notes.append(note)

    def _ask_what_serves(self, state: RunState, hosts: list[str], *, keep: bool) -> None:
        """`diagnose.yml` after a failure: what it finds replaces what the failed flow had reported so far.

        `keep`: the diagnosis is written to a file there, too; not by a run that lost its lock.
        """
        self._report.say(f"Looking at what serves now: {', '.join(hosts)}")
        self._interruption.renew()
        found = RunState(hosts)
        variables = {
            **extra_vars.extra_variables(self._request, DIAGNOSIS),
            "status_log_lines": LOG_LINES_AFTER_FAILURE,
            "diagnostics_keep": keep,
        }
        try:
            self._playbook(str(DIAGNOSIS.playbook), found, variables)
        except OSError as error:  # what failed first leads the report all the same
            why = causes.explain(error, Path(tempfile.gettempdir()))
            self._report.say(f"What serves now could not be looked at: {why}.")
        for name in hosts:
            state.hosts[name].apply_diagnosis(found.hosts[name].report)

    def _lock(self, action: Action, state: RunState) -> lock.Lock:
        def ask(playbook: str, asked: RunState, variables: dict[str, Any]) -> int:
            if variables["lock_step"] == "end":  # also after an interruption
                self._interruption.renew()
            job = self._job(playbook, list(asked.hosts), variables, marked=False)  # it ends what is marked
            return runner.run(job, asked.apply, self._interruption)

        def beat(playbook: str, hosts: list[str], variables: dict[str, Any]) -> dict[str, dict[str, Any]]:
            return runner.run_beside(self._job(playbook, hosts, variables, marked=False))

        hosts = list(state.hosts) if action.changes and not self._request.check else []
        checkout = Path(self._request.checkout or self._root)
        leases = Leases(self._interruption.lose)
        request, known, mask = self._request, self._known, self._mask
        return lock.Lock(request, state, hosts, known, mask, checkout, ask, beat, leases=leases)

    def _playbook(
        self,
        playbook: str,
        state: RunState,
        variables: dict[str, Any],
        progressed: Callable[[], None] = lambda: None,
    ) -> int:
        def take_in(event: runner.Event) -> None:
            self._report.event(event, state.apply(event))
            progressed()

        # A playbook that is not given the id takes itself for one that was started without run.py.
        known = {"run_id": self._request.run_id, **variables}
        return runner.run(self._job(playbook, list(state.hosts), known), take_in, self._interruption)

    def _job(
        self, playbook: str, hosts: list[str], variables: dict[str, Any], *, marked: bool = True
    ) -> runner.PlaybookRun:
        return runner.PlaybookRun(
            root=self._root,
            playbook=self._root / "playbooks" / playbook,
            inventories=self._inventories,
            limit=",".join(hosts) or inventory.DEFAULT_LIMIT,
            extra_vars=lambda folder: extra_vars.arguments(variables, self._request.extra_vars, folder),
            run_id=self._request.run_id if marked else "",
            forks=self._request.forks,
            verbosity=self._request.verbosity,
            skip_tags=self._skip_tags(),
            options=self._options,
        )

    def _skip_tags(self) -> tuple[str, ...]:
        changes = (_CHANGES,) if self._request.check else ()
        return (*changes, _FETCH) if self._request.commit else changes

    def _show(self, ending: summary.Ending) -> None:
        if ending.request.action.shows_log and ending.verdict.code is ExitCode.DONE:
            self._report.say("\n".join(summary.log_lines(ending.state)))
        elif ending.request.check and ending.verdict.code is ExitCode.DONE:
            self._report.say(summary.headline(ending))
            for host in ending.state.hosts.values():
                notes = host.report.get("notes") or []
                self._report.plan(host.name, summary.planned(ending, host), notes, host.warnings)
            self._report.say(f"\nNext: {summary.next_command(ending)}")
        else:
            self._report.say("\n".join(summary.lines(ending)))
