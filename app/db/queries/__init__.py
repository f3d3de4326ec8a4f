"""SQL lives in the `.sql` files beside this module, each statement under a line `-- name: the_name`."""

import re
from functools import cache
from importlib.resources import files

_NAME = re.compile(r"^-- name: (\w+)\s*$", re.MULTILINE)


@cache
def load(domain: str) -> dict[str, str]:
    """Read `<domain>.sql` and return its statements by name.

    Raises:
        ValueError: a name stands twice, or text stands before the first name.
    """
    text = files(__name__).joinpath(f"{domain}.sql").read_text("utf-8")
    head, *rest = _NAME.split(text)
    names, bodies = rest[::2], rest[1::2]
    if [line for line in head.splitlines() if line and not line.startswith("--")] or len(set(names)) != len(
        names
    ):
        raise ValueError(
            f"{domain}.sql: every statement stands under its own '-- name:' line, each name once"
        )
    return {name: body.strip() for name, body in zip(names, bodies, strict=True)}
