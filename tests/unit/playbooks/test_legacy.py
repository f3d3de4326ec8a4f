"""`--import-legacy`: what SOURCE is, which dump can be read, and which variables come."""

from __future__ import annotations

import io
import json
import os
import stat
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from tests.unit.playbooks.modules import load

TEMPLATE = (Path(__file__).parents[3] / ".env.example").read_text("utf-8")
PLAIN = b"""--
-- PostgreSQL database dump
--

CREATE TABLE public.signals (
    signal_id uuid NOT NULL,
    ticker text
);

COPY public.signals (signal_id, ticker) FROM stdin;
\\.

--
-- PostgreSQL database dump complete
--
"""


def compare(old: str, ours: str = TEMPLATE, *, is_fresh: bool = False) -> Any:
    """Compare an old `.env` with ours."""
    return load("module_utils.legacy_variables").compare(old, ours, TEMPLATE, is_fresh=is_fresh)


def test_variables_come_where_ours_have_no_value_of_their_own() -> None:
    """The values of the template are nobody's own; what is equal already is not mentioned."""
    old = (
        "FINVIZ_UPDATE_TOKEN=hidden-1\nexport TOP_N=20\nLOG_LEVEL=INFO\nSERVER_PORT='8080'\nQUEUE_MAX_SIZE=\n"
    )
    found = compare(old, TEMPLATE.replace("TOP_N=15", "TOP_N=30"))
    assert {new: old for new, (old, _) in found.taken.items()} == {
        "ADMIN_TOKEN": "FINVIZ_UPDATE_TOKEN",
        "SERVER_PORT": "SERVER_PORT",
    }
    assert (found.kept, found.dropped) == (["TOP_N"], [])
    text = load("module_utils.legacy_variables").with_values(
        TEMPLATE, {new: value for new, (_, value) in found.taken.items()}
    )
    assert "\nSERVER_PORT='8080'\n" in text
    assert "\nADMIN_TOKEN=hidden-1\n" in text
    assert len(text.splitlines()) == len(TEMPLATE.splitlines())


def test_a_token_made_by_the_same_run_gives_way_to_the_old_one() -> None:
    ours = TEMPLATE.replace("ADMIN_TOKEN=", "ADMIN_TOKEN=made")
    assert compare("FINVIZ_UPDATE_TOKEN=old", ours).kept == ["ADMIN_TOKEN"]
    assert list(compare("FINVIZ_UPDATE_TOKEN=old", ours, is_fresh=True).taken) == ["ADMIN_TOKEN"]


@pytest.mark.parametrize(
    ("line", "why"),
    [
        ("FINVIZ_PASSWORD=hidden", "FINVIZ_ELITE_AUTH"),
        ("DATABASE_URL=postgresql://u:hidden@h/d", "this system's own"),
        ("DATABASE_HOST=hidden", "this system's own"),
        ("SOMETHING=hidden", "this system has no such setting"),
        ("ADMIN_TOKEN=hidden", "the replaced system has no such setting"),
        ("WEBHOOK_SECRET='hidden'", "the replaced system has no such setting"),
        ("DEST_WEBHOOK_URL='hidden", "more than one line"),
        ("DEST_WEBHOOK_URL=https://hidden/${hidden_part}", "refers to another variable"),
        ('SOMETHING="-----BEGIN\nhidden1=\nhidden2==\n-----END" # hidden', "no such setting"),
        ("SOMETHING='it\\'s\nhidden1==\n'", "no such setting"),
        ("FINVIZ_UPDATE_TOKEN='abc\nhidden1==\n'", "more than one line"),
        ("FINVIZ_UPDATE_TOKEN=abc$hidden9", "refers to another variable"),
        ("FINVIZ_UPDATE_TOKEN=abc$hidden9$LOG_LEVEL", "refers to another variable"),
    ],
)
def test_what_does_not_come_is_named_without_its_value(line: str, why: str) -> None:
    found = compare(line)
    ((name, reason),) = found.dropped
    assert line.startswith(f"{name}=")
    assert why in reason
    assert not found.taken
    assert "hidden" not in "\n".join(found.lines("came"))


