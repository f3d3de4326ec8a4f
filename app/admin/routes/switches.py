"""Routes to pause and resume the engine (which freezes its list), buying, deliveries and intake."""

from collections.abc import Awaitable, Callable, Mapping
from typing import Literal, get_args

from pydantic import BaseModel

from app.config.checking import Document
from app.config.model import SYSTEM_FILE, Config
from app.config.state import unwritten_switches
from app.config.switches import BUYS, with_switches
from app.web.dependencies import REFUSALS, CurrentActor, Store, signed_in
from app.web.routing import new_router
from app.web.texts import text

Part = Literal["engine", "buys", "delivery", "intake"]

router = new_router(prefix="/admin", tags=["switches"], responses=REFUSALS, dependencies=[signed_in])

_MEANING = {
    "engine": ("The Top-N list is frozen and counts as fresh.", "The Top-N list is refreshed again."),
    "buys": (
        "Stop buying, keep selling. Entries are rejected, and those that have not left end. Exits pass.",
        "Entries are approved again.",
    ),
    "delivery": (
        "No order is sent. Signals are still decided, and still expire.",
        "Approved signals are sent again, sells first.",
    ),
    "intake": (
        "Posts are answered with 503. A sender that retries loses nothing.",
        "Posts are accepted again.",
    ),
}


class Switches(BaseModel):
    """The pauses. A pause outlasts restarts and updates; only a person resumes.

    `warning`: the change is effective and in the database, but could not be written to its file.
    """

    engine_paused: bool
    buys_paused: bool
    delivery_paused: bool
    intake_paused: bool
    warning: str | None = None


def _route(part: Part, *, pause: bool) -> Callable[[Store, CurrentActor], Awaitable[Switches]]:
    decides = {BUYS if part == "buys" else f"{part}_paused": pause}

    def edit(config: Config) -> Mapping[str, Document]:
        return {SYSTEM_FILE: with_switches(config.documents[SYSTEM_FILE], decides)}

    async def switch(store: Store, actor: CurrentActor) -> Switches:
        action = f"{part}.{'pause' if pause else 'resume'}"
        config = await store.change(actor, action, edit, decides=decides)
        switches = Switches.model_validate(config.system, from_attributes=True)
        if unwritten_switches(config):
            switches.warning = text("pause.unwritten")
        return switches

    return switch


for _part in get_args(Part):
    for _word, _pause in (("pause", True), ("resume", False)):
        router.add_api_route(
            f"/{_part}/{_word}",
            _route(_part, pause=_pause),
            methods=["POST"],
            name=f"{_part}_{_word}",
            response_model_exclude_none=True,
            description=_MEANING[_part][0 if _pause else 1],
        )
