"""How much waits in the two queues, as far as this process knows."""

from dataclasses import dataclass


@dataclass(slots=True)
class Queues:
    """Signals that wait for a decision (`received`) and for delivery (`approved`, with those on the way).

    A second old, ten when counting is slow; intake adds what it commits meanwhile, decisions take off what
    they end. `oldest_*` in seconds, 0 when nothing waits. `sells_*`: in the last tenth of their age, and
    expired or failed with their position open. `positions_unconfirmed`: positions that may be open.
    `alerts_unread`: rejected, and maybe exits of open positions.
    """

    received: int = 0
    approved: int = 0
    oldest_received: float = 0.0
    oldest_approved: float = 0.0
    sells_late: int = 0
    sells_expired: int = 0
    sells_failed: int = 0
    positions_unconfirmed: int = 0
    alerts_unread: int = 0
    _decided: int = 0

    def count_decided(self, signals: int) -> None:
        """Take decided signals off at once: the next sample may be seconds away."""
        self.received = max(0, self.received - signals)
        self._decided += signals

    def take_sample(self, received: int, decided_before: int) -> None:
        """Replace the count by one from the database, without what was decided since `decided_before`."""
        self.received = max(0, received - (self._decided - decided_before))

    @property
    def decided(self) -> int:
        """Signals that this process has decided."""
        return self._decided
