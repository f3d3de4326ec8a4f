"""Every metric of the application. Set where the thing happens; served by `app.ops.operations_port`.

Each has its own name and one with the application's prefix. Every label value exists from the start: a
counter that begins with its first event hides that event from `increase()`. Samples of the database are
absent while they are unknown.
"""

import time
from collections.abc import Callable, Iterator, Mapping
from typing import Protocol

from prometheus_client import REGISTRY, Counter, Gauge, Histogram
from prometheus_client.metrics_core import GaugeMetricFamily, Metric
from prometheus_client.registry import Collector

from app.signals.statuses import DecisionResult, Outcome, SignalType

PREFIX = "tsp_"
SAMPLE_SECONDS = 30.0  # a sample that was not renewed for so long is outdated

# To a day: an exit may be delivered an hour after its alert, and longer where it is configured.
_LATENCY = (
    *(0.001, 0.0025, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1, 2.5, 5, 10, 30, 60, 300),
    *(900, 1800, 3600, 14_400, 86_400),
)


class DatabaseGauge(Collector):
    """1 while the database answers, 0 while it does not; absent before the first query."""

    def __init__(self, name: str, documentation: str) -> None:
        self._name, self._documentation = name, documentation
        self._is_up: bool | None = None
        self._at = 0.0

    def set(self, *, is_up: bool) -> None:
        """Record the result of the latest query."""
        self._is_up, self._at = is_up, time.monotonic()

    @property
    def is_up(self) -> bool:
        """Whether the latest query was answered, at most 30 s ago."""
        return bool(self._is_up) and time.monotonic() - self._at < SAMPLE_SECONDS

    def collect(self) -> Iterator[Metric]:
        family = GaugeMetricFamily(self._name, self._documentation)
        if self._is_up is not None:
            family.add_metric([], float(self.is_up))
        yield family


class SampledGauge(Collector):
    """A figure from the database, by label values; absent while the database is unavailable or after 30 s."""

    def __init__(self, name: str, documentation: str, *labels: str) -> None:
        self._name, self._documentation, self._labels = name, documentation, labels
        self._samples: Mapping[tuple[str, ...], tuple[float, float]] = {}

    def set(self, value: float, *labels: str) -> None:
        """Record a value that was just sampled."""
        self._samples = {**self._samples, labels: (value, time.monotonic())}

    def forget(self) -> None:
        """Remove all values: they are no longer current."""
        self._samples = {}

    def collect(self) -> Iterator[Metric]:
        family = GaugeMetricFamily(self._name, self._documentation, labels=self._labels)
        now = time.monotonic()
        for labels, (value, at) in self._samples.items():
            if self._is_known(now - at):
                family.add_metric(labels, self._value(value, now - at))
        yield family

    def _is_known(self, seconds: float) -> bool:
        return DATABASE_UP.is_up and seconds < SAMPLE_SECONDS

    def _value(self, value: float, _seconds: float) -> float:
        return value


class AgeGauge(SampledGauge):
    """An age in seconds. It grows until a new value is recorded, also without a database."""

    def _is_known(self, _seconds: float) -> bool:
        return True

    def _value(self, value: float, seconds: float) -> float:
        return value + seconds


class Liveness(Protocol):
    """The part of a worker's state that the gauge shows."""

    @property
    def alive(self) -> bool:
        """Whether the worker runs and has sent a heartbeat within 30 s."""


class WorkerGauge(Collector):
    """1 for each worker that is alive at the moment of the scrape, else 0."""

    def __init__(self, name: str, documentation: str) -> None:
        self._name, self._documentation = name, documentation
        self._states: Callable[[], Mapping[str, Liveness]] = dict[str, Liveness]

    def watch(self, states: Callable[[], Mapping[str, Liveness]]) -> None:
        self._states = states

    def collect(self) -> Iterator[Metric]:
        family = GaugeMetricFamily(self._name, self._documentation, labels=["worker"])
        for name, state in self._states().items():
            family.add_metric([name], float(state.alive))
        yield family


