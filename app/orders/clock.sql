-- Stored times after the database's clock stepped back. Typed functions over these statements: clock_repository.py.

-- name: read_clock
-- The time; the newest signal; one pending buy and its expiry, NULL without one.
SELECT clock_timestamp() AS now, (SELECT coalesce(max(seq), 0) FROM signals) AS last_seq, buy.id AS buy, buy.expires_at AS buy_expires_at
FROM (SELECT) AS one
LEFT JOIN LATERAL (
    SELECT id, expires_at FROM unfinished_signals WHERE type = 'buy' LIMIT 1
) AS buy ON true

-- name: read_seconds_ahead
-- By how many seconds the newest arrival, opening of a position, fetch of a list or end of a refresh is ahead of the clock; NULL: none
-- is. The condition on statement_timestamp() lets PostgreSQL use the index of arrivals.
SELECT extract(epoch FROM greatest(
    (SELECT max(greatest(received_at, renewed_at)) FROM unfinished_signals
     WHERE greatest(received_at, renewed_at) > clock_timestamp()),
    (SELECT max(received_at) FROM signals
     WHERE received_at > statement_timestamp() AND received_at > clock_timestamp() AND imported_at IS NULL),
    (SELECT max(opened_at) FROM positions WHERE status <> 'closed' AND opened_at > clock_timestamp()),
    (SELECT max(fetched_at) FROM top_n_lists WHERE fetched_at > clock_timestamp()),
    (SELECT max(greatest(at, requested_at)) FROM screener_refreshes WHERE greatest(at, requested_at) > clock_timestamp())
) - clock_timestamp())::float8

-- name: lock_corrections
-- Until the transaction ends no other process corrects the ages of pending signals.
SELECT pg_advisory_xact_lock(hashtextextended('clock', 0))

-- name: has_later_expiry
-- $1 a signal, $2 its expiry before the step. False: another process has corrected it.
SELECT EXISTS (SELECT FROM signals WHERE id = $1 AND expires_at >= $2)

-- name: shift_pending
-- $1 seconds, $2 true while the size of the step is unknown, $3 the newest signal before the step, NULL where it is unknown.
-- Pending signals that arrived while the clock was ahead become as old as they are, with their deduplication keys. A lease, and the
-- delay of a retry, are as old as their signal's status.
-- Fails closed: a buy that arrived up to $3 has aged by $1 whatever its time says, and one of unknown age expires.
-- Fails open: an exit is shifted only where its time proves that it is ahead. Skips locked rows. Returns the signals.
WITH ahead AS MATERIALIZED (
    SELECT id, status_at > clock_timestamp() AS is_status_ahead,
           coalesce(coalesce(renewed_at, received_at) > clock_timestamp() OR (type = 'buy' AND seq <= $3::bigint), false) AS is_aged
    FROM unfinished_signals
    WHERE coalesce(renewed_at, received_at) > clock_timestamp() OR status_at > clock_timestamp()
       OR (type = 'buy' AND seq <= $3::bigint)
    ORDER BY id
    FOR UPDATE SKIP LOCKED
), shifted AS (
    UPDATE signals s
    SET received_at = CASE
            WHEN (is_aged AND renewed_at IS NULL) OR received_at > clock_timestamp() THEN received_at - make_interval(secs => $1)
            ELSE received_at END,
        renewed_at = CASE WHEN is_aged THEN renewed_at - make_interval(secs => $1) ELSE renewed_at END,
        expires_at = CASE
            WHEN is_aged AND $2::boolean AND type = 'buy'
                THEN least(expires_at - make_interval(secs => $1), clock_timestamp())
            WHEN is_aged THEN expires_at - make_interval(secs => $1)
            ELSE expires_at END,
        status_at = CASE WHEN is_status_ahead THEN status_at - make_interval(secs => $1) ELSE status_at END,
        not_before = CASE WHEN is_status_ahead THEN not_before - make_interval(secs => $1) ELSE not_before END,
        lease_until = CASE WHEN is_status_ahead THEN lease_until - make_interval(secs => $1) ELSE lease_until END
    FROM ahead
    WHERE s.id = ahead.id AND s.id = ANY (ARRAY (SELECT id FROM ahead))
    RETURNING s.id, is_aged
), held AS MATERIALIZED (
    SELECT key FROM intake_keys
    WHERE expires_at > statement_timestamp() AND signal_id IN (SELECT id FROM shifted WHERE is_aged)
    ORDER BY key  -- as intake does: two transactions lock keys in the same order
    FOR UPDATE
), released AS (
    UPDATE intake_keys SET expires_at = expires_at - make_interval(secs => $1)
    WHERE key = ANY (ARRAY (SELECT key FROM held))
)
SELECT id FROM shifted

-- name: shift_orders
-- $1 signals that `shift_pending` has moved. A statement of its own: an order may have been committed after that one had begun.
-- Of a signal with orders at several destinations, the delays and leases are not those of each: they are clamped. Nor are the rounds, and
-- an order that a replay elsewhere has outlived keeps its earlier end.
UPDATE orders o
SET expires_at = CASE WHEN o.is_shared THEN least(o.expires_at, s.expires_at) ELSE s.expires_at END,
    not_before = CASE WHEN o.is_shared THEN o.not_before ELSE s.not_before END,
    lease_until = CASE WHEN o.is_shared THEN o.lease_until ELSE s.lease_until END
