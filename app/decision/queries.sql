-- PostgreSQL plans by what it last counted, and then this queue was empty as a rule. So that a burst is not read over and over,
-- no step joins the queue with itself: rows are found by their id (an array of ids fits no other index; nor does a condition
-- within coalesce), the orders of a ticker by ticker and seq (OFFSET 0 asks for them row by row; 'unfinished, but not …' fits no
-- index but that). tests/api/trading/test_plans.py holds them to it.

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
    SELECT id, ticker, type, seq, expires_at <= statement_timestamp() AS overdue
    FROM signals s
    WHERE status = 'received'
      -- without a fresh list buys wait, and what stands behind them in their ticker waits with them
      AND (coalesce((SELECT fresh FROM list), false)
           OR (type <> 'buy' AND NOT EXISTS (
                   SELECT FROM signals b
                   WHERE b.ticker = s.ticker AND b.seq < s.seq AND b.type = 'buy'
                     AND b.status IN ('received', 'approved', 'forwarding') AND b.status NOT IN ('approved', 'forwarding')
                     AND b.expires_at > statement_timestamp()  -- no exit waits for an entry that is too old to be decided
                   OFFSET 0)))
    ORDER BY seq
    LIMIT $1
), held AS (
    SELECT ticker, status
    FROM signals
    WHERE id = ANY (ARRAY (SELECT DISTINCT ON (ticker) id FROM front ORDER BY ticker, seq))
    FOR UPDATE SKIP LOCKED
), standing AS MATERIALIZED (
    SELECT held.ticker, coalesce(p.is_open, false) AS is_open, coalesce(p.opening, false) AS opening,
           array_position(list.tickers, held.ticker) AS rank, list.size, list.age_seconds,
           coalesce(list.fresh, false) AS fresh
    FROM held
    LEFT JOIN list ON true
    LEFT JOIN LATERAL (SELECT is_open, opening FROM position_states WHERE ticker = held.ticker OFFSET 0) AS p ON true
    WHERE held.status = 'received'  -- the row as it is now that it is locked
)
SELECT id, ticker, type, overdue, is_open, opening, rank, size, age_seconds, fresh
FROM front
JOIN standing USING (ticker)
ORDER BY seq

-- name: decide
-- $1 ids, $2 statuses, $3 reasons, $4 details. Rows that ended meanwhile (age) keep their end. Returns how many of each.
WITH verdict AS (
    SELECT * FROM unnest($1::uuid[], $2::text[], $3::text[], $4::jsonb[]) AS v (id, status, reason, detail)
), decided AS (
    UPDATE signals s
    SET status = v.status, reason = v.reason, status_at = clock_timestamp()
    FROM verdict v
    WHERE s.id = v.id AND s.id = ANY ($1) AND coalesce(s.status = 'received', false)
    RETURNING s.id
), told AS (
    INSERT INTO signal_events (signal_id, status, reason, detail)
    SELECT id, status, reason, detail FROM verdict JOIN decided USING (id)
    RETURNING status
)
SELECT status, count(*) AS signals FROM told GROUP BY status

-- name: pending
-- From here on: rejected buys whose ticker has entered the list. Whoever approves here holds the exclusive lock of app/orders.
SELECT EXISTS (SELECT FROM top_n_lists WHERE reprocessed_at IS NULL AND entered <> '{}')

-- name: lists
-- Lists with tickers that entered, not looked at yet, oldest first; another process may be at it.
SELECT id, strategy, entered FROM top_n_lists
WHERE reprocessed_at IS NULL AND entered <> '{}'
ORDER BY id
LIMIT 20
FOR UPDATE SKIP LOCKED

-- name: done
-- $1 lists.
UPDATE top_n_lists SET reprocessed_at = clock_timestamp() WHERE id = ANY ($1)

-- name: current
-- $1 strategy, $2 true while its list is frozen and so counts as fresh. Its list in force, if that is fresh.
SELECT tickers, extract(epoch FROM statement_timestamp() - fetched_at)::float8 AS age_seconds
FROM top_n_lists
WHERE id = (SELECT max(id) FROM top_n_lists WHERE strategy = $1)
  AND ($2::boolean OR max_age_seconds IS NULL
       OR fetched_at > statement_timestamp() - make_interval(secs => max_age_seconds))

-- name: candidates
-- $1 tickers, $2 window and $3 greatest age in seconds (0: no limit), $4 the chronology window in seconds, NULL where that
-- rule is off. For each ticker the newest rejected buy that may be approved, none where an order of it is open, on its way
-- or waiting. A sell that came later, within the window after the buy (0: ever), says that the buy's time is over.
SELECT asked.ticker, found.id
FROM unnest($1::text[]) WITH ORDINALITY AS asked (ticker, place)
CROSS JOIN LATERAL (
    SELECT b.id
    FROM signals b
    WHERE b.ticker = asked.ticker AND b.type = 'buy' AND b.status = 'rejected' AND b.reprocessed_at IS NULL
      AND b.imported_at IS NULL
      AND ($2 = 0 OR b.received_at > statement_timestamp() - make_interval(secs => $2::float8))
      AND ($3 = 0 OR b.received_at > statement_timestamp() - make_interval(secs => $3::float8))
      AND ($4::int IS NULL OR NOT EXISTS (
          SELECT FROM signals s
          WHERE s.ticker = b.ticker AND s.seq > b.seq AND s.type <> 'buy'
            AND ($4 = 0 OR s.received_at <= b.received_at + make_interval(secs => $4::float8))))
    ORDER BY b.seq DESC
    LIMIT 1
) AS found
WHERE NOT EXISTS (SELECT FROM position_states p WHERE p.ticker = asked.ticker OFFSET 0)
  AND NOT EXISTS (
      SELECT FROM signals q
      WHERE q.ticker = asked.ticker AND q.type = 'buy'
        AND q.status IN ('received', 'approved', 'forwarding') AND q.status NOT IN ('approved', 'forwarding')
      OFFSET 0)
ORDER BY asked.place

-- name: approve
-- $1 ids, $2 reasons, $3 details, $4 seconds until they expire.
WITH verdict AS (
    SELECT * FROM unnest($1::uuid[], $2::text[], $3::jsonb[]) AS v (id, reason, detail)
), approved AS (
    UPDATE signals s
    SET status = 'approved', status_at = clock_timestamp(), reason = v.reason, reprocessed_at = clock_timestamp(),
        renewed_at = clock_timestamp(), expires_at = clock_timestamp() + make_interval(secs => $4::float8)
    FROM verdict v
    WHERE s.id = v.id AND s.status = 'rejected' AND s.reprocessed_at IS NULL
    RETURNING s.id, s.ticker
), told AS (
    INSERT INTO signal_events (signal_id, status, reason, detail)
    SELECT id, 'approved', v.reason, v.detail FROM verdict v JOIN approved USING (id)
)
SELECT id, ticker FROM approved
