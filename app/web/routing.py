"""Routers, and how an application takes over their routes."""

from collections.abc import Iterable
from functools import partial
from typing import TYPE_CHECKING

from fastapi import APIRouter

if TYPE_CHECKING:
    from fastapi import FastAPI

# The name of the function is the operation id, which reads well in a client.
new_router = partial(APIRouter, generate_unique_id_function=lambda route: route.name)


def add_routes(app: "FastAPI", routers: Iterable[APIRouter]) -> None:
    """Serve the routers' routes, which were built when their modules were imported.

    `include_router` would build each of them again, for its first request. That blocks the event loop for
    100 ms, while alerts wait.
    """
    for router in routers:
        app.router.routes.extend(router.routes)
