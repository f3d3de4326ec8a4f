"""Table `configuration`: its one row is the current revision, which all processes of a stack share."""

import json
from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from app.config.checking import Document
from app.config.destinations import DestinationConfig, DestinationUse
from app.config.model import DECIDED, WEBHOOK_FILE
from app.db.pool import Connection, Pool
from app.db.queries import load

_SQL = load("app.config")

REMOVED = "removed"  # the recorded kind of a destination that is not configured any more


@dataclass(frozen=True, slots=True)
class Revision:
    """A stored configuration: documents by file name, and `DECIDED` where switches are not in their file."""

    number: int
    documents: dict[str, Any]


async def lock(connection: Connection) -> None:
    """Lock the configuration against changes by any process, until the transaction ends."""
    await connection.execute(_SQL["lock"])


async def current_number(connection: Connection | Pool) -> int | None:
    """Return the number of the current revision; None before the first one."""
    number: int | None = await connection.fetchval(_SQL["current_number"])
    return number


async def current(connection: Connection | Pool) -> Revision | None:
    """Return the current revision; None before the first one."""
    row = await connection.fetchrow(_SQL["current"])
    return None if row is None else Revision(row["revision"], _parse(row["revision"], row["documents"]))


async def store(connection: Connection, *, revision: int, documents: Mapping[str, Document]) -> None:
    """Replace the current revision. The caller holds the lock; `revision` is one more than the current."""
    await connection.execute(_SQL["store"], revision, _render(revision, documents))


async def destinations_in_use(connection: Connection, *, names: Collection[str]) -> list[DestinationUse]:
    """Return those of the destinations that have an open position or an unfinished order."""
    return [DestinationUse(**row) for row in await connection.fetch(_SQL["destinations_in_use"], list(names))]


async def still_configured(
    connection: Connection, destinations: Sequence[DestinationConfig]
) -> list[DestinationConfig]:
    """Return those of a process's destinations that deliver as it has them configured, live or on paper.

    The others were removed or changed by another process, or what is open there is of the other kind. The
    caller's transaction holds the approval lock: none changes until it ends, so that no order is made where
    nothing is sent.
    """
    recorded = await recorded_kinds(connection)
    return [each for each in destinations if recorded.get(each.name, each.kind) == each.kind]


async def is_changing(connection: Connection, destinations: Collection[DestinationConfig]) -> bool:
    """Return whether one is still recorded with another kind, which its process changes within a second."""
    recorded = await recorded_kinds(connection)
    names = {
        each.name for each in destinations if recorded.get(each.name, each.kind) not in {each.kind, REMOVED}
    }
    return bool(names) and names != await kinds_in_use(connection, names=names)


async def recorded_kinds(connection: Connection | Pool) -> dict[str, str]:
    """Return by destination what is open there, `live` or `paper`; `removed` where it is not configured."""
    rows = await connection.fetch(_SQL["recorded_kinds"])
    return {row["destination"]: row["kind"] for row in rows}


async def kinds_in_use(connection: Connection, *, names: Collection[str]) -> set[str]:
    """Return those of the destinations whose kind must stay: something is, may be or is about to be open."""
    rows = await connection.fetch(_SQL["kinds_in_use"], list(names))
    return {row["destination"] for row in rows}


async def record_kinds(connection: Connection, *, kinds: Mapping[str, str]) -> None:
    """Record the kinds of destinations; the caller's transaction holds the approval lock."""
    await connection.execute(_SQL["record_kinds"], list(kinds), list(kinds.values()))


async def revoke_tokens(connection: Connection, *, digests: Collection[str]) -> None:
    """Store, in the transaction of their removal, that tokens with these SHA-256 are never accepted again."""
    await connection.execute(_SQL["revoke_tokens"], list(digests))


def _render(revision: int, documents: Mapping[str, Document]) -> str:
    """Return the text of a revision; the decided switches name the revision they belong to."""
    decided = (
        {DECIDED: {"revision": revision, "switches": documents[DECIDED]}} if DECIDED in documents else {}
    )
    return json.dumps({**documents, **decided})


def _parse(revision: int, text: str) -> dict[str, Any]:
    """Return a revision's documents, with the decided switches only if this very revision decided them.

    A version that does not know the member copies it into later revisions, whatever people switch then.
    Fails open: the pauses in such a revision are the newer decision, so that a resume stays a resume.
    """
    documents: dict[str, Any] = json.loads(text)
    match documents.pop(DECIDED, None):
        case {"revision": int(number), "switches": dict(switches)} if number == revision:
            documents[DECIDED] = switches
    return _with_paper_named(documents)


def _with_paper_named(documents: dict[str, Any]) -> dict[str, Any]:
    """Return the documents with an empty URL where an older version took another empty value for paper.

    Fails open: the destination stays current, so that the process starts. The file is refused.
    """
    webhook = documents.get(WEBHOOK_FILE)
    if not isinstance(webhook, dict) or webhook.get("url") is None or isinstance(webhook["url"], str):
        return documents
    return documents if webhook["url"] else {**documents, WEBHOOK_FILE: {**webhook, "url": ""}}
