-- Reads of the admin page and its API. No statement changes a row.

-- name: signals
-- $1 to $11 the filter (`SignalFilter.arguments`), $12 cursor (a seq), NULL for the first page, $13 limit, $14 imported history or what came here.
-- Newest first: within imported history, as it was imported, oldest first.
SELECT id, seq, status, source_of(source, type) AS source, type, ticker, intent, quantity, quantity_unit, price, reason,
       reason_code, reason_params, sender_signal_id, received_at, status_at, expires_at, attempts, round
FROM signals s
WHERE {signal_filter}
  AND ($12::bigint IS NULL OR s.seq < $12)
  AND (s.imported_at IS NOT NULL) = $14::boolean
ORDER BY s.seq DESC
LIMIT $13

-- name: is_imported
-- $1 a seq. No row if there is no such signal any more.
SELECT imported_at IS NOT NULL AS is_imported FROM signals WHERE seq = $1

-- name: signal
SELECT id, seq, status, source_of(source, type) AS source, type, ticker, intent, quantity, quantity_unit, price, reason,
       reason_code, reason_params, sender_signal_id, received_at, status_at, expires_at, attempts, round, body
FROM signals
WHERE id = $1

-- name: events
SELECT at, status, reason, reason_code, reason_params, detail FROM signal_events WHERE signal_id = $1 ORDER BY id

-- name: attempts
-- `position_recorded_at`: a person recorded a position of the ticker at its destination during an attempt that was delivered, so it was applied to that one.
SELECT a.round, a.number, a.destination, a.webhook_id, a.intent, a.started_at, a.ended_at, a.outcome, a.http_status, a.error, a.error_code,
       a.error_params, a.response, recorded.at AS position_recorded_at
FROM attempts a
JOIN signals s ON s.id = a.signal_id
LEFT JOIN LATERAL (
    SELECT max(p.opened_at) AS at
    FROM (SELECT opened_at, opened_by FROM positions
          WHERE ticker = s.ticker AND destination = a.sent_to AND status <> 'closed'
          UNION ALL
          SELECT opened_at, opened_by FROM positions
          WHERE ticker = s.ticker AND destination = a.sent_to AND status = 'closed' AND closed_at >= a.started_at) AS p
    WHERE p.opened_by IS NULL AND p.opened_at >= a.started_at AND p.opened_at <= a.ended_at
) AS recorded ON a.outcome = 'delivered' AND NOT a.imported
WHERE a.signal_id = $1
ORDER BY a.id

-- name: neighbours
-- $1 a seq. The next newer and the next older signal.
SELECT (SELECT id FROM signals WHERE seq > $1 ORDER BY seq LIMIT 1) AS newer,
       (SELECT id FROM signals WHERE seq < $1 ORDER BY seq DESC LIMIT 1) AS older

-- name: wait_facts
-- $1 an unfinished signal, $2 names of the destinations, $3 their keys, $4 their gaps in seconds. What it may wait for, at the destination of its first order that
-- has not left; no row once it has ended. `behind`: the order of its ticker that leaves
-- first. The conditions are those of find_due in app/orders/queries.sql, and of claim_signals in app/decision/queries.sql.
SELECT s.status, s.type, coalesce(o.destination, ($2::text[])[1]) AS destination,
       CASE WHEN o.is_shared THEN o.not_before ELSE s.not_before END AS not_before, d.held_until, d.probe_at, b.id AS behind,
       b.type AS behind_type, gap.until AS gap_until
FROM unfinished_signals s
LEFT JOIN LATERAL (
    SELECT destination, not_before, is_shared, intent FROM orders
    WHERE signal_id = s.id AND ended_at IS NULL
    ORDER BY status, id
    LIMIT 1) AS o ON true
LEFT JOIN LATERAL (
    SELECT EXISTS (
        SELECT FROM positions p
        WHERE p.ticker = s.ticker AND p.destination = o.destination AND p.status <> 'closed' OFFSET 0) AS is_open) AS held ON true
