-- name: queues
SELECT
    (SELECT count(*) FROM signals WHERE status = 'received'),
    (SELECT count(*) FROM signals WHERE status IN ('approved', 'forwarding')),
    coalesce((
        SELECT extract(epoch FROM clock_timestamp() - received_at)::float8
        FROM signals WHERE status = 'received' ORDER BY seq LIMIT 1
    ), 0),
    coalesce((
        SELECT extract(epoch FROM clock_timestamp() - received_at)::float8
        FROM signals WHERE status IN ('approved', 'forwarding') ORDER BY seq LIMIT 1
    ), 0);

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
