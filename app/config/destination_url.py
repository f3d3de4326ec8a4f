"""Validation of a destination's URL: when it is changed, and for an alarm while it is current. Pure."""

import ipaddress
import re
from urllib.parse import urlsplit

from yarl import URL

_LABEL = re.compile(r"[a-z0-9_]([a-z0-9_-]{0,61}[a-z0-9_])?", re.ASCII | re.IGNORECASE)
_LONGEST_HOST = 253
_NO_URL = "must be an http:// or https:// URL with a host"
_INVISIBLE = "must not contain whitespace or control characters"
_PORT = "its port must be a number from 1 to 65535"
_ADDRESS = "its host is not a valid IP address"
_HOST = (
    "its host is not valid: at most 253 characters, and each part between dots "
    "must have 1 to 63 letters, digits, - or _"
)
_USER = "its user name and password must be Latin-1 text, the user name without a colon"


def fault_of(url: str | None) -> str:
    """Return what is wrong with the URL, empty if nothing is; None is paper. No part of it is quoted."""
    if url is None:
        return ""
    if any(character.isspace() or not character.isprintable() for character in url):
        return _INVISIBLE
    try:
        parts = urlsplit(url)
    except ValueError:
        return _ADDRESS  # the brackets of an IPv6 address
    if parts.scheme not in {"http", "https"} or not parts.hostname:
        return _NO_URL
    try:
        port = parts.port
    except ValueError:
        return _PORT
    return _PORT if port == 0 else _fault_of_authority(url)


def _fault_of_authority(url: str) -> str:
    try:
        parsed = URL(url)
        host = parsed.raw_host or ""
    except ValueError:  # a UnicodeError is one: the name has no form for DNS
        return _HOST
    if not _is_sendable(parsed.user or "", parsed.password or ""):
        return _USER
    try:
        ipaddress.ip_address(host)
    except ValueError:
        return _fault_of_host(host.removesuffix("."))
    return ""


def _fault_of_host(host: str) -> str:
    labels = host.split(".")
    if ":" in host or labels[-1].isdigit():
        return _ADDRESS
    return "" if len(host) <= _LONGEST_HOST and all(map(_LABEL.fullmatch, labels)) else _HOST


def _is_sendable(user: str, password: str) -> bool:
    """Return whether they can be sent in an `Authorization: Basic` header."""
    try:
        f"{user}{password}".encode("latin-1")
    except UnicodeEncodeError:
        return False
    return ":" not in user
