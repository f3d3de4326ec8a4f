"""Mask secrets in what is shown; a mask that is sent back leaves the secret unchanged. Pure."""

import re
from collections.abc import Mapping
from typing import Any
from urllib.parse import urlsplit

from app.config.access import SECRET_FIELDS, AccessToken, AlertSource, MaxSourceAge
from app.config.checking import Document
from app.config.destinations import DestinationConfig
from app.config.model import ACCESS_LISTS, FINVIZ_FILE, WEBHOOK_FILE
from app.errors import WrongValueError
from app.signals.refusals import RefusalCode

MASK = "***"
DESTINATIONS = "destinations"
_LISTS = {
    name: (listed, DESTINATIONS) if name == WEBHOOK_FILE else (listed,)
    for name, listed in {FINVIZ_FILE: "strategies", **ACCESS_LISTS}.items()
}
_ENTRIES = {"sources": AlertSource, "tokens": AccessToken}  # with secrets, by the name of their list
MASKED_LISTS = (*ACCESS_LISTS.values(), DESTINATIONS)
_SECRETS = frozenset({*SECRET_FIELDS, "sha256"})
_AGES = "max_source_age_seconds"
# `auth=` in every spelling, also percent-encoded; a token may contain the other separators
_GAP = r"(?:\s|\+|%20)*"
_AUTH = re.compile(rf"(?i)(?<=[?&;#])({_GAP}(?:a|%[46]1)(?:u|%[57]5)(?:t|%[57]4)(?:h|%[46]8){_GAP}=)([^&]*)")
_USER = re.compile(r"(?i)\A([a-z][a-z0-9+.-]*://)([^/?#]*)@")


def masked_destination(url: str) -> str:
    """Return the URL with scheme, host and port only: path, query and user may contain passwords."""
    parts = urlsplit(url)
    host = parts.netloc.rpartition("@")[2]
    bare = parts.path in {"", "/"} and not parts.query and not parts.fragment and host == parts.netloc
    return url if bare else f"{parts.scheme}://{host}/{MASK}"


def masked_source(url: str) -> str:
    """Return a screener's URL with its secrets masked: the token of `auth=` in every spelling, and a user."""
    return _USER.sub(rf"\g<1>{MASK}@", _AUTH.sub(rf"\g<1>{MASK}", url))


def without_secrets(url: str) -> str:
    """Return a screener's URL without what `masked_source` masks."""
    return _AUTH.sub("", _USER.sub(r"\g<1>", url)).replace("?&", "?").rstrip("?&")


def _secrets(url: str) -> list[str]:
    """Return what `masked_source` masks, in the order of its masks."""
    return [secret for _, secret in (*_USER.findall(url), *_AUTH.findall(url))]


def unmasked_destination(offered: str, current: str | None) -> str:
    """Return the offered URL; the current one when its masked form is offered.

    Raises:
        WrongValueError: the URL has the mask of another one.
    """
    if current is not None and offered == masked_destination(current):
        return current
    if MASK in offered:
        raise WrongValueError(RefusalCode.MASK_OF_ANOTHER, mask=MASK)
    return offered


def unmasked_source(offered: str, current: str | None) -> str:
    """Return the offered URL; a masked `auth=` is replaced by the current token.

    Raises:
        WrongValueError: the current URL has no token for the mask.
    """
    if MASK not in _secrets(offered):
        return offered
    kept = _secrets(current or "")
    if len(kept) != len(_secrets(offered)):
        raise WrongValueError(RefusalCode.MASK_OF_NONE, mask=f"auth={MASK}")
    # The user is before the query, so its mask is the first one.
    secrets = iter(kept)
    restored = _USER.sub(lambda found: f"{found[1]}{_restored(found[2], next(secrets))}@", offered)
    return _AUTH.sub(lambda found: found[1] + _restored(found[2], next(secrets)), restored)


def _restored(offered: str, kept: str) -> str:
    return kept if offered == MASK else offered


