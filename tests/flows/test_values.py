"""A host with an unusual checkout and unusual values: what is built, refused and kept.

The checkout is a clone with umask 077 and core.autocrlf, deployed hardened, updated and taken over.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest

from tests.hosts.checkout import PROJECT, SOURCE
from tests.hosts.ready import start_fresh
from tests.hosts.serving import serving_all_along
from tests.hosts.stack import APP, Stack
from tests.hosts.upstream import Upstream

if TYPE_CHECKING:
    from collections.abc import Iterator

pytestmark = pytest.mark.exhaustive

SECRETS = ("POSTGRES_PASSWORD", "ADMIN_TOKEN", "WEBHOOK_SECRET")


@pytest.fixture(scope="module")
def narrow(ready_image: str, source: bytes) -> Iterator[Stack]:
    """Start a host with only a clone that other users cannot read, whose git writes CRLF."""
    with start_fresh(ready_image, source, "values") as host:
        host.run(f"rm -rf {SOURCE}").require()
        host.unpack(source, "/srv")
        host.run(f"umask 077 && git clone --quiet -c core.autocrlf=true {SOURCE} {PROJECT}").require()
        host.run("sed -i 's/$/\\r/' .env.example", folder=PROJECT).require()
        yield Stack(host)


@pytest.fixture(scope="module")
def upstream(narrow: Stack) -> Upstream:
    """Return the remote that the checkout follows."""
    return Upstream(narrow.host)


def _image(stack: Stack, name: str = "latest") -> str:
    """Return every file of the application in an image, with its mode, owner and content."""
    modes, contents = "find . -printf '%p %m %U %G\\n'", "find . -type f ! -name '*.pyc' -exec sha256sum {} +"
    inside = f'-c "cd /srv && {modes} | sort && {contents} | sort"'
    command = f"docker run --rm --network none --entrypoint sh {APP}:{name} {inside}"
    return stack.host.run(command).require().stdout


def test_a_first_deployment_from_such_a_clone_serves(narrow: Stack) -> None:
    """Hardened, so that another user reads the image's files; every secret was filled in."""
    narrow.run_py("--quick", "-e", "app_privileges=hardened").require()
    assert narrow.settled_health()["status"] == "healthy"
    settings = narrow.settings()
    assert all(len(settings[name]) == 43 for name in SECRETS)


def test_an_update_builds_the_same_image(narrow: Stack, upstream: Upstream) -> None:
    """One commit, built by an update and from the clone itself."""
    upstream.push({"app/news.txt": "one\ntwo\n"})
    narrow.run_py("--quickupdate", "-e", "app_privileges=hardened").require()
    updated = _image(narrow)
    assert "news.txt 644 0 0" in updated

    other = "find app -name '*.py' -exec sed -i 's/\\r*$/\\r/' {} + && chmod -R go= app"
    narrow.host.run(other, folder=PROJECT).require()
    narrow.run_py("--quick", "-e", "app_privileges=hardened", "-e", "images_no_cache=true").require()
    assert _image(narrow) == updated


def test_hardened_takes_over_from_maximum_by_an_update(narrow: Stack, upstream: Upstream) -> None:
    """And back: each profile can read and write what the other one left."""
    narrow.run_py("--quick").require()
    privileged = "docker inspect --format '{{.HostConfig.Privileged}}' " + APP
    assert narrow.host.run(privileged).require().stdout.strip() == "true"

    upstream.push({"app/news.txt": "hardened\n"})
    narrow.run_py("--quickupdate", "-e", "app_privileges=hardened").require()
    assert narrow.host.run(privileged).require().stdout.strip() == "false"
    assert narrow.settled_health()["status"] == "healthy"


