"""Where a Finviz token may be sent: to Finviz over https only, redirects included. Pure."""

from urllib.parse import unquote

from yarl import URL

from app.screener.parsing.tickers import SourceError

_PARAMETER = "auth"


def may_be_sent_to(url: URL) -> bool:
    """Return whether the URL is Finviz's own, by https on its usual port.

    The host of the connection decides, not user-info, other spellings or look-alikes in other scripts.
    """
    host = url.raw_host or ""
    is_finviz = host == "finviz.com" or host.endswith(".finviz.com")
    return is_finviz and url.scheme == "https" and url.port == 443 and not url.user and not url.password


def split(url: URL) -> tuple[str | None, URL]:
    """Return the token in the URL, None if there is none, and the URL without it."""
    typed = [value for name, value in url.query.items() if _is_token(name)]
    if not typed:
        return None, url
    rest = [(name, value) for name, value in url.query.items() if not _is_token(name)]
    return typed[0], url.with_query(rest)


def added(url: URL, token: str) -> URL:
    """Return the URL with the token, or without it where it may not be sent."""
    return url.update_query({_PARAMETER: token}) if token and may_be_sent_to(url) else url


def check_absent(url: URL, *tokens: str | None) -> None:
    """Check a redirect: it must not carry a token to a site where it may not be sent.

    Raises:
        SourceError: the URL contains one of the tokens, in any part.
    """
    if may_be_sent_to(url):
        return
    shown = {str(url), unquote(str(url))}
    if any(token and token in text for token in tokens for text in shown):
        raise SourceError("a redirect would carry the token to another site: it is not followed")


def _is_token(name: str) -> bool:
    return name.strip().lower() == _PARAMETER
