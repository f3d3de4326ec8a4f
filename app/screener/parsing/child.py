"""The process that parses files and pages, `python -m app.screener.parsing.child`; `parser.py` starts it.

It reads jobs from standard input and writes results to standard output until the input ends. It has no
secrets and opens no files and no connections. Its memory and its CPU time are limited.
"""

import contextlib
import resource
import struct
import sys
from pathlib import Path
from typing import BinaryIO

import msgspec

from app.screener.parsing.answers import Job, parse

MEMORY_BYTES = 512 * 1024 * 1024
CPU_SECONDS = 10  # for one job; the parent kills after 5 s

LENGTHS = struct.Struct("!II")
"""Before a job: the bytes of its description and of its content. Before a result: its bytes, and 0."""
READY = LENGTHS.pack(0, 0)


def main() -> None:
    """Run jobs, one at a time."""
    incoming, outgoing = sys.stdin.buffer, sys.stdout.buffer
    resource.setrlimit(resource.RLIMIT_AS, (MEMORY_BYTES, MEMORY_BYTES))
    resource.setrlimit(resource.RLIMIT_CORE, (0, 0))
    _prefer_for_oom_kill()
    _send(outgoing, READY)
    while len(lengths := incoming.read(LENGTHS.size)) == LENGTHS.size:
        described, size = LENGTHS.unpack(lengths)
        job = msgspec.json.decode(incoming.read(described), type=Job)
        content = incoming.read(size)
        if len(content) < size:
            return
        _allow_cpu()
        result = msgspec.json.encode(parse(job, content))
        _send(outgoing, LENGTHS.pack(len(result), 0) + result)


def _prefer_for_oom_kill() -> None:
    """Make the kernel kill this process, not the application, when memory runs out."""
    with contextlib.suppress(OSError):
        Path("/proc/self/oom_score_adj").write_text("1000")


def _allow_cpu() -> None:
    usage = resource.getrusage(resource.RUSAGE_SELF)
    _, hard = resource.getrlimit(resource.RLIMIT_CPU)
    resource.setrlimit(resource.RLIMIT_CPU, (int(usage.ru_utime + usage.ru_stime) + CPU_SECONDS, hard))


def _send(outgoing: BinaryIO, data: bytes) -> None:
    outgoing.write(data)
    outgoing.flush()


if __name__ == "__main__":
    main()