@pytest.mark.parametrize("nothing", ['""', "''", '"" # none', "'' # 'none'", "# none", ""])
def test_an_empty_value_is_none(nothing: str) -> None:
    """Else it would empty the token that the run has made."""
    found = compare(
        f"FINVIZ_UPDATE_TOKEN={nothing}", TEMPLATE.replace("ADMIN_TOKEN=", "ADMIN_TOKEN=x"), is_fresh=True
    )
    assert (found.taken, found.kept, found.dropped) == ({}, [], [])


@given(
    st.dictionaries(
        st.from_regex(r"[A-Z][A-Z_]{0,9}", fullmatch=True), st.from_regex(r"[a-z0-9]{1,9}", fullmatch=True)
    )
)
def test_variables_that_are_written_are_read_again_and_other_lines_stay(values: dict[str, str]) -> None:
    variables = load("module_utils.legacy_variables")
    text = variables.with_values("# mine\nX=1", values)
    assert variables.assigned(text) == {"X": "1", **values}
    assert text.startswith("# mine\n")


def test_the_file_keeps_its_mode_and_a_look_writes_nothing(tmp_path: Path) -> None:
    module = load("legacy_settings")
    env, old = tmp_path / ".env", tmp_path / "old.env"
    env.write_text(TEMPLATE)
    env.chmod(0o640)
    old.write_text("TOP_N=20\r\nODD=hidden\n")
    given_ = {
        "path": str(tmp_path),
        "source": str(old),
        "template": TEMPLATE,
        "strategies": "{}\n",
        "fresh": False,
    }
    look = module.answer({**given_, "volume": "other", "look": True})
    assert (look["changed"], look["taken"], env.read_text()) == (True, ["POSTGRES_VOLUME", "TOP_N"], TEMPLATE)
    assert "variable: TOP_N would come" in look["lines"]
    done = module.answer({**given_, "volume": "other", "look": False})
    assert done["lines"] == [
        "variable: TOP_N came",
        "variable: ODD does not come: this system has no such setting",
    ]
    assert "\nTOP_N=20\n" in env.read_text()
    assert "\nPOSTGRES_VOLUME=other\n" in env.read_text()
    assert stat.S_IMODE(env.stat().st_mode) == 0o640
    assert module.answer({**given_, "volume": "other", "look": False})["changed"] is False


@pytest.mark.parametrize(
    ("content", "is_own"), [(None, False), ("{}\r\n", False), ("{}\n", False), ('{"strategies": []}', True)]
)
def test_strategies_as_in_the_template_are_nobodys_own(
    tmp_path: Path, content: str | None, *, is_own: bool
) -> None:
    (tmp_path / ".env").write_text(TEMPLATE)
    (tmp_path / "config").mkdir()
    if content is not None:
        (tmp_path / "config" / "finviz_config.json").write_bytes(content.encode())
    module = load("legacy_settings")
    given_ = {"path": str(tmp_path), "source": "", "template": TEMPLATE, "strategies": "{}\n", "fresh": False}
    assert module.answer({**given_, "volume": "", "look": True})["has_own_strategies"] is is_own


def check(content: bytes) -> str:
    """Check a dump in plain SQL."""
    legacy = load("module_utils.legacy_dumps")
    kind: str = legacy.check_dump(io.BytesIO(content), ["no", "such", "command"])
    return kind


