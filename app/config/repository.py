"""Table `configuration`: its one row is the current revision, which all processes of a stack share."""

import json
from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from app.config.checking import Document
from app.config.destinations import DEFAULT_DESTINATION, DestinationConfig, DestinationUse
from app.config.model import DECIDED, WEBHOOK_FILE
from app.db.pool import Connection, Pool
from app.db.queries import load

_SQL = load("app.config")


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
    """Return those of a process's destinations that no other process has removed.

    The caller's transaction holds the approval lock: none is removed until it ends, so that no order is made
    where nothing is sent.
    """
    if len(destinations) == 1:  # `default`, which is never removed
        return list(destinations)
    revision = await current(connection)
    if revision is None:
        return list(destinations)
    names = {DEFAULT_DESTINATION, *_listed_names(revision.documents)}
    return [each for each in destinations if each.name in names]


def _listed_names(documents: Mapping[str, Any]) -> set[str]:
    """Return the names in the list of destinations; read here, since SQL cannot read every JSON text."""
    webhook = documents.get(WEBHOOK_FILE)
    listed = webhook.get("destinations") if isinstance(webhook, dict) else None
    entries = listed if isinstance(listed, list) else []
    names = (each.get("name") for each in entries if isinstance(each, dict))
    return {name for name in names if isinstance(name, str)}


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
