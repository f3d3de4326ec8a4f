"""Dependencies of the routes behind the sign-in: the context, a connection, the current actor."""

from collections.abc import AsyncIterator
from datetime import UTC, datetime
from typing import Annotated, Any

from fastapi import Depends, Query, Request
from fastapi.security import HTTPBearer
from pydantic import AfterValidator, AwareDatetime, BeforeValidator, Field

from app.audit.repository import Actor
from app.config.checking import check_storable
from app.config.store import ConfigStore
from app.context import AppContext
from app.db.pool import Connection
from app.errors import WrongValueError
from app.signals import tickers
from app.signals.refusals import RefusalCode
from app.signals.selection import SEARCH_LENGTH, Side, SignalFilter
from app.signals.statuses import Outcome
from app.web.authentication import Access, client_address
from app.web.problems import Problem

REFUSALS: dict[int | str, dict[str, Any]] = {
    401: {"model": Problem, "description": "No token, or a wrong one"},
    403: {
        "model": Problem,
        "description": "The token may only read, or the request comes from a page of another origin",
    },
    503: {"model": Problem, "description": "The database does not answer"},
}
# For /openapi.json only: `app.web.authentication` checks the token.
signed_in = Depends(HTTPBearer(auto_error=False, description="ADMIN_TOKEN, or a named token"))

Limit = Annotated[int, Query(ge=1, le=500)]
Cursor = Annotated[int | None, Query(ge=1, le=2**63 - 1, description="`next_cursor` of the previous page")]


def _spelled(ticker: object) -> object:
    return tickers.without_exchange(ticker) if isinstance(ticker, str) else ticker


def _printable(ticker: str) -> str:
    """An alert's ticker is printable: with anything else no alert would match."""
    if not tickers.is_ticker(ticker):
        raise WrongValueError(RefusalCode.TICKER)
    return ticker


TypedTicker = Annotated[
    str, BeforeValidator(_spelled), Field(pattern=tickers.PATTERN), AfterValidator(_printable)
]
"""A ticker in a body; case, an exchange before it and surrounding whitespace are ignored."""
Ticker = Annotated[
    str,
    BeforeValidator(_spelled),
    AfterValidator(tickers.fold),
    Query(
        pattern=tickers.PATTERN,
        description="Only this ticker; case, an exchange before it and surrounding whitespace are ignored",
    ),
]

SourceName = Annotated[
    str, Query(min_length=1, max_length=40, pattern=r"^[^\x00]*$", description="Only signals of this source")
]


def _representable(moment: datetime) -> datetime:
    try:
        return moment.astimezone(UTC)
    except OverflowError:
        raise WrongValueError(RefusalCode.MOMENT_YEARS) from None


Moment = Annotated[AwareDatetime, AfterValidator(_representable)]
"""A time with its offset from UTC."""


def _storable(text: str) -> str:
    check_storable(text)
    return text


Storable = AfterValidator(_storable)
"""Of a text in a body: PostgreSQL can store neither NUL nor half of a surrogate pair."""


def _signal_filter(
    ticker: Ticker | None = None,
    q: Annotated[
        str | None,
        Query(
            max_length=SEARCH_LENGTH,
            pattern=r"^[^\x00]*$",
            description="The beginning of a ticker, of a signal's id or of the sender's id",
        ),
    ] = None,
    start: Annotated[
        Moment | None,
        Query(alias="from", description="Arrived at this time or later, such as 2026-11-22T00:00:00Z"),
    ] = None,
    end: Annotated[Moment | None, Query(alias="to", description="Arrived before this time")] = None,
    side: Annotated[
        Side | None, Query(description="`sell` is every order that closes or reduces a position")
    ] = None,
    source: SourceName | None = None,
    destination: Annotated[
        str | None,
        Query(
            max_length=300,
            pattern=r"^[^\x00]*$",
            description="A destination by its name, or by the origin (or `paper`) of the last attempt",
        ),
    ] = None,
    outcome: Annotated[Outcome | None, Query(description="The last attempt's outcome")] = None,
) -> SignalFilter:
    return SignalFilter((), ticker, source, q, start, end, side, outcome, destination)


WantedSignals = Annotated[SignalFilter, Depends(_signal_filter)]
"""The filter of a list of signals but for its statuses, from the query."""


def context_of(request: Request) -> AppContext:
    """Return the process's shared state."""
    context: AppContext = request.app.state.context
    return context


async def database(request: Request) -> AsyncIterator[Connection]:
    """Yield a connection that may write, until the request ends."""
    async with context_of(request).pool.acquire(timeout=5) as connection:
        yield connection


Database = Annotated[Connection, Depends(database)]


async def reading(request: Request) -> AsyncIterator[Connection]:
    """Yield a read-only connection until the request ends; `app.db.reading` limits it."""
    async with context_of(request).reading.acquire() as connection:
        yield connection


Reading = Annotated[Connection, Depends(reading)]


def actor_of(request: Request) -> Actor:
    """Return who makes the request, for the actions log."""
    access: Access = request.state.access
    return Actor(access.session or "token", client_address(request), access.token.name)


CurrentActor = Annotated[Actor, Depends(actor_of)]


def store_of(request: Request) -> ConfigStore:
    """Return the store that changes the configuration."""
    store: ConfigStore = request.app.state.config_store
    return store


Store = Annotated[ConfigStore, Depends(store_of)]
