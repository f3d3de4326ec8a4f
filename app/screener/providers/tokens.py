"""Where a Finviz token may be sent: to Finviz over https only, redirects included. Pure."""

import re
from urllib.parse import unquote

from yarl import URL

from app.screener.parsing.tickers import ProviderError
from app.signals.refusals import RefusalCode

_PARAMETER = "auth"
_IN_PAIR = re.compile(rf"(?is)\A(.*?)(?:\A|;)\s*{_PARAMETER}\s*=(.*)\Z")
_IN_PATH = re.compile(rf"(?i);\s*{_PARAMETER}\s*=")


def may_be_sent_to(url: URL) -> bool:
    """Return whether the URL is Finviz's own, by https on its usual port.

    The host of the connection decides, not user-info, other spellings or look-alikes in other scripts.
    """
    host = url.raw_host or ""
    is_finviz = host == "finviz.com" or host.endswith(".finviz.com")
    return is_finviz and url.scheme == "https" and url.port == 443 and not url.user and not url.password


def split(url: URL) -> tuple[str | None, URL]:
    """Return the token in the URL's query, None if there is none, and the URL without it.

    Some servers separate parameters by `;`, also the rest of an `&amp;`. So a token is found after it, too,
    and reaches to the next `&`, because it may contain a `;` itself.
    """
    typed, rest = list[str](), list[tuple[str, str]]()
    for name, value in url.query.items():
        found = _IN_PAIR.search(f"{name}={value}")
        if found is None:
            rest.append((name, value))
            continue
        typed.append(found[2])
        if found[1]:
            before = found[1].partition("=")
            rest.append((before[0], before[2]))
    if not typed:
        return None, url
    return typed[0], url.with_query(rest)


def is_in_path(url: URL) -> bool:
    """Return whether the URL's path has a token, as `/list;auth=…`."""
    return _IN_PATH.search(url.path) is not None


def added(url: URL, token: str) -> URL:
    """Return the URL with the token, or without it where it may not be sent."""
    return url.update_query({_PARAMETER: token}) if token and may_be_sent_to(url) else url


def check_absent(url: URL, *tokens: str | None) -> None:
    """Check a redirect: it must not carry a token to a site where it may not be sent.

    Raises:
        ProviderError: the URL contains one of the tokens, in any part.
    """
    if may_be_sent_to(url):
        return
    shown = {str(url), unquote(str(url))}
    if any(token and token in text for token in tokens for text in shown):
        raise ProviderError(RefusalCode.REDIRECT_TOKEN)
