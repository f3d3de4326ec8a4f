"""Standard output and standard error that cannot fail: what a person reads never decides how a run ends.

A terminal goes away, the reader of a pipe ends, the disk under a log file fills up, a stream is closed from
the start. From then on that stream leads nowhere, and the run goes on to its verdict.
"""

from __future__ import annotations

import contextlib
import io
import os
import sys
from typing import TYPE_CHECKING, TextIO, cast

if TYPE_CHECKING:
    from collections.abc import Iterable

_STANDARD = (("stdin", 0, "r"), ("stdout", 1, "w"), ("stderr", 2, "w"))


class Output:
    """A text stream whose `write` and `flush` never raise; `is_gone` after the first one that failed.

    Fails open: text that cannot be shown is dropped.
    """

    def __init__(self, stream: TextIO) -> None:
        self._stream = stream
        self.is_gone = False
        self._wait_for_readers()

    def __getattr__(self, name: str) -> object:
        return getattr(self._stream, name)

    def write(self, text: str) -> int:
        """Write and flush, so that text of both streams comes in the order in which it was written."""
        self._attempt(text)
        return len(text)

    def writelines(self, lines: Iterable[str]) -> None:
        """Write all lines."""
        self._attempt("".join(lines))

    def flush(self) -> None:
        """Pass on what is buffered."""
        self._attempt("")

    def isatty(self) -> bool:
        """Whether this is a terminal that still takes text."""
        return not self.is_gone and not self._stream.closed and self._stream.isatty()

    def _attempt(self, text: str) -> None:
        if self.is_gone:
            return
        try:
            if text:
                self._stream.write(text)
            self._stream.flush()
        except BlockingIOError:  # another process that has the same pipe changed it meanwhile
            self._wait_for_readers()
        except (OSError, ValueError):
            self._lead_nowhere()

    def _wait_for_readers(self) -> None:
        """Have writes wait for a slow reader; a pipe that other programs have used may not."""
        with contextlib.suppress(OSError, ValueError):
            os.set_blocking(self._stream.fileno(), True)

    def _lead_nowhere(self) -> None:
        """Let the descriptor lead to the null device: the interpreter flushes the stream again at its end."""
        self.is_gone = True
        with contextlib.suppress(OSError, ValueError):
            nowhere = os.open(os.devnull, os.O_WRONLY)
            os.dup2(nowhere, self._stream.fileno())
            os.close(nowhere)


def guard() -> None:
    """Make the standard streams of this process unable to fail. A second call changes nothing."""
    for name, descriptor, mode in _STANDARD:
        stream = getattr(sys, name)
        if stream is None:  # closed before the start
            stream = _null_stream(descriptor, mode)
        if isinstance(stream, io.TextIOWrapper):  # a terminal that cannot show a character shows another one
            stream.reconfigure(errors="replace")
        if mode == "w" and not isinstance(stream, Output):
            stream = Output(cast("TextIO", stream))
        setattr(sys, name, stream)


def is_gone(stream: TextIO) -> bool:
    """Whether nobody reads this stream any more."""
    return isinstance(stream, Output) and stream.is_gone


def _null_stream(descriptor: int, mode: str) -> TextIO:
    """Open the null device: under this very descriptor where it is closed, as the lowest one that is free.

    The next file of this process would get that number otherwise, and what children print.
    """
    nowhere = os.open(os.devnull, os.O_RDWR)
    if nowhere == descriptor:
        os.set_inheritable(nowhere, True)  # noqa: FBT003 - children get the three standard streams
    return cast("TextIO", os.fdopen(nowhere, mode, encoding="utf-8", errors="replace", closefd=False))
