"""`python -m app serve`, and the image's other commands: signals are heeded before the rest is imported."""

import sys

from app import termination

if __name__ == "__main__":
    termination.listen()

    from app.commands import main

    if sys.stdout is not None:  # a process can be started without one
        sys.stdout.reconfigure(line_buffering=True)  # type: ignore[union-attr]  # it is a file here
    sys.exit(main())
