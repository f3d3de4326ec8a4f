-- What the admin page and its API read. Nothing here changes a row.

-- name: signals
-- Newest first, before the cursor ($1, a seq). Status and ticker filter when given.
SELECT id, seq, status, type, ticker, price, reason, sender_signal_id, received_at, status_at, expires_at, attempts, round
FROM signals
WHERE ($1::bigint IS NULL OR seq < $1)
  AND ($2::text IS NULL OR status = $2)
  AND ($3::text IS NULL OR ticker = $3)
ORDER BY seq DESC
LIMIT $4

-- name: signal
SELECT id, seq, status, type, ticker, price, reason, sender_signal_id, received_at, status_at, expires_at, attempts, round, body
FROM signals
WHERE id = $1

-- name: events
SELECT at, status, reason, detail FROM signal_events WHERE signal_id = $1 ORDER BY id

-- name: attempts
SELECT round, number, destination, webhook_id, started_at, ended_at, outcome, http_status, error, response
FROM attempts WHERE signal_id = $1 ORDER BY id

-- name: counts
-- What became of the signals of the last 24 hours. `approved` counts who passed the rule, whatever came after; only for
-- the expired ones the events have to be asked. now(), not clock_timestamp(): an index serves only a stable bound. `IS TRUE`, so
-- that it is the index of arrivals: the one of all expired signals would be read from its first to its last.
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
-- The two queues; `oldest_seconds` is NULL when both are empty.
SELECT count(*) FILTER (WHERE status = 'received') AS processing,
       count(*) FILTER (WHERE status <> 'received') AS approved,
       extract(epoch FROM clock_timestamp() - min(coalesce(renewed_at, received_at)))::float8 AS oldest_seconds
FROM signals
WHERE status IN ('received', 'approved', 'forwarding')

-- name: changes
-- Every change of a signal writes an event, so the newest event tells whether a list is out of date. Ids are handed out
-- before the commit: one that commits late fills a gap below the newest and moves the lower end of the window.
SELECT coalesce(max(id), 0) AS newest, coalesce(min(id), 0) AS window_start, count(*) AS window_size
FROM (SELECT id FROM signal_events ORDER BY id DESC LIMIT 500) newest_events

-- name: positions
SELECT count(*) AS open, coalesce(sum(buys), 0) AS buys, max(opened_at) AS newest
FROM positions
WHERE status = 'open'
