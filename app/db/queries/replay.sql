-- Dead letters: what failed or expired, and its replay by a person (SPEC §10); imported history is none. Replay owns the lock of `approvals.sql`.

-- name: dead_letters
-- $1 cursor, a seq; $2 status, $3 ticker, when given; $4 how many. Newest first.
SELECT s.id, s.seq, s.status, s.type, s.ticker, s.reason, s.received_at, s.status_at, s.attempts, s.round,
       EXISTS (
           SELECT FROM signals o
           WHERE o.ticker = s.ticker AND o.seq > s.seq
             AND (o.status = 'forwarding' OR o.status = 'approved' AND o.expires_at > statement_timestamp())) AS blocked
FROM signals s
WHERE s.status IN ('failed', 'expired') AND s.type IS NOT NULL AND s.imported_at IS NULL
  AND ($1::bigint IS NULL OR s.seq < $1)
  AND ($2::text IS NULL OR s.status = $2)
  AND ($3::text IS NULL OR s.ticker = $3)
ORDER BY s.seq DESC
LIMIT $4

-- name: chosen
-- $1 ids, $2 status, $3 ticker, each NULL for any; $4 how many. Oldest first. A later order of the ticker that is on its
-- way blocks: two of a ticker would be with the destination at once, in the wrong order.
SELECT s.id, s.ticker,
       EXISTS (
           SELECT FROM signals o
           WHERE o.ticker = s.ticker AND o.seq > s.seq
             AND (o.status = 'forwarding' OR o.status = 'approved' AND o.expires_at > statement_timestamp())) AS blocked
FROM signals s
WHERE s.status IN ('failed', 'expired') AND s.type IS NOT NULL AND s.imported_at IS NULL
  AND ($1::uuid[] IS NULL OR s.id = ANY ($1))
  AND ($2::text IS NULL OR s.status = $2)
  AND ($3::text IS NULL OR s.ticker = $3)
ORDER BY s.seq
LIMIT $4

-- name: replay
-- $1 ids, $2 seconds until a buy expires, $3 until any other. A round of its own: new attempts, and another webhook-id.
WITH replayed AS (
    UPDATE signals
    SET status = 'approved', status_at = clock_timestamp(), reason = 'replayed by a person', round = round + 1,
        attempts = 0, not_before = NULL, claim_id = NULL, lease_until = NULL, renewed_at = clock_timestamp(),
        expires_at = clock_timestamp() + make_interval(secs => CASE type WHEN 'buy' THEN $2::float8 ELSE $3::float8 END)
    WHERE id = ANY ($1) AND status IN ('failed', 'expired')
    RETURNING id, round
), told AS (
    INSERT INTO signal_events (signal_id, status, reason, detail)
    SELECT id, 'approved', 'replayed by a person', jsonb_build_object('round', round) FROM replayed
)
SELECT id FROM replayed
