"""Dead letters, and their replay once a person has confirmed the count."""

from collections.abc import Sequence
from typing import NamedTuple
from uuid import UUID

from pydantic import BaseModel

from app.config.destinations import DEFAULT_DESTINATION, DestinationConfig
from app.config.model import MaxSignalAge
from app.config.repository import still_configured
from app.db.pool import Connection
from app.errors import ConflictError
from app.orders import dead_letters_repository, repository
from app.orders.dead_letters_repository import DeadLetter, ReplayCandidate
from app.signals.refusals import RefusalCode
from app.signals.selection import SignalFilter
from app.signals.statuses import SignalType

MOST_AT_ONCE = 500


class DeadLetterPage(BaseModel):
    """Newest first. `next_cursor` is what to ask for next, null on the last page."""

    dead_letters: list[DeadLetter]
    next_cursor: int | None


class Choice(NamedTuple):
    """The dead letters to replay; `ids` None is any. At most the oldest 500 of them.

    Without `with_unknown`, entries that the destination may have executed are left out; exits never are.
    `destination`: only what was not delivered there, and only there; None: wherever it was not.
    """

    ids: list[UUID] | None = None
    wanted: SignalFilter = SignalFilter()
    with_unknown: bool = True
    destination: str | None = None


class Replay(BaseModel):
    """`count` can be replayed. `blocked` cannot: a later order of the ticker is pending, or buying is paused.

    `may_be_executed` of the count are entries of unknown outcome: the replay may buy twice. `replayed` is 0
    until the count is confirmed.
    """

    count: int
    may_be_executed: int
    blocked: list[UUID]
    replayed: int


async def page(
    connection: Connection, *, wanted: SignalFilter, limit: int, cursor: int | None
) -> DeadLetterPage:
    """Return the dead letters of a filter before `cursor` (a `seq`), newest first, at most `limit`."""
    rows = await dead_letters_repository.read_dead_letters(
        connection, wanted=wanted, before_seq=cursor, limit=limit + 1
    )
    next_cursor = rows[limit - 1].seq if len(rows) > limit else None
    return DeadLetterPage(dead_letters=rows[:limit], next_cursor=next_cursor)


async def replay(
    connection: Connection,
    choice: Choice,
    confirmed: int | None,
    max_age: MaxSignalAge,
    *,
    destinations: Sequence[DestinationConfig],
    is_buying: bool,
) -> Replay:
    """Count the chosen dead letters; replay them if that count was confirmed.

    Runs in the caller's transaction. Each signal gets a new age and a new round: its webhook-id is `<id>.r2`.
    `is_buying` False: buying is paused, so entries are blocked and stay dead letters.

    Raises:
        ConflictError: another number was confirmed, or nothing can be replayed since no destination takes it.
    """
    await repository.lock_approvals_exclusive(connection)
    destinations = await still_configured(connection, destinations)
    names = [each.name for each in destinations if choice.destination in {None, each.name}]
    found = await dead_letters_repository.read_replay_candidates(
        connection,
        wanted=choice.wanted,
        ids=choice.ids,
        limit=MOST_AT_ONCE,
        is_buying=is_buying,
        with_unknown=choice.with_unknown,
        destinations=names,
        is_everywhere=choice.destination is None,
    )
    places = {signal.id: _places(signal, destinations) for signal in found}
    free = {signal: names for signal, names in places.items() if names}
    blocked = [signal for signal, names in places.items() if not names]
    if not free and any(_is_refused(signal, destinations) for signal in found):
        refusing = [each.name for each in destinations if not each.match.takes_entries]
        raise ConflictError(RefusalCode.NO_ENTRIES_TAKEN, names=", ".join(refusing))
    unclear = sum(bool(set(signal.may_be_executed) & set(places[signal.id])) for signal in found)
    if confirmed is None:
        return Replay(count=len(free), may_be_executed=unclear, blocked=blocked, replayed=0)
    if confirmed != len(free):
        raise ConflictError(RefusalCode.COUNT_CHANGED, confirmed=confirmed, found=len(free))
    replayed = await dead_letters_repository.start_round(
        connection, places=free, buy_seconds=max_age.buy, other_seconds=max_age.sell
    )
    return Replay(count=len(free), may_be_executed=unclear, blocked=blocked, replayed=replayed)


def _places(signal: ReplayCandidate, destinations: Sequence[DestinationConfig]) -> list[str]:
    """Return where a signal is sent again: no entry where the destination's entry has a fault.

    One that was never decided goes where it would have gone: an exit to where its ticker is open or about to
    be, anything else to each destination that takes it, or to `default` if none does.
    """
    is_exit = signal.type != SignalType.BUY
    able = [each.name for each in destinations if is_exit or each.match.takes_entries]
    if signal.is_decided:
        return [name for name in signal.free if name in able]
    wanted = (signal.held if is_exit else []) or [
        each.name
        for each in destinations
        if (each.match.takes_exit if is_exit else each.match.takes)(signal.source, signal.ticker)
    ]
    return [name for name in wanted or [DEFAULT_DESTINATION] if name in signal.free and name in able]


def _is_refused(signal: ReplayCandidate, destinations: Sequence[DestinationConfig]) -> bool:
    """Return whether the destinations where an entry could be sent again take no entries."""
    refusing = {each.name for each in destinations if not each.match.takes_entries}
    return signal.type == SignalType.BUY and not refusing.isdisjoint(signal.free)
