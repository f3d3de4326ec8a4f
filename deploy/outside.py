"""What a run asks and says outside of its hosts: is the stack reached from here, and how the run ended.

Neither changes how a run ends. No sentence has a part of DEPLOY_WEBHOOK_URL: it may hold a secret.
"""

from __future__ import annotations

from concurrent.futures import ThreadPoolExecutor
from http import HTTPStatus
from typing import TYPE_CHECKING, Any

import requests

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping, Sequence

VARIABLE = "DEPLOY_WEBHOOK_URL"
INVENTORY_VARIABLE = "deploy_webhook_url"
PROBE_SECONDS = (3.0, 5.0)  # to connect, and between two bytes of the answer
POST_SECONDS = (5.0, 10.0)
_MOST_AT_ONCE = 16


def probe(urls: Mapping[str, str]) -> dict[str, dict[str, Any]]:
    """Ask each host's URL once, at the same time, from where this program runs.

    `urls` by host. Return by host `url`, `status` (HTTP, None without an answer), `problem` (None with one).
    """
    if not urls:
        return {}
    with ThreadPoolExecutor(min(len(urls), _MOST_AT_ONCE)) as pool:
        return dict(zip(urls, pool.map(_probed, urls.values()), strict=True))


def _probed(url: str) -> dict[str, Any]:
    try:
        # the status is all that counts: the body stays unread
        with requests.get(url, timeout=PROBE_SECONDS, stream=True, allow_redirects=False) as answer:
            return {"url": url, "status": answer.status_code, "problem": None}
    except (requests.RequestException, OSError, ValueError) as error:
        return {"url": url, "status": None, "problem": _cause(error)}


def post(urls: Iterable[str], document: Mapping[str, Any]) -> Sequence[str]:
    """Post the document of `--json` to each URL; return what went wrong, a sentence each."""
    return [problem for url in dict.fromkeys(urls) if (problem := _posted(url, document))]


def _posted(url: str, document: Mapping[str, Any]) -> str | None:
    try:
        # a redirect would turn the post into a GET without the document
        answer = requests.post(url, json=document, timeout=POST_SECONDS, allow_redirects=False, stream=True)
    except (requests.RequestException, OSError, ValueError) as error:
        return f"how the run ended could not be posted to {VARIABLE}: {_cause(error)}"
    with answer:
        if answer.status_code >= HTTPStatus.MULTIPLE_CHOICES:
            return f"how the run ended was not accepted by {VARIABLE}: HTTP {answer.status_code}"
    return None


_CAUSES: tuple[tuple[type[Exception], str], ...] = (
    (requests.exceptions.SSLError, "its certificate is not valid for this machine"),
    (requests.exceptions.ProxyError, "the proxy cannot be used"),
    (requests.exceptions.ConnectTimeout, f"no connection within {PROBE_SECONDS[0]:g} s"),
    (requests.exceptions.Timeout, "no answer in time"),
    (requests.exceptions.ConnectionError, "no connection"),
    (requests.exceptions.InvalidSchema, "it is no http:// or https:// URL"),
    (ValueError, "it is no http:// or https:// URL"),  # all that requests says of URLs
)


def _cause(error: Exception) -> str:
    """Return a phrase of ours: those of the library quote the URL."""
    return next((phrase for kind, phrase in _CAUSES if isinstance(error, kind)), "no valid answer")