@pytest.mark.parametrize(
    "statement",
    [
        b"",
        b"\\restrict aB3\n",
        b"INSERT INTO t VALUES ('it''s\n\\connect x\nDROP DATABASE x', 1);\n",
        b"CREATE FUNCTION f() AS $_$\n-- don't \\! $$\nDROP DATABASE x;\n$_$;\n",
        b"COPY t (a) FROM stdin;\nit's\n\\\\connect x\n\\N\n\\.\n",
        b"-- it's a comment\n",
    ],
)
def test_a_dump_in_plain_sql_of_the_replaced_system_can_be_read(statement: bytes) -> None:
    """What is quoted, a comment or data is no statement."""
    assert check(PLAIN.replace(b"CREATE TABLE", statement + b"CREATE TABLE")) == "plain"


@pytest.mark.parametrize(
    ("content", "why"),
    [
        (b"", "empty"),
        (b"\x1f\x8b rest", "compressed"),
        (b"hello", "not a pg_dump"),
        (PLAIN[:150], "its end is missing"),
        (PLAIN.replace(b"signal_id", b"id"), "not a dump of the replaced system"),
        (PLAIN.replace(b"public.signals (", b"public.other ("), "not a dump of the replaced system"),
        (b"-- PostgreSQL database dump\nCREATE TABLE public._pogo_migration (\n);\n" + PLAIN, "--restore-db"),
        (
            PLAIN.replace(b"CREATE TABLE", b"DROP DATABASE trading_signals;\nCREATE TABLE"),
            r"line 5 \(DROP .*--create",
        ),
        (
            PLAIN.replace(b"CREATE TABLE", b"\\connect -reuse-previous=on x\nCREATE TABLE"),
            "line 5 .*--create",
        ),
        (
            PLAIN.replace(b"CREATE TABLE", b"SELECT '\\a\n' \\! id\nCREATE TABLE"),
            "line 6 has a command of psql",
        ),
        (PLAIN.replace(b"\\.\n", b""), "its end is missing"),
        (PLAIN.replace(b"CREATE TABLE", b"SELECT 'open\nCREATE TABLE"), "its end is missing"),
    ],
)
def test_another_file_is_refused_with_the_reason(content: bytes, why: str) -> None:
    with pytest.raises(load("module_utils.legacy_dumps").SourceError, match=why):
        check(content)


@pytest.mark.parametrize(
    ("files", "project"),
    [
        ({}, "my-oldstack"),
        ({"docker-compose.yml": "services:\n  name: x\n"}, "my-oldstack"),
        ({"docker-compose.yml": 'name: "named"\nservices: {}\n'}, "named"),
        ({"docker-compose.yml": "name: named\n", ".env": "COMPOSE_PROJECT_NAME=chosen\n"}, "chosen"),
    ],
)
def test_the_compose_project_of_a_folder(tmp_path: Path, files: dict[str, str], project: str) -> None:
    folder = tmp_path / "_My-Old Stack"
    folder.mkdir()
    for name, text in files.items():
        (folder / name).write_text(text)
    assert load("module_utils.legacy_sources").project_of(folder) == project


def container(
    name: str, folder: str, *, mount: str = "", running: bool = True, project: str = "old"
) -> dict[str, Any]:
    """Describe a container as the engine does."""
    labels = {"com.docker.compose.project": project, "com.docker.compose.project.working_dir": folder}
    return {
        "Id": name,
        "Name": f"/{name}",
        "Image": "sha256:image",
        "State": {"Running": running},
        "Config": {"Labels": labels if project else {}},
        "HostConfig": {
            "PortBindings": {"80/tcp": [{"HostPort": "80"}]},
            "RestartPolicy": {"Name": "unless-stopped"},
        },
        "Mounts": [{"Destination": "/var/lib/postgresql/data", "Name": mount}] if mount else [],
    }