def test_a_volume_of_another_postgresql_is_refused_before_anything(narrow: Stack) -> None:
    """Exit 3, naming both versions and the remedy; the plan has the same message."""
    volume = "trading-signal-processor_postgres_data"
    file = f"$(docker volume inspect --format '{{{{.Mountpoint}}}}' {volume})/PG_VERSION"
    narrow.host.run(f"echo 16 >{file}").require()
    try:
        with serving_all_along(narrow):
            results = [
                narrow.run_py("--quick", "--check"),
                narrow.run_py("--quick"),
                narrow.run_py("--quickupdate"),
            ]
    finally:
        narrow.host.run(f"echo 15 >{file}").require()
    assert [result.code for result in results] == [3, 3, 3]
    for result in results:
        assert "PostgreSQL 16" in result.output
        assert "PostgreSQL 15" in result.output
        assert "--db" in result.output


def test_a_container_of_another_origin_with_our_name(narrow: Stack) -> None:
    """Exit 3 also with --adopt; the command in the message corrects the state."""
    narrow.run_py("--stop").require()
    narrow.host.run(f"docker create --name {APP} --entrypoint true {APP}:latest").require()
    for arguments in (["--quick"], ["--quick", "--adopt"]):
        result = narrow.run_py(*arguments)
        assert result.code == 3
        assert f"docker rename {APP} {APP}-before" in result.output
    way_out = f"docker update --restart no {APP} && docker stop {APP} && docker rename {APP} {APP}-before"
    assert way_out in " ".join(result.output.split())
    narrow.host.run(way_out).require()
    narrow.run_py("--quick").require()
    narrow.host.run(f"docker rm {APP}-before").require()


def test_a_branch_that_was_renamed_at_the_remote(narrow: Stack) -> None:
    """Exit 3 by the plan and by the update; no step is reported as done."""
    rename = f"git -C {SOURCE} branch -m {{}} {{}} && git -C {SOURCE} symbolic-ref HEAD refs/heads/{{}}"
    narrow.host.run(rename.format("main", "trunk", "trunk")).require()
    try:
        with serving_all_along(narrow):
            results = [narrow.run_py("--quickupdate", "--check"), narrow.run_py("--quickupdate")]
    finally:
        narrow.host.run(rename.format("trunk", "main", "main")).require()
    for result in results:
        assert result.code == 3
        assert "no branch main any more" in result.output
        assert "--set-upstream-to=origin/trunk" in result.output


def test_the_newest_dumps_stay_and_status_and_history_name_commits(narrow: Stack, upstream: Upstream) -> None:
    """`--keep N`, the remote's newer commit in --status-only, and the commits between two versions."""
    for _ in range(3):
        narrow.run_py("--backup-db", "--keep", "2").require()
    assert narrow.host.run("ls backups/db/*-backup.dump | wc -l", folder=PROJECT).stdout.strip() == "2"

    commit = upstream.push({"app/news.txt": "newer\n"}, message="Bring the newest thing")
    news = f"a newer commit is at origin/main: {commit[:12]}"
    assert news in " ".join(narrow.run_py("--status-only").require().output.split())
    narrow.run_py("--quickupdate").require()
    assert "a newer commit" not in narrow.run_py("--status-only").require().output
    assert f"+ {commit[:12]} Bring the newest thing" in narrow.run_py("--history").require().output


def test_files_that_root_creates_belong_to_the_checkouts_owner(narrow: Stack, upstream: Upstream) -> None:
    """An update with sudo, then one by the owner; another user gets the reason why it is closed."""
    host = narrow.host
    host.run("useradd --create-home --groups docker owner && useradd --create-home guest").require()
    host.run(f"chown -R owner: {PROJECT} && git config --system --add safe.directory {SOURCE}").require()
    upstream.push({"app/news.txt": "by root\n"})
    narrow.run_py("--quickupdate").require()
    left = host.run("find . -user root -not -path './data/*' -not -path './logs/*'", folder=PROJECT).require()
    assert left.stdout == ""

    upstream.push({"app/news.txt": "by the owner\n"})
    as_user = "su {} --command 'cd " + PROJECT + " && python3 run.py {}'"
    host.run(as_user.format("owner", "--quickupdate"), timeout=600).require()

    # The clone was made with umask 077.
    host.run("chmod -R o+rX . && chmod 700 .run", folder=PROJECT).require()
    refused = host.run(as_user.format("guest", "--history"))
    assert refused.code == 3
    assert "is closed to the user guest, it belongs to owner" in refused.output
