"""What a running process shares: one object, on `app.state.context` and handed to every worker."""

import asyncio
from collections.abc import Mapping
from dataclasses import dataclass, field
from datetime import datetime
from typing import Literal

import aiohttp

from app.config.model import Config
from app.db.clock import DatabaseClock
from app.db.pool import Pool
from app.db.reading import ReadingPool
from app.errors import ConfigFileError
from app.runtime.denials import Denials
from app.runtime.queues import Queues
from app.runtime.supervisor import Supervisor
from app.runtime.wakeups import Wakeups
from app.settings import Settings


@dataclass(slots=True)
class DeliveryState:
    """How a destination is served now. `state`: held while it asked to wait, or its circuit is open.

    `limited_until`: no token of the rate limits is left before that moment; None while there is one.
    `entries_limited_until`: the same for entries, which leave the reserve of exits free.
    """

    state: Literal["open", "held"] = "open"
    limited_until: datetime | None = None
    entries_limited_until: datetime | None = None


@dataclass(slots=True)
class AppContext:
    """What every worker and route is given.

    Read `context.config` at each use and never keep it: a new revision replaces it while the process runs.
    `config_problems` are files that are wrong, by name: the last valid content stays current.
    `is_configured`: the database's revision is known, so a pause of before the start is, too.
    `started_at` is in seconds of `time.monotonic()`; `deliveries` are by the name of the destination.
    `pool` is for orders and workers, `reading` for people's reads, `probing` for health alone.
    `intake_failure` says why posts cannot be stored, empty while they can.
    `unwritten_outcomes` are attempts that ended and could not be stored, with the cause.
    `known_outcomes` are attempts whose outcome this process knows and has not stored yet.
    `sessions`: what each server process of `pool` was last acquired for, by its process id.
    `alarms_began`: when each alarm began, by code and subject. `alarms_seen`: how many this process saw
    last, by code. `notification_targets` are names by key.
    `last_backup` holds when the database was last backed up, None if never; it is None until that was read.
    `silent_since`: when each source with `expect_within_minutes` was last heard, by its name.
    `what_if_turn` is held while a what-if runs.
    """

    settings: Settings
    config: Config
    pool: Pool
    reading: ReadingPool
    probing: Pool
    http: aiohttp.ClientSession
    wakeups: Wakeups
    supervisor: Supervisor
    started_at: float
    clock: DatabaseClock = field(default_factory=DatabaseClock)
    queues: Queues = field(default_factory=Queues)
    denials: Denials = field(init=False)
    sessions: dict[int, str] = field(default_factory=dict)
    intake_failure: str = ""
    unwritten_outcomes: dict[int, str] = field(default_factory=dict)
    known_outcomes: set[int] = field(default_factory=set)
    config_problems: Mapping[str, ConfigFileError] = field(default_factory=dict)
    deliveries: dict[str, DeliveryState] = field(default_factory=dict)
    is_configured: bool = False
    alarms_began: dict[tuple[str, str], datetime] = field(default_factory=dict)
    alarms_seen: Mapping[str, int] = field(default_factory=dict)
    notification_targets: Mapping[str, str] = field(default_factory=dict)
    last_backup: tuple[datetime | None] | None = None
    silent_since: Mapping[str, datetime] = field(default_factory=dict)
    what_if_turn: asyncio.Lock = field(default_factory=asyncio.Lock)

    def __post_init__(self) -> None:
        """Count denials by the database's clock."""
        self.denials = Denials(self.clock.now)

    def delivery_of(self, destination: str) -> DeliveryState:
        """Return how a destination is served now."""
        return self.deliveries.setdefault(destination, DeliveryState())

    def apply_config(self, config: Config, problems: Mapping[str, ConfigFileError]) -> None:
        """Make a configuration current; from now on the database's revision is known."""
        self.config, self.config_problems, self.is_configured = config, problems, True
