"""The command line: a parser made from the table in `actions`, and the way from a Request into `.venv`.

Standard library only, and nothing of Ansible: usage errors and `--help` are answered before the environment
exists.
"""

from __future__ import annotations

import argparse
import difflib
import json
import re
import signal
import sys
from pathlib import Path
from typing import TYPE_CHECKING, Any, NoReturn

from deploy import bootstrap, environment, handover, output
from deploy.actions import ACTIONS, BY_NAME, DEFAULT, UNLOCK, Action
from deploy.exitcodes import ExitCode
from deploy.masking import printable
from deploy.passthrough import AnsibleOptions
from deploy.request import Request

if TYPE_CHECKING:
    from collections.abc import Sequence

ROOT = Path(__file__).resolve().parent.parent

_EPILOG = """\
exit codes: 0 done · 1 internal error · 2 usage · 3 a precondition failed, nothing changed ·
4 a host unreachable · 5 failed, the old version serves · 6 failed, nothing serves ·
7 another run holds the lock · 8 not confirmed, nothing touched · 130 interrupted
"""


_WAIT_SECONDS = 600  # a build and a swap take less


class UsageError(Exception):
    """The command line makes no sense; the message is one clear line for the operator (exit 2)."""


class _Parser(argparse.ArgumentParser):
    """argparse that raises instead of exiting, and guesses the flag that was meant."""

    def error(self, message: str) -> NoReturn:
        raise UsageError(message)

    def unknown(self, argument: str) -> UsageError:
        flag = argument.partition("=")[0]
        if not flag.startswith("-"):
            return UsageError(f"unexpected argument '{argument}': flows are flags, such as --quick")
        known = [option for action in self._actions for option in action.option_strings]
        close = difflib.get_close_matches(flag, known, n=1)
        return UsageError(f"unknown flag {flag}" + (f" (did you mean {close[0]}?)" if close else ""))


class _FlowWithArgument(argparse.Action):
    """A flow flag that takes an argument: notes the flow, as the other flags do, and what was typed."""

    def __call__(
        self,
        parser: argparse.ArgumentParser,
        namespace: argparse.Namespace,
        values: str | Sequence[Any] | None,
        option_string: str | None = None,
    ) -> None:
        if isinstance(values, str) and not values.strip():
            parser.error(f"{option_string} got an empty argument: is a variable of the shell unset?")
        words = next(action.words for action in ACTIONS if action.name == self.const)
        if words and values not in words:
            parser.error(f"{option_string} must be {' or '.join(words)} (it is {values!r})")
        namespace.flows = [*(namespace.flows or []), self.const]
        # argparse hands the const over where an optional argument was left out.
        namespace.argument = "" if values == self.const else values


def product_version() -> str:
    """The version in pyproject.toml; `--version` prints it."""
    match = re.search(r'^version = "([^"]+)"', (ROOT / "pyproject.toml").read_text("utf-8"), re.MULTILINE)
    if match is None:
        raise ValueError(f"no version in {ROOT / 'pyproject.toml'}")
    return match.group(1)


def _positive(text: str) -> int:
    number = int(text) if text.isascii() and text.isdigit() else 0
    if number < 1:
        raise argparse.ArgumentTypeError(f"'{text}' is not a whole number above 0")
    return number


