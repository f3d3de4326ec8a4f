-- name: queues
-- How many signals are in each queue, and the age of the oldest in seconds, 0 for an empty queue.
SELECT count(*) FILTER (WHERE is_undecided) AS received,
       count(*) FILTER (WHERE NOT is_undecided) AS approved,
       coalesce(extract(epoch FROM clock_timestamp() - min(since) FILTER (WHERE is_undecided))::float8, 0) AS oldest_received,
       coalesce(extract(epoch FROM clock_timestamp() - min(since) FILTER (WHERE NOT is_undecided))::float8, 0) AS oldest_approved
FROM (SELECT is_undecided, coalesce(renewed_at, received_at) AS since FROM unfinished_signals) AS waiting;

-- name: sells_at_risk
-- `late`: sells in the last tenth of their time to expiry. `expired`, `failed`: sells that ended undelivered while their position is
-- open, until a later exit is delivered; and those that a person ordered in the last 24 hours. `unconfirmed`: positions that may be open.
-- `unread`: rejected alerts of open positions that may have been exits. An order that only adjusts others is no exit, and an exit of
-- a part replaces only another one.
WITH held AS (
    SELECT p.ticker, p.opened_at, coalesce((SELECT received_at FROM signals WHERE id = p.opened_by), p.opened_at) AS asked_at, exit.*
    FROM positions p
    LEFT JOIN LATERAL (  -- once for each position, not for each of its signals
        SELECT max(seq) FILTER (WHERE intent <> 'reduce') AS last_whole, max(seq) AS last_part
        FROM (SELECT seq, coalesce(intent, 'close') AS intent FROM signals
              WHERE ticker = p.ticker AND status = 'forwarded' AND type <> 'buy' AND intent IS DISTINCT FROM 'adjust'
                AND status_at > p.opened_at
              OFFSET 0) AS delivered
    ) AS exit ON true
    WHERE p.status = 'open'
), undelivered AS (
    SELECT s.id, s.status
    FROM held, LATERAL (
        SELECT id, status FROM signals u
        WHERE ticker = held.ticker AND status IN ('failed', 'expired') AND type <> 'buy' AND imported_at IS NULL
          AND status_at > held.opened_at AND intent IS DISTINCT FROM 'adjust'
          AND seq > coalesce(CASE intent WHEN 'reduce' THEN held.last_part ELSE held.last_whole END, 0)
        OFFSET 0) AS s  -- position by position, and not through everything that ever ended
    UNION
    SELECT id, status
    FROM signals
    WHERE status IN ('failed', 'expired') AND type <> 'buy' AND type = 'manual_sell' AND imported_at IS NULL
      AND status_at > now() - interval '24 hours'
)
SELECT
    (SELECT count(*) FROM unfinished_signals
     WHERE type <> 'buy' AND expires_at - clock_timestamp() < (expires_at - coalesce(renewed_at, received_at)) / 10) AS late,
    (SELECT count(*) FROM undelivered WHERE status = 'expired') AS expired,
    (SELECT count(*) FROM undelivered WHERE status = 'failed') AS failed,
    (SELECT count(*) FROM positions WHERE status = 'open' AND NOT confirmed) AS unconfirmed,
    (SELECT count(*)
     FROM held, LATERAL (
         SELECT FROM signals u
         WHERE ticker = held.ticker AND intent = 'unread' AND received_at > held.asked_at AND seq > coalesce(held.last_whole, 0)
         OFFSET 0) AS alert) AS unread

-- name: probe
-- $1 strategy. One row: its newest list and last refresh, NULL where there is none. Ages in seconds.
SELECT list.size AS list_size, list.age AS list_age, list.max_age AS list_max_age, list.at AS list_at,
       coalesce(refresh.error, '') AS refresh_error
FROM (SELECT) AS one
LEFT JOIN LATERAL (
    SELECT cardinality(tickers) AS size,
           extract(epoch FROM clock_timestamp() - fetched_at)::float8 AS age,
           max_age_seconds AS max_age,
           fetched_at AS at
    FROM top_n_lists WHERE strategy = $1 ORDER BY id DESC LIMIT 1
) AS list ON true
LEFT JOIN screener_refreshes AS refresh ON refresh.strategy = $1;

-- name: blocked
-- $1 server processes of this application process, $2 seconds. Their statements that have waited for a lock for longer, and the
-- server process that holds the lock.
SELECT a.pid, extract(epoch FROM clock_timestamp() - a.query_start)::float8 AS seconds, b.pid AS blocker,
       coalesce(b.state LIKE 'idle in transaction%', false) AS is_idle
FROM pg_stat_activity a
CROSS JOIN LATERAL (
    SELECT pid, state FROM pg_stat_activity WHERE pid = ANY (pg_blocking_pids(a.pid)) ORDER BY xact_start LIMIT 1
) AS b
WHERE a.pid = ANY ($1::int[]) AND a.wait_event_type = 'Lock'
  AND a.query_start < clock_timestamp() - make_interval(secs => $2)
ORDER BY a.query_start
