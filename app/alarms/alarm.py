"""An alarm, with its texts in the reader's language."""

from collections.abc import Mapping
from datetime import datetime
from typing import Literal
from uuid import UUID

from pydantic import BaseModel, ConfigDict, Field, computed_field

from app.signals.reasons import Reason
from app.web.patterns import translate
from app.web.reasons import render
from app.web.texts import catalogue, text

Severity = Literal["critical", "warning", "info"]
SEVERITIES: tuple[Severity, ...] = ("critical", "warning", "info")

# They last until a person has the time, so they end neither the heartbeat nor anybody's night.
HOUSEKEEPING = ("backup_missing", "backup_old", "source_silent")
OF_DENIALS = (
    *(
        "denied_webhook_secret",
        "denied_webhook_address",
        "denied_webhook_path",
        "denied_webhook_method",
        "denied_webhook_body",
    ),
    *("denied_http", "denied_admin_token", "denied_sign_in", "denied_websocket"),
)
CODES: Mapping[str, Severity] = {
    # an exit did not get through, or cannot
    "sells_expired": "critical",
    "sells_failed": "critical",
    "exits_swallowed": "critical",
    "exits_waiting": "critical",
    "alerts_unread": "critical",
    "exits_without_destination": "critical",
    "destination_missing": "critical",
    "destination_now_paper": "critical",
    "destination_now_live": "critical",
    "sells_late": "critical",
    "entries_after_exit": "critical",
    "positions_unconfirmed": "critical",
    "flatten_missed": "critical",
    # alerts are not stored, or orders not delivered
    "database_away": "critical",
    "intake_failing": "critical",
    "outcomes_unwritten": "critical",
    "destination_failing": "critical",
    "destination_wrong": "critical",
    "certificate_ended": "critical",
    "orders_refused": "warning",
    "limit_exhausted": "warning",
    "entry_limit_exhausted": "warning",
    "top_n_missing": "warning",
    "top_n_stale": "warning",
    "top_n_failing": "warning",
    "config_wrong": "warning",
    "source_silent": "warning",
    "disk_low": "warning",
    "backup_missing": "warning",
    "backup_old": "warning",
    "certificate_missing": "warning",
    "certificate_ending": "warning",
    "certificate_failing": "warning",
    "clock_differs": "warning",
    "clock_stepped": "warning",
    "workers_blocked": "warning",
    "workers_failing": "warning",
    "notifications_failing": "warning",
    **dict[str, Severity].fromkeys(OF_DENIALS, "warning"),
    # a person did so
    "intake_paused": "info",
    "delivery_paused": "info",
    "engine_paused": "info",
    "buys_paused": "info",
}
"""Every code with its severity."""


class Alarm(BaseModel):
    """A condition that a person should act on. `code` is stable; texts are in the reader's language.

    `subject`: what it is about, such as a ticker; empty where there is but one. `since`: null while unknown.
    `settle_until`: a person may settle what happened up to then. `position_id`: the open position to close.
    `omitted`: above 0, it stands for so many alarms of the code; `members` are the newest of them.
    """

    model_config = ConfigDict(arbitrary_types_allowed=True)

    code: str
    subject: str = ""
    since: datetime | None = None
    settle_until: datetime | None = None
    position_id: UUID | None = None
    omitted: int = 0
    members: "list[Alarm]" = []
    values: Mapping[str, str | Reason] = Field(default={}, exclude=True)  # of the text's placeholders

    @computed_field  # type: ignore[prop-decorator]  # as pydantic documents it
    @property
    def severity(self) -> Severity:
        """How urgent it is."""
        return CODES[self.code]

    @computed_field  # type: ignore[prop-decorator]
    @property
    def text(self) -> str:
        """What happened."""
        if self.omitted:
            many = f"alarm.{self.code}.many"
            return text(many if many in catalogue() else "alarm.omitted", count=self.omitted)
        values = {
            name: render(value) if isinstance(value, Reason) else translate(value)
            for name, value in self.values.items()
        }
        key = f"alarm.{self.code}.named"  # where there may be several, and one has no name
        if not self.subject or key not in catalogue():
            key = f"alarm.{self.code}"
        return text(key, subject=self.subject, **values)

    @computed_field  # type: ignore[prop-decorator]
    @property
    def action(self) -> str:
        """What to do; empty where it ends by itself."""
        key = f"alarm.{self.code}.action"
        return text(key) if key in catalogue() and not self.omitted else ""
