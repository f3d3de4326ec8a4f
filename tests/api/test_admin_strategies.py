"""The screener's strategies over the API, from creation to deletion; tokens are masked."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING, Any
from urllib.parse import quote

import pytest

from app.config.model import FINVIZ_FILE
from tests.api.operator import ask, log_of

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable
    from pathlib import Path

    from tests.api.conftest import AppServer

PATH = "/admin/finviz/strategies"
ELITE = "https://elite.finviz.com/export.ashx?v=111&auth=token"


def names(answer: Any) -> list[str]:
    """The strategies' names, in order."""
    return [strategy["values"]["name"] for strategy in answer["strategies"]]


async def test_a_strategy_from_its_creation_to_its_deletion(app_server: AppServer, tmp_path: Path) -> None:
    built_in = await ask(app_server, "GET", PATH)
    assert (names(built_in), built_in["active"]) == (["top-gainers"], "top-gainers")
    body = {"name": "mine/own", "url": "list:AAPL,NVDA", "top_n": 2}
    created = await ask(app_server, "POST", PATH, 201, body=body)
    assert (names(created), created["active"]) == (["top-gainers", "mine/own"], "top-gainers")
    assert created["strategies"][1]["sources"]["top_n"] == "file"
    assert created["strategies"][1]["sources"]["refresh_interval_sec"] == "default"
    activated = await ask(app_server, "POST", f"{PATH}/mine/own/activate")
    assert activated["active"] == "mine/own"
    while (await ask(app_server, "GET", "/admin/top-n-tickers"))["tickers"] != ["AAPL", "NVDA"]:
        await app_server.context.wakeups.wait("changed", 6)  # the engine looks for another strategy every 5 s
    changed = await ask(app_server, "PUT", f"{PATH}/mine/own", body={"name": "renamed", "top_n": None})
    assert (names(changed), changed["active"]) == (["top-gainers", "renamed"], "renamed")
    refused = await ask(app_server, "DELETE", f"{PATH}/renamed", 409)
    assert "activate another" in refused["detail"]
    left = await ask(app_server, "DELETE", f"{PATH}/top-gainers")
    assert names(left) == ["renamed"]
    assert json.loads((tmp_path / FINVIZ_FILE).read_text()) == {
        "active": "renamed",
        "strategies": [{"name": "renamed", "url": "list:AAPL,NVDA"}],
    }
    assert [(entry[2], entry[3], entry[6]) for entry in await log_of(app_server)] == [
        ("strategy.create", "mine/own", "done"),
        ("strategy.activate", "mine/own", "done"),
        ("strategy.change", "mine/own", "done"),
        ("strategy.delete", "renamed", f"refused: {refused['detail']}"),
        ("strategy.delete", "top-gainers", "done"),
    ]


async def test_a_token_is_masked_and_stays_when_the_mask_is_sent_back(
    app_server: AppServer, tmp_path: Path
) -> None:
    path = tmp_path / FINVIZ_FILE
    unknown = {"note": "kept", "strategies": [{"name": "elite", "url": ELITE, "mine": 1}]}
    path.write_text(json.dumps(unknown))
    await app_server.app.state.config_store.look()
    shown = (await ask(app_server, "GET", PATH))["strategies"][0]["values"]
    assert shown["url"] == ELITE.replace("token", "***")
    await ask(app_server, "PUT", f"{PATH}/elite", body={**shown, "top_n": 20})
    assert json.loads(path.read_text()) == {
        "note": "kept",
        "strategies": [{"name": "elite", "url": ELITE, "mine": 1, "top_n": 20}],
        "active": "elite",
    }
    await ask(app_server, "POST", PATH, 422, body={"name": "other", "url": shown["url"]})
    assert "token" not in json.dumps([entry[4:6] for entry in await log_of(app_server)])


@pytest.mark.parametrize(
    ("body", "words"),
    [
        ({"name": "x"}, "url"),
        ({"url": "list:A"}, "name"),
        ({"name": "top-gainers", "url": "list:A"}, "names must be unique"),
        ({"name": "x\0", "url": "list:A"}, "name"),
        ({"name": "x", "url": "list:A", "top_n": 0}, "top_n"),
        ({"name": "x", "url": "list:A", "depth": 501}, "depth: must be at most 500"),
        (
            {
                "name": "x",
                "url": "https://finviz.com/screener.ashx",
                "depth": 200,
                "refresh_interval_sec": 10,
            },
            "depth 200 is 10 pages every 10 s",
        ),
        ({"name": "x", "url": "ftp://finviz.com/screener.ashx"}, "use https://finviz.com/"),
        ({"name": "x", "url": "https://finviz.com.example/"}, "must be an https:// URL on finviz.com"),
        ({"name": "x", "url": "list:"}, "no tickers"),
        ({"name": "x", "url": "file:../.env"}, "plain name"),
        ({"name": "x", "url": "file:webhook_config.json"}, "plain name of a .csv file"),
        ({"name": "x", "url": "file:watch.txt"}, "plain name of a .csv file"),
        # every refresh would refuse it
        ({"name": "x", "url": ELITE}, "must not contain auth"),
        (
            {"name": "x", "url": "https://elite.finviz.com/export/screener?AUTH=token"},
            "must not contain auth",
        ),
        (
            {
                "name": "x",
                "url": "https://finviz.com/screener.ashx",
                "top_n": 500,
                "refresh_interval_sec": 20,
            },
            "set refresh_interval_sec to 26 or more",
        ),
    ],
)
async def test_a_wrong_strategy_is_refused(app_server: AppServer, body: dict[str, Any], words: str) -> None:
    refused = await ask(app_server, "POST", PATH, 422, body=body)
    assert words in refused["detail"]
    assert names(await ask(app_server, "GET", PATH)) == ["top-gainers"]
    assert (await log_of(app_server))[-1][6] == f"refused: {refused['detail']}"


