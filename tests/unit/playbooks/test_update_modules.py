"""What the modules of an update decide and do to a checkout: on real git repositories."""

from __future__ import annotations

import os
import signal
import subprocess
from typing import TYPE_CHECKING

import pytest

from tests.unit.playbooks.modules import load

if TYPE_CHECKING:
    from pathlib import Path

CONFIGURATION = [".env", "config/finviz_config.json"]


def git(root: Path, *argv: str) -> str:
    identity = ["-c", "user.name=t", "-c", "user.email=t@t", "-c", "commit.gpgsign=false"]
    done = subprocess.run(
        ["git", *identity, "-C", str(root), *argv], capture_output=True, text=True, check=True
    )
    return done.stdout.strip()


def commit(root: Path, files: dict[str, str]) -> str:
    for name, content in files.items():
        (root / name).parent.mkdir(parents=True, exist_ok=True)
        (root / name).write_text(content)
        git(root, "add", "--force", name)
    git(root, "commit", "-qm", "change")
    return git(root, "rev-parse", "HEAD")


@pytest.fixture
def origin(tmp_path: Path) -> Path:
    """Create the remote, whose .gitignore excludes the operator's files."""
    root = tmp_path / "origin"
    subprocess.run(["git", "init", "-q", "-b", "main", str(root)], check=True)
    commit(root, {"app/main.py": "x = 1\n", "run.py": "", ".gitignore": "/.env\n/config/\n/data/\n/.run/\n"})
    return root


@pytest.fixture
def checkout(origin: Path, tmp_path: Path) -> Path:
    """Create a clone with the operator's own configuration."""
    root = tmp_path / "checkout"
    subprocess.run(["git", "clone", "-q", str(origin), str(root)], check=True)
    (root / "config").mkdir()
    for name in CONFIGURATION:
        (root / name).write_text(f"mine: {name}\r\n")
        (root / name).chmod(0o640)
    return root


def mine(root: Path) -> list[tuple[bytes, int, int]]:
    found = [(root / name) for name in CONFIGURATION]
    return [(file.read_bytes(), file.stat().st_mode, file.stat().st_ino) for file in found]


