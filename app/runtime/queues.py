"""How much waits in the two queues, as far as this process knows."""

from collections import Counter
from dataclasses import dataclass, field


@dataclass(slots=True)
class Queues:
    """Signals that wait for a decision (`received`) and for delivery (`approved`, with those being sent).

    The counts are one second old, ten if counting is slow. Meanwhile intake adds what it commits, and
    decisions subtract what they end. `oldest_*` in seconds, 0 when nothing waits. `at_risk` counts what needs
    a person, by code of the alarm.
    """

    received: int = 0
    approved: int = 0
    oldest_received: float = 0.0
    oldest_approved: float = 0.0
    at_risk: Counter[str] = field(default_factory=Counter)
    _decided: int = 0

    def count_decided(self, signals: int) -> None:
        """Subtract decided signals at once: the next sample may be seconds away."""
        self.received = max(0, self.received - signals)
        self._decided += signals

    def apply_sample(self, received: int, decided_before: int) -> None:
        """Replace the count by one from the database, without what was decided since `decided_before`."""
        self.received = max(0, received - (self._decided - decided_before))

    @property
    def decided(self) -> int:
        """Signals that this process has decided."""
        return self._decided
