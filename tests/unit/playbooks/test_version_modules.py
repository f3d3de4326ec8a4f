"""Records of earlier deployments: copies of the configuration, and the list of versions."""

from __future__ import annotations

import hashlib
import json
import os
from typing import TYPE_CHECKING, Any

import pytest

from tests.unit.playbooks.modules import load

if TYPE_CHECKING:
    from pathlib import Path


def entry(version: str, state: str = "good", **more: str) -> dict[str, Any]:
    return {"version": version, "commit": f"{version}00", "state": state, "since": "2026", **more}


NAME = "config/webhook_config.json"


def back_up(root: Path) -> dict[str, Any]:
    """Back up one file, and return the module's result."""
    arguments = {"path": str(root), "files": [NAME], "flow": "update", "run": "r"}
    made: dict[str, Any] = load("config_backup").MODULE.call(arguments)
    assert "msg" not in made, made
    return made


class TestBackup:
    def test_a_copy_with_mode_and_sum(self, tmp_path: Path) -> None:
        module = load("config_backup")
        (tmp_path / ".env").write_text("PASSWORD=mine\r\n")
        (tmp_path / ".env").chmod(0o640)
        folder = module.fresh_folder(tmp_path / "backups", "update")
        line = module.keep_copy(tmp_path, ".env", folder / ".env")
        assert (folder / ".env").read_bytes() == (tmp_path / ".env").read_bytes()
        assert line["mode"] == "0640"
        assert len(line["sha256"]) == 64
        assert folder.stat().st_mode & 0o777 == 0o700

    @pytest.mark.parametrize(
        "link",
        [
            "live.json",
            "../config/live.json",
            "profiles/live.json",
            "next.json",
            "{root}/config/live.json",
            "../data/x",
        ],
    )
    def test_a_link_to_a_file_of_the_checkout_is_followed(self, tmp_path: Path, link: str) -> None:
        root = tmp_path / "checkout"
        for name in ("config/profiles", "data"):
            (root / name).mkdir(parents=True)
        for name in ("config/live.json", "config/profiles/live.json", "data/x"):
            (root / name).write_text("{}")
        (root / "config" / "next.json").symlink_to("live.json")
        (root / NAME).symlink_to(link.format(root=root))
        made = back_up(root)
        copy = root / "backups" / made["folder"] / NAME
        assert (copy.is_symlink(), copy.read_text()) == (False, "{}")
        assert self.noted(root, made)["sha256"] == hashlib.sha256(b"{}").hexdigest()

    @pytest.mark.parametrize(
        "link",
        [
            *(
                "../../secret",
                "{root}/../secret",
                "hop.json",
                "away/secret",
                "../config/away/secret",
                "../..",
            ),
            *("gone.json", "webhook_config.json", "profiles", "pipe", "live.json/x", "/", ".."),
        ],
    )
    def test_any_other_link_is_kept_and_not_followed(self, tmp_path: Path, link: str) -> None:
        """The application's user can put one there, and the backup is made as root."""
        root = tmp_path / "checkout"
        (root / "config" / "profiles").mkdir(parents=True)
        (tmp_path / "secret").write_text("of somebody else")
        (root / "config" / "live.json").write_text("{}")
        (root / "config" / "hop.json").symlink_to("../../secret")
        (root / "config" / "away").symlink_to(tmp_path)
        os.mkfifo(root / "config" / "pipe")
        (root / NAME).symlink_to(target := link.format(root=root))
        made = back_up(root)
        copy = root / "backups" / made["folder"] / NAME
        assert str(copy.readlink()) == target
        assert self.noted(root, made) == {"link": target}

    @pytest.mark.parametrize(
        ("link", "kept"),
        [("live.json", False), ("../live.json", True), ("../../shared/config/live.json", True)],
    )
    def test_config_itself_may_be_a_link(self, tmp_path: Path, link: str, *, kept: bool) -> None:
        """Only the operator writes where it lies."""
        root, shared = tmp_path / "checkout", tmp_path / "shared"
        (shared / "config").mkdir(parents=True)
        root.mkdir()
        for place in (shared / "config", root):
            (place / "live.json").write_text("{}")
        (root / "config").symlink_to(shared / "config")
        (shared / NAME).symlink_to(link)
        made = back_up(root)
        assert (root / "backups" / made["folder"] / NAME).is_symlink() == kept

    @staticmethod
    def noted(root: Path, made: dict[str, Any]) -> dict[str, Any]:
        manifest = json.loads((root / "backups" / made["folder"] / "manifest.json").read_text())
        line: dict[str, Any] = manifest["files"][NAME]
        return line

    def test_kept_versions_keep_their_backups(self, tmp_path: Path) -> None:
        module, record = load("config_backup"), load("version_record")
        assert module.referred(tmp_path) == set()
        gone = entry("cccc", backup="third") | {"pruned": True}
        kept = [entry("aaaa", backup="first"), entry("bbbb", "bad", backup="second"), gone]
        record.save(tmp_path, {"current": "aaaa", "versions": [{"pruned": False, **one} for one in kept]})
        assert module.referred(tmp_path) == {"first"}

    def test_old_backups_are_deleted_unless_referenced_or_not_ours(self, tmp_path: Path) -> None:
        names = [f"2026010{day}T000000Z-update" for day in range(1, 6)]
        for name in [*names, "db", "mine"]:
            (tmp_path / name).mkdir()
            (tmp_path / name / "manifest.json").write_text("{}")
        assert load("config_backup").prune(tmp_path, 2, {names[0]}) == [names[2], names[1]]
        assert {entry.name for entry in tmp_path.iterdir()} == {names[0], *names[3:], "db", "mine"}