FROM signals s
WHERE s.id = ANY ($1) AND o.signal_id = s.id AND o.signal_id = ANY ($1)
  AND CASE WHEN o.is_shared THEN o.ended_at IS NULL ELSE o.round = s.round END

-- name: has_pending_ahead
SELECT EXISTS (
    SELECT FROM unfinished_signals
    WHERE coalesce(renewed_at, received_at) > clock_timestamp() OR status_at > clock_timestamp())

-- name: shift_ended
-- $1 seconds, $2 limit. The same for signals that have ended: their keys, and the windows of reprocessing. Imported ones keep their times.
-- Fails open: a key that is released early lets an equal alert in, and none swallows an exit.
WITH ahead AS MATERIALIZED (
    SELECT id FROM signals
    WHERE received_at > statement_timestamp() AND received_at > clock_timestamp() AND imported_at IS NULL
      AND status IN ('rejected', 'forwarded', 'failed', 'expired')
    LIMIT $2
    FOR UPDATE SKIP LOCKED
), shifted AS (
    UPDATE signals
    SET received_at = received_at - make_interval(secs => $1),
        status_at = CASE WHEN status_at > clock_timestamp() THEN status_at - make_interval(secs => $1) ELSE status_at END
    WHERE id = ANY (ARRAY (SELECT id FROM ahead))
    RETURNING id
), held AS MATERIALIZED (
    SELECT key FROM intake_keys
    WHERE expires_at > statement_timestamp() AND signal_id IN (SELECT id FROM shifted)
    ORDER BY key
    FOR UPDATE
), released AS (
    UPDATE intake_keys SET expires_at = expires_at - make_interval(secs => $1)
    WHERE key = ANY (ARRAY (SELECT key FROM held))
)
SELECT count(*) FROM shifted

-- name: shift_positions
-- $1 seconds. An open position is older than a sell that expires later: that sell is an alarm.
UPDATE positions SET opened_at = opened_at - make_interval(secs => $1)
WHERE status <> 'closed' AND opened_at > clock_timestamp()

-- name: clamp_times
-- $1 the longest hold, $2 the longest delay of a probe, $3 the longest retry delay, $4 the longest lease, in seconds. A time further
-- ahead was set before the clock stepped back. Holds, probes and retries become due at once. A request that may be open keeps a whole
-- lease. Returns how many times were clamped, and by how much the furthest was ahead.
WITH ahead AS (
    SELECT greatest(
        (SELECT max(greatest(
             CASE WHEN held_until > statement_timestamp() + make_interval(secs => $1) THEN held_until END,
             CASE WHEN probe_at > statement_timestamp() + make_interval(secs => $2) THEN probe_at END)) FROM destinations),
        (SELECT max(greatest(
             CASE WHEN not_before > statement_timestamp() + make_interval(secs => $3) THEN not_before END,
             CASE WHEN lease_until > statement_timestamp() + make_interval(secs => $4) THEN lease_until END))
         FROM orders WHERE ended_at IS NULL)) AS newest
), held AS (
    UPDATE destinations
    SET held_until = CASE
            WHEN held_until > statement_timestamp() + make_interval(secs => $1) THEN statement_timestamp() ELSE held_until END,
        probe_at = CASE
            WHEN probe_at > statement_timestamp() + make_interval(secs => $2) THEN statement_timestamp() ELSE probe_at END
    WHERE held_until > statement_timestamp() + make_interval(secs => $1)
       OR probe_at > statement_timestamp() + make_interval(secs => $2)
    RETURNING 1
), waiting AS MATERIALIZED (
    SELECT s.id, o.id AS order_id,
           CASE WHEN o.not_before > statement_timestamp() + make_interval(secs => $3)
               THEN statement_timestamp() ELSE o.not_before END AS not_before,
           least(o.lease_until, statement_timestamp() + make_interval(secs => $4)) AS lease_until
    FROM orders o
    JOIN signals s ON s.id = o.signal_id
    WHERE o.ended_at IS NULL
      AND (o.not_before > statement_timestamp() + make_interval(secs => $3)
           OR o.lease_until > statement_timestamp() + make_interval(secs => $4))
    FOR UPDATE OF s, o
), ordered AS (
    UPDATE orders o SET not_before = w.not_before, lease_until = w.lease_until
    FROM waiting w
    WHERE o.id = w.order_id AND o.id = ANY (ARRAY (SELECT order_id FROM waiting))
), clamped AS (
    UPDATE signals s SET not_before = w.not_before, lease_until = w.lease_until
    FROM waiting w
    WHERE s.id = w.id AND s.id = ANY (ARRAY (SELECT id FROM waiting))
)
SELECT (SELECT count(*) FROM held) + (SELECT count(*) FROM waiting) AS clamped,
       coalesce((SELECT extract(epoch FROM newest - statement_timestamp())::float8 FROM ahead), 0) AS ahead_seconds,
       clock_timestamp() AS now
