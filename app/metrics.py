"""Every metric of the application (SPEC §17). Set where the thing happens; served by `app.ops.exporter`."""

from prometheus_client import Counter, Gauge, Histogram

_LATENCY = (0.001, 0.0025, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1, 2.5, 5, 10, 30, 60, 300)

SIGNALS_RECEIVED = Counter("signals_received", "Signals committed and answered 202, without duplicates")
SIGNALS_DUPLICATE = Counter("signals_duplicate", "Posts answered 202 as a duplicate of an earlier signal")
POSTS_REFUSED = Counter("posts_refused", "Posts not taken, by HTTP status", ["status"])
DENIALS = Counter(
    "tsp_denials",
    "Requests turned away: wrong or missing credentials, a wrong webhook path, a body that did not come",
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
QUEUE_DEPTH = Gauge("queue_depth", "Signals that wait, by queue: received, approved", ["queue"])
OLDEST_WAITING_SECONDS = Gauge(
    "oldest_waiting_seconds", "Age of the oldest waiting signal, by queue", ["queue"]
)
SELLS_AT_RISK = Gauge(
    "sells_at_risk", "Sells that need a person: late (last tenth of their age), expired", ["state"]
)
LIMITER_TOKENS = Gauge("limiter_tokens", "Requests allowed right now, by window: minute, hour", ["window"])
DESTINATION_STATE = Gauge("destination_state", "1 for the state in force: open, held, paused", ["state"])
DESTINATION_FAILURES = Counter(
    "destination_failures", "Times that a destination kept failing and was left alone"
)
TOP_N_AGE_SECONDS = Gauge("top_n_age_seconds", "Age of the Top-N list in force")
TOP_N_SIZE = Gauge("top_n_size", "Tickers in the Top-N list in force")
REFRESHES = Counter(
    "screener_refresh", "Screener refreshes by result: ok, unchanged, probation, failed", ["result"]
)
CLIENTS = Gauge("live_clients", "Pages connected to /ws/admin-updates")
WORKER_RESTARTS = Counter("worker_restarts", "Workers started again after they failed", ["worker"])
