"""What the operator watches: health, metrics, access log."""

from fastapi import FastAPI

from app.ops import health


def install(app: FastAPI) -> None:
    """Add `/health` and `/health/detailed`."""
    app.include_router(health.router)
