"""The OpenAPI description of the webhook: FastAPI cannot derive it from a plain ASGI middleware."""

from typing import Any

_ALERT = {
    "title": "Alert",
    "type": "object",
    "required": ["ticker"],
    "properties": {
        "ticker": {
            "type": "string",
            "minLength": 1,
            "description": "1 to 40 printable characters; an exchange as in NASDAQ:NVDA is removed",
            "examples": ["NVDA"],
        },
        "action": {
            "type": "string",
            "description": (
                "buy, long, enter, enter_long, buy_to_open, add; sell, exit, close, flat, flatten, "
                "exit_long, close_long, sell_to_close, reverse; cancel, breakeven"
            ),
            "examples": ["buy"],
        },
        "side": {"type": "string", "description": "The same words; used only without `action`"},
        "price": {"anyOf": [{"type": "number"}, {"type": "string"}, {"type": "null"}], "examples": [1.1]},
        "sentiment": {
            "type": "string",
            "description": "The position after the order: long or bullish, short or bearish, flat",
            "examples": ["flat"],
        },
        "market_position": {"type": "string", "description": "The same; used only without `sentiment`"},
        "quantity": {
            "anyOf": [{"type": "number"}, {"type": "string"}, {"type": "null"}],
            "description": "How much; 50% is half of the position",
            "examples": [10],
        },
        "quantityType": {"type": "string", "description": "Such as fixed_quantity, percent_of_position"},
        "signal_id": {"description": "The sender's own id, of any kind; never used to find duplicates"},
        "secret": {"type": "string", "description": "WEBHOOK_SECRET; removed before storing"},
    },
    "additionalProperties": True,
    "description": "Other fields are kept and forwarded byte for byte.",
}
_ACCEPTED = {
    "title": "Accepted",
    "type": "object",
    "required": ["queued", "signal_id", "ticker", "queue_size", "duplicate"],
    "properties": {
        "queued": {"const": True},
        "signal_id": {"type": "string", "format": "uuid"},
        "ticker": {"type": "string"},
        "queue_size": {"type": "integer", "minimum": 0},
        "duplicate": {"type": "boolean"},
    },
}
_RETRY_AFTER = {"Retry-After": {"description": "Seconds", "schema": {"type": "integer"}}}
SCHEMAS: dict[str, Any] = {"Alert": _ALERT, "Accepted": _ACCEPTED}


def _reference(name: str) -> dict[str, Any]:
    return {"$ref": f"#/components/schemas/{name}"}


_ERROR = _reference("Problem")  # the schema of every error response of the application

# OpenAPI has no security scheme for a secret in the body or in the path. The empty alternative `{}` in
# `security` stands for both; their descriptions say so.
_WHERE_ALLOWED = (
    "WEBHOOK_SECRET or the secret of a source, unless the header, the query, the path or the body's field "
    "has it, or none is set"
)
SECURITY_SCHEMES: dict[str, Any] = {
    "WebhookSecretHeader": {
        "type": "apiKey",
        "in": "header",
        "name": "X-Webhook-Secret",
        "description": _WHERE_ALLOWED,
    },
    "WebhookSecretQuery": {
        "type": "apiKey",
        "in": "query",
        "name": "secret",
        "description": _WHERE_ALLOWED,
    },
}


def _response(
    description: str, schema: dict[str, Any], headers: dict[str, Any] | None = None
) -> dict[str, Any]:
    response: dict[str, Any] = {
        "description": description,
        "content": {"application/json": {"schema": schema}},
    }
    return {**response, "headers": headers} if headers else response


def _parameter(name: str, place: str, description: str, *, required: bool = False) -> dict[str, Any]:
    return {
        "name": name,
        "in": place,
        "required": required,
        "schema": {"type": "string"},
        "description": description,
    }


def _operation(name: str, *path_parameters: dict[str, Any]) -> dict[str, Any]:
    return {
        "post": {
            "tags": ["webhook"],
            "summary": "Accept an alert",
            "description": "Answers 202 once the alert is committed. The content type does not matter.",
            "operationId": name,
            "security": [*({scheme: []} for scheme in SECURITY_SCHEMES), {}],
            "parameters": [
                *path_parameters,
                _parameter("X-Webhook-Secret", "header", "WEBHOOK_SECRET"),
                _parameter("secret", "query", "WEBHOOK_SECRET"),
                _parameter(
                    "Idempotency-Key",
                    "header",
                    "Identifies the alert: within 24 h the same key is the same alert",
                ),
                _parameter(
                    "webhook-id",
                    "header",
                    "The same, as Standard Webhooks names it; used only without `Idempotency-Key`",
                ),
            ],
            "requestBody": {
                "required": True,
                "content": {"application/json": {"schema": _reference("Alert")}},
            },
            "responses": {
                "202": _response("Committed, or a duplicate of a committed alert", _reference("Accepted")),
                "401": _response("Wrong or missing secret", _ERROR),
                "403": _response("The source of the secret may not post from this address", _ERROR),
                "408": _response("The body was not received within 2 s", _ERROR),
                "413": _response("More than 64 KiB", _ERROR),
                "422": _response("Not a valid alert; the detail names the field", _ERROR),
                "503": _response("Not stored: send it again", _ERROR, _RETRY_AFTER),
            },
        }
    }


PATHS: dict[str, Any] = {
    "/webhook/in": _operation("webhook_in"),
    "/webhook/in/{secret}": _operation(
        "webhook_in_secret", _parameter("secret", "path", "WEBHOOK_SECRET", required=True)
    ),
}
