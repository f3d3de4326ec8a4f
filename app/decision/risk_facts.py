"""What the risk rules decide by: the configured rules, and what is stored."""

from collections.abc import Collection
from datetime import datetime
from functools import lru_cache

from app.config.risk import Risk
from app.config.times import parse_hours
from app.db.pool import Connection
from app.decision import repository
from app.decision.risk import RiskCounts, RiskRules, start_of_day
from app.orders.destination import Destination
from app.signals.tickers import fold, without_exchange


@lru_cache(maxsize=4)
def rules_of(risk: Risk) -> RiskRules:
    """Return the rules of a configuration."""
    return RiskRules(
        buys_paused=risk.buys == "off",
        hours=None if risk.hours is None else parse_hours(risk.hours),
        max_open_positions=risk.max_open_positions,
        max_buys_per_day=risk.max_buys_per_day,
        cooldown_seconds=risk.cooldown_seconds,
        blocklist=frozenset(fold(without_exchange(ticker)) for ticker in risk.blocklist),
    )


async def read_risk_counts(
    connection: Connection,
    rules: RiskRules,
    *,
    now: datetime,
    destination: Destination,
    tickers: Collection[str],
    has_entries: bool = True,
) -> RiskCounts:
    """Return what the rules count at a destination before a batch with these tickers.

    One statement, and none where no rule that is set needs it. With limits no other transaction may approve
    an entry meanwhile: the caller holds the lock on the limits, or the exclusive approval lock.
    """
    if not has_entries or not rules.needs_counts:
        return RiskCounts()
    return await repository.read_risk_counts(
        connection,
        tickers=list(tickers),
        key=destination.key,
        destination=destination.name,
        day_began_at=start_of_day(rules, now),
        cooldown_seconds=rules.cooldown_seconds,
        most_buys=rules.max_buys_per_day or 0,
        counts_positions=rules.max_open_positions is not None,
    )