class TestSource:
    def test_a_clean_clone_can_move(self, checkout: Path) -> None:
        found = load("update_source").clean(checkout, CONFIGURATION)
        assert (found["branch"], found["upstream"]) == ("main", "origin/main")

    def test_a_branch_that_was_renamed_at_the_remote_is_refused(self, checkout: Path, origin: Path) -> None:
        """Plan and run give the same message, and the commands in it correct the state."""
        source = load("update_source")
        git(origin, "branch", "-m", "main", "trunk")
        tip = commit(origin, {"app/main.py": "x = 2\n"})
        said = []
        for look, *more in ((source.fetch,), (source.foresee, CONFIGURATION)):
            with pytest.raises(source.Failure, match="no branch main any more") as caught:
                look(checkout, *more, 10)
            assert caught.value.facts == {"host_report": {"unchanged": True}}
            said.append(str(caught.value))
        assert said[0] == said[1]
        assert git(checkout, "rev-parse", "HEAD") != tip

        _, _, commands = said[0].partition("another one: ")
        subprocess.run(["sh", "-ec", commands], check=True)
        assert source.fetch(checkout, 10)["commit"] == tip

    def test_a_renamed_branch_that_was_pruned_here_is_refused_too(self, checkout: Path, origin: Path) -> None:
        source = load("update_source")
        git(origin, "branch", "-m", "main", "trunk")
        git(checkout, "fetch", "--quiet", "--prune")
        with pytest.raises(source.Failure, match="no branch main any more"):
            source.clean(checkout, CONFIGURATION)

    def test_edits_are_named_and_the_operators_files_are_none(self, checkout: Path, origin: Path) -> None:
        source = load("update_source")
        commit(origin, {".env": "theirs"})
        git(checkout, "fetch", "-q")
        load("checkout_move").move(
            checkout, git(checkout, "rev-parse", "origin/main"), CONFIGURATION, back=False
        )
        source.clean(checkout, CONFIGURATION)
        (checkout / "app" / "main.py").write_text("x = 2\n")
        with pytest.raises(source.Failure, match=r"app/main\.py"):
            source.clean(checkout, CONFIGURATION)

    @pytest.mark.parametrize(
        ("command", "said"),
        [
            (["switch", "-q", "--detach"], "git -C .* switch main"),
            (["switch", "-q", "-c", "own"], "--set-upstream-to=origin/own"),
        ],
    )
    def test_a_branch_without_a_remote_is_refused_with_the_command(
        self, checkout: Path, command: list[str], said: str
    ) -> None:
        git(checkout, *command)
        source = load("update_source")
        with pytest.raises(source.Failure, match=said):
            source.clean(checkout, CONFIGURATION)

    def test_the_refusal_of_a_detached_head_names_its_last_branch(self, checkout: Path) -> None:
        """Not `main`, which this checkout is not updated from; also after more than one move."""
        git(checkout, "switch", "-q", "-c", "feature/x")
        for _ in range(2):
            git(checkout, "switch", "-q", "--detach", "HEAD")
            git(checkout, "checkout", "-q", git(checkout, "rev-parse", "HEAD"))
        source = load("update_source")
        with pytest.raises(source.Failure, match=r"git -C \S+ switch feature/x$"):
            source.clean(checkout, CONFIGURATION)
        git(checkout, "branch", "-q", "-D", "feature/x")
        with pytest.raises(source.Failure, match=r"git -C \S+ switch main$"):
            source.clean(checkout, CONFIGURATION)

    def test_without_git_there_is_no_version_to_go_to(self, tmp_path: Path) -> None:
        source = load("update_source")
        with pytest.raises(source.Failure, match="only a clone"):
            source.clean(tmp_path, [])

    def test_the_target_is_what_the_remote_has(self, checkout: Path, origin: Path) -> None:
        source = load("update_source")
        new = commit(origin, {"run.py": "new", "app/main.py": "y"})
        assert source.target(checkout, [])["commit"] == git(checkout, "rev-parse", "HEAD")
        assert source.fetch(checkout, 60) == {"changed": True, "commit": new}
        assert source.fetch(checkout, 60) == {"changed": False, "commit": new}
        params = {"path": str(checkout), "state": "target", "configuration": [], "controller": ["run.py"]}
        params["commit"] = ""
        found = source.answer(params)
        assert (found["commit"], found["changed_controller"]) == (new, ["run.py"])

    def test_a_fleets_controller_that_is_behind_gets_the_targets_tree(
        self, checkout: Path, origin: Path
    ) -> None:
        """From its own remote; its work tree is unchanged. A tree with the same files is accepted."""
        source = load("update_source")
        before = git(checkout, "rev-parse", "HEAD")
        new = commit(origin, {"run.py": "new"})
        folder = checkout / ".run" / "releases" / new[:12]
        there = source.ids(origin, new, ["run.py"])
        asked = {"controller": ["run.py"], "seconds": 60, "commit": new, "folder": str(folder), "ids": there}
        as_good = {"changed": False, "tree": "", "changed_controller": []}
        here = source.ids(checkout, "HEAD", ["run.py"])
        assert source.controller(checkout, {**asked, "ids": here, "commit": "0" * 40}) == as_good
        assert source.controller(checkout, {**asked, "commit": before}) == as_good
        found = source.controller(checkout, asked)
        assert found == {"changed": True, "tree": str(folder), "changed_controller": ["run.py"]}
        assert ((folder / "run.py").read_text(), git(checkout, "rev-parse", "HEAD")) == ("new", before)
        git(checkout, "merge", "-q", "--ff-only", new)
        (checkout / "run.py").write_text("edited")
        assert source.controller(checkout, asked) == as_good

    def test_a_fleets_controller_is_checked_too(self, checkout: Path, origin: Path) -> None:
        """Its edits and commits are named; a copy without git is reported as unchanged."""
        source = load("update_source")
        new = commit(origin, {"run.py": "new"})
        there = source.ids(origin, new, ["run.py"])
        asked = {"controller": ["run.py"], "seconds": 60, "commit": new, "folder": "nowhere", "ids": there}
        (checkout / "run.py").write_text("edited")
        with pytest.raises(source.Failure, match=r"of its own: run\.py\..*pull --rebase --autostash"):
            source.controller(checkout, asked)
        own = commit(checkout, {"run.py": "mine"})
        with pytest.raises(source.Failure, match=f"of its own: {own[:12]} change"):
            source.controller(checkout, asked)
        with pytest.raises(source.Failure, match=r"does not have it: .*fetch URL"):
            source.controller(checkout, {**asked, "commit": "0" * 40})
        assert source.controller(origin.parent, asked) == {"changed": False, "tree": ""}

    def test_what_the_remote_has_is_foreseen_without_fetching_it(self, checkout: Path, origin: Path) -> None:
        source = load("update_source")
        before = git(checkout, "for-each-ref"), git(checkout, "count-objects", "-v")
        assert source.foresee(checkout, [], 60) == {
            "commit": git(checkout, "rev-parse", "HEAD"),
            "from": git(checkout, "rev-parse", "HEAD"),
            "fetch": False,
            "known": True,
        }
        new = commit(origin, {"app/main.py": "y"})
        params = {"path": str(checkout), "state": "foreseen", "configuration": [], "controller": ["run.py"]}
        found = source.answer({**params, "seconds": 60})
        assert (found["commit"], found["fetch"], found["known"]) == (new, True, False)
        assert found["changed_controller"] == []
        assert (git(checkout, "for-each-ref"), git(checkout, "count-objects", "-v")) == before
        assert not (checkout / ".git" / "FETCH_HEAD").exists()

    def test_local_commits_that_may_block_the_update_are_named(self, checkout: Path, origin: Path) -> None:
        own = commit(checkout, {"app/own.py": ""})
        commit(origin, {"app/main.py": "theirs"})
        found = load("update_source").foresee(checkout, [], 60)
        assert [line.split()[0] for line in found["own_commits"]] == [own[:12]]

    def test_a_divergence_that_was_fetched_already_is_foreseen(self, checkout: Path, origin: Path) -> None:
        source = load("update_source")
        commit(origin, {"app/main.py": "theirs"})
        git(checkout, "fetch", "-q")
        own = commit(checkout, {"app/own.py": ""})
        with pytest.raises(source.Failure, match=own[:12]):
            source.foresee(checkout, [], 60)

    def test_a_branch_that_the_remote_lost_is_named(self, checkout: Path, origin: Path) -> None:
        source = load("update_source")
        git(origin, "branch", "-m", "elsewhere")
        with pytest.raises(source.Failure, match="has no branch main any more"):
            source.foresee(checkout, [], 60)

    def test_local_commits_on_top_are_deployed_as_they_are(self, checkout: Path) -> None:
        own = commit(checkout, {"app/own.py": ""})
        assert load("update_source").target(checkout, [])["commit"] == own

    def test_a_target_that_another_host_resolved_is_not_resolved_again(
        self, checkout: Path, origin: Path
    ) -> None:
        source = load("update_source")
        first = commit(origin, {"app/main.py": "first"})
        commit(origin, {"app/main.py": "pushed in the middle"})
        source.fetch(checkout, 60)
        assert source.target(checkout, [], first)["commit"] == first
        with pytest.raises(source.Failure, match="the same repository"):
            source.target(checkout, [], "0" * 40)

    def test_a_diverged_branch_names_the_local_commits(self, checkout: Path, origin: Path) -> None:
        source = load("update_source")
        commit(origin, {"app/main.py": "theirs"})
        git(checkout, "fetch", "-q")
        own = commit(checkout, {"app/own.py": ""})
        with pytest.raises(source.Failure, match=own[:12]):
            source.target(checkout, [])

    @pytest.mark.parametrize("name", ["data/ignored.csv", "unknown.txt"])
    def test_a_file_that_would_be_replaced_is_named(self, checkout: Path, origin: Path, name: str) -> None:
        source = load("update_source")
        commit(origin, {name: "theirs"})
        git(checkout, "fetch", "-q")
        (checkout / "data").mkdir()
        (checkout / name).write_text("mine")
        with pytest.raises(source.Failure, match=name):
            source.target(checkout, CONFIGURATION)

    def test_an_unreachable_remote_is_reported_without_its_password(self, checkout: Path) -> None:
        source = load("update_source")
        git(checkout, "remote", "set-url", "origin", "http://user:secret@127.0.0.1:1/x.git")
        with pytest.raises(source.Failure) as refusal:
            source.fetch(checkout, 60)
        assert "secret" not in str(refusal.value)
        assert "fetch origin" in str(refusal.value)

    def test_the_exported_tree_has_no_git_folder_and_has_gits_modes(self, checkout: Path) -> None:
        source = load("update_source")
        folder = checkout / ".run" / "releases" / "new"
        (folder.parent / "old").mkdir(parents=True)
        source.export(checkout, "HEAD", folder)
        assert [entry.name for entry in folder.parent.iterdir()] == ["new"]
        assert (folder / "app" / "main.py").read_text() == "x = 1\n"
        modes = [(folder / name).stat().st_mode & 0o777 for name in (".", "app", "app/main.py", "..")]
        assert modes == [0o755, 0o755, 0o644, 0o700]

    def test_a_commit_that_is_not_here(self, checkout: Path) -> None:
        source = load("update_source")
        with pytest.raises(source.Failure, match="fetch"):
            source.export(checkout, "0" * 40, checkout / ".run" / "releases" / "new")