class CertificateGauge(Collector):
    """The days until the edge's certificate ends, at the moment of the scrape; absent without one."""

    def __init__(self, name: str, documentation: str) -> None:
        self._name, self._documentation = name, documentation
        self._days_left: Callable[[], float | None] = lambda: None

    def watch(self, days_left: Callable[[], float | None]) -> None:
        self._days_left = days_left

    def collect(self) -> Iterator[Metric]:
        family = GaugeMetricFamily(self._name, self._documentation)
        if (days := self._days_left()) is not None:
            family.add_metric([], days)
        yield family


DATABASE_UP = DatabaseGauge("database_up", "1 while PostgreSQL answers this process, 0 while it does not")
WORKER_UP = WorkerGauge("worker_up", "1 while the worker runs and has sent a heartbeat within 30 s")
CERTIFICATE_DAYS_LEFT = CertificateGauge(
    "certificate_days_left", "Days until the edge's certificate ends, negative afterwards"
)
BUILD_INFO = Gauge("build_info", "1, with the version that runs", ["version"])

SIGNALS_RECEIVED = Counter("signals_received", "Signals committed and answered 202, without duplicates")
SIGNALS_DUPLICATE = Counter("signals_duplicate", "Posts answered 202 as a duplicate of an earlier signal")
PARTIAL_EXITS_DUPLICATE = Counter(
    "partial_exits_duplicate",
    "Sells with a quantity that only their body made a duplicate, while the first one closed no position",
)
POSTS_REFUSED = Counter("posts_refused", "Refused posts, by HTTP status", ["status"])
DENIALS = Counter(
    "denials",
    "Denied requests: wrong or missing credentials, a wrong webhook path, a body that did not arrive",
    ["kind"],
)
GROUP_COMMIT_SIZE = Histogram(
    "group_commit_size", "Signals in one intake transaction", buckets=(1, 2, 5, 10, 20, 50, 100, 200, 500)
)
SIGNALS_DECIDED = Counter("signals_decided", "Decisions by result: approved, rejected, expired", ["result"])
SIGNALS_DELIVERED = Counter(
    "signals_delivered", "Attempts by outcome: delivered, refused, not_taken, unknown", ["result"]
)
DELIVERY_SECONDS = Histogram("delivery_seconds", "From sending a request to its answer", buckets=_LATENCY)
END_TO_END_SECONDS = Histogram(
    "end_to_end_seconds", "From a signal's arrival to its delivery", buckets=_LATENCY
)
QUEUE_DEPTH = SampledGauge("queue_depth", "Signals that wait, by queue: received, approved", "queue")
OLDEST_WAITING_SECONDS = SampledGauge(
    "oldest_waiting_seconds", "Age of the oldest waiting signal, by queue", "queue"
)
SELLS_AT_RISK = SampledGauge(
    "sells_at_risk",
    "Exits that need a person: late (last tenth of their age), expired, failed, waiting (30 s), "
    "unread, swallowed (taken for a duplicate), entered (a buy within 120 s after one that found nothing)",
    "state",
)
UNCONFIRMED_POSITIONS = SampledGauge(
    "unconfirmed_positions", "Positions that may be open: not confirmed by a later order or a person"
)
ALARM = SampledGauge("alarm", "Open alarms, by code; `database_up` says whether the database answers", "code")
NOTIFICATIONS = Counter(
    "notifications", "Attempts to send a notification, by result: sent, failed, given_up", ["result"]
)
LIMITER_TOKENS = SampledGauge(
    "limiter_tokens",
    "Requests allowed right now, by window (minute, hour) and destination",
    *("window", "destination"),
)
LIMITER_ENTRY_TOKENS = SampledGauge(
    "limiter_entry_tokens",
    "Requests allowed right now for entries, without the reserve for exits, by window (minute, hour) and "
    "destination",
    *("window", "destination"),
)
DESTINATION_STATE = SampledGauge(
    "destination_state",
    "1 for the current state (open, held, paused) of a destination",
    *("state", "destination"),
)
DESTINATION_FAILURES = Counter("destination_failures", "Times that a destination's circuit was opened")
BUYS_PAUSED = Gauge("buys_paused", "1 while a person has stopped buying: entries are rejected, exits pass")
TOP_N_AGE_SECONDS = AgeGauge("top_n_age_seconds", "Age of the current Top-N list")
TOP_N_SIZE = SampledGauge("top_n_size", "Tickers in the current Top-N list")
REFRESHES = Counter(
    "screener_refresh", "Screener refreshes by result: ok, unchanged, probation, failed", ["result"]
)
CLOCK_DIFFERENCE_SECONDS = Gauge(
    "clock_difference_seconds", "How far the machine's clock is ahead of the database's (negative: behind)"
)
CLIENTS = Gauge("live_clients", "Pages connected to /ws/admin-updates")
BY_SIDE_DELIVERY_SECONDS = Histogram(
    f"{PREFIX}delivery_seconds", "From sending a request to its answer", ["side"], buckets=_LATENCY
)
BY_SIDE_END_TO_END_SECONDS = Histogram(
    f"{PREFIX}end_to_end_seconds", "From a signal's arrival to its delivery", ["side"], buckets=_LATENCY
)
WORKER_RESTARTS = Counter("worker_restarts", "Workers started again after they failed", ["worker"])


