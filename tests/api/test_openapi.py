"""The OpenAPI document is complete: odd requests to every route, and no undocumented response."""

from __future__ import annotations

import asyncio
import re
import sys
from typing import TYPE_CHECKING, Any

import pytest

from app.admin.routes.configuration import (
    BuySell,
    BuySellSeconds,
    RiskValues,
    SystemValues,
    WebhookValues,
)
from app.admin.routes.strategies import StrategyValues
from app.config.switches import PAUSES
from tests.api.conftest import ADMIN_TOKEN
from tests.api.operator import ask

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable
    from pathlib import Path

    from app.admin.value_schemas import SectionValues
    from tests.api.conftest import AppServer

CHECKS = "not_a_server_error,status_code_conformance,content_type_conformance,response_schema_conformance"


async def test_every_answer_is_documented_and_none_is_an_error_of_ours(
    app_server: AppServer, tmp_path: Path
) -> None:
    schemathesis = await asyncio.create_subprocess_exec(
        sys.executable,
        "-m",
        "schemathesis.cli",
        "run",
        f"{app_server.url}/openapi.json",
        f"--header=Authorization: Bearer {ADMIN_TOKEN}",
        f"--checks={CHECKS}",
        "--phases=examples,coverage,fuzzing",
        "--max-examples=15",
        "--generation-deterministic",
        "--continue-on-failure",
        "--suppress-health-check=all",
        "--warnings=off",
        "--no-color",
        stdout=asyncio.subprocess.PIPE,
        stderr=asyncio.subprocess.STDOUT,
        cwd=tmp_path,
    )
    output, _ = await schemathesis.communicate()
    assert schemathesis.returncode == 0, output.decode()


async def test_a_client_generator_finds_plain_names_and_the_security_of_each_operation(
    app_server: AppServer,
) -> None:
    """Each model has one name, operations have readable names, and public routes are marked."""
    async with app_server.http.get("/openapi.json") as answer:
        document = await answer.json()
        assert r"\Z" not in await answer.text()  # which expressions of JSON Schema do not have
    assert [name for name in document["components"]["schemas"] if "__" in name] == []
    operations = {
        (path, method): operation
        for path, methods in document["paths"].items()
        for method, operation in methods.items()
    }
    ids = [operation["operationId"] for operation in operations.values()]
    assert len(set(ids)) == len(ids)
    assert all(re.fullmatch(r"[a-z]+(_[a-z]+)*", each) and "admin" not in each for each in ids)
    for (path, _), operation in operations.items():
        if path.startswith("/health"):
            assert operation["security"] == []
        elif path.startswith("/webhook/in"):
            schemes = {name for each in operation["security"] for name in each}
            assert schemes <= document["components"]["securitySchemes"].keys()
            assert schemes
        else:
            assert operation["security"] == [{"HTTPBearer": []}]
            assert {"401", "403", "503"} <= operation["responses"].keys()


SECTIONS: list[tuple[str, type[SectionValues], str]] = [
    ("/admin/webhook/config", WebhookValues, ""),
    ("/admin/webhook/config", BuySell, "retry_unknown"),
    ("/admin/webhook/config", BuySellSeconds, "max_signal_age_seconds"),
    ("/admin/system/config", SystemValues, ""),
    ("/admin/system/config", RiskValues, "risk"),
    ("/admin/finviz/strategies/mine", StrategyValues, ""),
]
WRITTEN_BY_SWITCHES = {*PAUSES, "buys"}


def beyond(schema: dict[str, Any]) -> list[Any]:
    """Return values just outside of what a schema allows."""
    found: list[Any] = [schema["maximum"] + 1] if "maximum" in schema else []
    if "minimum" in schema:
        found.append(schema["minimum"] - 1)
    if "exclusiveMinimum" in schema:
        found.append(schema["exclusiveMinimum"])
    if "maxLength" in schema:
        found.append("x" * (schema["maxLength"] + 1))
    if schema.get("minLength"):
        found.append("")
    if "enum" in schema:
        found.append("something else")
    if "items" in schema:
        one = schema["items"].get("maximum", "NVDA")
        if schema.get("minItems"):
            found.append([])
        found += [[one] * (schema["maxItems"] + 1), *([each] for each in beyond(schema["items"]))]
    return found


def within(schema: dict[str, Any]) -> list[Any]:
    """Return values at the limits of what a schema allows."""
    if "items" in schema:
        one = schema["items"].get("maximum", "NVDA")
        return [[one] * schema.get(each, 0) for each in ("minItems", "maxItems")]
    if schema.get("type") == "boolean":
        return [True, False]
    return [*schema.get("enum", ()), *(schema[each] for each in ("minimum", "maximum") if each in schema)]


@pytest.mark.parametrize(
    ("path", "kind", "place"), SECTIONS, ids=lambda value: getattr(value, "__name__", "")
)
async def test_the_documented_limits_are_those_that_refuse(
    start_app: Callable[..., Awaitable[AppServer]],
    tmp_path: Path,
    path: str,
    kind: type[SectionValues],
    place: str,
) -> None:
    (tmp_path / "finviz_config.json").write_text('{"strategies": [{"name": "mine", "url": "list:NVDA"}]}')
    app = await start_app()
    async with app.http.get("/openapi.json") as answer:
        schemas = (await answer.json())["components"]["schemas"]
    sent, answered = (schemas[f"{kind.__name__}-{way}"] for way in ("Input", "Output"))
    fields = set(kind.section.__struct_fields__)
    assert sent["properties"].keys() == answered["properties"].keys() == fields
    assert set(answered["required"]) == fields
    assert "required" not in sent  # what is left out stays
    checked = 0
    for name in fields - WRITTEN_BY_SWITCHES:
        schema, null = sent["properties"][name]["anyOf"]
        assert null == {"type": "null"}
        for value in beyond(schema):
            body = {place: {name: value}} if place else {name: value}
            refused = await ask(app, "PUT", path, 422, body)
            assert refused["place"].rpartition(".")[2].startswith(name)
            checked += 1
        for value in within(schema):
            await ask(app, "PUT", path, 200, {place: {name: value}} if place else {name: value})
            checked += 1
    assert checked >= 2 * len(fields - WRITTEN_BY_SWITCHES - {"url", "name", "description"})


async def test_a_new_strategy_needs_every_value_without_a_default(app_server: AppServer) -> None:
    async with app_server.http.get("/openapi.json") as answer:
        schemas = (await answer.json())["components"]["schemas"]
    assert schemas["NewStrategy"]["required"] == ["name", "url"]
    for name in ("name", "url"):
        body = {"name": "new", "url": "list:NVDA"}
        del body[name]
        assert (await ask(app_server, "POST", "/admin/finviz/strategies", 422, body))["place"]
