"""After a flow: the probe of the stack's addresses from here, and the webhook that reports the end."""

from __future__ import annotations

import json
import os
import subprocess
from typing import TYPE_CHECKING

import pytest

from tests.hosts import document
from tests.hosts.answering import serving

if TYPE_CHECKING:
    from pathlib import Path

    from tests.controller.checkout import Checkout


@pytest.fixture
def self_signed(tmp_path: Path) -> Path:
    """Create a self-signed certificate, with its key."""
    path = tmp_path / "self-signed.pem"
    command = "openssl req -x509 -newkey rsa:2048 -nodes -days 1 -subj /CN=127.0.0.1"
    subprocess.run([*command.split(), "-keyout", path, "-out", path], check=True, capture_output=True)
    return path


def published(*urls: str) -> tuple[str, str]:
    """Let the flow report these addresses."""
    return "-e", json.dumps({"published": urls})


def test_a_stack_that_is_reached(checkout: Checkout) -> None:
    with serving() as stack:
        done = checkout.run("--quick", *published(f"{stack.url}/admin", f"{stack.url}/health"))
    assert stack.gets == ["/health"]
    assert f"reached from this machine: {stack.url}/health answers 200" in done.stdout
    assert done.returncode == 0


def test_an_unsuccessful_answer_is_shown(checkout: Checkout) -> None:
    with serving(503) as stack:
        done = checkout.run("--quick", *published(f"{stack.url}/health"))
    assert f"reached from this machine: {stack.url}/health answers 503" in done.stdout
    assert done.returncode == 0


def test_a_stack_that_is_not_reached_fails_nothing(checkout: Checkout) -> None:
    url = "http://127.0.0.1:9/health"
    done = checkout.run("--quick", "--json", *published(url))
    probe = json.loads(done.stdout)["hosts"]["here"]["probe"]
    assert probe == {"url": url, "status": None, "problem": "no connection"}
    assert done.returncode == 0


def test_a_certificate_that_is_not_valid(checkout: Checkout, self_signed: Path) -> None:
    with serving(certificate=self_signed) as stack:
        done = checkout.run("--quick", *published(f"{stack.url}/health"))
    assert f"not reached from this machine: {stack.url}/health: its certificate is not valid" in done.stdout
    assert (done.returncode, stack.gets) == (0, [])


@pytest.mark.parametrize("flags", [("--status-only",), ("--quick", "--check")], ids=" ".join)
def test_a_flow_that_changes_nothing_probes_and_posts_nothing(
    checkout: Checkout, monkeypatch: pytest.MonkeyPatch, flags: tuple[str, ...]
) -> None:
    with serving() as stack:
        monkeypatch.setenv("DEPLOY_WEBHOOK_URL", f"{stack.url}/ended")
        done = checkout.run(*flags, *published(f"{stack.url}/health"))
    assert (done.returncode, stack.gets, stack.posts) == (0, [], [])


def test_the_document_is_posted(checkout: Checkout, monkeypatch: pytest.MonkeyPatch) -> None:
    with serving(204) as receiver:
        monkeypatch.setenv("DEPLOY_WEBHOOK_URL", f"{receiver.url}/ended?key=k")
        done = checkout.run("--quick", "--json")
    ((path, posted),) = receiver.posts
    assert path == "/ended?key=k"
    assert posted == json.loads(done.stdout)
    assert (done.returncode, done.stderr.count("warning: how the run")) == (0, 0)


def test_a_failure_is_posted_masked(checkout: Checkout, monkeypatch: pytest.MonkeyPatch) -> None:
    (checkout.root / ".env").write_text("ADMIN_TOKEN=a-long-secret\n", "utf-8")
    with serving() as receiver:
        monkeypatch.setenv("DEPLOY_WEBHOOK_URL", receiver.url)
        done = checkout.run("--quick", "-e", "break_on=here", "-e", "command='echo a-long-secret'")
    ((_, posted),) = receiver.posts
    document.check(json.dumps(posted))
    assert posted["exit_code"] == done.returncode == 5
    assert posted["hosts"]["here"]["outcome"] == "failed"
    assert "a-long-secret" not in json.dumps(posted)


def test_a_refusal_is_posted(checkout: Checkout, monkeypatch: pytest.MonkeyPatch) -> None:
    with serving() as receiver:
        monkeypatch.setenv("DEPLOY_WEBHOOK_URL", receiver.url)
        done = checkout.run("--quick", "-e", "refuse=true")
    assert [posted["exit_code"] for _, posted in receiver.posts] == [done.returncode] == [3]


def test_each_address_of_the_inventory_gets_one_post(checkout: Checkout, tmp_path: Path) -> None:
    with serving() as receiver:
        more = tmp_path / "more.yml"
        vars_ = (
            f"{{ansible_connection: local, deploy_webhook_url: '{receiver.url}/{{{{ who }}}}', who: team}}"
        )
        more.write_text(f"web: {{hosts: {{a: {vars_}, b: {vars_}}}}}\n", "utf-8")
        done = checkout.run("--quick", "-i", str(more), "--limit", "web", "-e", f"x={os.getpid()}")
    assert [path for path, _ in receiver.posts] == ["/team"]
    assert done.returncode == 0


@pytest.mark.parametrize("url", ["http://127.0.0.1:9/s3cr3t", "http://[s3cr3t"])
def test_a_post_that_fails_is_a_warning_without_the_url(
    checkout: Checkout, monkeypatch: pytest.MonkeyPatch, url: str
) -> None:
    monkeypatch.setenv("DEPLOY_WEBHOOK_URL", url)
    done = checkout.run("--quick")
    assert "warning: how the run ended could not be posted to DEPLOY_WEBHOOK_URL: " in done.stdout
    assert (done.returncode, "s3cr3t" in done.stdout + done.stderr) == (0, False)
