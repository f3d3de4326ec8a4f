"""Validation of a destination's URL: when it is changed, and for an alarm while it is current. Pure."""

import ipaddress
import re
from urllib.parse import urlsplit

from yarl import URL

from app.signals.reasons import Reason
from app.signals.refusals import RefusalCode

_LABEL = re.compile(r"[a-z0-9_]([a-z0-9_-]{0,61}[a-z0-9_])?", re.ASCII | re.IGNORECASE)
_LONGEST_HOST = 253


def fault_of(url: str | None) -> Reason | None:
    """Return what is wrong with the URL, None if nothing is; None is paper. No part of it is quoted."""
    code = None if url is None else _fault_of(url)
    return Reason(code) if code else None


def identity_of(url: object) -> object:
    """Return what two spellings of a URL have in common: a request to each goes to the same place.

    Scheme and host in lower case, without a default port, a trailing slash or a fragment. What has no such
    parts is returned as it is.
    """
    try:
        parsed = URL(str(url))
    except ValueError:
        return url
    host = (parsed.raw_host or "").removesuffix(".")
    user = (parsed.raw_user, parsed.raw_password)
    return (parsed.scheme, *user, host, parsed.port, parsed.raw_path.rstrip("/"), parsed.raw_query_string)


def _fault_of(url: str) -> RefusalCode | None:
    if any(character.isspace() or not character.isprintable() for character in url):
        return RefusalCode.DESTINATION_INVISIBLE
    try:
        parts = urlsplit(url)
    except ValueError:
        return RefusalCode.DESTINATION_ADDRESS  # the brackets of an IPv6 address
    if parts.scheme not in {"http", "https"} or not parts.hostname:
        return RefusalCode.DESTINATION_NO_URL
    try:
        port = parts.port
    except ValueError:
        return RefusalCode.DESTINATION_PORT
    return RefusalCode.DESTINATION_PORT if port == 0 else _fault_of_authority(url)


def _fault_of_authority(url: str) -> RefusalCode | None:
    try:
        parsed = URL(url)
        host = parsed.raw_host or ""
    except ValueError:  # a UnicodeError is one: the name has no form for DNS
        return RefusalCode.DESTINATION_HOST
    if not _is_sendable(parsed.user or "", parsed.password or ""):
        return RefusalCode.DESTINATION_USER
    try:
        ipaddress.ip_address(host)
    except ValueError:
        return _fault_of_host(host.removesuffix("."))
    return None


def _fault_of_host(host: str) -> RefusalCode | None:
    labels = host.split(".")
    if ":" in host or labels[-1].isdigit():
        return RefusalCode.DESTINATION_ADDRESS
    is_valid = len(host) <= _LONGEST_HOST and all(map(_LABEL.fullmatch, labels))
    return None if is_valid else RefusalCode.DESTINATION_HOST


def _is_sendable(user: str, password: str) -> bool:
    """Return whether they can be sent in an `Authorization: Basic` header."""
    try:
        f"{user}{password}".encode("latin-1")
    except UnicodeEncodeError:
        return False
    return ":" not in user
