"""Run an import from the replaced system."""

from __future__ import annotations

from typing import TYPE_CHECKING

from app.transfer import legacy

if TYPE_CHECKING:
    from app.settings import Settings
    from app.transfer.legacy import Report


async def moved(settings: Settings, *, check: bool = False) -> Report:
    """Import, or check what would be imported."""
    return await legacy.run(settings, check=check)