LEFT JOIN LATERAL (SELECT array_position($2::text[], coalesce(o.destination, ($2::text[])[1])) AS place) AS at ON true
LEFT JOIN destinations d ON d.destination = ($3::text[])[at.place]
LEFT JOIN LATERAL (
    SELECT max(a.ended_at) + make_interval(secs => ($4::int[])[at.place]) AS until
    FROM attempts a
    JOIN signals x ON x.id = a.signal_id
    WHERE ($4::int[])[at.place] > 0 AND a.destination = ($3::text[])[at.place] AND a.outcome = 'delivered'
      AND a.ended_at > statement_timestamp() - make_interval(secs => ($4::int[])[at.place]) AND a.intent IS DISTINCT FROM 'adjust'
      AND NOT a.imported
      AND x.ticker = s.ticker AND (x.type = 'buy') <> (s.type = 'buy')) AS gap ON true
LEFT JOIN LATERAL (
    SELECT e.id, e.type
    FROM unfinished_signals e
    WHERE e.ticker = s.ticker AND e.id <> s.id
      AND CASE
          WHEN s.status = 'received' THEN e.seq < s.seq AND e.is_undecided AND e.is_live AND (
              s.type = 'buy' OR e.type <> 'buy' OR coalesce(s.intent, 'close') IN ('reduce', 'reduce_or_close'))
          WHEN s.status <> 'approved' THEN false
          WHEN e.seq < s.seq THEN e.is_live
              AND (s.type = 'buy'
                   OR (NOT (e.type = 'buy' AND CASE
                               WHEN e.is_undecided THEN held.is_open OR o.intent IS DISTINCT FROM 'reduce'
                               ELSE held.is_open AND e.status = 'approved' END)
                       AND (e.intent IS DISTINCT FROM 'adjust' OR e.not_before IS NULL OR e.not_before <= statement_timestamp())))
          ELSE e.status = 'forwarding'
              OR (s.type = 'buy' AND e.type <> 'buy' AND e.status = 'approved' AND e.is_live
                  AND (e.not_before IS NULL OR e.not_before <= statement_timestamp())
                  AND held.is_open)
      END
    ORDER BY e.status = 'forwarding' DESC, e.seq
    LIMIT 1) AS b ON true
WHERE s.id = $1

-- name: counts
-- The signals of the last 24 hours by status. `approved` counts all that passed the rule, whatever followed; only for expired
-- signals this needs their events. now() instead of clock_timestamp(): an index needs a stable bound. `IS TRUE` makes
-- PostgreSQL use the index of arrivals: it would read the index of expired signals completely.
WITH day AS (
    SELECT status, count(*) AS n
    FROM signals
    WHERE received_at > now() - interval '24 hours'
    GROUP BY 1
), total AS (
    SELECT coalesce(sum(n), 0)::bigint AS received,
           coalesce(sum(n) FILTER (WHERE status IN ('approved', 'forwarding', 'forwarded', 'failed')), 0)::bigint AS passed,
           coalesce(sum(n) FILTER (WHERE status = 'rejected'), 0)::bigint AS rejected,
           coalesce(sum(n) FILTER (WHERE status = 'forwarded'), 0)::bigint AS forwarded,
           coalesce(sum(n) FILTER (WHERE status = 'failed'), 0)::bigint AS failed,
           coalesce(sum(n) FILTER (WHERE status = 'expired'), 0)::bigint AS expired
    FROM day
)
SELECT received, rejected, forwarded, failed, expired,
       passed + CASE WHEN expired = 0 THEN 0 ELSE (
           SELECT count(*) FROM signals s
           WHERE (s.status = 'expired') IS TRUE AND s.received_at > now() - interval '24 hours'
             AND EXISTS (SELECT FROM signal_events e WHERE e.signal_id = s.id AND e.status = 'approved')
       ) END AS approved
FROM total

-- name: waiting
-- The two queues; `oldest_waiting_seconds` is NULL when both are empty.
SELECT count(*) FILTER (WHERE is_undecided) AS processing_queue,
       count(*) FILTER (WHERE NOT is_undecided) AS approved_queue,
       extract(epoch FROM clock_timestamp() - min(coalesce(renewed_at, received_at)))::float8 AS oldest_waiting_seconds,
       (SELECT received_at FROM signals ORDER BY seq DESC LIMIT 1) AS last_signal_at
