"""The table of views, from which the navigation and the routes of the page are made.

A view has a module here, even a short one, that reads the values of its template
`templates/views/<name>.html`. It has texts in `app/web/texts/<language>/<name>.json`, among them
`<name>.title`, and a line in the table.
"""

from collections.abc import Awaitable, Callable, Mapping
from itertools import groupby
from typing import Any, Literal, NamedTuple

from fastapi import Request

from app.admin.views import (
    actions,
    configuration,
    database,
    dead_letters,
    destinations,
    overview,
    positions,
    refused,
    signals,
    sources,
    strategies,
    trades,
)
from app.db.pool import Connection
from app.web.hub import LiveMessageType

Group = Literal["monitor", "troubleshoot", "settings"]
Read = Callable[[Request, Connection], Awaitable[Mapping[str, Any]]]


class View(NamedTuple):
    """A view of the admin page. On each live message in `hints` the page fetches its fragment again.

    `group` is its group in the navigation.
    """

    name: str
    group: Group
    read: Read
    hints: tuple[LiveMessageType, ...]

    @property
    def path(self) -> str:
        """The path of its URL."""
        return "/admin" if self.name == "overview" else f"/admin/page/{self.name}"

    @property
    def template(self) -> str:
        """The file of its template, below `templates/`."""
        return f"views/{self.name}.html"


VIEWS = (
    View("overview", "monitor", overview.read, ("signals_changed", "top_n_tickers_update")),
    View("signals", "monitor", signals.read, ("signals_changed",)),
    View("positions", "monitor", positions.read, ("signals_changed", "positions_changed")),
    View("trades", "monitor", trades.read, ("positions_changed",)),
    View("dead-letters", "troubleshoot", dead_letters.read, ("signals_changed", "status_update")),
    View("refused", "troubleshoot", refused.read, ("status_update",)),
    View("actions", "troubleshoot", actions.read, ("status_update",)),
    View(
        "strategies",
        "settings",
        strategies.read,
        ("top_n_tickers_update", "positions_changed", "status_update"),
    ),
    View("sources", "settings", sources.read, ("status_update",)),
    View("destinations", "settings", destinations.read, ("positions_changed", "status_update")),
    View("configuration", "settings", configuration.read, ("status_update",)),
    View("database", "settings", database.read, ()),
)
NAVIGATION = [(group, list(members)) for group, members in groupby(VIEWS, lambda view: view.group)]
BY_NAME = {view.name: view for view in VIEWS}
