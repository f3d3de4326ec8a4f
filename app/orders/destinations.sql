-- Limits, holds and circuit breakers of the destinations. Typed functions over these statements: destinations_repository.py.

-- name: lock_limiter
-- $1 destination. Until the transaction ends, no other transaction of any process uses a token of this destination.
SELECT pg_advisory_xact_lock(hashtextextended('limiter ' || $1, 0))

-- name: read_ledger
-- $1 destination, $2 windows in seconds, $3 their limits. One row for each window, in the order given. Runs after the lock, in a
-- statement of its own, so that it sees what was committed while this transaction waited. `ended`: ended attempts that still count.
-- `leaves_at`, where no token is left: when the next token returns, or an earlier moment. `ahead_seconds`: by how much the newest end
-- is ahead of the clock; above 0 the clock has stepped back.
SELECT statement_timestamp() AS now, o.open, d.probe_at, u.ended,
       coalesce((SELECT extract(epoch FROM ended_at - statement_timestamp())::float8 FROM attempts
                 WHERE destination = $1 AND ended_at > statement_timestamp() AND NOT imported
                 ORDER BY ended_at DESC LIMIT 1), 0) AS ahead_seconds,
       CASE WHEN o.open + u.ended >= w.most THEN (
           SELECT ended_at + make_interval(secs => w.seconds) FROM attempts
           WHERE destination = $1 AND ended_at > w.since AND NOT imported
           ORDER BY ended_at
           OFFSET least(o.open + u.ended - w.most, 1000) LIMIT 1) END AS leaves_at
FROM (SELECT seconds, most, statement_timestamp() - make_interval(secs => seconds) AS since, place
      FROM unnest($2::int[], $3::int[]) WITH ORDINALITY AS given (seconds, most, place)) AS w
CROSS JOIN (SELECT count(*) AS open FROM attempts WHERE destination = $1 AND ended_at IS NULL) AS o
LEFT JOIN destinations d ON d.destination = $1
CROSS JOIN LATERAL (
    SELECT (SELECT coalesce(sum(ends), 0) FROM attempt_counts
            WHERE destination = $1 AND seconds = 60 AND start > date_trunc('minute', w.since, 'UTC'))
         + (SELECT coalesce(sum(ends), 0) FROM attempt_counts
            WHERE destination = $1 AND seconds = 1 AND start > date_trunc('second', w.since, 'UTC')
              AND start < date_trunc('minute', w.since, 'UTC') + interval '1 minute')
         + (SELECT count(*) FROM attempts
            WHERE destination = $1 AND ended_at > w.since AND NOT imported
              AND ended_at < date_trunc('second', w.since, 'UTC') + interval '1 second') AS ended
) AS u
ORDER BY w.place

-- name: move_ends_back
-- $1 destination, $2 seconds. For ends ahead of a clock that has stepped back: the newest becomes now, and the others keep their
-- distances. No real end was later than this, so no window holds more than its limit.
-- Fails open: a hold and the time of the next probe were set when an attempt ended, so they move with the ends. No exit waits longer
-- than the hold was long.
WITH moved AS (
    UPDATE attempts
    SET ended_at = ended_at - make_interval(secs => $2),
        started_at = least(started_at, ended_at - make_interval(secs => $2))
    WHERE destination = $1 AND ended_at > statement_timestamp() AND NOT imported
)
UPDATE destinations
SET held_until = CASE
        WHEN held_until > statement_timestamp() THEN held_until - make_interval(secs => $2) ELSE held_until END,
    probe_at = CASE
        WHEN probe_at > statement_timestamp() THEN probe_at - make_interval(secs => $2) ELSE probe_at END
WHERE destination = $1 AND (held_until > statement_timestamp() OR probe_at > statement_timestamp())

-- name: read_ends_ahead
-- $1 the current destinations. They, and those that were held or failing: whose newest end of an attempt is ahead of the clock, and by
-- how many seconds. Ends ahead would be the newest for hours, and hide later ones from the circuit breaker.
SELECT d.destination, extract(epoch FROM a.ended_at - clock_timestamp())::float8 AS ahead_seconds
FROM (SELECT destination FROM destinations UNION SELECT unnest($1::text[])) AS d
CROSS JOIN LATERAL (
    SELECT ended_at FROM attempts
    WHERE destination = d.destination AND ended_at > statement_timestamp() AND NOT imported
    ORDER BY ended_at DESC
    LIMIT 1
) AS a
WHERE a.ended_at > clock_timestamp()

-- name: hold_destination
-- $1 destination, $2 seconds, $3 reason, $4 its code, $5 its parameters. A shorter hold does not shorten a longer one.
INSERT INTO destinations (destination, held_until, reason, reason_code, reason_params)
VALUES ($1, clock_timestamp() + make_interval(secs => $2), $3, $4, $5)
ON CONFLICT (destination) DO UPDATE
SET held_until = excluded.held_until, reason = excluded.reason, reason_code = excluded.reason_code,
    reason_params = excluded.reason_params
WHERE destinations.held_until < excluded.held_until

-- name: read_hold_reason
-- $1 destination. No row while it is neither held nor its circuit open.
SELECT reason
FROM destinations
WHERE destination = $1 AND (held_until > statement_timestamp() OR probe_at IS NOT NULL)

-- name: lock_circuit
-- From here on: the circuit breaker. `probe_at` set: the circuit is open, and from that moment one probe at a time may be sent.
-- $1 destination. Locks its row, so that two failures are recorded one after the other.
SELECT probe_at, failed_probes FROM destinations WHERE destination = $1 FOR UPDATE

-- name: read_recent_attempts
-- $1 destination, $2 errors of attempts that the application ended itself, which are left out, $3 limit. Ended attempts, newest first.
SELECT signal_id, outcome, http_status
FROM attempts
WHERE destination = $1 AND ended_at IS NOT NULL AND NOT imported
  AND http_status IS DISTINCT FROM 429 AND (error IS NULL OR error <> ALL ($2::text[]))
ORDER BY ended_at DESC
LIMIT $3

-- name: open_circuit
-- $1 destination, $2 seconds until the first probe, $3 reason, $4 its code, $5 its parameters. No row: another transaction has opened it.
INSERT INTO destinations AS d (destination, held_until, reason, reason_code, reason_params, probe_at)
VALUES ($1, clock_timestamp(), $3, $4, $5, clock_timestamp() + make_interval(secs => $2))
ON CONFLICT (destination) DO UPDATE
SET probe_at = excluded.probe_at, failed_probes = 0, reason = excluded.reason, reason_code = excluded.reason_code,
    reason_params = excluded.reason_params
WHERE d.probe_at IS NULL
RETURNING true

-- name: record_failed_probe
-- $1 destination, $2 seconds until the next probe, $3 reason, $4 its code, $5 its parameters.
UPDATE destinations
SET probe_at = clock_timestamp() + make_interval(secs => $2), failed_probes = failed_probes + 1, reason = $3, reason_code = $4,
    reason_params = $5
WHERE destination = $1

-- name: close_circuit
-- $1 destination. Returns a row only if the circuit was open.
UPDATE destinations SET probe_at = NULL, failed_probes = 0 WHERE destination = $1 AND probe_at IS NOT NULL
RETURNING true

-- name: is_circuit_open
-- $1 destination.
SELECT EXISTS (SELECT FROM destinations WHERE destination = $1 AND probe_at IS NOT NULL)

-- name: read_circuit_reason
-- $1 destination. The reason of the latest failure; no row while the circuit is closed.
SELECT reason, reason_code, reason_params FROM destinations WHERE destination = $1 AND probe_at IS NOT NULL
