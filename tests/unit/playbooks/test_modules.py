"""What the playbooks' own modules decide: versions, settings, ownership, modes, ports, the gate."""

from __future__ import annotations

import json
import os
import re
import socket
import subprocess
import threading
from http.server import BaseHTTPRequestHandler, HTTPServer
from typing import TYPE_CHECKING, Any, ClassVar

import pytest

from tests.unit.playbooks.modules import COLLECTION, load

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path


@pytest.fixture
def checkout(tmp_path: Path) -> Path:
    (tmp_path / "app").mkdir()
    (tmp_path / "app" / "main.py").write_text("x = 1\n")
    (tmp_path / "Dockerfile").write_text("FROM scratch\n")
    (tmp_path / ".gitignore").write_text("/data/\n")
    return tmp_path


def commit(root: Path) -> None:
    identity = ["-c", "user.name=t", "-c", "user.email=t@t", "-c", "commit.gpgsign=false"]
    for argv in (["init", "-q"], ["add", "-A"], [*identity, "commit", "-qm", "x"]):
        subprocess.run(["git", "-C", str(root), *argv], check=True)


class TestVersion:
    hashed = ("Dockerfile", "app")

    def of(self, root: Path) -> str:
        return str(load("checkout_facts").version_of(root, list(self.hashed)))

    def test_a_clean_tree_is_its_commit(self, checkout: Path) -> None:
        commit(checkout)
        head = subprocess.check_output(
            ["git", "-C", str(checkout), "rev-parse", "--short=12", "HEAD"], text=True
        )
        assert self.of(checkout) == head.strip()

    def test_edits_and_new_files_make_it_dirty_and_equal_content_equal(self, checkout: Path) -> None:
        commit(checkout)
        clean = self.of(checkout)
        (checkout / "app" / "main.py").write_text("x = 2\n")
        edited = self.of(checkout)
        (checkout / "app" / "new.py").write_text("")
        added = self.of(checkout)
        (checkout / "app" / "new.py").unlink()
        assert re.fullmatch(clean + "-dirty-[0-9a-f]{8}", edited)
        assert added not in {clean, edited}
        assert self.of(checkout) == edited

    def test_what_git_ignores_does_not_count(self, checkout: Path) -> None:
        commit(checkout)
        clean = self.of(checkout)
        (checkout / "data").mkdir()
        (checkout / "data" / "file").write_text("x")
        assert self.of(checkout) == clean

    def test_without_git_the_content_counts(self, checkout: Path) -> None:
        before = self.of(checkout)
        (checkout / "app" / "__pycache__").mkdir()
        (checkout / "app" / "__pycache__" / "main.pyc").write_bytes(b"x")
        assert re.fullmatch("tree-[0-9a-f]{12}", before)
        assert self.of(checkout) == before
        (checkout / "app" / "main.py").write_text("x = 3\n")
        assert self.of(checkout) != before

    def test_a_folder_inside_another_repository_is_not_that_repository(self, checkout: Path) -> None:
        commit(checkout)
        assert load("checkout_facts").version_of(checkout / "app", ["main.py"]).startswith("tree-")


def test_what_blocks_a_file_or_folder_is_named(tmp_path: Path) -> None:
    (tmp_path / ".env").mkdir()
    (tmp_path / "data").write_text("")
    (tmp_path / "gone").symlink_to(tmp_path / "nowhere")
    module = load("checkout_facts")
    missing = module.absent(tmp_path, [".env", "data/", "gone", "config/"])
    assert module.in_the_way(tmp_path, missing) == [
        f"{tmp_path}/.env is no file that can be read",
        f"{tmp_path}/data is no folder",
        f"{tmp_path}/gone is no file that can be read",
    ]


def definition(*, has_edge: bool = True, **environment: str) -> dict[str, Any]:
    url = "postgresql+asyncpg://postgres:p%40ss@postgres:5432/trading_signals"
    public = {"target": 8080 if has_edge else 80, "published": "8081"}
    operations = {"target": 8008, "published": "8008", "host_ip": "127.0.0.1"}
    services: dict[str, Any] = {
        "app": {
            "environment": {"DATABASE_URL": url, "POSTGRES_PASSWORD": "p@ss", **environment},
            "ports": [operations] if has_edge else [public, operations],
        },
        "db": {"environment": {"POSTGRES_PASSWORD": "p@ss"}},
    }
    if has_edge:
        services["edge"] = {"ports": [public]}
    return {"name": "stack", "services": services}


