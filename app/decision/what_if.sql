-- What-if: recorded batches with their signals and lists. Used by what_if_repository.py only. No statement changes a row, and none runs
-- on a connection of the decisions.

-- name: batches
-- $1 time and $2 id of the last batch, $3 to, $4 how many signals, more or less. In order of their time. A batch has up to 500 signals,
-- and usually few: the page ends with the batch that reaches $4.
SELECT id, at, signal_ids, inputs, inputs ? 'reprocessed' AS is_again
FROM (
    SELECT *, sum(cardinality(signal_ids)) OVER (ORDER BY at, id) - cardinality(signal_ids) AS signals_before
    FROM (
        SELECT id, at, signal_ids, inputs
        FROM decision_batches
        WHERE (at, id) > ($1, $2) AND at < $3
        ORDER BY at, id
        LIMIT $4) AS next
) AS counted
WHERE signals_before < $4
ORDER BY at, id

-- name: signals
-- $1 ids, $2 0 for the first decision on each, 1 for the next one. The signals that are not removed, and not imported since.
SELECT s.id, s.seq, s.ticker, s.type, s.body, s.received_at, s.expires_at, s.price,
       ARRAY (SELECT destination FROM orders WHERE signal_id = s.id AND status = 'delivered') AS delivered_to,
       e.status, e.reason, e.reason_code, e.reason_params, e.detail
FROM signals s
LEFT JOIN LATERAL (
    SELECT status, reason, reason_code, reason_params, detail
    FROM signal_events
    WHERE signal_id = s.id AND status IN ('approved', 'rejected', 'expired')
    ORDER BY id
    OFFSET $2
    LIMIT 1) AS e ON true
WHERE s.id = ANY ($1) AND s.imported_at IS NULL

-- name: lists
-- $1 strategies, $2 times. For each the refresh that was the latest one, and the next one after it, which may both be absent. Of the
-- rows of a refresh one has its tickers: 500 of them for each signal of a page would be many.
SELECT wanted.strategy, wanted.moment, r.id, r.at, r.max_age_seconds, r.is_whole, r.at > wanted.moment AS is_following,
       CASE WHEN row_number() OVER (PARTITION BY r.id) = 1 THEN l.tickers || r.further END AS tickers
FROM unnest($1::text[], $2::timestamptz[]) AS wanted (strategy, moment)
CROSS JOIN LATERAL (
    (SELECT * FROM list_refreshes f WHERE f.strategy = wanted.strategy AND f.at <= wanted.moment ORDER BY f.at DESC, f.id DESC LIMIT 1)
    UNION ALL
    (SELECT * FROM list_refreshes f WHERE f.strategy = wanted.strategy AND f.at > wanted.moment ORDER BY f.at, f.id LIMIT 1)
) AS r
JOIN top_n_lists l ON l.id = r.list_id

-- name: open_at
-- $1 a time. Destinations and tickers of the positions that were open then.
SELECT destination, ticker FROM positions WHERE status <> 'closed' AND opened_at < $1
UNION
SELECT destination, ticker FROM positions WHERE status = 'closed' AND closed_at >= $1 AND opened_at < $1

-- name: recorded_from
-- Since when decisions are recorded.
SELECT min(at) FROM decision_batches
