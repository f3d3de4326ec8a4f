"""Three hosts reached over SSH: deployed, updated one at a time, broken and repaired.

The tests are one sequence: each begins with the state that the previous one left.
"""

from __future__ import annotations

import contextlib
import itertools
import json
import re
from typing import TYPE_CHECKING

import pytest

from tests.hosts import breaking
from tests.hosts.checkout import PROJECT, install
from tests.hosts.document import check
from tests.hosts.fleet import Fleet, next_line, outcomes
from tests.hosts.host import Host
from tests.hosts.probe import Probe
from tests.hosts.ready import start_fresh
from tests.hosts.upstream import Upstream

if TYPE_CHECKING:
    from collections.abc import Iterator

NAMES = ("one", "two", "three")
# The edge holds requests for no longer while the application is replaced.
HELD_SECONDS = 3.0
SWAP = ("compose: Replace the app", "health: Ask the edge for the app's health")


@pytest.fixture(scope="module")
def fleet(ready_image: str, source: bytes) -> Iterator[Fleet]:
    """Prepare three hosts with an engine and nothing of ours, and the host that deploys to them."""
    with contextlib.ExitStack() as all_hosts:
        controller = all_hosts.enter_context(Host(ready_image, "controller"))
        install(controller, source)
        hosts = {name: all_hosts.enter_context(start_fresh(ready_image, source, name)) for name in NAMES}
        yield Fleet(controller, hosts, source)


@pytest.fixture(scope="module")
def upstream(fleet: Fleet) -> Upstream:
    """Return the remote that all of them follow."""
    return Upstream(fleet.controller)


@contextlib.contextmanager
def probed(fleet: Fleet) -> Iterator[dict[str, Probe]]:
    """Probe every host twenty times a second, and assert that never two were silent at the same time."""
    probes = {name: Probe(stack.health_url) for name, stack in fleet.stacks.items()}
    with contextlib.ExitStack() as asking:
        for probe in probes.values():
            asking.enter_context(probe)
        yield probes
    silent = sorted((*gap, name) for name, probe in probes.items() for gap in probe.gaps)
    assert all(probe.answered for probe in probes.values())
    for (_, end, name), (start, _, other) in itertools.pairwise(silent):
        assert name == other or end <= start, f"{name} and {other} were silent at the same time: {silent}"


def test_the_first_deployment_brings_the_controllers_commit_to_all(fleet: Fleet, upstream: Upstream) -> None:
    """Cloned over the network, all hosts at once; what is pushed meanwhile waits for an update."""
    here = fleet.controller.run("git rev-parse HEAD", folder=PROJECT).stdout.strip()
    code, output = fleet.run_py_and(
        "source: Clone", lambda: upstream.push({"app/news.txt": "pushed in the middle\n"}), "--limit", "prod"
    )
    assert code == 0, output
    assert fleet.versions() == dict.fromkeys(NAMES, here[:12])
    assert outcomes(output) == dict.fromkeys(NAMES, "done")
    assert "warning: no TLS_DOMAIN and no TLS_CERT_FILE" in output
    for stack in fleet.stacks.values():
        assert f"http://{stack.host.address}/admin" in output
        assert stack.settings()["WEBHOOK_SECRET"]


def test_an_update_goes_from_host_to_host(fleet: Fleet, upstream: Upstream) -> None:
    """Each is healthy before the next is replaced; a push in the middle changes nothing."""
    commit = upstream.push({"app/news.txt": "an update\n"})
    with probed(fleet) as probes:
        code, output = fleet.run_py_and(
            "source: Lay the tree out",
            lambda: upstream.push({"app/news.txt": "too late\n"}),
            *("--update", "--limit", "prod"),
        )
    assert code == 0, output
    assert fleet.versions() == dict.fromkeys(NAMES, commit[:12])
    assert all(probe.longest_gap <= HELD_SECONDS for probe in probes.values())
    steps = [(line.split()[0], step) for line in output.splitlines() for step in SWAP if step in line]
    assert steps == [(name, step) for name in dict.fromkeys(name for name, _ in steps) for step in SWAP]
    assert {name for name, _ in steps} == set(NAMES)
    heads = {
        stack.host.run(f"sudo git -C {PROJECT} rev-parse HEAD").stdout.strip()
        for stack in fleet.stacks.values()
    }
    assert heads == {commit}