class TestClone:
    def test_the_clone_can_be_updated_from_the_commit_it_is_at(self, origin: Path, tmp_path: Path) -> None:
        clone, path = load("source_clone").clone, tmp_path / "opt" / "project"
        first = git(origin, "rev-parse", "HEAD")
        newest = commit(origin, {"app/main.py": "newer"})
        (path / ".run").mkdir(parents=True)
        (path / ".run" / "lock").write_text("this run's")
        clone(str(origin), path, "main", first, 60)
        assert (path / ".run" / "lock").read_text() == "this run's"
        assert (git(path, "rev-parse", "HEAD"), git(path, "status", "--porcelain")) == (first, "")
        source = load("update_source")
        source.clean(path, [])
        assert source.target(path, [], source.fetch(path, 60)["commit"])["commit"] == newest
        assert [entry.name for entry in path.parent.iterdir()] == ["project"]

    @pytest.mark.parametrize(
        ("repository", "commit_", "said"),
        [
            ("", "", "set source_repo"),
            ("http://user:secret@127.0.0.1:1/x.git", "", "build_on: controller"),
            ("origin", "0" * 40, "git push"),
        ],
    )
    def test_a_failed_clone_has_the_next_command(
        self, origin: Path, tmp_path: Path, repository: str, commit_: str, said: str
    ) -> None:
        module, path = load("source_clone"), tmp_path / "project"
        repository = str(origin) if repository == "origin" else repository
        with pytest.raises(module.Failure, match=said) as refusal:
            module.clone(repository, path, "", commit_, 60)
        assert "secret" not in str(refusal.value)
        assert not path.exists()