def build_parser() -> _Parser:
    """The parser: one flag per table row, then the options."""
    parser = _Parser(
        prog="run.py",
        usage="python3 run.py [flow] [options]",
        description=f"Deploys and runs the Trading Signal Processor. With no flow flag: {DEFAULT.summary}.",
        epilog=_EPILOG,
        formatter_class=argparse.RawDescriptionHelpFormatter,
        allow_abbrev=False,
        add_help=False,
    )
    flows = parser.add_argument_group("flows (one a run; a log flag may join a deploying one)")
    for action in ACTIONS:
        if action.takes:
            flows.add_argument(
                *action.flags,
                dest="flows",
                action=_FlowWithArgument,
                nargs=None if action.needs_argument else "?",
                const=action.name,
                metavar=action.takes.strip("[]"),
                help=action.summary,
            )
        elif action.flags:
            flows.add_argument(
                *action.flags, dest="flows", action="append_const", const=action.name, help=action.summary
            )
    parser.set_defaults(argument="")
    options = parser.add_argument_group("options")
    options.add_argument(
        "--limit", metavar="PATTERN", help="hosts or groups (default: local; required with -i)"
    )
    options.add_argument(
        "-i", "--inventory", action="append", default=[], metavar="PATH", help="inventory added to inventory/"
    )
    options.add_argument(
        "-e", "--extra-vars", action="append", default=[], metavar="VARS", help="k=v, JSON or @file; wins"
    )
    options.add_argument("--forks", type=_positive, metavar="N", help="hosts worked on at the same time")
    options.add_argument(
        "--install-docker", action="store_true", help="install Docker where it is missing (deploying flows)"
    )
    options.add_argument(
        "--adopt", action="store_true", help="take over a stack that another checkout of this project made"
    )
    options.add_argument(
        "--check", action="store_true", help="show the plan, step by step and why; touch nothing, ask nothing"
    )
    options.add_argument(
        "--no-rollback", action="store_true", help="leave a version that fails in place, to look at it"
    )
    options.add_argument(
        "--yes", action="store_true", help="destroy (or unlock) without asking: needed without a terminal"
    )
    options.add_argument(
        "--no-dump", action="store_true", help="destroy the database without a dump of it first"
    )
    options.add_argument(
        "--keep", type=_positive, metavar="N", help="with --backup-db: keep the newest N dumps (default: 5)"
    )
    options.add_argument(
        "--wait",
        type=_positive,
        nargs="?",
        const=_WAIT_SECONDS,
        default=0,
        metavar="SECONDS",
        help=f"wait for a lock that another run holds (default: {_WAIT_SECONDS} s) instead of exit code 7",
    )
    options.add_argument(
        "--json", action="store_true", help="one JSON document on stdout, all else on stderr"
    )
    options.add_argument(
        "-v", dest="verbosity", action="count", default=0, help="show every step; -vv and more: Ansible's own"
    )
    ansible = parser.add_argument_group("options of ansible-playbook, with its meanings")
    ansible.add_argument("-b", "--become", action="store_true", help="become root on the hosts")
    ansible.add_argument("-K", "--ask-become-pass", action="store_true", help="ask for the password for that")
    ansible.add_argument(
        "-J", "--ask-vault-password", "--ask-vault-pass", action="store_true", help="ask for a vault password"
    )
    ansible.add_argument(
        "--vault-id", action="append", default=[], metavar="ID", help="NAME@FILE or NAME@prompt"
    )
    ansible.add_argument(
        "--vault-password-file", "--vault-pass-file", action="append", default=[], metavar="FILE",
        help="a file with a vault password",
    )  # fmt: skip
    ansible.add_argument("-u", "--user", default="", metavar="USER", help="sign in as this user")
    ansible.add_argument(
        "--private-key", "--key-file", default="", metavar="FILE", help="sign in with this SSH key"
    )
    ansible.add_argument("-D", "--diff", action="store_true", help="show what changes in files (with -vv)")
    options.add_argument("--version", action="store_true", help="print the version and exit")
    options.add_argument("-h", "--help", action="store_true", help="print this and exit")
    return parser


def _choose_flow(names: Sequence[str]) -> tuple[Action, Action | None]:
    """One flow, and perhaps a log flow after it. Raises UsageError for any other combination."""
    chosen = [BY_NAME[name] for name in dict.fromkeys(names)] or [DEFAULT]
    if len(chosen) == 1:
        return chosen[0], None
    flags = " and ".join(action.flags[0] for action in chosen)
    first = [action for action in chosen if not action.shows_log]
    last = [action for action in chosen if action.shows_log]
    if len(first) == 1 and len(last) == 1:
        if first[0].deploys:
            return first[0], last[0]
        raise UsageError(f"{flags} do not go together: a log flag joins deploying flows only")
    raise UsageError(f"{flags} do not go together: one flow a run")


def _named(action: Action) -> str:
    return action.flags[0] if action.flags else "the full deploy"


def _check(options: argparse.Namespace, action: Action, then: Action | None) -> None:
    """Refuse options that make no sense with the chosen flow. Raises UsageError."""
    if options.install_docker and not action.deploys:
        raise UsageError(f"--install-docker belongs to deploying flows, not to {action.flags[0]}")
    if options.adopt and not action.changes:
        raise UsageError(f"--adopt belongs to flows that change something, not to {action.flags[0]}")
    if options.check and not action.changes:
        raise UsageError(
            f"--check shows what a flow would change, and {action.flags[0]} changes nothing: run it"
        )
    if options.no_rollback and not action.rolls_back:
        raise UsageError(f"--no-rollback belongs to flows that can go back, not to {_named(action)}")
    if options.adopt and action.destructive:
        raise UsageError(f"{action.flags[0]} destroys only what is this checkout's: first --quick --adopt")
    if options.no_dump and not action.dumps:
        raise UsageError("--no-dump belongs to " + " and ".join(a.flags[0] for a in ACTIONS if a.dumps))
    if options.json and "follow_logs" in (action.name, then.name if then else ""):
        raise UsageError("--json and --follow-logs do not go together: a stream has no end to sum up")
    if options.inventory and options.limit is None:
        raise UsageError("-i needs --limit: name the hosts or groups this run is for")
    _check_hosts(options)


