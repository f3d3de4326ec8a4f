"""Read a `finviz_config.json` of the replaced system: one strategy, its keys at the root. Pure."""

from collections.abc import Mapping

from app.config.checking import Document
from app.config.model import FINVIZ_FILE
from app.errors import ConfigFileError
from app.signals.reasons import Reason
from app.signals.refusals import RefusalCode

NAME = "finviz"
_URL = "finviz_url"
_KEYS: Mapping[str, str] = {
    _URL: "url",
    **{
        key: key
        for key in (
            "top_n",
            "refresh_interval_sec",
            "reprocess_enabled",
            "reprocess_window_seconds",
            "respect_sell_chronology_enabled",
            "sell_chronology_window_seconds",
        )
    },
}
_KNOWN = ("strategies", "active", "allow_other_hosts")


def with_strategies(document: Document) -> Document:
    """Return the document with its flat strategy as the only one of `strategies`.

    Raises:
        ConfigFileError: it has no key that is read, so defaults would count instead of it, or it is half in
            the old form.
    """
    if _URL in document:
        if "strategies" in document:
            raise ConfigFileError(FINVIZ_FILE, Reason(RefusalCode.FLAT_BESIDE_STRATEGIES), place=_URL)
        strategy = {new: document[old] for old, new in _KEYS.items() if document.get(old) is not None}
        rest = {key: value for key, value in document.items() if key not in _KEYS}
        return {**rest, "strategies": [{"name": NAME, **strategy}]}
    if document and not any(key in document for key in _KNOWN):
        fault = Reason(RefusalCode.NO_KNOWN_KEY, keys=", ".join((*_KNOWN, _URL)))
        raise ConfigFileError(FINVIZ_FILE, fault)
    return document