@pytest.mark.parametrize("has_edge", [True, False])
def test_settings_are_reduced_to_facts_without_secrets(*, has_edge: bool) -> None:
    """Also those of a version whose app publishes the port itself."""
    settings = load("definition_facts").settings_of(
        definition(ADMIN_TOKEN="very-secret", has_edge=has_edge), "app", "db", "edge", "stack"
    )
    assert settings["url_agrees"]
    assert settings["admin_token"]
    assert not settings["webhook_secret"]
    assert (settings["server_port"], settings["operations_port"]) == (8081, 8008)
    assert settings["has_edge"] is has_edge
    assert {"address": "127.0.0.1", "port": 8008} in settings["ports"]
    assert {"address": "0.0.0.0", "port": 8081} in settings["ports"]
    assert "very-secret" not in json.dumps(settings)
    assert "p@ss" not in json.dumps(settings)


def test_another_password_in_the_url_does_not_agree() -> None:
    other = definition(DATABASE_URL="postgresql+asyncpg://postgres:x@postgres:5432/trading_signals")
    assert not load("definition_facts").settings_of(other, "app", "db", "edge", "stack")["url_agrees"]


def test_compose_s_line_loses_the_value_it_quotes() -> None:
    line = "failed to read /srv/.env: line 3: unterminated quoted value 'hunter2"
    shown = load("definition_facts").without_value(line)
    assert shown.startswith("failed to read /srv/.env: line 3: unterminated quoted value")
    assert "hunter2" not in shown


class TestOwnership:
    def of(self, here: Path, container: str, volume: str) -> list[str]:
        name = "trading-signal-processor"
        app = {"name": name, "checkout": container, "project": "stack", "service": "app", "definition": "x"}
        stack = load("module_utils.stack")
        found = stack.foreign(here, {"app": app}, "vol", {"checkout": volume}, "stack")
        assert all(entry["adoptable"] for entry in found)
        return [f"{entry['what']}: {entry['owner']}" for entry in found]

    def test_ours_is_not_foreign_also_through_a_link(self, tmp_path: Path) -> None:
        (tmp_path / "real").mkdir()
        link = tmp_path / "link"
        link.symlink_to(tmp_path / "real")
        assert self.of(link, str(link), str(tmp_path / "real")) == []

    def test_another_checkout_is_named(self, tmp_path: Path) -> None:
        assert self.of(tmp_path, "/other", "/other") == [
            "container trading-signal-processor: /other",
            "volume vol: /other",
        ]

    @pytest.mark.parametrize(
        "labels",
        [
            {"project": "", "service": "", "definition": ""},
            {"project": "other", "service": "app", "definition": "x"},
            {"project": "stack", "service": "", "definition": ""},  # the image's own label
            {"project": "stack", "service": "other", "definition": "x"},
        ],
    )
    def test_a_container_that_compose_would_not_replace_is_not_adoptable(
        self, tmp_path: Path, labels: dict[str, str]
    ) -> None:
        """A container that compose did not make for this service has the name."""
        app = {"name": "trading-signal-processor", "checkout": str(tmp_path), **labels}
        stack = load("module_utils.stack")
        (found,) = stack.foreign(tmp_path, {"app": app}, "vol", {}, "stack")
        assert found["name"] == "trading-signal-processor"
        assert found["adoptable"] is False

    def test_an_adopted_volume_is_ours(self, tmp_path: Path) -> None:
        (tmp_path / ".run").mkdir()
        (tmp_path / ".run" / "adopted-volume").write_text("vol\n")
        assert self.of(tmp_path, str(tmp_path), "") == []

    def test_another_volume_than_the_adopted_one_is_not_ours(self, tmp_path: Path) -> None:
        """POSTGRES_VOLUME may name another one since."""
        (tmp_path / ".run").mkdir()
        (tmp_path / ".run" / "adopted-volume").write_text("earlier\n")
        assert self.of(tmp_path, str(tmp_path), "") == ["volume vol: something without a checkout"]


