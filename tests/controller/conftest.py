"""Whole runs of the controller: real Ansible, real environment, tiny playbooks, no Docker."""

from __future__ import annotations

import shutil
from typing import TYPE_CHECKING

import pytest

from tests.controller.checkout import Checkout, lay_out
from tests.hosts.images import install_packages

if TYPE_CHECKING:
    from pathlib import Path


@pytest.fixture(scope="session", autouse=True)
def _ssh() -> None:
    """Install the system's ssh client, by which remote hosts are reached, where it is missing."""
    if not shutil.which("ssh"):
        install_packages("openssh-client")


@pytest.fixture
def checkout(tmp_path: Path) -> Checkout:
    """Create a small checkout: real inventory, real playbooks, real Ansible, no Docker."""
    return lay_out(tmp_path / "checkout")
