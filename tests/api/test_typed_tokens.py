"""A token typed into the URL of a strategy is sent to no other site, however the URL separates it."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING

import pytest

from tests.api.operator import ask

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable
    from pathlib import Path

    from tests.api.conftest import AppServer


@pytest.mark.parametrize(
    "query",
    [
        "?a=1;auth=T0KEN",
        "?a=1&amp;auth=T0KEN",
        "?v=111;AUTH=T0KEN&x=1",
        "?a=1%3Bauth=T0KEN",
        ";auth=T0KEN?a=1",
    ],
)
async def test_it_is_refused_when_the_strategy_is_saved(
    start_app: Callable[..., Awaitable[AppServer]], tmp_path: Path, query: str
) -> None:
    (tmp_path / "finviz_config.json").write_text(json.dumps({"allow_other_hosts": True}))
    app = await start_app()
    body = {"name": "other", "url": f"http://127.0.0.1:1/list{query}"}
    refused = await ask(app, "POST", "/admin/finviz/strategies", 422, body=body)
    assert "auth=" in str(refused["detail"])
