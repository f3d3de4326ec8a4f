"""Preparation of a restored database, before it takes the place of the current one.

What the limits count is carried over: the destination counts what it got, whichever database is in use. Then
each signal and order that is not final ends, so that nothing old is sent, and delivery is paused. Exits wait
as well until a person resumes it: the restored positions may be others than the broker's.
"""

from urllib.parse import urlsplit, urlunsplit

import msgspec

from app.db.pool import connect
from app.settings import Settings
from app.transfer import restored_repository

_ROLE = "restore"
# A restored schema that has orders has the trigger, too, that lets them follow their signals.
_FOLLOWED = {"trading_signals.writes_orders": "off"}


async def prepare(settings: Settings, database: str) -> str:
    """Prepare the database of that name on the server of DATABASE_URL; return what was done as JSON.

    It is one transaction: a failure leaves the restored database as it was. The current one is only read.
    """
    current = await connect(settings.database_url, role=_ROLE, command_seconds=None)
    try:
        carried = await restored_repository.read_carried(current)
    finally:
        await current.close()
    restored = await connect(
        _address(settings.database_url, database), role=_ROLE, command_seconds=None, settings=_FOLLOWED
    )
    try:
        async with restored.transaction():
            await restored_repository.carry_over(restored, carried)
            held = await restored_repository.expire_unfinished(restored)
            await restored_repository.pause_delivery(restored, switches=carried.switches)
            contents = await restored_repository.count_contents(restored)
    finally:
        await restored.close()
    done = {
        "signals": contents.signals,
        "open": contents.open,
        "held_buys": held.buys,
        "held_others": held.others,
        "carried": len(carried.attempts),
    }
    return msgspec.json.encode(done).decode()


def _address(database_url: str, database: str) -> str:
    return urlunsplit(urlsplit(database_url)._replace(path=f"/{database}"))
