"""Restoring a backup of the configuration: which one, whether it is complete, and what a kill leaves."""

from __future__ import annotations

import itertools
import json
import os
import shutil
import stat
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest
from ansible.parsing.dataloader import DataLoader

from tests.unit.playbooks.modules import PLAYBOOKS, load, role_tasks

if TYPE_CHECKING:
    from collections.abc import Callable

ENV, FINVIZ, WEBHOOK, SYSTEM = FILES = (
    ".env",
    *(f"config/{name}_config.json" for name in ("finviz", "webhook", "system")),
)
MODES = dict(zip(FILES, (0o600, 0o640, 0o604, 0o600), strict=True))
WRITTEN = 1_700_000_000_123_456_789  # when the files were written, in nanoseconds
KILLED = 9
NUMBERS = itertools.count()


def put(root: Path, name: str, content: str) -> None:
    """Write one of the operator's files, with an old modification time."""
    (root / name).parent.mkdir(parents=True, exist_ok=True)
    (root / name).write_bytes(content.encode())
    (root / name).chmod(MODES[name])
    os.utime(root / name, ns=(WRITTEN, WRITTEN))


def content_of(name: str) -> str:
    """Return a file's content in the backup."""
    return f"GOOD={name}\r\nPASSWORD='ü'" if name == ENV else f'{{"good": "{name}"}}'


@pytest.fixture
def root(tmp_path: Path) -> Path:
    """Create a checkout with the four files and a backup of them."""
    root = tmp_path / "checkout"
    for name in FILES:
        put(root, name, content_of(name))
    back_up(root)
    return root


def back_up(root: Path, flow: str = "update", **given: Any) -> str:
    """Make a backup, and return its unique name."""
    flow = f"{next(NUMBERS):03}-{flow}"
    arguments = {"path": str(root), "files": list(FILES), "flow": flow, "run": "r", "commit": "c" * 40}
    made = load("config_backup").MODULE.call({**arguments, **given})
    assert "msg" not in made, made
    return str(made["folder"])


def call(root: Path, state: str, **given: Any) -> dict[str, Any]:
    """Call the module, and return its result."""
    arguments = {"path": str(root), "files": list(FILES), "state": state}
    found: dict[str, Any] = load("config_restore").MODULE.call({**arguments, **given})
    return found


def choose(root: Path, wanted: str, folder: str = "") -> dict[str, Any]:
    """Return the backup that a name selects."""
    found = call(root, "chosen", wanted=wanted, folder=folder)
    assert "choice" in found, found
    return dict(found["choice"])


def restore(root: Path, name: str) -> dict[str, Any]:
    """Back up today's files, and restore a backup over them, as the flow does."""
    today = back_up(root, "restore_config", spare=[name])
    return {**call(root, "placed", backup=name, today=today), "today": today}


def only(root: Path) -> str:
    """Return the name of the only backup."""
    return min(path.name for path in (root / "backups").iterdir())


def seen(path: Path) -> tuple[Any, ...]:
    """Return every restored property of a file: type, link, content, mode, owner and time."""
    if not os.path.lexists(path):
        return ("absent",)
    found = path.lstat()
    what = os.fspath(path.readlink()) if path.is_symlink() else path.read_bytes() if path.is_file() else b""
    times = () if path.is_symlink() else (found.st_mtime_ns,)
    return (stat.S_IFMT(found.st_mode), what, stat.S_IMODE(found.st_mode), found.st_uid, found.st_gid, *times)


def tree(root: Path) -> dict[str, tuple[Any, ...]]:
    """Return everything below a folder."""
    return {str(path.relative_to(root)): seen(path)[:5] for path in root.rglob("*")}


def as_backed_up(root: Path, name: str) -> bool:
    """Return whether a file has the content and mode of its backup."""
    expected = (content_of(name).encode(), MODES[name])
    found = seen(root / name)
    return found[1:3] == expected and found[-1] == WRITTEN


def garble(path: Path) -> None:
    path.write_text("{,= not even close")


def replace_by_link(path: Path) -> None:
    path.unlink()
    path.symlink_to("/etc/hostname")


def replace_by_dangling_link(path: Path) -> None:
    path.unlink()
    path.symlink_to("gone")


def replace_in_private(path: Path) -> None:
    path.write_text("x")
    path.chmod(0o400)


BAD_EDITS: dict[str, Callable[[Path], object]] = {
    "garbled": garble,
    "emptied": lambda path: path.write_text(""),
    "removed": lambda path: path.unlink(),
    "not text": lambda path: path.write_bytes(bytes(range(256))),
    "mode only": lambda path: path.chmod(0o666),
    "closed": replace_in_private,
    "a link elsewhere": replace_by_link,
    "a link to nothing": replace_by_dangling_link,
}


