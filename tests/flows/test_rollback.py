"""`--rollback [VERSION]`: image and code go back, configuration and rows stay."""

from __future__ import annotations

import json
import uuid
from typing import TYPE_CHECKING

import pytest

from tests.hosts.probe import Probe
from tests.hosts.serving import serving_all_along
from tests.hosts.stack import DATABASE
from tests.hosts.upstream import Upstream

if TYPE_CHECKING:
    from tests.hosts.stack import Stack

ELSEWHERE = "another-project:1"
DATABASE_IMAGE = "trading-signal-processor/base-postgres:current"
KEPT = 3

# Parts of today's controller that the target commit lacks: a plugin, modules and roles.
COLLECTION = "playbooks/collections/ansible_collections/signal_processor/stack/plugins"
NOT_THERE_YET = (
    f"{COLLECTION}/action",
    f"{COLLECTION}/modules/fenced_command.py",
    f"{COLLECTION}/modules/checkout_move.py",
    f"{COLLECTION}/modules/version_record.py",
    "roles/versions",
    "roles/status",
)
RECORDED = """
import json, pathlib, sys
path = pathlib.Path(".run/versions.json")
record = json.loads(path.read_text())
version, commit, image = sys.argv[1:]
entry = {**record["versions"][0], "version": version, "commit": commit, "image_id": image, "backup": ""}
record["versions"].insert(1, entry)
path.write_text(json.dumps(record))
"""


EXPANSION = """\
-- only adds
-- depends: {depends}

-- migrate: apply

ALTER TABLE signals ADD COLUMN note text;

-- migrate: rollback
"""

# Stands for a schema that an old version cannot read.
PICKY = """\
if "serve" in sys.argv:
    from pathlib import Path
    if Path("/srv/data/tomorrow").exists():
        sys.exit("cannot work with what is stored")

if __name__ == "__main__":
"""


@pytest.fixture(scope="module")
def upstream(stack: Stack) -> Upstream:
    """Return the remote that the stack's checkout follows."""
    return Upstream(stack.host)


@pytest.fixture(scope="module")
def versions(stack: Stack, upstream: Upstream) -> list[str]:
    """Deploy and update three times; return the versions, oldest first. Only the last images are kept."""
    stack.host.run(f"docker tag {DATABASE_IMAGE} {ELSEWHERE}").require()
    found = [stack.head()]
    for _ in range(3):
        found.append(upstream.push({"app/news.txt": f"{uuid.uuid4()}\n"}))
        stack.run_py("--quickupdate", "-e", f"versions_keep={KEPT}").require()
    return found


def _settings(stack: Stack) -> str:
    command = "sha256sum .env config/*.json && stat --format '%n %a %u %Y' .env config/*.json"
    return stack.host.run(command, folder=stack.project).require().stdout


def _images(stack: Stack) -> set[str]:
    return set(stack.host.run("docker images --format '{{.Repository}}:{{.Tag}}'").require().stdout.split())


def test_only_this_projects_oldest_images_are_pruned(stack: Stack, versions: list[str]) -> None:
    """By exact name: other projects' images are not considered."""
    images = _images(stack)
    tags = [f"trading-signal-processor:{commit[:12]}" in images for commit in versions]
    assert tags == [False, True, True, True]
    assert ELSEWHERE in images
    assert DATABASE_IMAGE in images


def test_back_to_the_previous_version(stack: Stack, versions: list[str]) -> None:
    """Image and code, with today's configuration and the same database."""
    stack.configure(LOG_LEVEL="DEBUG")
    before = stack.containers()[DATABASE], _settings(stack)
    with Probe(stack.health_url) as probe:
        result = stack.run_py("--rollback").require()
    assert stack.health()["version"] == versions[2][:12]
    assert versions[2][:12] in result.output
    assert stack.head() == versions[2]
    assert (stack.containers()[DATABASE], _settings(stack)) == before
    assert (probe.answered > 0, probe.failed) == (True, 0)
    containers = stack.containers()
    stack.run_py("--quick").require()
    assert stack.containers() == containers


def test_back_to_a_named_version_and_forward_again(stack: Stack, versions: list[str]) -> None:
    """An update returns to the newest; any kept version can be named, a newer one too."""
    stack.run_py("--quickupdate", "-e", f"versions_keep={KEPT}").require()
    assert (stack.health()["version"], stack.head()) == (versions[3][:12], versions[3])
    for commit, name in ((versions[1], versions[1][:8]), (versions[3], versions[3][:12])):
        stack.run_py("--rollback", name).require()
        assert (stack.health()["version"], stack.head()) == (commit[:12], commit)