def differences(
    before: Mapping[str, Document], after: Mapping[str, Document]
) -> tuple[dict[str, Any], dict[str, Any]]:
    """Return the differing values of two sets of documents, masked: before and after, each `{key: value}`.

    A strategy, a source or a token is one value, under its name. A key that a side lacks is omitted there.
    """
    old: dict[str, Any] = {}
    new: dict[str, Any] = {}
    for name in after:
        was, now = _flat(name, before.get(name, {})), _flat(name, after[name])
        for key in [*was, *(key for key in now if key not in was)]:
            if key in was and key in now and was[key] == now[key]:
                continue
            if key in was:
                old[key] = _shown(name, key, was[key])
            if key in now:
                new[key] = _shown(name, key, now[key], was.get(key))
    return old, new


def _flat(name: str, document: Document) -> dict[str, Any]:
    """Return the document with a key for each entry of its lists: a change does not repeat the others."""
    flat = dict(document)
    for listed in _LISTS.get(name, ()):
        entries = document.get(listed)
        if not isinstance(entries, list) or not all(isinstance(each, dict) for each in entries):
            continue
        del flat[listed]
        for entry in entries:
            flat[f"{listed}.{entry.get('name')}"] = entry
    return flat


def _shown(name: str, key: str, value: object, before: object = None) -> object:
    """Return the value masked; `before` is the one that it replaces, if any."""
    if name == WEBHOOK_FILE and key == "url" and isinstance(value, str):
        return masked_destination(value)
    if name == FINVIZ_FILE and isinstance(value, dict) and isinstance(value.get("url"), str):
        return {**value, "url": masked_source(value["url"])}
    listed = key.partition(".")[0]
    if name == WEBHOOK_FILE and listed == DESTINATIONS:
        return _shown_destination(key, value)
    return _shown_entry(listed, key, value, before) if listed == ACCESS_LISTS.get(name) else value


def _shown_destination(key: str, value: object) -> object:
    """Return an entry of `destinations` with its known fields, its URL masked; all others are masked."""
    if key == DESTINATIONS or not isinstance(value, dict):
        return MASK
    known = DestinationConfig.__struct_fields__
    shown = {field: each if field in known else MASK for field, each in value.items()}
    if (url := value.get("url")) is not None:
        shown["url"] = masked_destination(url) if isinstance(url, str) and url else url if url == "" else MASK
    return shown


def _shown_entry(listed: str, key: str, value: object, before: object = None) -> object:
    """Return an entry of `sources` or `tokens` with its known fields; all others are masked."""
    if key == listed or not isinstance(value, dict):  # a list that is not one of objects
        return MASK
    old, known = before if isinstance(before, dict) else value, _ENTRIES[listed].__struct_fields__
    shown = {field: each if field in known else MASK for field, each in value.items()}
    for field in _SECRETS & value.keys():
        shown[field] = masked_secret(value[field], old.get(field))
    if isinstance(ages := value.get(_AGES), dict):
        known_ages = MaxSourceAge.__struct_fields__
        shown[_AGES] = {field: each if field in known_ages else MASK for field, each in ages.items()}
    return shown


def masked_stored(values: object) -> object:
    """Return values of the actions log without secrets: the version before stores them unmasked."""
    if not isinstance(values, dict):
        return values
    return {key: _masked_stored(key, value) for key, value in values.items()}


def _masked_stored(key: str, value: object) -> object:
    listed = key.partition(".")[0]
    if listed == DESTINATIONS:
        return (
            [_shown_destination("", each) for each in value]
            if isinstance(value, list)
            else _shown_destination(key, value)
        )
    if listed not in _ENTRIES or (key == listed and not isinstance(value, dict | list)):
        return value
    shown = _shown_entry(listed, key, value)
    if not isinstance(shown, dict) or not isinstance(value, dict):
        return shown
    new = f"{MASK} (new)"
    return {field: new if value.get(field) == new else each for field, each in shown.items()}


def masked_secret(secret: object, before: object) -> str | None:
    """Return the mask of a secret; it says where another one is replaced. None stays None."""
    if secret is None:
        return None
    return MASK if secret == before else f"{MASK} (new)"