@pytest.mark.parametrize("edit", BAD_EDITS)
@pytest.mark.parametrize("name", FILES)
def test_a_bad_edit_is_restored_with_content_and_mode(root: Path, name: str, edit: str) -> None:
    backup, others = only(root), {one: seen(root / one) for one in FILES if one != name}
    BAD_EDITS[edit](root / name)
    today = seen(root / name)
    assert choose(root, backup)["changes"] == [name]
    done = restore(root, backup)
    assert (done["changed"], done["placed"]) == (True, [name])
    assert as_backed_up(root, name)
    assert {one: seen(root / one) for one in others} == others
    kept = root / "backups" / done["today"] / name
    if name == ENV and edit == "a link elsewhere":  # the operator's own link is followed
        assert kept.read_bytes() == Path("/etc/hostname").read_bytes()
    else:
        assert seen(kept)[:3] == today[:3]
    assert choose(root, backup)["changes"] == []
    again = call(root, "placed", backup=backup, today=done["today"])
    assert (again["changed"], again["placed"]) == (False, [])


def test_a_folder_in_the_place_of_a_file_is_refused(root: Path) -> None:
    """Docker creates one where a mounted file is missing."""
    (root / SYSTEM).unlink()
    (root / SYSTEM).mkdir()
    refused = call(root, "chosen", wanted=only(root))
    assert f"{root / SYSTEM} is not a file. Move it away" in refused["msg"]


def test_a_file_that_the_backup_does_not_have_stays_and_is_named(root: Path) -> None:
    (root / SYSTEM).unlink()
    backup = back_up(root)
    put(root, SYSTEM, "{}")
    garble(root / WEBHOOK)
    found = choose(root, backup)
    assert (found["without"], found["changes"]) == ([SYSTEM], [WEBHOOK])
    restore(root, backup)
    assert (root / SYSTEM).read_text() == "{}"
    assert as_backed_up(root, WEBHOOK)


def test_the_settings_that_count_are_those_of_the_backup(root: Path) -> None:
    backup = only(root)
    assert choose(root, backup)["settings"] == str(root / "backups" / backup)
    (root / ENV).unlink()
    assert choose(root, back_up(root))["settings"] == str(root)


class TestList:
    def test_newest_first_with_time_flow_commit_and_what_differs(self, root: Path) -> None:
        first = only(root)
        garble(root / ENV)
        second = back_up(root, "rollback")
        (root / FINVIZ).unlink()
        before = tree(root)
        newest, oldest = self.listed(root)
        assert tree(root) == before
        assert (newest["name"], oldest["name"]) == (second, first)
        assert newest["flow"].endswith("rollback")
        assert (newest["commit"], newest["problem"]) == ("c" * 40, "")
        assert newest["made"].startswith("20")
        assert (newest["differs"], oldest["differs"]) == ([FINVIZ], [ENV, FINVIZ])

    def test_the_list_has_nothing_of_a_files_content(self, root: Path) -> None:
        shutil.rmtree(root / "backups" / only(root) / "config")
        text = json.dumps(self.listed(root))
        assert "PASSWORD" not in text
        assert "good" not in text

    def test_files_missing_from_a_backup_are_named(self, root: Path) -> None:
        (root / SYSTEM).unlink()
        backup = back_up(root)
        put(root, SYSTEM, "{}")
        assert self.listed(root)[0]["name"] == backup
        assert (self.listed(root)[0]["without"], self.listed(root)[0]["differs"]) == ([SYSTEM], [])

    def test_a_damaged_backup_is_marked_and_hides_no_other(self, root: Path) -> None:
        (root / "backups" / only(root) / ENV).write_text("other")
        whole = back_up(root)
        assert [(one["name"], bool(one["problem"])) for one in self.listed(root)] == [
            (whole, False),
            (only(root), True),
        ]

    def test_dumps_and_what_others_put_there_are_no_configuration_backups(self, root: Path) -> None:
        for name in ("db", "mine"):
            (root / "backups" / name).mkdir()
        (root / "backups" / "20260101T000000Z-link").symlink_to(only(root))
        assert [one["name"] for one in self.listed(root)] == [only(root)] or len(self.listed(root)) == 1

    def test_without_backups_the_list_is_empty(self, tmp_path: Path) -> None:
        assert self.listed(tmp_path) == []

    def listed(self, root: Path) -> list[dict[str, Any]]:
        """Return the backups as the report lists them."""
        found = call(root, "listed")
        assert "failed" not in found, found
        backups: list[dict[str, Any]] = found["ansible_facts"]["host_report"]["config_backups"]
        return backups


