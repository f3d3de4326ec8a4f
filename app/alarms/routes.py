"""Routes for the alarms that a person settles."""

from typing import Annotated

from fastapi import APIRouter, Request
from pydantic import AfterValidator, AwareDatetime, BaseModel, StringConstraints

from app.alarms import repository
from app.alarms.conditions import SettledByPerson
from app.audit import repository as audit_log
from app.web.dependencies import REFUSALS, CurrentActor, Database, context_of, signed_in

router = APIRouter(prefix="/admin/alarms", tags=["alarms"], responses=REFUSALS, dependencies=[signed_in])


def _storable(text: str) -> str:
    if "\0" in text:
        raise ValueError("must not contain NUL")
    return text


class Settlement(BaseModel):
    """An alarm as it was shown: its `code`, `subject` and `settle_until`."""

    code: SettledByPerson
    subject: Annotated[str, StringConstraints(max_length=100), AfterValidator(_storable)]
    until: AwareDatetime


@router.post("/settle")
async def settle(
    request: Request, connection: Database, actor: CurrentActor, settlement: Settlement
) -> Settlement:
    """Settle an alarm about what has happened up to a moment. What happens later is an alarm again.

    Nothing is sent, and no position is changed.
    """
    target = f"{settlement.code} {settlement.subject}".strip()
    async with connection.transaction():
        await repository.settle(
            connection, code=settlement.code, subject=settlement.subject, until=settlement.until
        )
        await audit_log.record(
            connection, actor, "alarm.settle", target=target, after={"until": settlement.until.isoformat()}
        )
    context_of(request).wakeups.notify("changed")
    return settlement
