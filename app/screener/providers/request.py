"""The request of a refresh to a provider."""

from dataclasses import dataclass, field
from pathlib import Path

import aiohttp

from app.screener.pace import Pace
from app.screener.parsing.parser import Parser


@dataclass(frozen=True, slots=True)
class Request:
    """The strategy's `url`, how many tickers are needed, and what a provider needs to fetch them.

    `depth`: so many are read if they can be. A source that gives all of its tickers at once gives them all.
    `elite_auth` is sent to Finviz's export only, over https; no message contains it.
    """

    url: str
    top_n: int
    depth: int
    config_dir: Path
    http: aiohttp.ClientSession
    pace: Pace
    parser: Parser
    elite_auth: str = field(default="", repr=False)
    allow_other_hosts: bool = False

    @property
    def place(self) -> str:
        """What follows the URL's scheme."""
        return place_of(self.url)


def place_of(url: str) -> str:
    """Return what follows the first colon: the tickers of `list:`, the name of `file:`."""
    return url.partition(":")[2]
