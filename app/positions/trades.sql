-- Closed positions as trades. Used by trades_repository.py only. No statement changes a row.
-- A trade is as old as its closing. Its result and the price of its last average are in its row. Source, rank and orders are those of
-- signals: they are gone once retention or a clearance has removed these.

-- name: trades
-- $1 to $4 the filter (`TradeFilter`), $5 closing time and $6 id of the last trade before, NULL for the first page, $7 limit. Newest first.
-- Two parts, each read in the order of its own index. `result`: the gain of a position that an order has closed. One that a person has
-- closed ended at a price that is not known.
WITH page AS (
    (SELECT p.id
     FROM positions p
     WHERE {trade_filter} AND $1::text IS NULL
       AND (p.closed_at, p.id) < (coalesce($5::timestamptz, 'infinity'), coalesce($6::uuid, 'ffffffff-ffff-ffff-ffff-ffffffffffff'))
     ORDER BY p.closed_at DESC, p.id DESC
     LIMIT $7)
    UNION ALL
    (SELECT p.id
     FROM positions p
     WHERE {trade_filter} AND p.ticker = $1
       AND (p.closed_at, p.id) < (coalesce($5::timestamptz, 'infinity'), coalesce($6::uuid, 'ffffffff-ffff-ffff-ffff-ffffffffffff'))
     ORDER BY p.closed_at DESC, p.id DESC
     LIMIT $7)
)
SELECT p.id, p.destination, p.ticker, p.opened_at, p.opened_by, p.closed_at, p.closed_by, p.buys, p.reason,
       p.quantity AS held, p.average_price, CASE WHEN p.closed_by IS NOT NULL AND p.buys > 0 THEN p.realized END AS result,
       entry.source, coalesce(entry.is_stored, false) AS is_stored, listed.rank, listed.list_size
FROM positions p
LEFT JOIN LATERAL (
    SELECT source_of(s.source, s.type) AS source, true AS is_stored FROM signals s WHERE s.id = p.opened_by OFFSET 0) AS entry ON true
LEFT JOIN LATERAL (
    SELECT (e.detail ->> 'rank')::int AS rank, (e.detail ->> 'list_size')::int AS list_size
    FROM signal_events e
    WHERE e.signal_id = p.opened_by AND e.status = 'approved' AND e.detail ? 'rank'
    ORDER BY e.id DESC
    LIMIT 1) AS listed ON true
WHERE p.id = ANY (ARRAY (SELECT id FROM page))
ORDER BY p.closed_at DESC, p.id DESC

-- name: orders_of_trades
-- $1 ids of trades, $2 most orders of each. Delivered orders, the one that opened and the one that closed the position among them.
-- `is_sent_before`: a person recorded the position while the order was being sent.
-- `at` is the time at which the outcome changed the position. `outcome` is 'unknown' for an opening that was never known to be
-- delivered. In order of `at`; an order that was delivered twice is in it once.
-- The time of a signal with orders at several destinations is that of the last of them: those are found by their orders.
SELECT p.id AS trade, s.id AS signal_id, coalesce(here.ended_at, s.status_at) AS at, s.type, coalesce(sent.intent, s.intent) AS intent,
       s.quantity, s.quantity_unit, s.sentiment, s.price, sent.outcome,
       p.opened_by IS NULL AND sent.started_at < p.opened_at AS is_sent_before
FROM positions p
CROSS JOIN LATERAL (
    SELECT p.opened_by AS id
    UNION
    SELECT p.closed_by
    UNION
    (SELECT d.id
     FROM signals d
     WHERE d.ticker = p.ticker AND d.status = 'forwarded' AND d.status_at >= p.opened_at AND d.status_at <= p.closed_at
       AND NOT EXISTS (SELECT FROM orders o WHERE o.signal_id = d.id AND o.is_shared)
     ORDER BY d.status_at
     LIMIT $2)
    UNION
    (SELECT o.signal_id
     FROM orders o
     WHERE o.is_shared AND o.status = 'delivered' AND o.destination = p.destination AND o.ticker = p.ticker
       AND o.ended_at >= p.opened_at AND o.ended_at <= p.closed_at
     ORDER BY o.ended_at
     LIMIT $2)
) AS found
JOIN signals s ON s.id = found.id AND s.imported_at IS NULL
LEFT JOIN LATERAL (
    SELECT o.ended_at
    FROM orders o
    WHERE o.signal_id = s.id AND o.destination = p.destination AND o.status = 'delivered' AND o.is_shared
    ORDER BY o.round DESC
    LIMIT 1) AS here ON true
CROSS JOIN LATERAL (
    SELECT a.outcome, a.intent, a.started_at
    FROM attempts a
    WHERE a.signal_id = s.id AND a.sent_to = p.destination AND a.outcome IN ('delivered', 'unknown') AND NOT a.imported
    ORDER BY a.outcome = 'unknown', a.ended_at
    LIMIT 1) AS sent
WHERE p.id = ANY ($1)
ORDER BY p.id, coalesce(here.ended_at, s.status_at), s.seq

-- name: sums
-- $1 to $4 the filter (`TradeFilter`). `result` adds up the trades whose result is known.
SELECT count(*) AS trades,
       count(*) FILTER (WHERE result > 0) AS gains,
       count(*) FILTER (WHERE result < 0) AS losses,
       count(*) FILTER (WHERE result IS NULL) AS unknown,
       sum(result) AS result
FROM (
    SELECT CASE WHEN p.closed_by IS NOT NULL AND p.buys > 0 THEN p.realized END AS result
    FROM positions p
    WHERE {trade_filter}
) AS closed