FROM unfinished_signals

-- name: changes
-- Each change of a signal writes an event, so the newest event shows whether a list is out of date. Ids are assigned before the
-- commit: an event that commits late fills a gap below the newest and moves the lower end of the window.
SELECT coalesce(max(id), 0) AS newest, coalesce(min(id), 0) AS window_start, count(*) AS window_size
FROM (SELECT id FROM signal_events ORDER BY id DESC LIMIT 500) newest_events

-- name: positions
SELECT count(*) AS open, coalesce(sum(buys), 0) AS buys, max(opened_at) AS newest
FROM positions
WHERE status <> 'closed'

-- name: refused
-- $1 cursor (an id), $2 limit.
SELECT id, at, status, reason, reason_code, reason_params, client, size, head
FROM refused_posts
WHERE $1::bigint IS NULL OR id < $1
ORDER BY id DESC
LIMIT $2

-- name: audit
-- $1 cursor (an id), $2 limit.
SELECT e.id, e.at, e.signal_id, s.ticker, s.type, e.status, e.reason, e.detail
FROM signal_events e
JOIN signals s ON s.id = e.signal_id
WHERE $1::bigint IS NULL OR e.id < $1
ORDER BY e.id DESC
LIMIT $2

-- name: audit_of_ticker
-- $1 cursor (an id), $2 limit, $3 ticker. A separate statement, because its plan starts from the ticker's signals.
SELECT e.id, e.at, e.signal_id, s.ticker, s.type, e.status, e.reason, e.detail
FROM signals s
JOIN signal_events e ON e.signal_id = s.id
WHERE s.ticker = $3 AND ($1::bigint IS NULL OR e.id < $1)
ORDER BY e.id DESC
LIMIT $2

-- name: orders
-- $1 cursor (a seq), $2 limit, $3 ticker, $4 status. Approved signals with their last attempt: sent, pending, or expired
-- before delivery. Two parts, each read in the order of its own index; only expired signals need their events.
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
SELECT s.id, s.seq, s.status, s.type, s.ticker, s.price, s.reason, s.reason_code, s.reason_params, s.received_at, s.status_at,
       s.attempts, s.round, a.destination, a.outcome, a.http_status, a.ended_at
FROM signals s
LEFT JOIN LATERAL (
    SELECT destination, outcome, http_status, ended_at FROM attempts WHERE signal_id = s.id ORDER BY id DESC LIMIT 1
) AS a ON true
WHERE s.seq = ANY (ARRAY (SELECT seq FROM sent UNION ALL SELECT seq FROM never_sent))
ORDER BY s.seq DESC
LIMIT $2

-- name: order_stats
-- $1 hours. Orders by type; the seconds are from arrival to delivery.
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

-- name: delivery_figures
-- Of the orders of the last 24 hours that have ended: how many were delivered, and the seconds from arrival to delivery.
SELECT count(*) FILTER (WHERE status = 'forwarded') AS delivered, count(*) AS ended,
       percentile_cont(0.5) WITHIN GROUP (ORDER BY extract(epoch FROM status_at - received_at)::float8)
           FILTER (WHERE status = 'forwarded') AS median_seconds,
       percentile_cont(0.95) WITHIN GROUP (ORDER BY extract(epoch FROM status_at - received_at)::float8)
           FILTER (WHERE status = 'forwarded') AS p95_seconds
FROM signals
WHERE received_at > now() - interval '24 hours' AND imported_at IS NULL
  AND (status IN ('forwarded', 'failed') OR (status = 'expired' AND attempts > 0))

-- name: history
-- $1 hours (UTC), the current one included. Each hour has a row, oldest first; a signal counts in the hour of its arrival.
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
-- $1 cursor (an id), $2 limit, $3 how the action begins, $4 done (or refused), NULL for any.
SELECT id, at, session, origin, action, target, before, after, result, actor, result_code, result_params
FROM actions
WHERE ($1::bigint IS NULL OR id < $1)
  AND ($3::text IS NULL OR starts_with(action, $3))
  AND ($4::boolean IS NULL OR (result = 'done') = $4)
ORDER BY id DESC
LIMIT $2