@pytest.mark.parametrize(
    ("wanted", "why"),
    [
        (0, "no longer kept"),
        pytest.param(3, "runs now", marks=pytest.mark.exhaustive),
        pytest.param(None, "No version", marks=pytest.mark.exhaustive),
    ],
)
def test_an_unknown_version_is_refused_with_the_list(
    stack: Stack, versions: list[str], wanted: int | None, why: str
) -> None:
    """Exit 3, nothing changed; the message lists the kept versions."""
    containers, head = stack.containers(), stack.head()
    result = stack.run_py("--rollback", "nosuch" if wanted is None else versions[wanted][:12])
    assert result.code == 3
    assert why in result.output
    assert all(commit[:12] in result.output for commit in versions)
    assert (stack.containers(), stack.head()) == (containers, head)


def test_the_previous_version_works_on_the_new_schema(stack: Stack, upstream: Upstream) -> None:
    """A migration expands; the previous image serves on it, as stand-in and as app, and handles a signal."""
    (last,) = upstream.names("app/db/migrations/*.sql")[-1:]
    depends = last.rpartition("/")[2].removesuffix(".sql")
    before = stack.health()["version"]
    upstream.push({"app/db/migrations/20991231_01_eXpAn-expand.sql": EXPANSION.format(depends=depends)})
    stack.run_py("--quickupdate").require()
    assert stack.sql("SELECT count(note) FROM signals") == [["0"]]

    stack.run_py("--rollback").require()
    assert stack.health()["version"] == before
    answer = stack.post(f'{{"ticker": "MSFT", "action": "buy", "run": "{uuid.uuid4()}"}}'.encode())
    assert stack.outcome(answer.json()["signal_id"])[0] in {"forwarded", "rejected"}


@pytest.mark.exhaustive
def test_a_version_that_cannot_work_any_more_is_refused(stack: Stack, upstream: Upstream) -> None:
    """Exit 3: only its stand-in is started; the serving app is not affected."""
    code = upstream.read("app/__main__.py")
    picky = code.replace('if __name__ == "__main__":\n', PICKY)
    old = upstream.push({"app/__main__.py": picky})
    stack.run_py("--quickupdate").require()
    upstream.push({"app/__main__.py": code})
    stack.run_py("--quickupdate").require()
    stack.host.run("touch data/tomorrow", folder=stack.project).require()
    head = stack.head()
    with serving_all_along(stack):
        result = stack.run_py("--rollback")
    stack.host.run("rm data/tomorrow", folder=stack.project).require()
    assert result.code == 3
    assert old[:12] in result.output
    assert "cannot work with what is stored" in result.output
    assert stack.head() == head


@pytest.mark.exhaustive
def test_back_to_a_commit_that_lacks_parts_of_the_rollback(stack: Stack, upstream: Upstream) -> None:
    """Today's modules, roles and a plugin: the flow runs from a copy to its end, and the record is right."""
    old = upstream.remove(*NOT_THERE_YET)
    new = upstream.revert()
    stack.run_py("--quickupdate").require()
    image = f"FROM trading-signal-processor:{new[:12]}\nENV APP_VERSION={old[:12]}\n"
    name = f"trading-signal-processor:{old[:12]}"
    stack.host.run(f"docker build --quiet --tag {name} -", stdin=image.encode()).require()
    built = stack.host.run(f"docker image inspect --format '{{{{.Id}}}}' {name}").require().stdout.strip()
    stack.host.write("/root/recorded.py", RECORDED)
    record = f"python3 /root/recorded.py {old[:12]} {old} {built}"
    stack.host.run(record, folder=stack.project).require()

    result = stack.run_py("--rollback")
    assert result.code == 0, result.output
    assert (stack.health()["version"], stack.head()) == (old[:12], old)
    assert json.loads(stack.host.read(f"{stack.project}/.run/versions.json"))["current"] == old[:12]
    left = stack.host.run("ls .run; git status --porcelain", folder=stack.project).require().stdout
    assert "controller-" not in left
    stack.host.run(f"git merge --quiet --ff-only {new}", folder=stack.project).require()
    stack.run_py("--quick").require()
