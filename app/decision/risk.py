"""The risk rules: which entries they refuse. Pure: the caller passes every fact.

No exit is ever asked about: `decide` calls these rules for entries alone.
"""

from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from datetime import UTC, datetime, time
from typing import NamedTuple

from app.signals.book import Book
from app.signals.market import TradingHours, early_close, is_trading_day
from app.signals.reasons import Reason, ReasonCode


@dataclass(frozen=True, slots=True)
class RiskRules:
    """The configured rules; the defaults refuse nothing. `blocklist` has tickers in the stored form."""

    buys_paused: bool = False
    hours: TradingHours | None = None
    max_open_positions: int | None = None
    max_buys_per_day: int | None = None
    cooldown_seconds: int = 0
    blocklist: frozenset[str] = frozenset()

    @property
    def has_limits(self) -> bool:
        """Whether a rule counts what other decisions approve: they are then made one after another."""
        return self.max_open_positions is not None or self.max_buys_per_day is not None

    @property
    def needs_counts(self) -> bool:
        """Whether a rule depends on what is stored."""
        return self.has_limits or self.cooldown_seconds > 0


class EntryFacts(NamedTuple):
    """What the rules refuse an entry by, at one destination.

    `positions`: other tickers that are open or being opened. `buys_today`: entries of the day, also pending
    ones. `since_exit`: seconds since the ticker's last delivered exit, None without one.
    """

    rules: RiskRules
    ticker: str
    now: datetime
    positions: int = 0
    buys_today: int = 0
    since_exit: float | None = None

    def refuse_at_once(self) -> Reason | None:
        """Return why no entry of this ticker passes now, whatever the list and the book say."""
        rules = self.rules
        if rules.buys_paused:
            return Reason(ReasonCode.BUYS_PAUSED)
        if self.ticker in rules.blocklist:
            return Reason(ReasonCode.BLOCKLISTED, ticker=self.ticker)
        return None if rules.hours is None else _outside(rules.hours, self.now)

    def refuse_by_counts(self, book: Book) -> Reason | None:
        """Return why an entry that the list and the book allow is refused."""
        rules, most = self.rules, self.rules.max_open_positions
        if rules.cooldown_seconds and self._is_cooling_down(book):
            return Reason(ReasonCode.COOLDOWN, seconds=rules.cooldown_seconds)
        if most is not None and self.positions >= most and book.projected is None:
            return Reason(ReasonCode.MAX_POSITIONS, count=self.positions, most=most)
        most = rules.max_buys_per_day
        if most is not None and self.buys_today >= most:
            return Reason(ReasonCode.MAX_BUYS, count=self.buys_today, most=most)
        return None

    def _is_cooling_down(self, book: Book) -> bool:
        if book.has_pending_exit:
            return True
        return self.since_exit is not None and self.since_exit < self.rules.cooldown_seconds


# Without rules every entry passes.
UNRESTRICTED = EntryFacts(RiskRules(), "", datetime.min.replace(tzinfo=UTC))


class RiskCounts(NamedTuple):
    """What is stored before a batch; see `EntryFacts`. `positions`: of tickers that are not in the batch."""

    positions: int = 0
    buys_today: int = 0
    since_exit: Mapping[str, float] = {}


class RiskBook:
    """What the rules count, kept up to date while a batch is decided in order."""

    def __init__(
        self, rules: RiskRules, now: datetime, counts: RiskCounts, books: Iterable[tuple[str, Book]] = ()
    ) -> None:
        """Begin with what is stored, and the books of the batch's tickers."""
        self.rules, self.now, self.counts = rules, now, counts
        self._buys_today = counts.buys_today
        self._held = {ticker for ticker, book in books if book.projected is not None}

    @property
    def has_limits(self) -> bool:
        """Whether decisions have to be noted."""
        return self.rules.has_limits

    def facts_of(self, ticker: str) -> EntryFacts:
        """Return the facts for an entry of this ticker that is decided next."""
        return EntryFacts(
            self.rules,
            ticker,
            self.now,
            self.counts.positions + len(self._held) - (ticker in self._held),
            self._buys_today,
            self.counts.since_exit.get(ticker),
        )

    def note(self, ticker: str, book: Book, *, buys: int) -> None:
        """Record what a decision has made of a ticker, and by how many the buys of the day have changed."""
        self._buys_today += buys
        if book.projected is not None:
            self._held.add(ticker)
        else:
            self._held.discard(ticker)


def start_of_day(rules: RiskRules, now: datetime) -> datetime:
    """Return when the day began for which buys are counted: in the zone of the hours, else in UTC."""
    zone = UTC if rules.hours is None else rules.hours.zone
    return datetime.combine(now.astimezone(zone).date(), time(), zone)


def _outside(hours: TradingHours, now: datetime) -> Reason | None:
    local = now.astimezone(hours.zone)
    day = local.date()
    if not is_trading_day(day, hours.zone):
        return Reason(ReasonCode.EXCHANGE_CLOSED, date=day.isoformat())
    if not hours.opens <= local.time() < hours.closes:
        return Reason(ReasonCode.OUTSIDE_HOURS, hours=hours.text)
    early = early_close(day, hours.zone)
    if early is not None and local >= early:
        return Reason(ReasonCode.CLOSED_EARLY, time=f"{early:%H:%M}")
    return None
