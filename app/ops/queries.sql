-- name: queues
-- 'unfinished, but not received': only the index by ticker has that as its condition. Read once and kept (two uses), because in the
-- order of `seq` everything that ever ended is read until the first one is met.
WITH to_deliver AS MATERIALIZED (
    SELECT seq, coalesce(renewed_at, received_at) AS since
    FROM signals WHERE status IN ('received', 'approved', 'forwarding') AND status <> 'received'
)
SELECT
    (SELECT count(*) FROM signals WHERE status = 'received'),
    (SELECT count(*) FROM to_deliver),
    coalesce((
        SELECT extract(epoch FROM clock_timestamp() - coalesce(renewed_at, received_at))::float8
        FROM signals WHERE status = 'received' ORDER BY seq LIMIT 1
    ), 0),
    coalesce((
        SELECT extract(epoch FROM clock_timestamp() - since)::float8 FROM to_deliver ORDER BY seq LIMIT 1
    ), 0);

-- name: sells_at_risk
-- Sells that are about to expire, in the last tenth of their age; and those that did while their position stays open, or
-- that a person ordered in the last 24 hours: both need a person (SPEC §10).
SELECT
    (SELECT count(*) FROM signals
     WHERE status IN ('received', 'approved', 'forwarding') AND type <> 'buy'
       AND expires_at - clock_timestamp() < (expires_at - coalesce(renewed_at, received_at)) / 10) AS late,
    (SELECT count(*) FROM (
         SELECT s.id
         FROM positions p, LATERAL (
             SELECT id FROM signals
             WHERE ticker = p.ticker AND status = 'expired' AND type <> 'buy' AND imported_at IS NULL AND status_at > p.opened_at
             OFFSET 0) AS s  -- position by position, and not through everything that ever expired
         WHERE p.status = 'open'
         UNION
         SELECT id
         FROM signals
         WHERE status = 'expired' AND type <> 'buy' AND type = 'manual_sell' AND imported_at IS NULL
           AND status_at > now() - interval '24 hours') AS expired_sells) AS expired

-- name: probe
SELECT list.size, list.age, list.max_age, list.at, refresh.error
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
-- $1 our server processes, $2 seconds. Statements of ours that have waited for a lock for longer, with the process that holds it.
SELECT a.pid, extract(epoch FROM clock_timestamp() - a.query_start)::float8 AS seconds, b.pid AS blocker,
       coalesce(b.state LIKE 'idle in transaction%', false) AS is_idle
FROM pg_stat_activity a
CROSS JOIN LATERAL (
    SELECT pid, state FROM pg_stat_activity WHERE pid = ANY (pg_blocking_pids(a.pid)) ORDER BY xact_start LIMIT 1
) AS b
WHERE a.pid = ANY ($1::int[]) AND a.wait_event_type = 'Lock'
  AND a.query_start < clock_timestamp() - make_interval(secs => $2)
ORDER BY a.query_start
