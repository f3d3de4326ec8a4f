"""What to type when SSH refuses a host by its key. Pure."""

from __future__ import annotations

import re

_UNKNOWN = re.compile(
    r"No \S+ host key is known for (?:\[(?P<at>[^\]]+)\]:(?P<port>\d+)|(?P<host>\S+)) and you"
)


def way_out(said: str) -> str:
    """The next step after `said`, the words of ssh; empty if they are not about a key.

    An unknown key can be learnt; one that changed is somebody else's, or a new machine's at an old address.
    """
    if unknown := _UNKNOWN.search(said):
        address, port = unknown["at"] or unknown["host"], unknown["port"]
        where = f"-p {port} {address}" if port else address
        return (
            "its key is not known here. If you trust the network to it:  "
            f"ssh-keyscan {where} >> ~/.ssh/known_hosts\n"
            "compare it with what the host itself says:  ssh-keygen -lf /etc/ssh/ssh_host_ed25519_key.pub"
        )
    if "REMOTE HOST IDENTIFICATION HAS CHANGED" in said:
        return (
            "its key is another one than before: find out why. If the machine was made anew:  "
            "ssh-keygen -R ADDRESS  and learn the new key"
        )
    return ""
