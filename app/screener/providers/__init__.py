"""Providers of lists: one module for each kind, chosen by the strategy's URL.

A provider has a module here, even a short one, with `check` and `fetch`. A list is stored with its kind.
"""

import re
from collections.abc import Awaitable, Callable
from typing import NamedTuple, Protocol

from app.screener.pace import is_export
from app.screener.parsing.tickers import BlockedError, Found, ListKind, ProviderError
from app.screener.providers import finviz, inline, table
from app.screener.providers.request import Request
from app.signals.refusals import RefusalCode

__all__ = ["BlockedError", "Found", "Provider", "ProviderError", "Request", "check", "provider_of"]


class Check(Protocol):
    """The check of a strategy's URL when it is saved."""

    def __call__(self, url: str, *, allow_other_hosts: bool) -> None:
        """Raise ProviderError for what would fail with every refresh. Pure."""


class Provider(NamedTuple):
    """A way to fetch tickers in rank order. `ages`: whether its list becomes stale.

    `kind` is what the URL suggests. `Found` has the kind of the answer: any site may answer with a table.
    `fetch(request)` raises ProviderError with a reason for the operator, BlockedError where it was blocked.
    """

    kind: ListKind
    ages: bool
    check: Check
    fetch: Callable[[Request], Awaitable[Found]]


_SCHEME = re.compile(r"[a-z][a-z0-9+-]{0,15}")
_INLINE = Provider("list", ages=False, check=inline.check, fetch=inline.fetch)
_TABLE = Provider("file", ages=False, check=table.check, fetch=table.fetch)
_PAGES = Provider("html", ages=True, check=finviz.check, fetch=finviz.fetch)
_EXPORT = Provider("csv", ages=True, check=finviz.check, fetch=finviz.fetch)


def check(url: str, *, allow_other_hosts: bool) -> None:
    """Check a strategy's URL when it is saved, for what would fail with every refresh. Pure.

    Raises:
        ProviderError: no provider can read the URL, or its host is not allowed.
    """
    provider_of(url).check(url, allow_other_hosts=allow_other_hosts)


def provider_of(url: str) -> Provider:
    """Return the provider that reads a strategy's URL.

    Raises:
        ProviderError: no provider can read the URL.
    """
    scheme = url.partition(":")[0].lower() if ":" in url else ""
    match scheme:
        case "list":
            return _INLINE
        case "file":
            return _TABLE
        case "https" | "http":
            return _EXPORT if is_export(url) else _PAGES
        case _:
            # Only a scheme is shown: any other beginning may be a token.
            if not _SCHEME.fullmatch(scheme):
                raise ProviderError(RefusalCode.SOURCE_WITHOUT_SCHEME)
            raise ProviderError(RefusalCode.SOURCE_UNKNOWN, scheme=repr(scheme))