SIDES = (SignalType.BUY.value, SignalType.SELL.value)
_LABEL_VALUES: dict[Counter | Histogram, tuple[str, ...]] = {
    POSTS_REFUSED: ("401", "404", "408", "413", "422", "503"),
    SIGNALS_DECIDED: tuple(DecisionResult),
    SIGNALS_DELIVERED: tuple(Outcome),
    REFRESHES: ("ok", "unchanged", "probation", "failed"),
    NOTIFICATIONS: ("sent", "failed", "given_up"),
    BY_SIDE_DELIVERY_SECONDS: SIDES,
    BY_SIDE_END_TO_END_SECONDS: SIDES,
}


def side_of(order_type: str | None) -> str:
    """Return `buy` or `sell`: every type except buy is an exit."""
    return SignalType.BUY.value if order_type == SignalType.BUY else SignalType.SELL.value


class _Prefixed(Collector):
    """The same metrics with the application's prefix, for servers that scrape many applications."""

    def collect(self) -> Iterator[Metric]:
        for own in _OURS:
            for family in own.collect():
                copy = Metric(PREFIX + family.name, family.documentation, family.type, family.unit)
                copy.samples = [each._replace(name=PREFIX + each.name) for each in family.samples]
                yield copy


_OURS: tuple[Collector, ...] = (
    *(SIGNALS_RECEIVED, SIGNALS_DUPLICATE, PARTIAL_EXITS_DUPLICATE, POSTS_REFUSED, DENIALS),
    *(GROUP_COMMIT_SIZE, SIGNALS_DECIDED),
    *(SIGNALS_DELIVERED, QUEUE_DEPTH, OLDEST_WAITING_SECONDS, SELLS_AT_RISK, LIMITER_TOKENS),
    LIMITER_ENTRY_TOKENS,
    *(ALARM, NOTIFICATIONS, BUYS_PAUSED),
    *(UNCONFIRMED_POSITIONS, DESTINATION_STATE, DESTINATION_FAILURES, TOP_N_AGE_SECONDS, TOP_N_SIZE),
    *(REFRESHES, CLIENTS, WORKER_RESTARTS, DATABASE_UP, WORKER_UP, BUILD_INFO, CLOCK_DIFFERENCE_SECONDS),
    CERTIFICATE_DAYS_LEFT,
)
for _metric, _values in _LABEL_VALUES.items():
    for _value in _values:
        _metric.labels(_value)
for _collector in _OURS:
    if not isinstance(_collector, Counter | Gauge | Histogram):
        REGISTRY.register(_collector)
REGISTRY.register(_Prefixed())