class TestMove:
    def move(self, root: Path, target: str, *, back: bool = False) -> str:
        return str(load("checkout_move").move(root, target, CONFIGURATION, back=back))

    def test_the_operators_files_come_through_whatever_the_commits_track(
        self, checkout: Path, origin: Path
    ) -> None:
        before, start = mine(checkout), git(checkout, "rev-parse", "HEAD")
        first = commit(origin, dict.fromkeys(CONFIGURATION, "theirs"))
        second = commit(origin, dict.fromkeys(CONFIGURATION, "theirs again"))
        git(origin, "rm", "-q", "--cached", *CONFIGURATION)
        git(origin, "commit", "-qm", "untracked again")
        third = git(origin, "rev-parse", "HEAD")
        git(checkout, "fetch", "-q")
        for target in (first, second, third):
            self.move(checkout, target)
            assert git(checkout, "rev-parse", "HEAD") == target
            assert mine(checkout) == before
        self.move(checkout, first, back=True)
        self.move(checkout, start, back=True)
        assert (git(checkout, "rev-parse", "HEAD"), mine(checkout)) == (start, before)
        assert not (checkout / ".run" / "aside").exists()

    def test_a_move_that_fails_changes_nothing(self, checkout: Path, origin: Path) -> None:
        module = load("checkout_move")
        before, head = mine(checkout), git(checkout, "rev-parse", "HEAD")
        target = commit(origin, {".env": "theirs", "app/main.py": "theirs"})
        git(checkout, "fetch", "-q")
        (checkout / "app" / "main.py").write_text("edited")
        with pytest.raises(module.GitError):
            self.move(checkout, target)
        assert (git(checkout, "rev-parse", "HEAD"), mine(checkout)) == (head, before)
        assert (checkout / "app" / "main.py").read_text() == "edited"

    def test_an_interruption_waits_for_its_end_and_no_longer(self, checkout: Path, origin: Path) -> None:
        let_in = signal.pthread_sigmask(signal.SIG_BLOCK, ())
        commit(origin, {".env": "theirs"})
        git(checkout, "fetch", "-q")
        self.move(checkout, git(origin, "rev-parse", "HEAD"))
        assert signal.pthread_sigmask(signal.SIG_BLOCK, ()) == let_in

    def test_files_that_a_killed_move_set_aside_are_restored(self, checkout: Path) -> None:
        module = load("checkout_move")
        before = mine(checkout)
        module.move_aside(checkout, CONFIGURATION)
        (checkout / ".env").write_text("written by the merge")
        assert module.put_back(checkout) is True
        assert mine(checkout) == before
        assert module.put_back(checkout) is False

    def test_a_move_by_root_keeps_the_clone_writable_for_its_owner(
        self, checkout: Path, origin: Path
    ) -> None:
        owner = str(os.geteuid() or 12345)  # without root the files have the right owner anyway
        commit(origin, {"app/new/file.py": ""})
        subprocess.run(["chown", "-R", owner, str(checkout)], check=True)
        load("update_source").fetch(checkout, 60)
        self.move(checkout, git(origin, "rev-parse", "HEAD"))
        listing = subprocess.check_output(["find", str(checkout), "!", "-user", owner], text=True)
        assert listing.split() in ([], [str(checkout / ".run")])

    def test_local_commits_keep_a_name(self, checkout: Path) -> None:
        start = git(checkout, "rev-parse", "HEAD")
        own = commit(checkout, {"app/own.py": ""})
        name = self.move(checkout, start, back=True)
        assert name.startswith("before-rollback-")
        assert git(checkout, "rev-parse", name) == own

    def test_what_the_remote_has_needs_no_other_name(self, checkout: Path, origin: Path) -> None:
        start = git(checkout, "rev-parse", "HEAD")
        target = commit(origin, {"app/main.py": "y"})
        git(checkout, "fetch", "-q")
        self.move(checkout, target)
        assert self.move(checkout, start, back=True) == ""


