"""A kept outcome's file is read by every version: the error in it is a text."""

from __future__ import annotations

import json
from datetime import UTC, datetime
from typing import TYPE_CHECKING
from uuid import UUID

from app.orders.destination import destination_of
from app.orders.kept_outcomes import KeptOutcomes, KnownOutcome
from app.orders.repository import Delivery
from app.orders.transport import Answer
from app.signals.reasons import Reason, ReasonCode
from app.signals.statuses import Outcome

if TYPE_CHECKING:
    from pathlib import Path


def test_the_error_is_kept_as_its_text(tmp_path: Path) -> None:
    delivery = Delivery(
        id=UUID(int=1),
        type="buy",
        ticker="NVDA",
        body=b"",
        number=1,
        attempt=7,
        webhook_id="id",
        started_at=datetime(2026, 11, 22, tzinfo=UTC),
        claim_id=UUID(int=2),
        destination=destination_of(""),
    )
    answer = Answer(Outcome.UNKNOWN, error=Reason(ReasonCode.NO_ANSWER, seconds="3"))
    KeptOutcomes(tmp_path).keep(KnownOutcome(delivery, answer))
    assert json.loads((tmp_path / "7.json").read_text())["answer"][:3] == [
        "unknown",
        None,
        "timed out after 3 s",
    ]
    (known,) = KeptOutcomes(tmp_path).load()
    assert known.answer.error == Reason(ReasonCode.OTHER, text="timed out after 3 s")
