"""Several hosts reached over SSH from one that deploys to them, as an operator's machine reaches a fleet."""

from __future__ import annotations

import json
import re
import shlex
from pathlib import PurePosixPath
from typing import TYPE_CHECKING, Any

from tests.hosts.checkout import PROJECT, SOURCE
from tests.hosts.host import network_settings
from tests.hosts.stack import Stack

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping

    from tests.hosts.docker import Result
    from tests.hosts.host import Host

USER = "deploy"
INVENTORY = "/root/fleet.yml"
_KEY = "/root/.ssh/id_ed25519"
_KNOWN_HOSTS = "/root/.ssh/known_hosts"
_FLOW_SECONDS = 900


def admit(host: Host, public_key: str) -> None:
    """Start a host's SSH server, with its own key; `deploy` signs in, and becomes root by sudo."""
    host.write("/etc/sudoers.d/deploy", f"{USER} ALL=(ALL) NOPASSWD: ALL\n", mode=0o440)
    # A login reads these; programs started by `docker exec` have them anyway.
    host.write("/etc/environment", "".join(f"{name}={value}\n" for name, value in network_settings().items()))
    host.write("/tmp/authorized_keys", public_key)  # noqa: S108 - a host of our own
    host.run(
        f"useradd --create-home --shell /bin/bash {USER}"
        f" && install -D --owner={USER} --mode=0600 /tmp/authorized_keys /home/{USER}/.ssh/authorized_keys"
        " && rm -f /etc/ssh/ssh_host_* && ssh-keygen -q -t ed25519 -N '' -f /etc/ssh/ssh_host_ed25519_key"
        " && mkdir -p /run/sshd && /usr/sbin/sshd"
    ).require()


def serve(host: Host, archive: bytes) -> None:
    """Let other hosts clone the code from this one."""
    host.unpack(archive, str(PurePosixPath(SOURCE).parent))
    host.run(
        f"git daemon --base-path={PurePosixPath(SOURCE).parent} --export-all --reuseaddr --detach"
    ).require()


def repository(host: Host) -> str:
    """Return the URL of the repository that `serve` serves."""
    return f"git://{host.address}/{PurePosixPath(SOURCE).name}"


class Fleet:
    """A controller with the checkout, and hosts of the group `prod` by their inventory names."""

    def __init__(self, controller: Host, hosts: Mapping[str, Host], archive: bytes, **variables: Any) -> None:
        """Let the controller reach the hosts, and serve the code to them; `variables` are the group's."""
        self.controller = controller
        self.hosts = dict(hosts)
        self.stacks = {name: Stack(host) for name, host in hosts.items()}
        serve(controller, archive)
        controller.run(f"mkdir -p -m 0700 /root/.ssh && ssh-keygen -q -t ed25519 -N '' -f {_KEY}").require()
        for host in hosts.values():
            admit(host, controller.read(f"{_KEY}.pub"))
        self._variables = {
            "ansible_user": USER,
            "source_repo": repository(controller),
            **variables,
        }
        self.trust(*hosts)
        self.list_hosts()

    def trust(self, *names: str) -> None:
        """Store the keys of exactly these hosts as known, and close open connections, which check no key."""
        addresses = " ".join(self.hosts[name].address for name in names)
        self.controller.run(f"ssh-keyscan {addresses} >{_KNOWN_HOSTS} && rm -rf /root/.ansible/cp").require()

    def list_hosts(self, **addresses: str) -> None:
        """Write the inventory, with other addresses for some of the hosts."""
        hosts = {
            name: {"ansible_host": addresses.get(name, host.address)} for name, host in self.hosts.items()
        }
        inventory = {"prod": {"vars": self._variables, "hosts": hosts}}  # JSON is YAML
        self.controller.write(INVENTORY, json.dumps(inventory, indent=2))

    def run_py(self, *arguments: str) -> Result:
        """`python3 run.py -i INVENTORY …` on the controller, as typed by its operator."""
        return self.type(shlex.join(["python3", "run.py", *arguments, "-i", INVENTORY]))

    def type(self, line: str) -> Result:
        """Run a whole command line, such as the next command of a summary."""
        return self.controller.run(line, folder=PROJECT, timeout=_FLOW_SECONDS)

    def run_py_and(self, step: str, do: Callable[[], Any], *arguments: str) -> tuple[int, str]:
        """Run as `run_py`, and call `do` as soon as `step` is shown; return exit code and output."""
        line = shlex.join(["python3", "run.py", *arguments, "-i", INVENTORY])
        seen, due = "", True
        with self.controller.spawn(line, folder=PROJECT) as process:
            assert process.stdout
            for written in process.stdout:
                seen += written
                if due and step in written:
                    due = False
                    do()
        assert not due, f"no step '{step}' in:\n{seen}"
        return process.returncode, seen

    def versions(self) -> dict[str, str]:
        """Return the version that every host serves."""
        return {name: stack.health()["version"] for name, stack in self.stacks.items()}

    def fingerprint(self) -> dict[str, Any]:
        """Return what must not differ without a change: containers, commits, the operators' files."""
        look = f"git -c safe.directory={PROJECT} rev-parse HEAD; sha256sum .env config/*.json"
        return {
            name: (stack.containers(), stack.host.run(look, folder=PROJECT).stdout)
            for name, stack in self.stacks.items()
        }


def outcomes(output: str) -> dict[str, str]:
    """Return the summary's outcome of each host: `done`, `failed`, `never tried` and so on."""
    return dict(re.findall(r"^  (\w+): ([a-z -]+?)(?: ·.*)?$", output, re.MULTILINE))


def next_line(output: str) -> str:
    """Return the command that the summary suggests after the correction."""
    (line,) = re.findall(r"^Next: .*?(python3 run\.py(?! --logs).*)$", output, re.MULTILINE)
    return str(line)