def _check_hosts(options: argparse.Namespace) -> None:
    """Refuse a limit or an inventory that an unset variable of a shell has left empty. Raises UsageError."""
    if options.limit is not None and not all(term.strip() for term in options.limit.split(",")):
        raise UsageError(
            f"--limit '{options.limit}' has an empty term: is a variable of the shell unset? "
            "Name hosts or groups, separated by commas"
        )
    if not all(path.strip() for path in options.inventory):
        raise UsageError("-i got an empty path: is a variable of the shell unset?")


def _check_numbers(options: argparse.Namespace, action: Action) -> None:
    """Refuse numbers that mean nothing to the chosen flow. Raises UsageError."""
    if options.keep and action.name != "backup":
        raise UsageError("--keep belongs to --backup-db: it says how many dumps stay")
    if options.wait and (options.check or action is UNLOCK or not action.changes):
        raise UsageError("--wait belongs to flows that take the lock: those that change something")


def parse(argv: Sequence[str]) -> Request | str:
    """The Request for `argv`, or the text that `--help` or `--version` prints. Raises UsageError."""
    parser = build_parser()
    options, unknown = parser.parse_known_args(argv)
    if options.help:
        return parser.format_help()
    if options.version:
        return f"trading-signal-processor {product_version()}\n"
    if unknown:
        raise parser.unknown(unknown[0])
    action, then = _choose_flow(options.flows or [])
    if action.lists and not options.argument:
        action = action.listing
    _check(options, action, then)
    _check_numbers(options, action)
    return Request(
        action=action,
        then=then,
        argument=options.argument,
        limit=options.limit,
        inventories=tuple(options.inventory),
        extra_vars=tuple(options.extra_vars),
        forks=options.forks,
        install_docker=options.install_docker,
        adopt=options.adopt,
        check=options.check,
        rollback=not options.no_rollback,
        yes=options.yes,
        no_dump=options.no_dump,
        keep=options.keep,
        wait=options.wait,
        json=options.json,
        verbosity=options.verbosity,
        ansible=AnsibleOptions(
            become=options.become,
            ask_become=options.ask_become_pass,
            ask_vault=options.ask_vault_password,
            vault_ids=tuple(options.vault_id),
            vault_files=tuple(options.vault_password_file),
            user=options.user,
            private_key=options.private_key,
            diff=options.diff,
        ),
    )


def main(argv: Sequence[str]) -> int:
    """Answer `--help` and usage errors here; everything else inside `.venv`. Returns the exit code."""
    output.guard()
    try:
        request = parse(argv)
    except UsageError as error:
        return _refuse(f"{error}. See: python3 run.py --help", ExitCode.USAGE, as_json="--json" in argv)
    if isinstance(request, str):
        sys.stdout.write(request)
        return ExitCode.DONE
    signal.signal(signal.SIGTERM, _interrupt)
    if hasattr(signal, "SIGHUP"):  # not on Windows
        # The terminal went away: the run goes on to its verdict, as do programs that this process becomes.
        signal.signal(signal.SIGHUP, signal.SIG_IGN)
    try:
        _reduce_environment()
        if request.action.needs_clean_path:
            bootstrap.check_place(ROOT)
        bootstrap.enter(ROOT)

        from deploy import flow  # noqa: PLC0415 - Ansible and rich exist only inside .venv

        return flow.run(request, ROOT)
    except bootstrap.BootstrapError as error:
        return _refuse(str(error), error.exit_code, as_json=request.json)
    except KeyboardInterrupt:  # playbooks handle theirs: this one came before the first
        return _refuse("interrupted; nothing was changed", ExitCode.INTERRUPTED, as_json=request.json)
    finally:
        environment.leave()


def _reduce_environment() -> None:
    """Keep of the exported variables what programs may get. Raises BootstrapError."""
    if bootstrap.on_windows():  # refused later, in words of its own
        return
    try:
        environment.enter(keep=[handover.VARIABLE])
    except OSError as error:
        raise bootstrap.BootstrapError(
            f"HOME cannot be used, and no private one can be made: {error.strerror}. "
            "Set HOME to a folder that you may write to, or free space in the temporary folder (TMPDIR).",
            exit_code=ExitCode.INTERNAL,
        ) from error


def _refuse(message: str, code: int, *, as_json: bool) -> int:
    handover.give_up_unread(code, message, ROOT)
    sys.stderr.write(printable(f"run.py: {message}\n"))
    if as_json:
        sys.stdout.write(json.dumps({"exit_code": int(code), "error": message}) + "\n")
    return code


def _interrupt(_signal: int, _frame: object) -> NoReturn:
    raise KeyboardInterrupt  # a TERM cleans up exactly as Ctrl-C does
