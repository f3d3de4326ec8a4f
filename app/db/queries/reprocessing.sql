-- Rejected buys whose ticker has entered the list (SPEC §13). Whoever approves here owns the lock of `approvals.sql`.
-- How rows are found, whatever PostgreSQL believes about the queue: see decision.sql.

-- name: pending
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