class TestChoice:
    @pytest.mark.parametrize(
        "form",
        [
            *("{name}", "{name:.16}", "{backups}/{name}", "{backups}/{name}/", "backups/{name}"),
            *("./backups/{name}", "{backups}/{name}/config/webhook_config.json", "backups/{name:.16}"),
        ],
    )
    def test_a_name_its_beginning_and_a_path_name_a_backup(self, root: Path, form: str) -> None:
        backup = only(root)
        wanted = form.format(name=backup, backups=root / "backups")
        assert choose(root, wanted)["name"] == backup

    def test_a_relative_path_begins_where_it_was_typed(self, root: Path) -> None:
        backup = only(root)
        assert choose(root, f"../backups/{backup}", str(root / "config"))["name"] == backup
        assert choose(root, f"./{backup}", str(root / "backups"))["name"] == backup

    def test_a_whole_name_wins_over_a_longer_one(self, root: Path) -> None:
        backup = only(root)
        shutil.copytree(root / "backups" / backup, root / "backups" / f"{backup}-2")
        assert choose(root, backup)["name"] == backup
        refused = call(root, "chosen", wanted=backup[:10])["msg"]
        assert "2 configuration backups have a name that begins with" in refused

    @pytest.mark.parametrize(
        "wanted", ["2001", "../../etc", "/etc/passwd", "backups/", "backups/..", "db", ""]
    )
    def test_an_unknown_name_is_refused_with_the_existing_backups(self, root: Path, wanted: str) -> None:
        (root / "backups" / "db").mkdir()
        before = tree(root)
        refused = call(root, "chosen", wanted=wanted)
        assert f"There is: {only(root)}." in refused["msg"]
        assert tree(root) == before

    def test_a_link_in_the_place_of_a_backup_is_none(self, root: Path) -> None:
        (root / "backups" / "20260101T000000Z-x").symlink_to(only(root))
        assert "No configuration backup has" in call(root, "chosen", wanted="20260101T000000Z-x")["msg"]


def edit_manifest(folder: Path, **changes: Any) -> None:
    """Change the line of one file in a manifest; `line=None` removes it."""
    document = json.loads((folder / "manifest.json").read_text())
    document["files"][WEBHOOK] |= changes
    (folder / "manifest.json").write_text(json.dumps(document))


def names_another(folder: Path) -> None:
    document = json.loads((folder / "manifest.json").read_text())
    document["files"]["../../etc/cron.d/x"] = document["files"][WEBHOOK]
    (folder / "manifest.json").write_text(json.dumps(document))


def link_instead(folder: Path) -> None:
    (folder / WEBHOOK).unlink()
    (folder / WEBHOOK).symlink_to("/etc/hostname")


DAMAGE: dict[str, tuple[Callable[[Path], object], str]] = {
    "changed": (lambda folder: (folder / WEBHOOK).write_text("{}"), "sha256"),
    "a file is gone": (lambda folder: (folder / WEBHOOK).unlink(), f"has no {WEBHOOK}"),
    "no manifest": (lambda folder: (folder / "manifest.json").unlink(), "has no manifest.json"),
    "torn manifest": (lambda folder: (folder / "manifest.json").write_text('{"fi'), "not valid JSON"),
    "another manifest": (lambda folder: (folder / "manifest.json").write_text("[]"), "lists no files"),
    "no files": (lambda folder: (folder / "manifest.json").write_text('{"files": {}}'), "has no files"),
    "not text": (lambda folder: (folder / "manifest.json").write_bytes(b"\xff"), "not valid JSON"),
    "no mode": (lambda folder: edit_manifest(folder, mode="0x9"), "mode"),
    "no owner": (lambda folder: edit_manifest(folder, owner="root"), "owner"),
    "a link out of the checkout": (
        lambda folder: edit_manifest(folder, link="/etc/hostname"),
        "is a link out of the checkout, to /etc/hostname",
    ),
    "a link instead of a file": (link_instead, f"has no {WEBHOOK}"),
    "another file": (names_another, "not a configuration file"),
}


@pytest.mark.parametrize("kind", DAMAGE)
def test_a_damaged_backup_is_refused_with_nothing_changed(root: Path, kind: str) -> None:
    damage, why = DAMAGE[kind]
    backup = only(root)
    garble(root / WEBHOOK)
    garble(root / ENV)
    damage(root / "backups" / backup)
    today, before = back_up(root), tree(root)
    for refused in (call(root, "chosen", wanted=backup), call(root, "placed", backup=backup, today=today)):
        assert f"The configuration backup {backup} cannot be put back" in refused["msg"]
        assert why in refused["msg"]
    assert tree(root) == before


