"""The variables of the environment that programs started by a run get, on the controller and on hosts.

Everything else that somebody exported stays out: a variable that configures Ansible, Python, git or compose
would change what a flow does, and nothing in the checkout would show it.
"""

from __future__ import annotations

import contextlib
import os
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping, MutableMapping

NAMES = frozenset(
    {
        *("PATH", "HOME", "USER", "LOGNAME", "TMPDIR", "XDG_RUNTIME_DIR", "KRB5CCNAME"),
        *("SUDO_USER", "SUDO_UID", "SUDO_GID"),  # git, as root, accepts the checkout of the user in SUDO_UID
        *("LANG", "TERM", "COLUMNS", "NO_COLOR"),
        # DISPLAY: ssh starts an askpass program only where there is one
        *("SSH_AUTH_SOCK", "SSH_AGENT_PID", "SSH_ASKPASS", "SSH_ASKPASS_REQUIRE", "GIT_ASKPASS"),
        *("DISPLAY", "WAYLAND_DISPLAY"),
        *("DOCKER_HOST", "DOCKER_CONTEXT", "DOCKER_CONFIG", "DOCKER_CERT_PATH", "DOCKER_TLS_VERIFY"),
        *("SSL_CERT_FILE", "SSL_CERT_DIR", "REQUESTS_CA_BUNDLE", "CURL_CA_BUNDLE", "CA_BUNDLE"),
        *("GIT_SSL_CAINFO", "GIT_SSL_CAPATH"),
        "PACKAGE_CACHE",
    }
)
PREFIXES = ("ANSIBLE_VAULT_", "BUILDX_", "PIP_", "UV_")
PROXIES = frozenset({"http_proxy", "https_proxy", "ftp_proxy", "all_proxy"})
NO_PROXY = ("no_proxy", "NO_PROXY")
LOOPBACK = ("localhost", "127.0.0.1", "::1")
# What the steps of a playbook set themselves (group_vars/all.yml, roles/images).
OWN_NAMES = frozenset({"APP_VERSION", "TRADING_SIGNAL_PROCESSOR_RUN"})
OWN_PREFIXES = ("STACK_", "IMAGES_")
SEARCH_PATH = "/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin"


def passes(name: str) -> bool:
    """Whether a variable of this name reaches the programs that a run starts."""
    return name in NAMES or name.startswith(PREFIXES) or name.lower() in PROXIES or name in NO_PROXY


def cleaned(environ: Mapping[str, str], *, own: bool = False) -> dict[str, str]:
    """Return the variables that pass, with loopback added to the hosts that are reached without a proxy.

    `own` keeps what a step of a playbook has set for its module.
    """
    found = {name: value for name, value in environ.items() if passes(name)}
    if own:
        found.update(
            {
                name: value
                for name, value in environ.items()
                if name in OWN_NAMES or name.startswith(OWN_PREFIXES)
            }
        )
    found["PATH"] = found.get("PATH") or SEARCH_PATH
    return {**found, **_without_proxy(found)}


def replace(environ: MutableMapping[str, str], wanted: Mapping[str, str]) -> None:
    """Make `environ`, which may be that of this process, equal to `wanted`."""
    for name in environ.keys() - wanted.keys():
        del environ[name]
    environ.update(wanted)


@contextlib.contextmanager
def in_force(wanted: Mapping[str, str]) -> Iterator[None]:
    """Have this process's environment be `wanted` in the block, for the programs that are started there."""
    before = dict(os.environ)
    replace(os.environ, wanted)
    try:
        yield
    finally:
        replace(os.environ, before)


def _without_proxy(environ: Mapping[str, str]) -> dict[str, str]:
    """Return `no_proxy` in both spellings, as programs read either; nothing where no proxy is set.

    The stack is probed on loopback: a proxy would answer for it.
    """
    if not any(name.lower() in PROXIES or name in NO_PROXY for name in environ):
        return {}
    lower, upper = (environ.get(name, "") for name in NO_PROXY)
    return {"no_proxy": _with_loopback(lower or upper), "NO_PROXY": _with_loopback(upper or lower)}


def _with_loopback(hosts: str) -> str:
    listed = [host.strip() for host in hosts.split(",") if host.strip()]
    if "*" in listed:
        return "*"  # everything already; some programs know the asterisk only when it is alone
    return ",".join([*listed, *(host for host in LOOPBACK if host not in listed)])
