"""Routes to pause and resume the engine (which freezes its list), deliveries and intake."""

from collections.abc import Awaitable, Callable, Mapping
from typing import Literal

from fastapi import APIRouter
from pydantic import BaseModel

from app.config.model import SYSTEM_FILE, Config, Document
from app.config.state import unwritten_switches
from app.web.dependencies import REFUSALS, CurrentActor, Store, signed_in
from app.web.texts import text

Part = Literal["engine", "delivery", "intake"]

router = APIRouter(prefix="/admin", tags=["switches"], responses=REFUSALS, dependencies=[signed_in])

_MEANING = {
    "engine": ("The Top-N list is frozen and counts as fresh.", "The Top-N list is refreshed again."),
    "delivery": (
        "Nothing leaves; signals go on being decided, and expire as ever.",
        "Approved signals leave again, sells first.",
    ),
    "intake": ("Posts are answered 503, so that senders that can will send again.", "Posts are taken again."),
}


class Switches(BaseModel):
    """What is paused now. A pause holds over everything; only a person resumes.

    `warning`, where there is one: the switch holds and is in the database, but not in its file yet, and why.
    """

    engine_paused: bool
    delivery_paused: bool
    intake_paused: bool
    warning: str | None = None


def _route(part: Part, *, pause: bool) -> Callable[[Store, CurrentActor], Awaitable[Switches]]:
    decides = {f"{part}_paused": pause}

    def edit(config: Config) -> Mapping[str, Document]:
        return {SYSTEM_FILE: {**config.documents[SYSTEM_FILE], **decides}}

    async def switch(store: Store, actor: CurrentActor) -> Switches:
        action = f"{part}.{'pause' if pause else 'resume'}"
        config = await store.change(actor, action, edit, decides=decides)
        switches = Switches.model_validate(config.system, from_attributes=True)
        if unwritten_switches(config):
            switches.warning = text("pause.unwritten")
        return switches

    return switch


for _part in ("engine", "delivery", "intake"):
    for _word, _pause in (("pause", True), ("resume", False)):
        router.add_api_route(
            f"/{_part}/{_word}",
            _route(_part, pause=_pause),
            methods=["POST"],
            name=f"{_part}_{_word}",
            response_model_exclude_none=True,
            description=_MEANING[_part][0 if _pause else 1],
        )
