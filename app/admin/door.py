"""What every signed-in route shares: its refusals, the runtime, a connection, who asks (SPEC §14)."""

from collections.abc import AsyncIterator
from typing import TYPE_CHECKING, Annotated, Any

from fastapi import Depends, Query, Request
from fastapi.security import HTTPBearer
from pydantic import BeforeValidator

from app.actions import Actor
from app.admin.guard import client_address
from app.admin.schemas import Problem
from app.config_store import ConfigStore
from app.db.pool import Connection
from app.runtime import Runtime

if TYPE_CHECKING:
    from app.admin.session import Access

REFUSALS: dict[int | str, dict[str, Any]] = {
    401: {"model": Problem, "description": "No token, or a wrong one"},
    403: {"model": Problem, "description": "The request comes from a page of another origin"},
    503: {"model": Problem, "description": "The database does not answer"},
}
# Only so that /openapi.json says how to sign in: the guard does the asking.
signed_in = Depends(HTTPBearer(auto_error=False, description="ADMIN_TOKEN"))

Ticker = Annotated[
    str,
    BeforeValidator(lambda ticker: ticker.strip().upper()),
    Query(
        pattern=r"^[A-Z0-9.-]{1,20}$",
        description="only this ticker; case and blanks at the ends do not count",
    ),
]


def runtime_of(request: Request) -> Runtime:
    """The process's shared state."""
    runtime: Runtime = request.app.state.runtime
    return runtime


async def database(request: Request) -> AsyncIterator[Connection]:
    """A connection that may write, for the length of the request."""
    async with runtime_of(request).pool.acquire(timeout=5) as connection:
        yield connection


Database = Annotated[Connection, Depends(database)]


async def reading(request: Request) -> AsyncIterator[Connection]:
    """A connection that only reads, for the length of the request; limited, see `app.db.reading`."""
    async with runtime_of(request).reading.acquire() as connection:
        yield connection


Reading = Annotated[Connection, Depends(reading)]


def actor_of(request: Request) -> Actor:
    """Who asks, for the actions log."""
    access: Access = request.state.access
    return Actor(access.session or "token", client_address(request))


Acting = Annotated[Actor, Depends(actor_of)]


def store_of(request: Request) -> ConfigStore:
    """What changes the configuration."""
    store: ConfigStore = request.app.state.config_store
    return store


Store = Annotated[ConfigStore, Depends(store_of)]
