"""Find out who listens on the ports the stack is about to publish. Changes nothing."""

from __future__ import annotations

import errno
import socket
from pathlib import Path
from typing import Any

from ansible_collections.signal_processor.stack.plugins.module_utils.entry import Module
from ansible_collections.signal_processor.stack.plugins.module_utils.stack import docker

DOCUMENTATION = """
module: port_holders
short_description: Which of these ports are taken, and by which process
options:
  ports: {type: list, elements: dict, required: true, description: "Entries {address, port}."}
"""

LISTENING = "0A"
EVERYWHERE = "0.0.0.0"  # noqa: S104  # as definition_facts names it


def is_refused(address: str, port: int) -> bool:
    """Whether the kernel refuses a listener because there is one.

    A port that only root may bind is not refused: the engine is root.
    """
    family = socket.AF_INET6 if ":" in address else socket.AF_INET
    try:
        with socket.socket(family, socket.SOCK_STREAM) as probe:
            probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
            if family == socket.AF_INET6:
                probe.setsockopt(socket.IPPROTO_IPV6, socket.IPV6_V6ONLY, 1)
            probe.bind((address, port))
            probe.listen(1)
    except OSError as error:
        return error.errno == errno.EADDRINUSE
    return False


def is_taken(address: str, port: int) -> bool:
    """Whether somebody listens there; a port that names no address is published over IPv6, too."""
    addresses = [address, "::"] if address == EVERYWHERE else [address]
    return any(is_refused(one, port) for one in addresses)


def container_on(port: int) -> str:
    """Name the container that publishes the port, if one does."""
    names = docker("ps", "--filter", f"publish={port}", "--format", "container {{.Names}}").split("\n")
    return names[0]


def process_on(port: int) -> str:
    """Name the process that listens on the port: `nginx (pid 12)`; empty where that may not be seen."""
    inodes = set()
    for table in ("/proc/net/tcp", "/proc/net/tcp6"):
        if Path(table).exists():
            rows = (line.split() for line in Path(table).read_text(encoding="ascii").splitlines()[1:])
            inodes |= {
                row[9] for row in rows if row[3] == LISTENING and int(row[1].rsplit(":", 1)[1], 16) == port
            }
    wanted = {f"socket:[{inode}]" for inode in inodes}
    for process in Path("/proc").glob("[0-9]*"):
        try:
            if any(str(link.readlink()) in wanted for link in (process / "fd").iterdir()):
                return f"{(process / 'comm').read_text(encoding='utf-8').strip()} (pid {process.name})"
        except OSError:  # ended meanwhile, or somebody else's
            continue
    return ""


def answer(params: dict[str, Any]) -> dict[str, Any]:
    """Try each port; who holds it is looked for only where it is taken."""
    holders = []
    for entry in params["ports"]:
        address, port = str(entry["address"]), int(entry["port"])
        if is_taken(address, port):
            holders.append(
                {"port": port, "holder": container_on(port) or process_on(port) or "another process"}
            )
    return {"changed": False, "holders": holders}


MODULE = Module(answer, {"ports": {"type": "list", "elements": "dict", "required": True}}, looks=True)


if __name__ == "__main__":
    MODULE.run()
