"""The route of what-if: recorded decisions made again under other rules."""

from collections.abc import AsyncIterator, Mapping
from contextlib import aclosing
from datetime import datetime
from typing import Annotated, Any, Self

from fastapi import Request
from fastapi.responses import StreamingResponse
from pydantic import BaseModel, ConfigDict, Field, model_validator

from app.admin.routes.configuration import RiskValues
from app.config.model import SYSTEM_FILE, Config, Strategy, merge
from app.context import AppContext
from app.db.errors import TRANSIENT_DB_ERRORS
from app.db.reading import ReadLimitError, ReadsBusyError
from app.decision.risk_facts import rules_of
from app.decision.what_if import Change
from app.decision.what_if_repository import fetch_recorded_from
from app.decision.what_if_results import Comparison
from app.decision.what_if_run import run
from app.errors import NoSuchError, WrongValueError
from app.settings import Settings
from app.signals.refusals import RefusalCode
from app.web.dependencies import REFUSALS, Moment, Storable, context_of, signed_in
from app.web.problems import Invalid, Problem
from app.web.reasons import render
from app.web.routing import new_router
from app.web.texts import text

router = new_router(prefix="/admin/what-if", tags=["decisions"], responses=REFUSALS, dependencies=[signed_in])

# JSON lines. A type that begins with "text/", because generated clients read no other one as text.
_MEDIA_TYPE = "text/x-ndjson"
# Of `risk`, the values that decide: `flatten_at` sells, and decides nothing.
_RULES = {
    "buys": "buys_paused",
    "hours": "hours",
    "max_open_positions": "max_open_positions",
    "max_buys_per_day": "max_buys_per_day",
    "cooldown_seconds": "cooldown_seconds",
    "blocklist": "blocklist",
}


class WhatIfRequest(BaseModel):
    """The time, and the rules to assume in it. What is left out or null stays as it was.

    `from` and `to` are about the decision; `to` is exclusive. A strategy counts with its present size and
    maximum age, unless they are given. `risk` has the values of the system settings.
    """

    model_config = ConfigDict(extra="forbid")

    start: Annotated[Moment, Field(alias="from")]
    end: Annotated[Moment, Field(alias="to")]
    strategy: Annotated[str, Field(min_length=1, max_length=100), Storable] | None = None
    top_n: Annotated[int, Field(ge=1, le=500)] | None = None
    max_age_seconds: Annotated[int, Field(ge=1, le=31_536_000)] | None = None
    risk: RiskValues | None = None

    @model_validator(mode="after")
    def _is_a_time(self) -> Self:
        if self.end <= self.start:
            raise WrongValueError(RefusalCode.TIME_ORDER)
        return self


class WhatIfResult(BaseModel):
    """Both ways. `recorded_from` is since when decisions are recorded; null: none is."""

    start: Annotated[datetime, Field(serialization_alias="from")]
    end: Annotated[datetime, Field(serialization_alias="to")]
    recorded_from: datetime | None
    comparison: Comparison


class WhatIfLine(BaseModel):
    """A line of the answer: the progress from 0 to 1, and in the last one the result or a problem."""

    progress: float
    result: WhatIfResult | None = None
    problem: Problem | None = None


@router.post(
    "",
    response_class=StreamingResponse,
    responses={
        200: {
            "content": {_MEDIA_TYPE: {"schema": {"type": "string"}}},
            "description": "Lines of JSON: `progress` in each, in the last one `result` or `problem`",
        },
        404: {"model": Problem, "description": "No such strategy"},
        422: {"model": Invalid, "description": "A value is wrong"},
    },
)
async def what_if(request: Request, wanted: WhatIfRequest) -> StreamingResponse:
    """Make the decisions of a time again, as they were and under other rules. Nothing is changed by it.

    The answer is a stream of lines, each a JSON document: `{"progress": 0.4, "result": null,
    "problem": null}`. In the last one `result` has the comparison, or `problem` says why there is none.
    Closing the connection cancels it. One runs at a time; another one is answered 503.
    """
    context = context_of(request)
    change = change_of(wanted, context.config, context.settings)
    if context.what_if_turn.locked():
        raise ReadsBusyError
    async with context.reading.acquire() as connection:
        recorded_from = await fetch_recorded_from(connection)
    return StreamingResponse(
        _lines(context, wanted, change, recorded_from),
        media_type=_MEDIA_TYPE,
        headers={"Cache-Control": "no-store"},
    )


def change_of(wanted: WhatIfRequest, config: Config, settings: Settings) -> Change:
    """Return the rules to assume.

    Raises:
        NoSuchError: there is no such strategy.
        ConfigFileError: a rule is not valid.
    """
    strategy = None if wanted.strategy is None else _known(config, wanted.strategy)
    return Change(
        strategy=strategy.name if strategy else None,
        top_n=wanted.top_n or (strategy.top_n if strategy else None),
        max_age_seconds=wanted.max_age_seconds or (strategy.max_age_seconds if strategy else None),
        risk=_rules(wanted.risk, settings) if wanted.risk else {},
    )


def _known(config: Config, name: str) -> Strategy:
    for strategy in config.finviz.strategies:
        if strategy.name == name:
            return strategy
    there = ", ".join(strategy.name for strategy in config.finviz.strategies)
    raise NoSuchError(RefusalCode.NO_STRATEGY, name=repr(name), names=there)


def _rules(risk: RiskValues, settings: Settings) -> Mapping[str, Any]:
    given = risk.model_dump(exclude_unset=True)
    rules = rules_of(merge({SYSTEM_FILE: {"risk": given}}, settings).system.risk)
    return {_RULES[name]: getattr(rules, _RULES[name]) for name in given if name in _RULES}


async def _lines(
    context: AppContext, wanted: WhatIfRequest, change: Change, recorded_from: datetime | None
) -> AsyncIterator[bytes]:
    progress = 0.0
    yield _line(WhatIfLine(progress=progress))
    try:
        async with (
            context.what_if_turn,
            aclosing(run(context.reading, change, wanted.start, wanted.end, render=render)) as steps,
        ):
            async for step in steps:
                if isinstance(step, float):
                    progress = step
                    yield _line(WhatIfLine(progress=progress))
                    continue
                result = WhatIfResult(
                    start=wanted.start, end=wanted.end, recorded_from=recorded_from, comparison=step
                )
                yield _line(WhatIfLine(progress=1.0, result=result))
    except ReadLimitError:
        yield _line(WhatIfLine(progress=progress, problem=Problem(detail=text("problem.reads_busy"))))
    except TRANSIENT_DB_ERRORS:
        yield _line(WhatIfLine(progress=progress, problem=Problem(detail=text("problem.database_away"))))


def _line(line: WhatIfLine) -> bytes:
    return line.model_dump_json(by_alias=True).encode() + b"\n"