def test_every_host_knows_what_was_planned_for_it(fleet: Fleet) -> None:
    """The plan is in each journal, as it is on one machine."""
    result = fleet.run_py("--history", "--limit", "prod", "--json").require()
    check(result.stdout)
    hosts = json.loads(result.stdout)["hosts"]
    assert hosts.keys() == set(NAMES)
    for host in hosts.values():
        changes = {step["step"]: step["changes"] for step in host["history"][-1]["plan"]}
        assert changes["App container"] == "yes"


def test_nothing_is_swapped_where_nothing_changed(fleet: Fleet) -> None:
    """`--quick` again, over the whole fleet."""
    before = fleet.fingerprint()
    with probed(fleet) as probes:
        fleet.run_py("--quick", "--limit", "prod").require()
    assert fleet.fingerprint() == before
    assert [probe.failed for probe in probes.values()] == [0, 0, 0]


def test_a_failure_on_the_second_host_stops_there(fleet: Fleet, upstream: Upstream) -> None:
    """One is new, two is back on the old version, three is unchanged; the next command names the rest."""
    commit = upstream.push(breaking.starts_once(upstream, where='Path("/srv/data/broken").exists()'))
    old = fleet.versions()["two"]
    broken = f"{fleet.stacks['two'].project}/data/broken"
    fleet.hosts["two"].write(broken, "")
    untouched = fleet.fingerprint()["three"]

    with probed(fleet):
        result = fleet.run_py("--quickupdate", "--limit", "prod")

    assert result.code == 5, result.output
    assert fleet.versions() == {"one": commit[:12], "two": old, "three": old}
    assert fleet.fingerprint()["three"] == untouched
    assert outcomes(result.output) == {"one": "done", "two": "failed", "three": "never tried"}
    assert re.search(r"^Quick update FAILED .* the old version still serves", result.output, re.MULTILINE)
    again = next_line(result.output)
    assert again == "python3 run.py --quickupdate -i /root/fleet.yml --limit two,three"

    fleet.hosts["two"].run(f"rm {broken}").require()
    result = fleet.type(again).require()
    assert fleet.versions() == dict.fromkeys(NAMES, commit[:12])
    assert outcomes(result.output) == {"two": "done", "three": "done"}


def test_an_update_with_another_controller_is_carried_out_by_it(fleet: Fleet, upstream: Upstream) -> None:
    """The started one fetches it for itself, and its checkout does not move."""
    here = _checkout(fleet)
    actions = upstream.read("deploy/actions.py").replace(
        'label="Quick update"', 'label="The new quick update"'
    )
    commit = upstream.push({"deploy/actions.py": actions})
    result = fleet.run_py("--quickupdate", "--limit", "prod").require()
    assert "The update changes the controller itself" in result.output
    assert "The new quick update done" in result.output
    assert fleet.versions() == dict.fromkeys(NAMES, commit[:12])
    assert _checkout(fleet) == here | {"releases"}


@pytest.mark.parametrize("flag", ["--quick", "--update", "--stop"])
def test_an_unreachable_host_keeps_all_as_they_are(fleet: Fleet, flag: str) -> None:
    """Named, and nothing was changed anywhere."""
    before = fleet.fingerprint()
    fleet.list_hosts(two="203.0.113.1" if flag == "--quick" else "127.0.0.1")
    try:
        result = fleet.run_py(flag, "--limit", "prod")
    finally:
        fleet.list_hosts()
    assert result.code == 4, result.output
    assert outcomes(result.output)["two"] == "unreachable"
    assert fleet.fingerprint() == before


def test_a_host_with_an_unknown_key_is_refused_with_the_remedy(fleet: Fleet) -> None:
    """The suggested command makes the key known."""
    before = fleet.fingerprint()
    fleet.trust("one", "three")
    result = fleet.run_py("--status-only", "--limit", "prod")
    assert result.code == 4, result.output
    assert outcomes(result.output)["two"] == "unreachable"
    assert fleet.fingerprint() == before
    (learn,) = re.findall(r"ssh-keyscan .*", result.output)
    fleet.type(learn).require()
    fleet.run_py("--status-only", "--limit", "prod").require()


