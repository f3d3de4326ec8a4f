"""Take over variables of the replaced system's `.env` where ours has no value of its own."""

from __future__ import annotations

import os
from pathlib import Path
from typing import Any

from ansible_collections.signal_processor.stack.plugins.module_utils import legacy_variables
from ansible_collections.signal_processor.stack.plugins.module_utils.entry import Failure, Module
from ansible_collections.signal_processor.stack.plugins.module_utils.onhost.causes import explain
from ansible_collections.signal_processor.stack.plugins.module_utils.settings import unix

DOCUMENTATION = """
module: legacy_settings
short_description: Variables of the replaced system's .env, under the names that they have here
description:
  - Returns C(lines), which name each variable and what becomes of it, and C(taken), their names here.
  - C(has_own_strategies) says whether config/finviz_config.json differs from its template.
  - No value is ever returned.
options:
  path: {type: path, required: true, description: The checkout.}
  source: {type: str, default: "", description: "The replaced system's .env; empty: there is none."}
  template: {type: str, required: true, description: The text of .env.example.}
  strategies: {type: str, required: true, description: The text of config/finviz_config.json.example.}
  fresh: {type: bool, default: false, description: "Whether .env was made by this run."}
  volume: {type: str, default: "", description: "What POSTGRES_VOLUME is to be; empty: as it is."}
  look: {type: bool, default: false, description: Say what would come and write nothing.}
"""

NAME = ".env"
SCREENER = "config/finviz_config.json"


def replace(path: Path, text: str) -> None:
    """Replace the file as a whole; mode and owner stay. Raises OSError."""
    about = path.stat()
    beside = path.with_name(f"{NAME}.partial")
    beside.unlink(missing_ok=True)
    with os.fdopen(os.open(beside, os.O_CREAT | os.O_EXCL | os.O_WRONLY, 0o600), "w", newline="\n") as file:
        file.write(text)
        file.flush()
        os.fsync(file.fileno())
    beside.chmod(about.st_mode & 0o7777)
    if os.geteuid() == 0:
        os.chown(beside, about.st_uid, about.st_gid)
    beside.rename(path)


def answer(params: dict[str, Any]) -> dict[str, Any]:
    """Compare both files, and write ours. Raises Failure."""
    target = Path(params["path"], NAME)
    template = unix(params["template"])
    try:
        old = Path(params["source"]).read_text(errors="replace") if params["source"] else ""
        ours = target.read_text() if target.exists() else template
    except (OSError, UnicodeDecodeError) as error:
        raise Failure(f"{params['source'] or target} cannot be read: {error}.") from error
    found = legacy_variables.compare(old, ours, template, is_fresh=params["fresh"] or not target.exists())
    values = {new: value for new, (_, value) in found.taken.items()}
    if params["volume"]:
        values["POSTGRES_VOLUME"] = params["volume"]
    text = legacy_variables.with_values(ours, values)
    is_changed = text != ours
    if is_changed and not params["look"]:
        try:
            replace(target, text)
        except OSError as error:
            raise Failure(f"{target} could not be written: {explain(error, target)}.") from error
    lines = found.lines("would come" if params["look"] else "came")
    strategies = Path(params["path"], SCREENER)
    is_own = strategies.exists() and unix(strategies.read_text(errors="replace")) != unix(
        params["strategies"]
    )
    return {
        "changed": is_changed,
        "lines": lines,
        "taken": sorted(values),
        "has_own_strategies": is_own,
    }


MODULE = Module(
    answer,
    {
        "path": {"type": "path", "required": True},
        "source": {"type": "str", "default": ""},
        "template": {"type": "str", "required": True},
        "strategies": {"type": "str", "required": True},
        "fresh": {"type": "bool", "default": False},
        "volume": {"type": "str", "default": ""},
        "look": {"type": "bool", "default": False},
    },
    fenced=lambda params: "" if params["look"] else str(params["path"]),
    looks=True,
)


if __name__ == "__main__":
    MODULE.run()