def catalog(*tables: str) -> bytes:
    """Return names of tables as the catalog of a database stores them, among other bytes."""
    names = (b"\xff\n\x01\0\0" + name.encode().ljust(64, b"\0") + b"\xfe~" for name in tables)
    return b"\0signals in a row\0\0" + b"".join(names)


class TestReplacedSystem:
    """Whether a flow would work on a database of the system that this one replaces."""

    @pytest.fixture
    def looked(self, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Any:
        """Look at a volume, and at a server that answers so; `docker run` fails, as without its image."""
        volume = tmp_path / "volume"
        volume.mkdir()
        answers = tmp_path / "docker"
        monkeypatch.setenv("PATH", f"{tmp_path}{os.pathsep}{os.environ['PATH']}")

        def look(
            volumes: list[str] | None = None,
            answer: str = "exit 1",
            *,
            mine: bool = False,
            labelled: bool = False,
        ) -> dict[str, str]:
            answers.write_text(
                f"#!/bin/sh\ncase $1 in volume) echo '{volume}';; exec) {answer};; *) exit 125;; esac\n"
            )
            answers.chmod(0o755)
            server = {"name": "trading-db", "state": "running", "volumes": volumes}
            found: dict[str, str] = load("module_utils.stack").replaced_system(
                {"postgres": server} if volumes is not None else {},
                "vol",
                {"labelled": labelled},
                "image",
                is_mine=mine,
            )
            return found

        look.folder = volume  # type: ignore[attr-defined]
        return look

    @pytest.mark.parametrize(
        ("tables", "place"),
        [
            (["signals", "positions"], "volume vol"),
            (["signals", "_pogo_migration"], ""),
            (["_pogo_migration"], ""),
            (["signals_of_mine", "my_signals"], ""),
            ([], ""),
        ],
    )
    def test_a_volume_is_read(self, looked: Any, tables: list[str], place: str) -> None:
        (looked.folder / "base" / "5").mkdir(parents=True)
        (looked.folder / "base" / "5" / "1259").write_bytes(catalog(*tables))
        assert looked() == {"place": place, "unread": ""}
        assert looked(mine=True) == looked(labelled=True) == {"place": "", "unread": ""}

    def test_a_volume_that_cannot_be_read_is_none_to_work_on(self, looked: Any) -> None:
        """Without its image, or with a file that is not readable."""
        assert looked() == {"place": "", "unread": "vol"}
        assert looked(mine=True) == {"place": "", "unread": ""}
        (looked.folder / "base").mkdir()
        (looked.folder / "base" / "1").write_bytes(catalog("signals", "_pogo_migration"))
        assert looked() == {"place": "", "unread": ""}
        find = looked.folder.parent / "find"
        find.write_text("#!/bin/sh\necho 'cat: base/1: Input/output error' >&2\n")
        find.chmod(0o755)
        assert looked() == {"place": "", "unread": "vol"}

    @pytest.mark.parametrize(
        ("volumes", "answer", "found"),
        [
            (["vol"], "echo t", ("container trading-db", "")),
            (["other"], "echo t", ("container trading-db", "")),
            (["vol"], "echo f", ("", "")),
            (["other"], "echo f", ("volume vol", "")),
            (["vol"], "exit 2", ("volume vol", "")),
        ],
    )
    def test_a_server_that_runs_counts_for_its_own_volume(
        self, looked: Any, volumes: list[str], answer: str, found: tuple[str, str]
    ) -> None:
        (looked.folder / "base").mkdir()
        (looked.folder / "base" / "1").write_bytes(catalog("signals"))
        assert tuple(looked(volumes, answer).values()) == found


def test_the_holder_of_a_port_is_named() -> None:
    ports = load("port_holders")
    with socket.socket() as listener:
        listener.bind(("127.0.0.1", 0))
        listener.listen(1)
        port = listener.getsockname()[1]
        assert ports.is_taken("127.0.0.1", port)
        assert f"(pid {os.getpid()})" in ports.process_on(port)
    assert not ports.is_taken("127.0.0.1", port)


class Health(BaseHTTPRequestHandler):
    version = "new"
    asked = 0
    more: ClassVar[dict[str, Any]] = {}

    def do_GET(self) -> None:
        Health.asked += 1
        self.send_response(200 if self.path == "/health" else 404)
        self.end_headers()
        self.wfile.write(json.dumps({"status": "healthy", "version": self.version, **self.more}).encode())

    def log_message(self, *_: object) -> None:
        """Say nothing."""


@pytest.fixture
def health_url() -> Iterator[str]:
    with HTTPServer(("127.0.0.1", 0), Health) as server:
        threading.Thread(target=server.serve_forever, daemon=True).start()
        yield f"http://127.0.0.1:{server.server_port}/health"
        server.shutdown()


def test_the_gate_accepts_the_version_just_started_and_no_other(health_url: str) -> None:
    ask = load("health_gate").ask
    assert ask(health_url, "new") == ""
    assert ask(health_url, "newer") == "version new answers instead of newer"


def test_the_gate_reports_that_nothing_answers() -> None:
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port = free.getsockname()[1]
    assert "refused" in load("health_gate").ask(f"http://127.0.0.1:{port}/health", "new")


def container(state: str = "running", **ports: int) -> dict[str, Any]:
    return {"state": state, "ports": {inside.lstrip("p"): host for inside, host in ports.items()}}


@pytest.mark.parametrize(
    ("containers", "port"),
    [
        ({"app": container(p8008=8008), "edge": container(p8080=80, p8443=443)}, 80),
        ({"app": container(p80=81, p8008=8008)}, 81),  # of a version without an edge
        ({"app": container(p80=81), "edge": container("created", p8080=80)}, 81),  # the edge is to come
        ({"app": container("exited", p80=81), "edge": container(p8080=80)}, 80),
        ({"app": container(p8008=8008), "edge": container("exited", p8080=80)}, None),
        ({}, None),
    ],
)
def test_clients_use_the_edge_or_an_app_without_one(
    containers: dict[str, dict[str, Any]], port: int | None
) -> None:
    assert load("module_utils.stack").public_port(containers) == port


CERTIFICATE = {"status": "ok", "days_left": 61, "domain": "alerts.example.com"}


@pytest.mark.parametrize(
    ("more", "certificate"),
    [
        ({"checks": {"certificate": CERTIFICATE}}, CERTIFICATE),
        ({}, {}),  # of a version before
        ({"checks": {}}, {}),
        ({"checks": None}, {}),
    ],
)
def test_what_is_known_of_the_certificate(
    health_url: str, monkeypatch: pytest.MonkeyPatch, more: dict[str, Any], certificate: dict[str, Any]
) -> None:
    monkeypatch.setattr(Health, "more", more)
    port = int(health_url.split(":")[2].partition("/")[0])
    found = load("module_utils.stack").health_of({"edge": container(p8080=port)})
    assert found == {"status": "healthy", "version": "new", "code": 200, "certificate": certificate}


def test_a_health_answer_in_another_form_is_ignored(health_url: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(Health, "more", {"checks": [1]})
    port = int(health_url.split(":")[2].partition("/")[0])
    stack = load("module_utils.stack")
    assert stack.health_of({"edge": container(p8080=port)}) == {**stack.UNKNOWN_HEALTH, "code": 200}
    assert stack.health_of({}) == {**stack.UNKNOWN_HEALTH, "status": "absent"}


def test_migrations_are_those_of_the_tree_that_is_deployed_and_may_be_unknown(checkout: Path) -> None:
    known = load("plan_facts").known_migrations
    assert known(checkout, "") is None  # a host that has only the definition
    (checkout / "app" / "db" / "migrations").mkdir(parents=True)
    (checkout / "app" / "db" / "migrations" / "one.sql").write_text("")
    commit(checkout)
    head = subprocess.check_output(["git", "-C", str(checkout), "rev-parse", "HEAD"], text=True).strip()
    (checkout / "app" / "db" / "migrations" / "two.sql").write_text("")
    assert (known(checkout, head), known(checkout, "")) == ({"one"}, {"one", "two"})
    assert known(checkout, "0" * 40) is None


def test_no_module_sets_a_variable_by_its_facts() -> None:
    """Facts are not injected (ansible.cfg): what a role reads is registered."""
    modules = sorted((COLLECTION / "plugins" / "modules").glob("*.py"))
    assert modules
    found = {
        name
        for file in modules
        for name in re.findall(r'"ansible_facts": \{"(\w+)"', file.read_text("utf-8"))
    }
    assert found == {"host_report"}
