"""A refusal is in the reader's language, English by default, and is logged."""

from __future__ import annotations

import html
from typing import TYPE_CHECKING
from uuid import UUID

import pytest

from tests.api.operator import BEARER, ask, log_of

if TYPE_CHECKING:
    from tests.api.conftest import AppServer

NOBODY = str(UUID(int=7))
STRATEGIES = "/admin/finviz/strategies"
# the request; its status, and the refusal in English and in Portuguese
REFUSALS = [
    (
        ("POST", "/admin/order/close-position", {"position_id": NOBODY}, "order.close-position", NOBODY),
        (404, "there is no such position: ", "não existe essa posição: "),
    ),
    (
        (
            *("POST", "/admin/order/mark-closed", {"position_id": NOBODY, "reason": "x"}),
            *("order.mark-closed", NOBODY),
        ),
        (404, "there is no such position: ", "não existe essa posição: "),
    ),
    *(
        (
            ("POST", f"/admin/positions/{NOBODY}/{verb}", None, f"position.{verb}", NOBODY),
            (404, "there is no such position: ", "não existe essa posição: "),
        )
        for verb in ("confirm", "dismiss")
    ),
    (
        ("POST", "/admin/dead-letters/replay", {"confirm": 3}, "dead-letters.replay", ""),
        (409, "the count has changed from 3 to 0: ", "a quantidade mudou de 3 para 0: "),
    ),
    (
        ("POST", f"{STRATEGIES}/none/activate", None, "strategy.activate", "none"),
        (404, "there is no strategy 'none'; ", "não existe a estratégia 'none'; "),
    ),
    (
        ("PUT", f"{STRATEGIES}/none", {"top_n": 1}, "strategy.change", "none"),
        (404, "there is no strategy 'none'; ", "não existe a estratégia 'none'; "),
    ),
    (
        ("DELETE", f"{STRATEGIES}/top-gainers", None, "strategy.delete", "top-gainers"),
        (409, "'top-gainers' is the active strategy: ", "'top-gainers' é a estratégia ativa: "),
    ),
    (
        ("POST", STRATEGIES, {"name": "top-gainers", "url": "list:A"}, "strategy.create", "top-gainers"),
        (
            422,
            "config/finviz_config.json: strategies: names must be unique",
            "config/finviz_config.json: strategies: os nomes não podem se repetir",
        ),
    ),
    (
        ("POST", STRATEGIES, {"name": "x", "url": "list:?"}, "strategy.create", "x"),
        (
            422,
            "config/finviz_config.json: strategies[1].url: entry 1 of the list is not a ticker: ",
            "config/finviz_config.json: strategies[1].url: o item 1 da lista não é um ticker: ",
        ),
    ),
    (
        ("PUT", "/admin/webhook/config", {"url": "broker"}, "webhook.configure", ""),
        (
            422,
            "config/webhook_config.json: url: must be an http:// or https:// URL",
            "config/webhook_config.json: url: deve ser uma URL http:// ou https://",
        ),
    ),
    (
        ("PUT", "/admin/system/config", {"intake_paused": True}, "system.configure", ""),
        (
            422,
            "config/system_config.json: intake_paused: pauses are switched by POST /admin/intake/pause",
            "config/system_config.json: intake_paused: as pausas são ligadas e desligadas por POST /admin/",
        ),
    ),
    (
        ("POST", "/admin/database/import", {}, "database.import", ""),
        (422, "the first line has no column id, ", "a primeira linha não tem a coluna id, "),
    ),
]  # fmt: skip


async def test_a_refusal_is_in_the_reader_s_language_and_logged(app_server: AppServer) -> None:
    logged = []
    for (method, path, body, action, target), (status, english, portuguese) in REFUSALS:
        refused = await ask(app_server, method, path, status, body=body)
        assert refused["detail"].startswith(english)
        for asks_for in ({"Accept-Language": "pt-BR,pt;q=0.9"}, {"Cookie": "language=pt-BR"}):
            headers = {**BEARER, **asks_for}
            async with app_server.http.request(method, path, json=body, headers=headers) as answer:
                assert answer.status == status
                assert (await answer.json())["detail"].startswith(portuguese)
        logged += [(action, target, None, f"refused: {refused['detail']}")] * 3
    assert [(*entry[2:4], *entry[5:]) for entry in await log_of(app_server)] == logged
    stored = "SELECT count(result_code) = count(*) AND count(result_params) = count(*) FROM actions"
    assert await app_server.context.pool.fetchval(stored)
    headers = {**BEARER, "Accept-Language": "pt-BR"}
    async with app_server.http.get("/admin/page/actions", headers=headers) as page:
        shown = html.unescape(await page.text())
    assert [words for _, (_, english, words) in REFUSALS if words not in shown or english in shown] == []


@pytest.mark.parametrize(
    ("path", "body", "english", "portuguese"),
    [
        ("order/close-position", b"{}", "is required", "é obrigatório"),
        (
            "order/sell-individual",
            b'{"ticker": "A\\u0000"}',
            "must be a ticker",
            "deve ser um ticker",
        ),
        ("order/sell-individual", b"\xff", "is not valid JSON in UTF-8", "não é JSON válido em UTF-8"),
        ("order/sell-individual", b"{", "is not valid JSON", "não é JSON"),
    ],
)
async def test_an_unreadable_request_is_refused_and_is_no_action(
    app_server: AppServer, path: str, body: bytes, english: str, portuguese: str
) -> None:
    for language, told in (("en", english), ("pt", portuguese)):
        headers = {**BEARER, "Accept-Language": language, "Content-Type": "application/json"}
        async with app_server.http.post(f"/admin/{path}", data=body, headers=headers) as answer:
            assert answer.status == 422
            (problem,) = (await answer.json())["detail"]
            assert problem["msg"].startswith(told)
            assert problem["loc"][0] == "body"
    assert await log_of(app_server) == []


async def test_another_origin_and_a_missing_token_are_refused_with_a_text(app_server: AppServer) -> None:
    pause, headers = "/admin/engine/pause", {"Accept-Language": "pt-BR"}
    async with app_server.http.post(pause, headers=headers) as answer:
        assert (answer.status, (await answer.json())["detail"][:28]) == (401, "isto exige o ADMIN_TOKEN: en")
    headers |= {**BEARER, "Origin": "https://elsewhere.example"}
    async with app_server.http.post(pause, headers=headers) as answer:
        assert (answer.status, (await answer.json())["detail"][:25]) == (403, "recusado: a requisição ve")
    assert await log_of(app_server) == []
