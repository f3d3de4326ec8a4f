"""What a process of the application has, without its workers: tests make the steps themselves."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from app.config.model import WEBHOOK_FILE, merge
from app.context import AppContext
from app.db.errors import TRANSIENT_DB_ERRORS
from app.db.pool import open_pool
from app.db.reading import open_reading_pool
from app.orders.transport import open_client
from app.runtime.supervisor import Supervisor
from app.runtime.wakeups import Wakeups
from tests.api.trading.desk import BY_TRIGGER

if TYPE_CHECKING:
    from app.settings import Settings


async def open_process(values: Settings, webhook: dict[str, Any]) -> AppContext:
    """Return a context with connections of its own; `webhook` is the content of that file."""
    return AppContext(
        settings=values,
        config=merge({WEBHOOK_FILE: webhook}, values),
        pool=await open_pool(values.database_url, 2, settings=BY_TRIGGER),
        reading=await open_reading_pool(values.database_url),
        probing=await open_pool(values.database_url, 1),
        http=open_client(),
        wakeups=Wakeups(),
        supervisor=Supervisor(TRANSIENT_DB_ERRORS),
        started_at=0.0,
    )


async def close_process(context: AppContext) -> None:
    """End its connections, as a kill does."""
    await context.http.close()
    for pool in (context.pool, context.reading, context.probing):
        pool.terminate()
