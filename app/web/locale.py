"""The reader's language and theme: from cookies, else the language from `Accept-Language`."""

from collections.abc import Iterator
from contextvars import ContextVar
from typing import Literal, NamedTuple, get_args

from starlette.datastructures import Headers
from starlette.requests import cookie_parser
from starlette.types import ASGIApp, Receive, Scope, Send

Language = Literal["en", "pt-BR"]
Theme = Literal["auto", "light", "dark"]
LANGUAGES: tuple[Language, ...] = get_args(Language)
THEMES: tuple[Theme, ...] = get_args(Theme)
LIFETIME_SECONDS = 365 * 24 * 3600


class Preferences(NamedTuple):
    """The reader's choices. The names of the fields are those of the cookies."""

    language: Language = "en"
    theme: Theme = "auto"


# Read by `texts.text` and by the templates, wherever in a request they are used; workers use English.
current: ContextVar[Preferences] = ContextVar("preferences", default=Preferences())  # noqa: B039  # it is immutable


class LocaleMiddleware:
    """Sets `current` for every request and WebSocket, except those of the webhook. Pure ASGI."""

    def __init__(self, app: ASGIApp) -> None:
        self.app = app

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] != "lifespan" and not scope["path"].startswith("/webhook/"):
            current.set(preferences_of(Headers(scope=scope)))
        await self.app(scope, receive, send)


def preferences_of(headers: Headers) -> Preferences:
    """Return the choices in the cookies; without one, the best language of `Accept-Language`. Pure."""
    cookies = cookie_parser(headers.get("cookie", ""))
    chosen = cookies.get("language")
    theme = cookies.get("theme")
    return Preferences(
        language=chosen if chosen in LANGUAGES else preferred_language(headers.get("accept-language", "")),
        theme=theme if theme in THEMES else "auto",
    )


def preferred_language(accept_language: str) -> Language:
    """Return the best of our languages: Brazilian for any Portuguese, else English. Pure."""
    by_weight = sorted(_ranges(accept_language), key=lambda each: -each[1])  # equals keep their order
    for tag, _ in by_weight:
        for language in LANGUAGES:
            if tag.partition("-")[0] == language.partition("-")[0]:
                return language
    return "en"


def _ranges(accept_language: str) -> Iterator[tuple[str, float]]:
    """Yield each tag in lower case with its weight, except tags that are not valid or have weight 0."""
    for part in accept_language.split(","):
        tag, _, parameter = part.partition(";")
        name, _, value = parameter.partition("=")
        try:
            weight = float(value) if name.strip() == "q" else 1.0
        except ValueError:
            continue
        if tag.strip() and 0 < weight <= 1:
            yield tag.strip().lower(), weight