def test_a_link_of_todays_own_that_was_backed_up_is_one_out_of_the_checkout(root: Path) -> None:
    (root / WEBHOOK).unlink()
    (root / WEBHOOK).symlink_to("/etc/hostname")
    assert "is a link out of the checkout" in call(root, "chosen", wanted=back_up(root))["msg"]


class TestLinks:
    @pytest.mark.parametrize("link", ["live.json", "profiles/live.json", "next.json"])
    def test_a_link_within_its_folder_stays_and_its_file_comes_back(self, root: Path, link: str) -> None:
        (root / "config" / "profiles").mkdir()
        place = root / "config" / ("live.json" if link == "next.json" else link)
        (root / WEBHOOK).rename(place)
        (root / "config" / "next.json").symlink_to("live.json")
        (root / WEBHOOK).symlink_to(link)
        backup = back_up(root)
        garble(root / WEBHOOK)
        restore(root, backup)
        assert os.fspath((root / WEBHOOK).readlink()) == link
        assert place.read_text() == content_of(WEBHOOK)
        assert place.stat().st_mtime_ns == WRITTEN

    @pytest.mark.parametrize(
        "target", ["../.env", "../run.py", "../../elsewhere", "../data/x.json", "away/x"]
    )
    def test_no_other_link_of_the_applications_user_is_written_through(self, root: Path, target: str) -> None:
        """That user can create links in config/, and the restoration may run as root."""
        (root / "data").mkdir()
        (root / "config" / "away").symlink_to("../data")
        victims = [root / "run.py", root.parent / "elsewhere", root / "data" / "x.json", root / "data" / "x"]
        for victim in victims:
            victim.write_text("not to be touched")
        (root / WEBHOOK).unlink()
        (root / WEBHOOK).symlink_to(target)
        backup = only(root)
        assert choose(root, backup)["links"] == [f"{WEBHOOK} to {target}"]
        restore(root, backup)
        assert as_backed_up(root, WEBHOOK)
        assert as_backed_up(root, ENV)
        assert {victim.read_text() for victim in victims} == {"not to be touched"}

    def test_a_link_with_the_temporary_files_name_is_not_followed(self, root: Path) -> None:
        (root.parent / "victim").write_text("not to be touched")
        (root / "config" / ".webhook_config.json.new").symlink_to(root.parent / "victim")
        garble(root / WEBHOOK)
        restore(root, only(root))
        assert as_backed_up(root, WEBHOOK)
        assert (root.parent / "victim").read_text() == "not to be touched"

    def test_the_operators_folder_may_lie_elsewhere(self, root: Path) -> None:
        (root / "config").rename(root.parent / "mine")
        (root / "config").symlink_to(root.parent / "mine")
        garble(root / WEBHOOK)
        restore(root, only(root))
        assert as_backed_up(root, WEBHOOK)
        assert (root / "config").is_symlink()


def test_what_was_changed_since_todays_backup_is_not_overwritten(root: Path) -> None:
    """The admin page writes these files, too."""
    backup = only(root)
    garble(root / ENV)
    today = back_up(root)
    put(root, WEBHOOK, '{"saved": "on the page"}')
    before = tree(root)
    refused = call(root, "placed", backup=backup, today=today)
    assert f"{root / WEBHOOK} was changed while this run was at work" in refused["msg"]
    assert tree(root) == before


@pytest.mark.parametrize("edit", BAD_EDITS)
def test_a_rejected_restoration_is_undone_to_todays_files(root: Path, edit: str) -> None:
    for name in (WEBHOOK, SYSTEM):
        BAD_EDITS[edit](root / name)
    before = {name: seen(root / name) for name in FILES}
    backup = only(root)
    done = restore(root, backup)
    undone = call(root, "undone", backup=backup, today=done["today"])
    assert sorted(undone["placed"]) == sorted([WEBHOOK, SYSTEM]), undone
    assert {name: seen(root / name) for name in FILES} == before
    assert call(root, "undone", backup=backup, today=done["today"])["placed"] == []


def test_an_undo_keeps_files_that_were_saved_meanwhile(root: Path) -> None:
    backup = only(root)
    for name in (WEBHOOK, SYSTEM):
        garble(root / name)
    done = restore(root, backup)
    put(root, SYSTEM, '{"saved": "on the page"}')
    assert call(root, "undone", backup=backup, today=done["today"])["placed"] == [WEBHOOK]
    assert (root / SYSTEM).read_text() == '{"saved": "on the page"}'


