"""Routes to list, create, change and delete the named tokens for page and API."""

import secrets
from collections.abc import Mapping
from hashlib import sha256
from typing import TYPE_CHECKING, Annotated, Any

from fastapi import Path, Request
from pydantic import BaseModel, ConfigDict, Field

from app.admin.routes.configuration import CHANGE_REFUSALS, problem_of
from app.config.access import FIRST_OPERATOR, SOURCE_LENGTH, Scope, is_entry_of
from app.config.checking import Document
from app.config.model import SYSTEM_FILE, Config
from app.config.store import token_named
from app.web.dependencies import REFUSALS, CurrentActor, Store, context_of, signed_in
from app.web.problems import Problem
from app.web.routing import new_router

if TYPE_CHECKING:
    from app.web.authentication import EndedSessions

_NO_SUCH: dict[int | str, dict[str, Any]] = {404: {"model": Problem, "description": "No such token"}}
_TOKEN_BYTES = 32

router = new_router(prefix="/admin/tokens", tags=["tokens"], responses=REFUSALS, dependencies=[signed_in])

Name = Annotated[str, Path(description="The name of the token")]


class ShownToken(BaseModel):
    """A token by its name; `admin` is ADMIN_TOKEN. `read` may not change anything.

    `is_revoked`: it was removed and is refused, but its entry is still, or again, in the file.
    """

    name: str
    scope: Scope
    is_revoked: bool = False


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
    ended: EndedSessions = request.app.state.ended_sessions
    named = [
        ShownToken(name=token.name, scope=token.scope, is_revoked=ended.is_revoked(token))
        for token in context.config.tokens
    ]
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
    """Change what a token may do. Its sessions end at once in this process, within a second in others."""

    def edit(config: Config) -> Mapping[str, Document]:
        token, documents = token_named(config, name), _documents(config)
        changed = [
            {**each, "scope": offered.scope} if is_entry_of(token, each) else each for each in documents
        ]
        return _replaced(config, changed)

    await store.change(actor, "token.change", edit, target=name)
    return await tokens(request)


@router.delete("/{name:path}", responses=_NO_SUCH)
async def delete_token(request: Request, store: Store, actor: CurrentActor, name: Name) -> Tokens:
    """Delete a token for good. Its sessions end at once in this process, within a second in others.

    It is refused from then on also if its entry is in the file: an error elsewhere keeps the file unchanged.
    """
    await store.revoke_token(actor, name)
    ended: EndedSessions = request.app.state.ended_sessions
    await ended.see_revoked()
    return await tokens(request)


def _documents(config: Config) -> list[Document]:
    """Return the list of the file, also with entries that are ignored."""
    listed = config.documents.get(SYSTEM_FILE, {}).get("tokens") or []
    return list(listed) if isinstance(listed, list) else []


def _replaced(config: Config, documents: list[Document]) -> Mapping[str, Document]:
    return {SYSTEM_FILE: {**config.documents.get(SYSTEM_FILE, {}), "tokens": documents}}
