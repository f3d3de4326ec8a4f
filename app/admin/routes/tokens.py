"""Routes to list, create, change and delete the named tokens for page and API."""

import secrets
from collections.abc import Mapping
from hashlib import sha256
from typing import Annotated, Any

from fastapi import APIRouter, Path, Request
from pydantic import BaseModel, ConfigDict, Field

from app.admin.routes.configuration import CHANGE_REFUSALS, problem_of
from app.config.access import FIRST_OPERATOR, SOURCE_LENGTH, Scope
from app.config.checking import Document
from app.config.model import SYSTEM_FILE, Config
from app.errors import NoSuchError
from app.signals.refusals import RefusalCode
from app.web.dependencies import REFUSALS, CurrentActor, Store, context_of, signed_in
from app.web.problems import Problem

_NO_SUCH: dict[int | str, dict[str, Any]] = {404: {"model": Problem, "description": "No such token"}}
_TOKEN_BYTES = 32

router = APIRouter(prefix="/admin/tokens", tags=["tokens"], responses=REFUSALS, dependencies=[signed_in])

Name = Annotated[str, Path(description="The name of the token")]


class ShownToken(BaseModel):
    """A token by its name; `admin` is ADMIN_TOKEN. `read` may not change anything."""

    name: str
    scope: Scope


class Tokens(BaseModel):
    """All tokens, ADMIN_TOKEN first, and the error of the file, if it has one."""

    tokens: list[ShownToken]
    problem: str | None


class NewToken(BaseModel):
    """A token to add."""

    model_config = ConfigDict(extra="forbid")

    name: str = Field(min_length=1, max_length=SOURCE_LENGTH)
    scope: Scope


class TokenScope(BaseModel):
    """What a token may do from now on."""

    model_config = ConfigDict(extra="forbid")

    scope: Scope


class MadeToken(ShownToken):
    """A token that was made: its text is shown this once."""

    token: str


@router.get("")
async def tokens(request: Request) -> Tokens:
    """All tokens by name and scope."""
    context = context_of(request)
    named = [ShownToken(name=token.name, scope=token.scope) for token in context.config.tokens]
    admin = ShownToken(name=FIRST_OPERATOR, scope="operate")
    return Tokens(tokens=[admin, *named], problem=problem_of(context, SYSTEM_FILE))


@router.post("", status_code=201, responses=CHANGE_REFUSALS)
async def create_token(store: Store, actor: CurrentActor, offered: NewToken) -> MadeToken:
    """Make a token. Its text is in the answer, and kept nowhere."""
    made = secrets.token_urlsafe(_TOKEN_BYTES)
    entry = {"name": offered.name, "sha256": sha256(made.encode()).hexdigest(), "scope": offered.scope}

    def edit(config: Config) -> Mapping[str, Document]:
        return _replaced(config, [*_documents(config), entry])

    await store.change(actor, "token.create", edit, target=offered.name)
    return MadeToken(name=offered.name, scope=offered.scope, token=made)


@router.put("/{name:path}", responses={**CHANGE_REFUSALS, **_NO_SUCH})
async def change_token(
    request: Request, store: Store, actor: CurrentActor, name: Name, offered: TokenScope
) -> Tokens:
    """Change what a token may do. Effective at once in every process of the stack."""

    def edit(config: Config) -> Mapping[str, Document]:
        index, documents = _place_of(config, name), _documents(config)
        documents[index] = {**documents[index], "scope": offered.scope}
        return _replaced(config, documents)

    await store.change(actor, "token.change", edit, target=name)
    return await tokens(request)


@router.delete("/{name:path}", responses={**CHANGE_REFUSALS, **_NO_SUCH})
async def delete_token(request: Request, store: Store, actor: CurrentActor, name: Name) -> Tokens:
    """Delete a token. Its sessions end at once in this process, within a second in others."""

    def edit(config: Config) -> Mapping[str, Document]:
        index, documents = _place_of(config, name), _documents(config)
        del documents[index]
        return _replaced(config, documents)

    await store.change(actor, "token.delete", edit, target=name)
    return await tokens(request)


def _place_of(config: Config, name: str) -> int:
    known = [token.name for token in config.tokens]
    if name not in known:
        raise NoSuchError(RefusalCode.NO_TOKEN, name=repr(name), names=", ".join([FIRST_OPERATOR, *known]))
    return known.index(name)


def _documents(config: Config) -> list[Document]:
    """Return the tokens as documents, in the order of `config.tokens`."""
    return list(config.documents.get(SYSTEM_FILE, {}).get("tokens") or [])


def _replaced(config: Config, documents: list[Document]) -> Mapping[str, Document]:
    return {SYSTEM_FILE: {**config.documents.get(SYSTEM_FILE, {}), "tokens": documents}}
