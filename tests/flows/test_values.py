"""One host's life with a checkout and values that are not the usual ones: what is built, refused and kept.

The checkout is a clone with umask 077 and core.autocrlf, deployed hardened, updated and taken over.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest

from tests.hosts.checkout import PROJECT, SOURCE
from tests.hosts.ready import start_fresh
from tests.hosts.stack import APP, Stack
from tests.hosts.upstream import Upstream

if TYPE_CHECKING:
    from collections.abc import Iterator

SECRETS = ("POSTGRES_PASSWORD", "ADMIN_TOKEN", "WEBHOOK_SECRET")


@pytest.fixture(scope="module")
def narrow(ready_image: str, source: bytes) -> Iterator[Stack]:
    """A host with nothing of ours but a clone that nobody else can read, whose git writes CRLF."""
    with start_fresh(ready_image, source, "values") as host:
        host.run(f"rm -rf {SOURCE}").require()
        host.unpack(source, "/srv")
        host.run(f"umask 077 && git clone --quiet -c core.autocrlf=true {SOURCE} {PROJECT}").require()
        host.run("sed -i 's/$/\\r/' .env.example", folder=PROJECT).require()
        yield Stack(host)


@pytest.fixture(scope="module")
def upstream(narrow: Stack) -> Upstream:
    """The remote that the checkout follows."""
    return Upstream(narrow.host)


def _image(stack: Stack, name: str = "latest") -> str:
    """Every file of the application in an image, with its mode, owner and content."""
    modes, contents = "find . -printf '%p %m %U %G\\n'", "find . -type f ! -name '*.pyc' -exec sha256sum {} +"
    inside = f'-c "cd /srv && {modes} | sort && {contents} | sort"'
    command = f"docker run --rm --network none --entrypoint sh {APP}:{name} {inside}"
    return stack.host.run(command).require().stdout


def test_a_first_deployment_from_such_a_clone_serves(narrow: Stack) -> None:
    """Hardened, so that another user reads what the image holds; every secret was filled in."""
    narrow.run_py("--quick", "-e", "app_privileges=hardened").require()
    assert narrow.settled_health()["status"] == "healthy"
    settings = narrow.settings()
    assert all(len(settings[name]) == 43 for name in SECRETS)


def test_an_update_builds_the_very_same_image(narrow: Stack, upstream: Upstream) -> None:
    """One commit, built by an update and from the clone itself."""
    upstream.push({"app/news.txt": "one\ntwo\n"})
    narrow.run_py("--quickupdate", "-e", "app_privileges=hardened").require()
    updated = _image(narrow)
    assert "news.txt 644 0 0" in updated

    other = "find app -name '*.py' -exec sed -i 's/\\r*$/\\r/' {} + && chmod -R go= app"
    narrow.host.run(other, folder=PROJECT).require()
    narrow.run_py("--quick", "-e", "app_privileges=hardened", "-e", "images_no_cache=true").require()
    assert _image(narrow) == updated
