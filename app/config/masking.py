"""Mask secrets in what is shown; a mask that is sent back leaves the secret unchanged. Pure."""

import re
from collections.abc import Mapping
from typing import Any
from urllib.parse import urlsplit

from app.config.model import FINVIZ_FILE, WEBHOOK_FILE, Document

MASK = "***"
# `auth=` as it may be spelled, letters of it as percent codes too; a token may hold the other separators
_GAP = r"(?:\s|\+|%20)*"
_AUTH = re.compile(rf"(?i)(?<=[?&;#])({_GAP}(?:a|%[46]1)(?:u|%[57]5)(?:t|%[57]4)(?:h|%[46]8){_GAP}=)([^&]*)")
_USER = re.compile(r"(?i)\A([a-z][a-z0-9+.-]*://)([^/?#]*)@")


def masked_destination(url: str) -> str:
    """Keep scheme, host and port: path, query and user hold passwords."""
    parts = urlsplit(url)
    host = parts.netloc.rpartition("@")[2]
    bare = parts.path in {"", "/"} and not parts.query and not parts.fragment and host == parts.netloc
    return url if bare else f"{parts.scheme}://{host}/{MASK}"


def masked_source(url: str) -> str:
    """Mask what a screener's URL should not show: the token of `auth=`, however it is spelled, and a user."""
    return _USER.sub(rf"\g<1>{MASK}@", _AUTH.sub(rf"\g<1>{MASK}", url))


def _secrets(url: str) -> list[str]:
    """Return what `masked_source` masks, in the order of its masks."""
    return [secret for _, secret in (*_USER.findall(url), *_AUTH.findall(url))]


def unmasked_destination(offered: str, current: str | None) -> str:
    """Return the URL that is meant: the current one when its mask is sent back.

    Raises:
        ValueError: a mask that is not the current URL's.
    """
    if current is not None and offered == masked_destination(current):
        return current
    if MASK in offered:
        raise ValueError(f"holds a mask ({MASK}) of another URL: write the whole URL")
    return offered


def unmasked_source(offered: str, current: str | None) -> str:
    """Return the URL that is meant: a masked `auth=` is the current URL's.

    Raises:
        ValueError: there is no current token that the mask could stand for.
    """
    if MASK not in _secrets(offered):
        return offered
    kept = _secrets(current or "")
    if len(kept) != len(_secrets(offered)):
        raise ValueError(
            f"auth={MASK} stands for no token: set FINVIZ_ELITE_AUTH in .env and leave auth= out"
        )
    # a user comes first and is masked as a token is
    secrets = iter(kept)
    restored = _USER.sub(lambda found: f"{found[1]}{_restored(found[2], next(secrets))}@", offered)
    return _AUTH.sub(lambda found: found[1] + _restored(found[2], next(secrets)), restored)


def _restored(offered: str, kept: str) -> str:
    return kept if offered == MASK else offered


def differences(
    before: Mapping[str, Document], after: Mapping[str, Document]
) -> tuple[dict[str, Any], dict[str, Any]]:
    """Return what two sets of documents differ in, masked: each as `{key: value}`, strategies by their names.

    A key that a side does not have is left out on that side.
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
                new[key] = _shown(name, key, now[key])
    return old, new


def _flat(name: str, document: Document) -> dict[str, Any]:
    """Put each strategy under a key of its own, so that a change of one does not repeat all the others."""
    if name != FINVIZ_FILE or not isinstance(document.get("strategies"), list):
        return dict(document)
    flat = {key: value for key, value in document.items() if key != "strategies"}
    for strategy in document["strategies"]:
        flat[f"strategies.{strategy['name']}"] = strategy
    return flat


def _shown(name: str, key: str, value: object) -> object:
    if name == WEBHOOK_FILE and key == "url" and isinstance(value, str):
        return masked_destination(value)
    if name == FINVIZ_FILE and isinstance(value, dict) and isinstance(value.get("url"), str):
        return {**value, "url": masked_source(value["url"])}
    return value