class TestNews:
    def test_a_newer_commit_is_named_and_nothing_is_changed(self, checkout: Path, origin: Path) -> None:
        source = load("update_source")
        assert source.news(checkout, 3) == {"commit": "", "upstream": ""}
        tip = commit(origin, {"app/main.py": "x = 2\n"})
        before = sorted((path.name, path.stat().st_mtime_ns) for path in checkout.rglob("*"))
        assert source.news(checkout, 3) == {"commit": tip, "upstream": "origin/main"}
        assert sorted((path.name, path.stat().st_mtime_ns) for path in checkout.rglob("*")) == before

    def test_local_commits_on_top_are_not_reported(self, checkout: Path) -> None:
        commit(checkout, {"app/main.py": "x = 2\n"})
        assert load("update_source").news(checkout, 3)["commit"] == ""

    @pytest.mark.parametrize("state", ["no remote", "detached", "renamed", "not a clone"])
    def test_without_an_answer_nothing_is_reported(self, checkout: Path, origin: Path, state: str) -> None:
        if state == "no remote":
            origin.rename(origin.with_name("away"))
        elif state == "detached":
            git(checkout, "checkout", "--quiet", "--detach")
        elif state == "renamed":
            git(origin, "branch", "-m", "main", "trunk")
        root = checkout.parent if state == "not a clone" else checkout
        assert load("update_source").news(root, 3) == {"commit": "", "upstream": ""}

    def test_a_silent_remote_is_abandoned_after_the_time_limit(self, checkout: Path, tmp_path: Path) -> None:
        silent = tmp_path / "silent"
        silent.write_text("#!/bin/sh\nexec sleep 30\n")
        silent.chmod(0o755)
        git(checkout, "remote", "set-url", "origin", f"ext::{silent}")
        git(checkout, "config", "protocol.ext.allow", "always")
        assert load("update_source").news(checkout, 1)["commit"] == ""


class TestHistory:
    def test_commits_between_two_versions(self, checkout: Path) -> None:
        commits = load("run_history").commits
        first = git(checkout, "rev-parse", "HEAD")[:12]
        second = commit(checkout, {"app/main.py": "x = 2\n"})[:12]
        assert commits(checkout, first, second) == [f"+ {second[:12]} change"]
        assert commits(checkout, f"{second}-dirty-12345678", first) == [f"- {second[:12]} change"]

    @pytest.mark.parametrize("version", ["", "tree-0123456789ab", "0" * 12, "nothing", "0123456789abc"])
    def test_a_version_that_is_no_commit_here_has_none(self, checkout: Path, version: str) -> None:
        known = git(checkout, "rev-parse", "HEAD")[:12]
        assert load("run_history").commits(checkout, version, known) == []
        assert load("run_history").commits(checkout, known, version) == []
        assert load("run_history").commits(checkout, known, known) == []

    def test_a_long_list_is_cut(self, checkout: Path) -> None:
        first = git(checkout, "rev-parse", "HEAD")[:12]
        for number in range(25):
            last = commit(checkout, {"app/main.py": f"x = {number + 2}\n"})
        found = load("run_history").commits(checkout, first, last[:12])
        assert (len(found), found[-1]) == (21, "+ and more")