# A `docker` that knows containers and volumes.
ENGINE = """#!/usr/bin/env python3
import json, pathlib, sys
state = json.loads(pathlib.Path(__file__).with_name("engine.json").read_text())
verb, rest = sys.argv[1], sys.argv[2:]
if verb == "ps":
    key, _, wanted = rest[rest.index("--filter") + 1].partition("=")
    for one in state["containers"]:
        labels = one["Config"]["Labels"]
        if key == "name" and wanted == f"^{one['Name'][1:]}$":
            print(one["Id"])
        if key == "label" and labels.get(wanted.partition("=")[0]) == wanted.partition("=")[2]:
            print(one["Id"])
elif verb == "container":
    print(json.dumps([one for one in state["containers"] if one["Id"] in rest]))
elif verb == "volume" and rest[-1] in state["volumes"]:
    labels = state["volumes"][rest[-1]]
    folder = labels.pop("folder", "")
    print(folder if "{{.Mountpoint}}" in rest else json.dumps(labels))
else:
    sys.exit("Error: no such thing")
"""


@pytest.fixture
def engine(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Any:
    """A `docker` that knows some containers and volumes, and their labels."""
    state = tmp_path / "engine.json"
    program = tmp_path / "docker"
    program.write_text(ENGINE)
    program.chmod(0o755)
    monkeypatch.setenv("PATH", f"{tmp_path}{os.pathsep}{os.environ['PATH']}")

    def having(*containers: dict[str, Any], **volumes: dict[str, str]) -> None:
        state.write_text(json.dumps({"containers": containers, "volumes": volumes}))

    return having


def find(source: str, folder: Path, checkout: Path) -> Any:
    """Find what a SOURCE is."""
    return load("module_utils.legacy_sources").find(source, str(folder), checkout)


def test_a_stack_is_found_by_container_project_and_folder(tmp_path: Path, engine: Any) -> None:
    """All three lead to the same stack; ours, which has the same names, is never part of it."""
    old, checkout = tmp_path / "old", tmp_path / "checkout"
    (old / "config").mkdir(parents=True)
    checkout.mkdir()
    (old / ".env").write_text("TOP_N=1\n")
    (old / "config" / "finviz_config.json").write_text("{}")
    engine(
        container("trading-db", str(old), mount="old_postgres_data"),
        container("trading-signal-processor", str(old)),
        container("beside", str(checkout), mount="ours", project="old"),
    )
    found = find("trading-db", tmp_path, checkout)
    assert found == find("./old", tmp_path, checkout) == find("old", tmp_path / "config", checkout)
    assert found["stop"] == ["trading-signal-processor"]
    assert found["remove"] == ["trading-db", "trading-signal-processor"]
    assert (found["volume"], found["is_running"], found["ports"]) == ("old_postgres_data", True, [80, 80])
    assert found["settings"] == str(old / ".env")
    assert found["screener"] == str(old / "config" / "finviz_config.json")


def test_a_container_that_compose_did_not_make_is_never_removed(tmp_path: Path, engine: Any) -> None:
    engine(container("mine", "", mount="a", project="", running=False))
    found = find("mine", tmp_path, tmp_path)
    assert (found["remove"], found["stop"], found["is_running"], found["volume"]) == ([], [], False, "a")


def test_a_folder_without_containers_leads_to_its_volume(tmp_path: Path, engine: Any) -> None:
    old = tmp_path / "old"
    old.mkdir()
    engine(old_postgres_data={})
    found = find("old", tmp_path, tmp_path / "checkout")
    assert (found["volume"], found["is_running"], found["remove"]) == ("old_postgres_data", False, [])


@pytest.mark.parametrize(
    ("source", "why"),
    [
        ("old", "no volume old_postgres_data"),
        ("checkout", "this checkout itself"),
        ("dump", "format `directory`"),
        ("nothing/there", "no such file or folder"),
        ("nothing", "no file, folder, container or compose project"),
        ("two", "2 has a database"),
        ("none", "none has a database"),
    ],
)
def test_a_source_that_leads_nowhere_is_refused(tmp_path: Path, engine: Any, source: str, why: str) -> None:
    for name in ("old", "checkout", "dump"):
        (tmp_path / name).mkdir()
    (tmp_path / "dump" / "toc.dat").touch()
    engine(
        container("a", "/x", mount="a", project="two"),
        container("b", "/x", mount="b", project="two"),
        container("c", "/y", project="none"),
    )
    with pytest.raises(load("module_utils.legacy_dumps").SourceError, match=why):
        find(source, tmp_path, tmp_path / "checkout")


@pytest.mark.parametrize(
    ("tables", "labels", "why"),
    [
        (b"\0signals".ljust(70, b"\0"), {}, ""),
        (
            b"\0signals".ljust(70, b"\0"),
            {"trading-signal-processor.kind": "registry"},
            "is one of this system",
        ),
        (b"\0customers".ljust(70, b"\0"), {}, "has no database of the replaced system"),
        (None, {}, ""),
    ],
)
@pytest.mark.parametrize("source", ["./other", "db"])
def test_a_stack_that_does_not_run_is_looked_at_before_anything_is_stopped(
    tmp_path: Path, engine: Any, source: str, tables: bytes | None, labels: dict[str, str], why: str
) -> None:
    """Another checkout of ours, or a mistyped name. A volume that cannot be read is known by its dump."""
    folder, data = tmp_path / "other", tmp_path / "data"
    folder.mkdir()
    if tables is not None:
        (data / "base").mkdir(parents=True)
        (data / "base" / "1259").write_bytes(tables)
    engine(
        container("db", str(folder), mount="data", running=False, project="other"),
        container("web", str(folder), project="other"),
        data={**labels, "folder": str(data)},
    )
    found = load("legacy_source").answer(
        {
            "source": source,
            "folder": str(tmp_path),
            "checkout": str(tmp_path / "checkout"),
            "volume": "ours",
            "other_volume": "another",
            "image": "image",
        }
    )["source"]
    assert why in found["error"]
    assert bool(found["error"]) == bool(why)


def test_after_the_containers_are_gone_a_name_leads_to_the_dump_made_of_them(
    tmp_path: Path, engine: Any
) -> None:
    """So that a run that was killed can be repeated as it was typed."""
    engine()
    dumps = tmp_path / "backups" / "legacy"
    dumps.mkdir(parents=True)
    for name, names in (("1-a", ["trading-db"]), ("2-b", ["trading-db", "old"]), ("3-c", ["other"])):
        (dumps / f"{name}.dump").touch()
        (dumps / f"{name}.dump.json").write_text(json.dumps({"names": names, "folder": str(tmp_path)}))
    (dumps / "4-d.dump.json").write_text("{")
    found = find("trading-db", tmp_path, tmp_path)
    assert found["path"] == str(dumps / "2-b.dump")
    assert found["folder"] == str(tmp_path)


@pytest.mark.parametrize(
    ("text", "name"),
    [
        ("", "default"),
        ("POSTGRES_VOLUME=\n", "default"),
        ("POSTGRES_VOLUME=mine\n", "mine"),
        (" export POSTGRES_VOLUME = 'mine' # why\r\n", "mine"),
        ("#POSTGRES_VOLUME=no\nPOSTGRES_VOLUME=first\nPOSTGRES_VOLUME=last\n", "last"),
    ],
)
def test_the_volume_that_env_names(tmp_path: Path, text: str, name: str) -> None:
    (tmp_path / ".env").write_text(text)
    assert load("module_utils.settings").volume_name(tmp_path, "default") == name
    assert load("module_utils.settings").volume_name(tmp_path / "none", "default") == "default"


def test_a_volume_that_compose_reads_otherwise_is_refused() -> None:
    config = {
        "services": {"db": {"volumes": [{"source": "data"}]}},
        "volumes": {"data": {"name": "used"}},
    }
    problems = load("definition_facts").volume_problems
    assert (
        "must be the plain name" in problems({**config, "volumes": {"data": {"name": "a b"}}}, "db", "a b")[0]
    )
    assert problems(config, "db", "") == problems(config, "db", "used") == []
    assert "POSTGRES_VOLUME" in problems(config, "db", "${X}")[0]
