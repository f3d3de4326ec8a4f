"""One command on a bare machine, in a fresh clone, deploys the whole stack."""

from __future__ import annotations

from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from tests.hosts.ready import FirstDeployment


def test_one_command_brings_up_the_whole_stack(first_deployment: FirstDeployment) -> None:
    """Docker, both base images, the stack's own: from nothing but Debian."""
    assert first_deployment.result.code == 0, first_deployment.result.output
    assert first_deployment.health["status"] == "healthy"
    assert first_deployment.containers == {"trading-db", "trading-edge", "trading-signal-processor"}
    assert {"signals", "signal_events", "attempts", "positions"} <= first_deployment.tables


def test_the_summary_names_the_page_and_the_sign_in(first_deployment: FirstDeployment) -> None:
    """The version that is live, and the page with the way to sign in."""
    summary = first_deployment.result.output
    assert first_deployment.health["version"] in summary
    assert "/admin" in summary
    assert "ADMIN_TOKEN" in summary
