"""The workers that deliver: one outbox, the senders it serves, and recovery."""

from functools import partial

from app.orders import recovery
from app.orders.outbox import Outbox
from app.orders.outcomes import Outcomes
from app.orders.sender import Sender
from app.runtime import Runtime


def start(runtime: Runtime) -> None:
    """Start `outbox`, `sender-1` … `FORWARDING_WORKERS` and `delivery-recovery` under the supervisor."""
    outbox, outcomes = Outbox(runtime), Outcomes(runtime)
    runtime.supervisor.start("outbox", partial(outbox.run, "outbox"))
    for number in range(1, runtime.settings.forwarding_workers + 1):
        name = f"sender-{number}"
        runtime.supervisor.start(name, partial(Sender(runtime, outbox, outcomes).run, name))
    runtime.supervisor.start("delivery-recovery", partial(recovery.run, runtime, "delivery-recovery"))