@pytest.mark.parametrize("spare", [True, False])
def test_the_oldest_backup_outlives_the_one_of_todays_files(root: Path, *, spare: bool) -> None:
    (root / "backups" / only(root)).rename(root / "backups" / (oldest := "20200101T000000Z-update"))
    today = back_up(root, keep=1, spare=[oldest] if spare else [])
    assert {path.name for path in (root / "backups").iterdir()} == {today, *([oldest] if spare else [])}


def killed_at(number: int, root: Path, backup: str, today: str) -> bool:
    """Restore in a process that is killed before its n-th write; return whether it got that far."""
    child = os.fork()
    if child == 0:
        count = 0
        for function in ("open", "rename", "fsync", "fchmod", "utime", "unlink"):
            real = getattr(os, function)

            def counted(*args: Any, _real: Any = real, **given: Any) -> Any:
                nonlocal count
                count += 1
                if count == number:
                    os._exit(KILLED)
                return _real(*args, **given)

            setattr(os, function, counted)
        done = call(root, "placed", backup=backup, today=today)
        os._exit(0 if "msg" not in done else 1)
    status = os.waitstatus_to_exitcode(os.waitpid(child, 0)[1])
    assert status in (0, KILLED)
    return status == KILLED


def test_a_kill_leaves_each_file_whole_and_the_next_run_finishes(root: Path, tmp_path: Path) -> None:
    backup = only(root)
    for name in FILES:
        put(root, name, "today's")
    today = back_up(root)
    number, mixed = 0, False
    while number := number + 1:
        copy = tmp_path / "copy"
        shutil.copytree(root, copy, symlinks=True)
        was_killed = killed_at(number, copy, backup, today)
        states = [as_backed_up(copy, name) for name in FILES]
        for name, is_back in zip(FILES, states, strict=True):
            assert is_back or seen(copy / name)[1:3] == (b"today's", MODES[name]), (number, name)
        mixed = mixed or len(set(states)) == 2
        assert was_killed or all(states)
        assert restore(copy, backup).get("placed") is not None
        assert all(as_backed_up(copy, name) for name in FILES)
        assert not [path for path in copy.rglob("*") if path.name.endswith(".new")]
        shutil.rmtree(copy)
        if not was_killed:
            break
    assert mixed
    assert number > 4 * len(FILES)


def test_without_free_space_nothing_is_replaced(root: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """All files are written before the first is replaced."""
    backup = only(root)
    for name in FILES:
        garble(root / name)
    today, before = back_up(root), tree(root)
    fsync, count = os.fsync, 0

    def full(descriptor: int) -> None:
        nonlocal count
        count += 1
        if count == len(FILES):
            raise OSError(28, "No space left on device")
        fsync(descriptor)

    monkeypatch.setattr(os, "fsync", full)
    refused = call(root, "placed", backup=backup, today=today)
    assert refused["failed"], refused
    assert tree(root) == before


def roles_of(tasks: list[dict[str, Any]]) -> list[tuple[Any, ...]]:
    """Return a play's roles in order, those of blocks included, those of a rescue not."""
    found: list[tuple[Any, ...]] = []
    for task in role_tasks(tasks):
        role = task["ansible.builtin.import_role"]
        found.append((role["name"], role.get("tasks_from"), task.get("when"), task.get("tags")))
    return found


def test_it_deploys_as_quick_does() -> None:
    """Each play has the roles of `--quick`, in that order, and the roles for the backup."""
    quick, restoring = (
        [play for play in DataLoader().load_from_file(str(PLAYBOOKS / f"{name}.yml")) if "tasks" in play]
        for name in ("quick", "restore_config")
    )
    for one, other in zip(quick, restoring, strict=True):
        own = [role for role in roles_of(other["tasks"]) if role[0] == "config_backup"]
        assert [role for role in roles_of(other["tasks"]) if role not in own] == roles_of(one["tasks"])
        same = ("name", "hosts", "environment", "tags", "any_errors_fatal", "serial")
        assert [one.get(key) for key in same] == [other.get(key) for key in same]
    order = [role[:2] for role in roles_of(restoring[2]["tasks"])]
    assert order[:3] == [("config_backup", None), ("config_backup", "put_back"), ("permissions", "modes")]


def test_paths_of_a_definition_are_those_of_the_checkout() -> None:
    moved = load("module_utils.stack").moved
    found = {"a": ["/c/backups/x/config", "/c/backups/x", "/c/backups/xy", "not /c/backups/x", 1, None, True]}
    assert moved(found, "/c/backups/x", "/c") == {
        "a": ["/c/config", "/c", "/c/backups/xy", "not /c/backups/x", 1, None, True]
    }