def test_a_limit_with_a_typing_error_does_nothing(fleet: Fleet) -> None:
    """Not even to the hosts with a correct name."""
    before = fleet.fingerprint()
    result = fleet.run_py("--update", "--limit", "prod,thre")
    assert (result.code, "'thre'" in result.output) == (2, True)
    assert fleet.fingerprint() == before


def test_reading_flows_work_on_all_hosts(fleet: Fleet) -> None:
    """Status, log and diagnosis, each with the host it is about."""
    before = fleet.fingerprint()
    for flag in ("--status-only", "--logs", "--diagnose"):
        output = fleet.run_py(flag, "--limit", "prod").require().output
        assert all(name in output for name in NAMES), output
    assert fleet.fingerprint() == before


def test_logs_of_all_hosts_are_followed_together(fleet: Fleet) -> None:
    """Every line names its host, until Ctrl-C."""
    line = "python3 run.py --follow-logs --limit prod -i /root/fleet.yml"
    missing = set(NAMES)
    with fleet.controller.spawn(line, folder=PROJECT) as process:
        assert process.stdout
        pid = process.stdout.readline().strip()
        for written in process.stdout:
            host, bar, _ = written.partition(" | ")
            assert bar, written
            missing.discard(host.strip())
            if not missing:
                fleet.controller.run(f"kill -INT {pid}").require()
                break
        process.stdout.read()
    assert process.returncode == 0


def test_a_rollback_restores_the_previous_version_one_host_at_a_time(fleet: Fleet) -> None:
    """`--rollback` over the fleet, and a dump of each database on its host."""
    new = fleet.versions()
    with probed(fleet):
        fleet.run_py("--rollback", "--limit", "prod").require()
    assert not set(fleet.versions().values()) & set(new.values())
    assert len(set(fleet.versions().values())) == 1
    fleet.run_py("--backup-db", "--limit", "prod").require()
    for host in fleet.hosts.values():
        host.run("ls backups/db/*-backup.dump", folder=PROJECT).require()


def test_flows_that_destroy_restore_and_stop_need_no_privileges_either(fleet: Fleet) -> None:
    """`prod` is hardened: every flow that the tests above do not run."""
    host = fleet.hosts["three"]
    dump = host.run("ls backups/db/*-backup.dump", folder=PROJECT).require().stdout.strip()
    for flow in (
        ["--restore-db", f"{PROJECT}/{dump}", "--yes"],
        *(["--db", "--yes"], ["--rebuild", "--yes"], ["--stop"], ["--history"], ["--unlock"], []),
    ):
        fleet.run_py(*flow, "--limit", "three").require()
    assert fleet.stacks["three"].health()["version"]
    inspect = "docker inspect --format '{{.Config.User}} {{.HostConfig.Privileged}}' trading-signal-processor"
    assert host.run(inspect).stdout.split() == ["10001:10001", "false"]


def test_tls_is_served_where_there_is_a_certificate(fleet: Fleet) -> None:
    """On 443 in addition to plain HTTP; there is no warning any more."""
    host, stack = fleet.hosts["three"], fleet.stacks["three"]
    host.run(
        "mkdir -p config/tls && openssl req -x509 -newkey rsa:2048 -nodes -days 2 -subj /CN=three"
        " -addext subjectAltName=DNS:three -keyout config/tls/key.pem -out config/tls/cert.pem",
        folder=PROJECT,
    ).require()
    stack.configure(TLS_CERT_FILE="config/tls/cert.pem", TLS_KEY_FILE="config/tls/key.pem")
    result = fleet.run_py("--quick", "--limit", "three").require()
    assert "TLS_CERT_FILE" not in result.output
    ask = (
        "curl --silent --cacert config/tls/cert.pem --connect-to three:443:127.0.0.1:443 https://three/health"
    )
    assert json.loads(host.run(ask, folder=PROJECT).require().stdout)["version"] == stack.health()["version"]


def _checkout(fleet: Fleet) -> set[str]:
    """Return the controller's commit, its edits and the files in `.run`, a line each."""
    look = "git rev-parse HEAD; git status --porcelain; ls .run"
    return set(fleet.controller.run(look, folder=PROJECT).require().stdout.splitlines())