class TestVersions:
    module = load("version_record")

    def record(self, *entries: dict[str, Any]) -> dict[str, Any]:
        return {"current": entries[0]["version"], "versions": list(entries)}

    def test_the_previous_good_one_is_chosen(self) -> None:
        record = self.record(entry("dddd"), entry("cccc", "bad"), entry("bbbb", "withdrawn"), entry("aaaa"))
        images = {"aaaa", "bbbb", "cccc", "dddd"}
        assert self.module.choose(record, "", "dddd", images)["version"] == "aaaa"
        # with nothing running, the last good version is chosen
        assert self.module.choose(record, "", "", images)["version"] == "dddd"

    @pytest.mark.parametrize("wanted", ["", "bbbb"])
    def test_a_rollback_interrupted_after_the_swap_continues_to_the_same_version(self, wanted: str) -> None:
        """It serves already, while the record still names the previous one as current."""
        record = self.record(entry("cccc"), entry("bbbb"), entry("aaaa"))
        images = {"aaaa", "bbbb", "cccc"}
        assert self.module.choose(record, wanted, "bbbb", images)["version"] == "bbbb"
        after = load("module_utils.versions").noted(record, entry("bbbb"), live=True, withdraw=True)
        assert self.module.choose(after, "", "bbbb", images)["version"] == "aaaa"

    def test_a_bad_version_that_was_left_in_place_is_no_target(self) -> None:
        record = {"current": "bbbb", "versions": [entry("cccc", "bad"), entry("bbbb"), entry("aaaa")]}
        assert self.module.choose(record, "", "cccc", {"aaaa", "bbbb", "cccc"})["version"] == "bbbb"

    @pytest.mark.parametrize("wanted", ["bbbb", "bbbb00", "bbbb0"])
    def test_a_version_is_named_by_itself_or_its_commit(self, wanted: str) -> None:
        record = self.record(entry("dddd"), entry("bbbb", "withdrawn"))
        assert self.module.choose(record, wanted, "dddd", {"bbbb"})["version"] == "bbbb"

    @pytest.mark.parametrize(
        ("wanted", "why"),
        [
            ("cccc", "failed"),
            ("bbbb", "no longer kept"),
            ("dddd", "runs now"),
            ("eeee-dirty-1", "no commit"),
            ("ffff", "No version"),
        ],
    )
    def test_an_impossible_rollback_target_is_refused_with_the_list(self, wanted: str, why: str) -> None:
        record = self.record(
            entry("dddd"), entry("cccc", "bad", why="died"), entry("bbbb"), entry("eeee-dirty-1")
        )
        with pytest.raises(LookupError, match=why) as refusal:
            self.module.choose(record, wanted, "dddd", {"cccc", "dddd", "eeee-dirty-1"})
        assert "There is: dddd of 2026" in str(refusal.value)

    def test_a_rollback_marks_the_version_that_it_left_as_withdrawn(self) -> None:
        record = self.record(entry("bbbb"), entry("aaaa"))
        after = self.module.noted(record, entry("aaaa"), live=True, withdraw=True)
        assert after["current"] == "aaaa"
        assert [(one["version"], one["state"]) for one in after["versions"]] == [
            ("aaaa", "good"),
            ("bbbb", "withdrawn"),
        ]

    def test_a_failure_does_not_become_current(self) -> None:
        after = self.module.noted(
            self.record(entry("aaaa")), entry("bbbb", "bad"), live=False, withdraw=False
        )
        assert after["current"] == "aaaa"

    def test_the_last_few_good_ones_keep_their_images(self) -> None:
        record = self.record(entry("dddd"), entry("cccc", "bad"), entry("bbbb"), entry("aaaa"))
        assert self.module.to_remove(record, 2) == ["cccc", "aaaa"]

    def test_a_record_is_read_as_it_was_written(self, tmp_path: Path) -> None:
        record = self.record(entry("aaaa"))
        assert self.module.load(tmp_path)["versions"] == []
        self.module.save(tmp_path, record)
        assert self.module.load(tmp_path) == record
        (tmp_path / ".run" / "versions.json").write_text(json.dumps([]))
        with pytest.raises(ValueError, match="no record"):
            self.module.load(tmp_path)