@pytest.mark.parametrize(
    "body",
    [
        {"name": "x", "url": "list:A", "top_n": 500, "refresh_interval_sec": 1},
        {"name": "x", "url": ELITE.replace("&auth=token", ""), "top_n": 500, "refresh_interval_sec": 2},
        {
            "name": "x",
            "url": "https://elite.finviz.com/export/screener?v=111",
            "top_n": 500,
            "refresh_interval_sec": 2,
        },
        {"name": "x", "url": "https://finviz.com/screener.ashx", "top_n": 500, "refresh_interval_sec": 26},
    ],
)
async def test_what_the_site_allows_is_saved(app_server: AppServer, body: dict[str, Any]) -> None:
    await ask(app_server, "POST", PATH, 201, body=body)


async def test_a_current_source_that_is_refused_for_new_strategies_stays_valid(
    app_server: AppServer, tmp_path: Path
) -> None:
    path = tmp_path / FINVIZ_FILE
    path.write_text(json.dumps({"strategies": [{"name": "mine", "url": "file:watch.txt"}]}))
    await app_server.app.state.config_store.look()
    assert app_server.context.config_problems == {}
    await ask(app_server, "PUT", f"{PATH}/mine", body={"url": "file:watch.txt", "top_n": 7})
    assert app_server.context.config.finviz.active_strategy.top_n == 7
    refused = await ask(app_server, "PUT", f"{PATH}/mine", 422, body={"url": "file:other.txt"})
    assert "plain name of a .csv file" in refused["detail"]
    await ask(app_server, "PUT", f"{PATH}/mine", body={"url": "file:watch.csv"})
    await ask(app_server, "PUT", f"{PATH}/mine", 422, body={"url": "file:watch.txt"})


@pytest.mark.parametrize("around", [" {}", "{}\r\n", "\n\t{} ", "\u00a0{}\u200b"])
async def test_a_pasted_url_is_saved_without_surrounding_whitespace(
    app_server: AppServer, tmp_path: Path, around: str
) -> None:
    url = "https://finviz.com/screener.ashx?v=111&o=-change"
    body = {"name": "pasted", "url": around.format(url), "refresh_interval_sec": 60}
    await ask(app_server, "POST", PATH, 201, body=body)
    saved = json.loads((tmp_path / FINVIZ_FILE).read_text())["strategies"][-1]
    assert saved["url"] == url
    refused = await ask(app_server, "PUT", f"{PATH}/pasted", 422, body={"url": f"{url}\nand more"})
    assert refused["detail"].endswith("url: must be one line without control characters")


async def test_an_unknown_strategy_is_refused(app_server: AppServer) -> None:
    for method, path in (("PUT", "/none"), ("DELETE", "/none"), ("POST", "/none/activate")):
        body = {"top_n": 1} if method == "PUT" else None
        refused = await ask(app_server, method, PATH + path, 404, body=body)
        assert refused["detail"] == "there is no strategy 'none'; there are: top-gainers"


@pytest.mark.parametrize(
    "name", [".", "..", "a/../b", "a\u202eb", "a\u200bb", " ", "TOP-GAINERS", "top-gainers "]
)
async def test_a_name_that_is_not_distinct_or_not_usable_in_a_url_is_refused(
    app_server: AppServer, name: str
) -> None:
    refused = await ask(app_server, "POST", PATH, 422, body={"name": name, "url": "list:A"})
    assert refused["detail"]
    assert names(await ask(app_server, "GET", PATH)) == ["top-gainers"]


async def test_a_name_is_kept_composed_and_trimmed(app_server: AppServer) -> None:
    body = {"name": " Ac\u0327a\u0303o ", "url": "list:A"}
    assert names(await ask(app_server, "POST", PATH, 201, body=body))[1] == "Ação"
    refused = await ask(app_server, "POST", PATH, 422, body={**body, "name": "ação"})
    assert "another strategy" in refused["detail"]


async def test_a_current_name_stays_valid(
    start_app: Callable[..., Awaitable[AppServer]], tmp_path: Path
) -> None:
    name = " odd\u202e "
    document = {"strategies": [{"name": name, "url": "list:A"}, {"name": "other", "url": "list:B"}]}
    (tmp_path / FINVIZ_FILE).write_text(json.dumps(document))
    app = await start_app()
    path = f"{PATH}/{quote(name)}"
    changed = await ask(app, "PUT", path, body={"name": name, "top_n": 3})
    assert names(changed) == [name, "other"]
    assert names(await ask(app, "PUT", path, body={"name": "plain"})) == ["plain", "other"]
