"""The first request after a start is as fast as any other."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from fastapi.dependencies.utils import get_dependant

from tests.api.operator import ask

if TYPE_CHECKING:
    import pytest

    from tests.api.conftest import AppServer


async def test_no_request_builds_routes(app_server: AppServer, monkeypatch: pytest.MonkeyPatch) -> None:
    """Building all of them takes 0.1 s, and the event loop takes no alert meanwhile."""
    built = []

    def noting(*, path: str, **options: Any) -> Any:
        built.append(path)
        return get_dependant(path=path, **options)

    monkeypatch.setattr("fastapi.routing.get_dependant", noting)
    await ask(app_server, "GET", "/admin/status")
    await ask(app_server, "GET", "/admin/nothing", 404)
    assert built == []
