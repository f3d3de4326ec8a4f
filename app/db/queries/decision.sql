-- name: claim
-- $1 how many signals at most, $2 the active strategy's name, $3 true while the engine is paused: its list is frozen and
-- counts as fresh (SPEC §12).
-- Takes the front of the queue. The lock on a ticker's first undecided row is the claim on all its rows: nobody else can
-- take a later one while this transaction lives, and a crash frees it. `SKIP LOCKED` alone would hand out the second row.
-- The rows of the view are read here too, so a decision and its facts are one transaction (SPEC §9).
WITH list AS (
    SELECT tickers, cardinality(tickers) AS size,
           extract(epoch FROM statement_timestamp() - fetched_at)::float8 AS age_seconds,
           $3::boolean OR max_age_seconds IS NULL
               OR fetched_at > statement_timestamp() - make_interval(secs => max_age_seconds) AS fresh
    FROM top_n_lists
    WHERE strategy = $2
    ORDER BY id DESC
    LIMIT 1
), front AS (
    SELECT id, ticker, seq
    FROM signals s
    WHERE status = 'received'
      -- without a fresh list buys wait, and what stands behind them in their ticker waits with them
      AND (coalesce((SELECT fresh FROM list), false)
           OR (type <> 'buy' AND NOT EXISTS (
                   SELECT FROM signals b
                   WHERE b.ticker = s.ticker AND b.seq < s.seq AND b.status = 'received' AND b.type = 'buy')))
    ORDER BY seq
    LIMIT $1
), held AS (
    SELECT ticker
    FROM signals
    WHERE id IN (SELECT DISTINCT ON (ticker) id FROM front ORDER BY ticker, seq) AND status = 'received'
    FOR UPDATE SKIP LOCKED
), standing AS MATERIALIZED (
    SELECT held.ticker, coalesce(p.is_open, false) AS is_open, coalesce(p.opening, false) AS opening,
           array_position(list.tickers, held.ticker) AS rank, list.size, list.age_seconds,
           coalesce(list.fresh, false) AS fresh
    FROM held
    LEFT JOIN list ON true
    LEFT JOIN LATERAL (SELECT is_open, opening FROM position_states WHERE ticker = held.ticker) AS p ON true
)
SELECT s.id, s.ticker, s.type, s.expires_at <= statement_timestamp() AS overdue,
       standing.is_open, standing.opening, standing.rank, standing.size, standing.age_seconds, standing.fresh
FROM front
JOIN standing USING (ticker)
JOIN signals s ON s.id = front.id
WHERE s.status = 'received'
ORDER BY s.seq

-- name: decide
-- $1 ids, $2 statuses, $3 reasons, $4 details. Rows that ended meanwhile (age) keep their end. Returns how many of each.
WITH verdict AS (
    SELECT * FROM unnest($1::uuid[], $2::text[], $3::text[], $4::jsonb[]) AS v (id, status, reason, detail)
), decided AS (
    UPDATE signals s
    SET status = v.status, reason = v.reason, status_at = clock_timestamp()
    FROM verdict v
    WHERE s.id = v.id AND s.status = 'received'
    RETURNING s.id
), told AS (
    INSERT INTO signal_events (signal_id, status, reason, detail)
    SELECT id, status, reason, detail FROM verdict JOIN decided USING (id)
    RETURNING status
)
SELECT status, count(*) AS signals FROM told GROUP BY status
