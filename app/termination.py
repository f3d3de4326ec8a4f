"""Handle TERM and INT until the server runs. Imported first, so it imports nothing slow."""

import os
import signal
from types import FrameType


def end_at_once(number: int, _frame: FrameType | None) -> None:
    """End the process as the signal does by default, also as process 1 of a container.

    The kernel hands process 1 no signal that it has no handler for, so it exits with the code of the signal.
    """
    signal.signal(number, signal.SIG_DFL)
    signal.raise_signal(number)
    os._exit(128 + number)


def listen() -> None:
    """Handle TERM and INT from here on; the server replaces these handlers by its own when it runs."""
    for number in (signal.SIGTERM, signal.SIGINT):
        signal.signal(number, end_at_once)
