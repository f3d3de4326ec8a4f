"""Load statements by name from each package's `queries.sql`: every one has its own line `-- name: …`."""

import re
from functools import cache
from importlib.resources import files

_NAME = re.compile(r"^-- name: (\w+)\s*$", re.MULTILINE)


@cache
def load(package: str, name: str = "queries") -> dict[str, str]:
    """Read `<name>.sql` of a package, as `app.orders`, and return its statements by name.

    Raises:
        ValueError: a name is used twice, or text precedes the first name.
    """
    text = files(package).joinpath(f"{name}.sql").read_text("utf-8")
    head, *rest = _NAME.split(text)
    names, bodies = rest[::2], rest[1::2]
    if [line for line in head.splitlines() if line and not line.startswith("--")] or len(set(names)) != len(
        names
    ):
        raise ValueError(
            f"{package}, {name}.sql: every statement needs its own '-- name:' line, and names must be unique"
        )
    return {name: body.strip() for name, body in zip(names, bodies, strict=True)}
