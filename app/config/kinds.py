"""How destinations deliver, live or on paper: that changes only while nothing is open there.

What is open at a destination is of the kind that the table `destination_kinds` has. A change of the files or
by a person that would give it another kind is refused. A variable of .env cannot be refused: while it gives
another kind, the destination counts as not configured (`still_configured`). So no exit goes to paper for
shares at a broker, nor to a broker for shares on paper.
"""

from collections.abc import Awaitable, Callable, Collection

from app.config import repository
from app.config.destinations import DestinationUse
from app.config.model import Config
from app.db.pool import Connection, Pool
from app.signals.reasons import Reason

Lock = Callable[[Connection], Awaitable[None]]
"""Waits until no other transaction makes orders; none does until this one ends."""


async def refusal_of(connection: Connection, before: Config, after: Config, lock: Lock) -> Reason | None:
    """Return why a destination cannot be removed, or become paper or live; what puts it right is allowed.

    Fails closed: the exits of its positions would reach no broker, or one that never held the shares. Where
    nothing is open or unfinished, no decision may make an order before the change is committed. Exits of all
    destinations are decided after that, which takes as long as it takes to write the file.
    """
    kinds, recorded = after.kinds, await repository.recorded_kinds(connection)
    changed = {
        name for name, kind in before.kinds.items() if kinds.get(name) not in {kind, recorded.get(name)}
    }
    if not changed:
        return None
    to_live = {name for name in changed if kinds.get(name) == "live"}
    used = await _in_use(connection, changed, to_live)
    if not used:
        await lock(connection)
        used = await _in_use(connection, changed, to_live)
    return used[0].refusal if used else None


async def _in_use(
    connection: Connection, names: Collection[str], to_live: Collection[str]
) -> list[DestinationUse]:
    """Return what is in use; of a destination that becomes live, only what was opened on paper."""
    kept = await repository.kinds_in_use(connection, names=to_live)
    used = await repository.destinations_in_use(connection, names=names)
    return [each for each in used if each.name not in to_live or each.name in kept]


async def record(connection: Connection, config: Config, lock: Lock) -> set[str]:
    """Record the kind of each destination; return those whose kind stays, as what is open there is of it.

    A pending exit does not count: where nothing is open, it is rejected when it is claimed.
    """
    recorded = await repository.recorded_kinds(connection)
    wanted = {**dict.fromkeys(recorded, repository.REMOVED), **config.kinds}
    changed = {name: kind for name, kind in wanted.items() if recorded.get(name) != kind}
    known = changed.keys() & recorded.keys()
    used = await repository.kinds_in_use(connection, names=known) if known else set()
    if known - used:
        await lock(connection)
        used = await repository.kinds_in_use(connection, names=known)
    if free := {name: kind for name, kind in changed.items() if name not in used}:
        await repository.record_kinds(connection, kinds=free)
    return used & config.kinds.keys()


async def is_recorded(pool: Pool, config: Config) -> bool:
    """Return whether each destination delivers as it is configured."""
    recorded = await repository.recorded_kinds(pool)
    return all(recorded.get(name) == kind for name, kind in config.kinds.items())
