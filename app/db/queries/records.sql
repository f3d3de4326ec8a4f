-- What the API lists and counts beside the signals themselves. Nothing here changes a row.

-- name: refused
-- $1 cursor (an id), $2 how many.
SELECT id, at, status, reason, client, size, head
FROM refused_posts
WHERE $1::bigint IS NULL OR id < $1
ORDER BY id DESC
LIMIT $2

-- name: audit
-- $1 cursor (an id), $2 how many.
SELECT e.id, e.at, e.signal_id, s.ticker, s.type, e.status, e.reason, e.detail
FROM signal_events e
JOIN signals s ON s.id = e.signal_id
WHERE $1::bigint IS NULL OR e.id < $1
ORDER BY e.id DESC
LIMIT $2

-- name: audit_of_ticker
-- $1 cursor (an id), $2 how many, $3 ticker. A statement of its own: its plan starts from the ticker's signals.
SELECT e.id, e.at, e.signal_id, s.ticker, s.type, e.status, e.reason, e.detail
FROM signals s
JOIN signal_events e ON e.signal_id = s.id
WHERE s.ticker = $3 AND ($1::bigint IS NULL OR e.id < $1)
ORDER BY e.id DESC
LIMIT $2

-- name: orders
-- $1 cursor (a seq), $2 how many, $3 ticker, $4 status. What was approved, with the last attempt: sent, pending, or expired before
-- its first attempt. Two parts, each read in the order of its own index; only for expired signals the events have to be asked.
WITH sent AS (
    SELECT seq FROM signals
    WHERE (status IN ('approved', 'forwarding', 'forwarded', 'failed') OR attempts > 0)
      AND ($1::bigint IS NULL OR seq < $1)
      AND ($3::text IS NULL OR ticker = $3)
      AND ($4::text IS NULL OR status = $4)
    ORDER BY seq DESC
    LIMIT $2
), never_sent AS (
    SELECT seq FROM signals s
    WHERE status IN ('failed', 'expired') AND status = 'expired' AND attempts = 0
      AND ($1::bigint IS NULL OR seq < $1)
      AND ($3::text IS NULL OR ticker = $3)
      AND ($4::text IS NULL OR status = $4)
      AND EXISTS (SELECT FROM signal_events e WHERE e.signal_id = s.id AND e.status = 'approved')
    ORDER BY seq DESC
    LIMIT $2
)
SELECT s.id, s.seq, s.status, s.type, s.ticker, s.price, s.reason, s.received_at, s.status_at, s.attempts, s.round,
       a.destination, a.outcome, a.http_status, a.ended_at
FROM signals s
LEFT JOIN LATERAL (
    SELECT destination, outcome, http_status, ended_at FROM attempts WHERE signal_id = s.id ORDER BY id DESC LIMIT 1
) AS a ON true
WHERE s.seq = ANY (ARRAY (SELECT seq FROM sent UNION ALL SELECT seq FROM never_sent))
ORDER BY s.seq DESC
LIMIT $2

-- name: order_stats
-- $1 hours. By type; the seconds are from arrival to delivery.
SELECT type,
       count(*) AS orders,
       count(*) FILTER (WHERE status IN ('approved', 'forwarding')) AS waiting,
       count(*) FILTER (WHERE status = 'forwarded') AS forwarded,
       count(*) FILTER (WHERE status = 'failed') AS failed,
       count(*) FILTER (WHERE status = 'expired') AS expired,
       percentile_cont(0.5) WITHIN GROUP (ORDER BY extract(epoch FROM status_at - received_at)::float8)
           FILTER (WHERE status = 'forwarded') AS median_seconds,
       percentile_cont(0.95) WITHIN GROUP (ORDER BY extract(epoch FROM status_at - received_at)::float8)
           FILTER (WHERE status = 'forwarded') AS p95_seconds
FROM signals s
WHERE received_at > now() - make_interval(hours => $1)
  AND (status IN ('approved', 'forwarding', 'forwarded', 'failed') OR attempts > 0
       OR status = 'expired' AND EXISTS (SELECT FROM signal_events e WHERE e.signal_id = s.id AND e.status = 'approved'))
GROUP BY type
ORDER BY type

-- name: history
-- $1 hours (UTC), this one included. Every hour has its row, oldest first; a signal counts in the hour that it arrived in.
WITH hours AS (
    SELECT generate_series(
        date_trunc('hour', now(), 'UTC') - make_interval(hours => $1 - 1), date_trunc('hour', now(), 'UTC'), interval '1 hour'
    ) AS hour
), arrived AS (
    SELECT date_trunc('hour', received_at, 'UTC') AS hour, status, status_at - received_at AS took,
           status IN ('approved', 'forwarding', 'forwarded', 'failed')
           OR status = 'expired' AND (attempts > 0 OR EXISTS (
               SELECT FROM signal_events e WHERE e.signal_id = s.id AND e.status = 'approved')) AS is_order
    FROM signals s
    WHERE received_at >= date_trunc('hour', now(), 'UTC') - make_interval(hours => $1 - 1)
), counted AS (
    SELECT hour,
           count(*) AS received,
           count(*) FILTER (WHERE is_order) AS approved,
           count(*) FILTER (WHERE status = 'rejected') AS rejected,
           count(*) FILTER (WHERE status = 'forwarded') AS forwarded,
           count(*) FILTER (WHERE status = 'failed') AS failed,
           count(*) FILTER (WHERE status = 'expired') AS expired,
           percentile_cont(0.5) WITHIN GROUP (ORDER BY extract(epoch FROM took)::float8)
               FILTER (WHERE status = 'forwarded') AS median_seconds,
           percentile_cont(0.95) WITHIN GROUP (ORDER BY extract(epoch FROM took)::float8)
               FILTER (WHERE status = 'forwarded') AS p95_seconds
    FROM arrived
    GROUP BY hour
)
SELECT hour, coalesce(received, 0) AS received, coalesce(approved, 0) AS approved, coalesce(rejected, 0) AS rejected,
       coalesce(forwarded, 0) AS forwarded, coalesce(failed, 0) AS failed, coalesce(expired, 0) AS expired,
       median_seconds, p95_seconds
FROM hours
LEFT JOIN counted USING (hour)
ORDER BY hour

-- name: actions
-- $1 cursor (an id), $2 how many, $3 how the action begins, $4 done (or refused), NULL for any.
SELECT id, at, session, origin, action, target, before, after, result
FROM actions
WHERE ($1::bigint IS NULL OR id < $1)
  AND ($3::text IS NULL OR starts_with(action, $3))
  AND ($4::boolean IS NULL OR (result = 'done') = $4)
ORDER BY id DESC
LIMIT $2
