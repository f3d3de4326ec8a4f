"""`python -m tests.hosts.molecule create | destroy FOLDER`: hosts for a Molecule scenario, over SSH.

`create` reads the scenario's platforms as JSON: `name`, `suite` (of Debian), `kind` and `variables` for
run.py's inventory. `kind` is `bare`, or `fresh`: with an engine and the base images. It writes `known_hosts`,
the key and `fleet.yml` into FOLDER, and prints what Molecule calls the instance config. The first host serves
the code.
"""

from __future__ import annotations

import json
import os
import sys
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import TYPE_CHECKING, Any

import psutil

from tests.hosts.checkout import source_archive
from tests.hosts.docker import call, docker, has_image
from tests.hosts.fleet import USER, admit, repository, serve
from tests.hosts.host import Host
from tests.hosts.images import bare_image
from tests.hosts.ready import deploy_from_nothing, image_name, start_fresh

if TYPE_CHECKING:
    from collections.abc import Sequence

CHECKOUT = Path(__file__).resolve().parents[2]
_NAMES = "hosts.json"


def create(folder: Path, platforms: Sequence[dict[str, Any]]) -> list[dict[str, Any]]:
    """Start all hosts at once; return the instance config. Hosts are recorded, also after a failure."""
    archive, owner = source_archive(CHECKOUT), _molecule()
    images = {(one["suite"], one["kind"]): _image(one["suite"], one["kind"], archive) for one in platforms}
    started: dict[str, Host] = {}

    def start(platform: dict[str, Any]) -> None:
        image, name = images[platform["suite"], platform["kind"]], platform["name"]
        if platform["kind"] == "bare":
            started[name] = Host(image, name, owner=owner)
        else:
            started[name] = start_fresh(image, archive, name, owner=owner)

    try:
        with ThreadPoolExecutor() as pool:
            list(pool.map(start, platforms))
        first = started[platforms[0]["name"]]
        serve(first, archive)
    finally:
        folder.joinpath(_NAMES).write_text(json.dumps([host.name for host in started.values()]))
    return _reached(folder, platforms, started, repository=repository(first))


def destroy(folder: Path) -> None:
    """Remove what `create` has started, if anything."""
    names = folder / _NAMES
    for name in json.loads(names.read_text()) if names.exists() else []:
        docker("rm", "--force", "--volumes", name)
    names.unlink(missing_ok=True)


def _reached(
    folder: Path, platforms: Sequence[dict[str, Any]], hosts: dict[str, Host], *, repository: str
) -> list[dict[str, Any]]:
    key, known_hosts = folder / "id_ed25519", folder / "known_hosts"
    key.unlink(missing_ok=True)
    call(["ssh-keygen", "-q", "-t", "ed25519", "-N", "", "-f", str(key)]).require()
    for host in hosts.values():
        admit(host, key.with_suffix(".pub").read_text())
    addresses = {name: host.address for name, host in hosts.items()}
    known_hosts.write_text(call(["ssh-keyscan", *addresses.values()]).require().stdout)
    variables = {
        "ansible_user": USER,
        "ansible_ssh_private_key_file": str(key),
        "ansible_ssh_common_args": f"-o UserKnownHostsFile={known_hosts}",
        "source_repo": repository,
    }
    inventory = {
        one["name"]: {"ansible_host": addresses[one["name"]], **one.get("variables", {})} for one in platforms
    }
    folder.joinpath("fleet.yml").write_text(json.dumps({"prod": {"vars": variables, "hosts": inventory}}))
    # The connection is explicit, otherwise a local play would run delegated tasks here.
    reach = {"connection": "ssh", "user": USER, "port": 22, "identity_file": str(key)}
    return [{"instance": name, "address": address, **reach} for name, address in addresses.items()]


def _image(suite: str, kind: str, archive: bytes) -> str:
    """Return the image that such a host starts from, made now where it is missing."""
    if kind == "bare":
        return bare_image(suite)
    image = image_name(CHECKOUT, suite)
    if not has_image(image):
        deploy_from_nothing(archive, image, suite).result.require()
    return image


def _molecule() -> int:
    """Return the id of the outermost process, which owns the hosts: this one and Ansible's end earlier."""
    parents = psutil.Process().parents()
    return [os.getpid(), *(one.pid for one in parents if "molecule" in " ".join(one.cmdline()))][-1]


if __name__ == "__main__":
    what, where = sys.argv[1:]
    if what == "create":
        print(json.dumps(create(Path(where), json.load(sys.stdin))))  # noqa: T201 - Molecule's playbook reads it
    else:
        destroy(Path(where))
