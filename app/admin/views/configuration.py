"""The settings, each value with its source, and the pauses."""

from typing import Any

from fastapi import Request

from app.admin.fields import fields_of
from app.admin.routes import configuration
from app.alarms import routes as alarms
from app.config.model import SYSTEM_FILE, WEBHOOK_FILE, SystemConfig, WebhookConfig
from app.config.switches import PAUSES
from app.db.pool import Connection
from app.web.dependencies import context_of

_MESSAGES = 20


async def read(request: Request, connection: Connection) -> dict[str, Any]:
    """Return the pauses, the targets of notifications, and the fields of both files."""
    webhook = await configuration.webhook_config(request)
    system = await configuration.system_config(request)
    context = context_of(request)
    system_values = context.config.system
    return {
        "pauses": {
            "buys": system_values.buys_paused,
            **{name.removesuffix("_paused"): getattr(system_values, name) for name in PAUSES},
        },
        "signed": webhook.signed,
        "notifications": await alarms.notifications(request, connection, limit=_MESSAGES, cursor=None),
        "sections": [
            (
                "webhook",
                context.config_problems.get(WEBHOOK_FILE),
                fields_of(WebhookConfig, webhook.values.model_dump(), webhook.sources),
            ),
            (
                "system",
                context.config_problems.get(SYSTEM_FILE),
                fields_of(SystemConfig, system.values.model_dump(), system.sources),
            ),
        ],
    }
