"""A Python client generated from the running application's OpenAPI document."""

from __future__ import annotations

import asyncio
import importlib
import inspect
import json
import sys
from contextlib import contextmanager
from dataclasses import dataclass, field
from http import HTTPStatus
from typing import TYPE_CHECKING, Any
from uuid import uuid4

from tests.api.operator import BEARER

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path
    from types import ModuleType

    from tests.api.conftest import AppServer

CONFIGURATION = "post_hooks: []\n"  # how the code looks does not matter here


@dataclass(frozen=True, slots=True)
class Operation:
    """An operation of the document: its answers and security there, and its module of the client."""

    name: str
    method: str
    description: dict[str, Any]
    module: ModuleType

    @property
    def success(self) -> HTTPStatus:
        """The one status of its success."""
        (status,) = (int(each) for each in self.description["responses"] if each.startswith("2"))
        return HTTPStatus(status)

    @property
    def is_public(self) -> bool:
        """Return whether the document says that the operation is public."""
        return {} in self.description["security"] or not self.description["security"]

    @property
    def client_kind(self) -> Any:
        """The kind of client that the generated function takes."""
        return inspect.signature(self.module.sync_detailed).parameters["client"].annotation

    def schema(self, status: int) -> dict[str, Any]:
        """Return the schema of its response with a status."""
        (content,) = self.description["responses"][str(status)]["content"].values()
        schema: dict[str, Any] = content["schema"]
        return schema


@dataclass(slots=True)
class GeneratedClient:
    """The generated package, its operations by name, and what they were called with."""

    package: str
    url: str
    operations: dict[str, Operation]
    calls: dict[str, dict[str, Any]] = field(default_factory=dict)

    @property
    def models(self) -> ModuleType:
        """Every generated model."""
        return importlib.import_module(f"{self.package}.models")

    def client(self, **headers: str) -> Any:
        """Return a client that raises on an undocumented status."""
        module = importlib.import_module(f"{self.package}.client")
        # No certificate is asked for; to read those of all authorities takes longer than a request.
        return module.Client(self.url, headers=headers, raise_on_unexpected_status=True, verify_ssl=False)

    async def call(self, name: str, /, **arguments: Any) -> Any:
        """Call an operation with the token, and return its documented success response."""
        self.calls[name] = arguments
        operation = self.operations[name]
        headers = {} if operation.is_public else BEARER
        return await self.ask(name, operation.success, headers, **arguments)

    async def ask(self, name: str, expected: int, headers: dict[str, str], /, **arguments: Any) -> Any:
        """Call an operation, and return its response, parsed by the schema of the expected status."""
        answer = await self.send(name, self.client(**headers), **arguments)
        assert answer.status_code == expected, (name, answer)
        self._check(answer, self.operations[name].schema(expected))
        return answer.parsed

    async def send(self, name: str, client: Any, /, **arguments: Any) -> Any:
        """Send a request by a client of the package; return the answer, whatever its status.

        In a thread: the generated functions for asyncio cannot send a file.
        """
        if payload := getattr(arguments.get("body"), "payload", None):
            payload.seek(0)
        with client:
            return await asyncio.to_thread(
                self.operations[name].module.sync_detailed, client=client, **arguments
            )

    def _check(self, answer: Any, schema: dict[str, Any]) -> None:
        """Assert that the response's content is documented, and that parsing lost nothing."""
        if schema == {"type": "string"}:
            assert answer.parsed == answer.content.decode("utf-8")
            return
        if schema.get("type") == "array":
            kind = getattr(self.models, _class_name(schema["items"]))
            assert all(isinstance(each, kind) for each in answer.parsed)
            back = [each.to_dict() for each in answer.parsed]
        else:
            assert isinstance(answer.parsed, getattr(self.models, _class_name(schema)))
            back = answer.parsed.to_dict()
        assert _utc(back) == _utc(json.loads(answer.content))
        assert undocumented(answer.parsed) == []


def _class_name(schema: dict[str, Any]) -> str:
    name: str = schema["$ref"].rpartition("/")[2]
    return name


def _utc(value: Any) -> Any:
    """Return the value with one spelling of UTC in its times."""
    if isinstance(value, dict):
        return {key: _utc(each) for key, each in value.items()}
    if isinstance(value, list):
        return [_utc(each) for each in value]
    if isinstance(value, str) and value[:1].isdigit() and value.endswith("Z"):
        return f"{value[:-1]}+00:00"
    return value


def undocumented(value: Any, place: str = "") -> list[str]:
    """Return the keys of a response that the document does not name, where it names keys at all."""
    if isinstance(value, list):
        return [found for each in value for found in undocumented(each, place)]
    names = {each.name for each in getattr(type(value), "__attrs_attrs__", ())}
    found = list[str]()
    if len(names) > 1 and "additional_properties" in names:
        found += [f"{place}.{key}" for key in value.additional_properties]
    for name in names - {"additional_properties"}:
        found += undocumented(getattr(value, name), f"{place}.{name}")
    return found


class Generator:
    """Generates a package once for each document that applications serve: that takes seconds."""

    def __init__(self, folder: Path) -> None:
        self._folder = folder
        self._packages = dict[str, str]()

    async def client(self, app: AppServer) -> GeneratedClient:
        """Return a client generated from what the application serves; a warning of the generator fails."""
        async with app.http.get("/openapi.json") as answer:
            served = await answer.text()
        if served not in self._packages:
            self._packages[served] = await self._generate(served)
        package = self._packages[served]
        return GeneratedClient(package, app.url, dict(_operations(package, json.loads(served))))

    @contextmanager
    def importable(self) -> Iterator[None]:
        """Let the packages be imported until the block ends."""
        sys.path.insert(0, str(self._folder))
        try:
            yield
        finally:
            sys.path.remove(str(self._folder))
            packages = set(self._packages.values())
            for name in [name for name in sys.modules if name.partition(".")[0] in packages]:
                del sys.modules[name]

    async def _generate(self, served: str) -> str:
        package = f"client_{uuid4().hex}"
        configuration, document = self._folder / "generator.yml", self._folder / "openapi.json"
        configuration.write_text(CONFIGURATION)
        document.write_text(served)
        generator = await asyncio.create_subprocess_exec(
            *(sys.executable, "-m", "openapi_python_client", "generate"),
            *("--path", str(document)),  # by itself it would wait for no more than 5 s
            *("--config", str(configuration)),
            *("--meta", "none", "--output-path", str(self._folder / package), "--fail-on-warning"),
            stdout=asyncio.subprocess.PIPE,
            stderr=asyncio.subprocess.STDOUT,
            cwd=self._folder,
        )
        output, _ = await generator.communicate()
        assert generator.returncode == 0, output.decode()
        assert b"warning" not in output.lower(), output.decode()
        return package


def _operations(package: str, document: dict[str, Any]) -> list[tuple[str, Operation]]:
    return [
        (operation["operationId"], _operation(package, method, operation))
        for methods in document["paths"].values()
        for method, operation in methods.items()
    ]


def _operation(package: str, method: str, description: dict[str, Any]) -> Operation:
    tag, name = description["tags"][0].replace(" ", "_"), description["operationId"]
    module = importlib.import_module(f"{package}.api.{tag}.{name}")
    return Operation(name, method, description, module)
