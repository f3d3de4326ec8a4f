"""The steps of every flow in the order of its playbook, the plan made of them, and what came of it."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

from deploy.events import Status
from deploy.plan import application, database, legacy, preparation
from deploy.plan.facts import facts_of
from deploy.plan.step import Answer, Answers, Changes, Step

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping
    from typing import Any

    from deploy import events

_BEFORE = (preparation.docker, preparation.files, preparation.adoption, preparation.base_images)
_CONNECTED = (database.database, database.password, database.schema)
_GATED = (application.gate, application.edge, application.certificate)
_SWAP = (application.standin, application.app, *_GATED)
_SERVE = (database.volume, *_CONNECTED, *_SWAP)
_DEPLOY = (*_BEFORE, preparation.image, preparation.modes, *_SERVE, application.record)
_UPDATE = (
    preparation.fetch,
    preparation.tree,
    *_BEFORE,
    preparation.configuration,
    preparation.image,
    preparation.modes,
    *_SERVE,
    application.checkout,
    application.record,
)
_START_AGAIN = (application.app_again, *_GATED)
_FRESH_DATABASE = (
    database.fresh_volume,
    database.fresh_database,
    database.fresh_schema,
    *_START_AGAIN,
)

FLOWS: dict[str, tuple[Step, ...]] = {
    "site": _DEPLOY,
    "quick": _DEPLOY,
    "update": _UPDATE,
    "quickupdate": _UPDATE,
    "restore_config": (
        *_BEFORE,
        preparation.image,
        preparation.configuration,
        preparation.restored,
        preparation.modes_of_restored,
        *_SERVE,
        application.record,
    ),
    "import_legacy": (
        *_BEFORE,
        legacy.variables,
        preparation.image,
        preparation.modes,
        database.volume,
        legacy.stopped,
        legacy.dumped,
        legacy.removed,
        *_CONNECTED,
        legacy.loaded,
        legacy.imported,
        *_SWAP,
        application.record,
    ),
    "rebuild": (
        *_BEFORE,
        preparation.image,
        preparation.modes,
        database.app_stopped,
        database.copy,
        application.containers,
        database.destruction,
        database.older_database_images,
        application.other_images,
        application.temporary,
        *_FRESH_DATABASE,
    ),
    "db": (
        *_BEFORE,
        preparation.modes,
        preparation.image_if_none,
        database.app_stopped,
        database.copy,
        database.destruction,
        database.older_database_images,
        *_FRESH_DATABASE,
    ),
    "stop": (application.containers,),
    "maintenance": (application.maintenance,),
    "rollback": (
        preparation.docker,
        preparation.files,
        preparation.tree,
        preparation.modes,
        application.standin,
        preparation.configuration,
        database.database,
        database.password,
        application.app,
        *_GATED,
        application.checkout,
        application.record,
    ),
    "backup": (database.dump,),
    "restore": (
        preparation.docker,
        preparation.files,
        database.read_in,
        database.app_stopped,
        database.hold,
        database.pause,
        database.exchange,
        preparation.modes,
        database.restored_schema,
        *_START_AGAIN,
    ),
}


@dataclass(frozen=True)
class Planned:
    """One step of a plan."""

    step: Step
    answer: Answer

    def as_dict(self) -> dict[str, str]:
        """What the journal and the document of `--json` hold of it."""
        return {"step": self.step.name, "changes": str(self.answer.changes), "why": self.answer.why}


def make(flow: str, report: Mapping[str, Any]) -> list[Planned]:
    """The plan for a host from what was reported of it; empty if it did not get that far."""
    facts = facts_of(report)
    if facts is None:
        return []
    answers: Answers = {}
    planned = []
    for step in FLOWS[flow]:
        if facts.docker_to_come and step is not preparation.docker:
            answer = Answer(Changes.DEPENDS, "nothing can be seen before Docker runs")
        else:
            answer = step.decide(facts, answers)
        answers[step.name] = answer
        planned.append(Planned(step, answer))
    return planned


def differences(planned: Iterable[Planned], happened: Iterable[events.Step], *, ended: bool) -> list[str]:
    """What went otherwise, a line each. A flow that did not end owes no step, but none may be unforeseen."""
    planned = list(planned)
    changed_tasks = {event.name for event in happened if event.status is Status.CHANGED}
    changed = {one.step.name: not changed_tasks.isdisjoint(one.step.tasks) for one in planned}
    found = []
    for one in planned:
        name, answer = one.step.name, one.answer
        expected = (
            changed.get(answer.on) if answer.changes is Changes.DEPENDS else answer.changes is Changes.YES
        )
        if one.step.early or not one.step.tasks or expected is None or changed[name] is expected:
            continue
        if changed[name]:
            found.append(f"{name}: changed, and was not going to ({answer.why})")
        elif ended:
            found.append(f"{name}: did not change, and was going to ({answer.why})")
    return found
