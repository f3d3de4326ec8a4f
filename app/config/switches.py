"""The switches of the system file: pauses that only a person ends. Pure."""

from collections.abc import Mapping
from typing import Any

from app.config.checking import Document

PAUSES = ("engine_paused", "delivery_paused", "intake_paused")
BUYS = "risk.buys"
# Of each, True is paused; of `BUYS`, the file calls that "off".
SWITCHES = (*PAUSES, BUYS)
_PAUSED_BY_WORD = {"on": False, "off": True}


def switch_of(document: Document, key: str) -> object:
    """Return what the system file says of a switch: True is paused, None if it does not mention it.

    A value that is not valid is returned as it is.
    """
    if key != BUYS:
        return document.get(key)
    risk = document.get("risk")
    value = risk.get("buys") if isinstance(risk, dict) else None
    return _PAUSED_BY_WORD.get(value, value) if isinstance(value, str) else value


def with_switches(document: Document, switches: Mapping[str, bool]) -> dict[str, Any]:
    """Return the system file with these switches. A section that is not an object stays as it is."""
    new = {**document, **{key: value for key, value in switches.items() if key != BUYS}}
    risk = document.get("risk")
    if BUYS in switches and (risk is None or isinstance(risk, dict)):
        new["risk"] = {**(risk or {}), "buys": "off" if switches[BUYS] else "on"}
    return new
