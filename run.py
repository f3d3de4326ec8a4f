#!/usr/bin/env python3
"""Deploys, watches and stops the Trading Signal Processor: `python3 run.py --help`.

This file stays readable by any Python, so that a too old one gets a sentence instead of a syntax error.
"""

import os
import sys

OLDEST, NEWEST = (3, 11), (3, 13)  # what the hashed locks in requirements/ are compiled for


def main():  # type: () -> int  # noqa: ANN201 - annotations would not be read by an old Python
    """Check the interpreter, then hand over to the controller. Return the exit code."""
    if not OLDEST <= sys.version_info[:2] <= NEWEST:
        version = ".".join(map(str, sys.version_info[:2]))
        sys.stderr.write(
            "run.py: needs Python 3.11, 3.12 or 3.13, and this is " + version + " (" + sys.executable + ").\n"
            "Start it with one of them, for example: python3.11 run.py\n"
        )
        return 3
    # What is exported for Python (PYTHONPATH, PYTHONINSPECT) is not for this program: start again without.
    if sys.executable and not sys.flags.isolated:
        os.execv(sys.executable, [sys.executable, "-I", *sys.orig_argv[1:]])  # noqa: S606 - the same command
    sys.path.insert(0, os.path.dirname(os.path.realpath(__file__)))  # noqa: PTH120 - pathlib may be too new
    # A look ahead leaves nothing behind, and no byte code either.
    sys.dont_write_bytecode = sys.dont_write_bytecode or "--check" in sys.argv
    from deploy import cli  # noqa: PLC0415 - its syntax is too new for a Python that was refused above

    return cli.main(sys.argv[1:])


if __name__ == "__main__":
    sys.exit(main())
