"""The OpenAPI document is the truth (SPEC §14): odd requests to every route, and no undocumented answer."""

from __future__ import annotations

import asyncio
import re
import sys
from typing import TYPE_CHECKING

from tests.api.conftest import ADMIN_TOKEN

if TYPE_CHECKING:
    from pathlib import Path

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


async def test_a_client_generator_finds_plain_names_and_who_may_ask(app_server: AppServer) -> None:
    """One model has one name, operations read well, and public routes say that they are."""
    async with app_server.http.get("/openapi.json") as answer:
        document = await answer.json()
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
