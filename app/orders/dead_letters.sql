-- Failed and expired signals, and their replay by a person. Imported history is left out. Typed functions: dead_letters_repository.py.

-- name: read_dead_letters
-- $1 to $11 the filter (`SignalFilter.arguments`), $12 cursor (a seq), NULL for the first page, $13 limit. Newest first.
SELECT s.id, s.seq, s.status, s.type, s.ticker, s.reason, s.reason_code, s.reason_params, s.received_at, s.status_at,
       s.attempts, s.round, source_of(s.source, s.type) AS source, s.quantity, s.quantity_unit, s.price,
       EXISTS (
           SELECT FROM undelivered_orders d
           CROSS JOIN LATERAL (
               SELECT FROM orders o
               WHERE o.destination = d.destination AND o.ticker = s.ticker AND o.seq > s.seq AND o.ended_at IS NULL
                 AND CASE o.status WHEN 'sending' THEN true ELSE o.expires_at > statement_timestamp() END
               LIMIT 1) AS later
           WHERE d.signal_id = s.id) AS blocked,
       EXISTS (SELECT FROM attempts a WHERE a.signal_id = s.id AND a.outcome = 'unknown') AS may_be_executed
FROM signals s
WHERE s.status IN ('failed', 'expired') AND s.type IS NOT NULL AND s.imported_at IS NULL
  AND {signal_filter}
  AND ($12::bigint IS NULL OR s.seq < $12)
ORDER BY s.seq DESC
LIMIT $13

-- name: read_replay_candidates
-- $1 to $11 the filter (`SignalFilter.arguments`), $12 ids, NULL for any, $13 limit, $14 false while buying is paused, $15 false: no
-- entry with an attempt of unknown outcome, $16 destination, NULL: all. Oldest first. A later pending order of the ticker at the
-- same destination blocks the replay: two orders of a ticker would be sent at once, in the wrong order.
SELECT s.id, s.ticker, coalesce(s.source, 'default') AS source,
       (s.type = 'buy' AND NOT $14::boolean) OR EXISTS (
           SELECT FROM undelivered_orders d
           CROSS JOIN LATERAL (
               SELECT FROM orders o
               WHERE o.destination = d.destination AND o.ticker = s.ticker AND o.seq > s.seq AND o.ended_at IS NULL
                 AND CASE o.status WHEN 'sending' THEN true ELSE o.expires_at > statement_timestamp() END
               LIMIT 1) AS later
           WHERE d.signal_id = s.id AND ($16::text IS NULL OR d.destination = $16)) AS blocked,
       s.type = 'buy' AND EXISTS (
           SELECT FROM attempts a WHERE a.signal_id = s.id AND a.outcome = 'unknown') AS may_be_executed
FROM signals s
WHERE s.status IN ('failed', 'expired') AND s.type IS NOT NULL AND s.imported_at IS NULL
  AND {signal_filter}
  AND ($12::uuid[] IS NULL OR s.id = ANY ($12))
  AND ($16::text IS NULL OR EXISTS (SELECT FROM undelivered_orders d WHERE d.signal_id = s.id AND d.destination = $16))
  -- Fails open: an exit is replayed whatever became of it, since it can only close.
  AND ($15::boolean OR s.type <> 'buy'
       OR NOT EXISTS (SELECT FROM attempts a WHERE a.signal_id = s.id AND a.outcome = 'unknown'))
ORDER BY s.seq
LIMIT $13

-- name: start_round
-- $1 ids, $2 seconds until a buy expires, $3 seconds until any other type expires, $4 text of the reason, $5 destination, NULL: each
-- where the newest order was not delivered. A signal that expired undecided has no order: $6 ids and $7 names say where it goes. The new
-- round counts its attempts from 1 and has its own webhook-id.
WITH replayed AS (
    UPDATE signals
    SET status = 'approved', status_at = clock_timestamp(), reason = $4, reason_code = 'replayed', reason_params = '{}',
        round = round + 1, attempts = 0, not_before = NULL, claim_id = NULL, lease_until = NULL, renewed_at = clock_timestamp(),
        expires_at = clock_timestamp() + make_interval(secs => CASE type WHEN 'buy' THEN $2::float8 ELSE $3::float8 END)
    WHERE id = ANY ($1) AND status IN ('failed', 'expired')
      AND ($5::text IS NULL OR EXISTS (SELECT FROM undelivered_orders d WHERE d.signal_id = signals.id AND d.destination = $5))
    RETURNING id, round, seq, type, ticker, intent, quantity, quantity_unit, sentiment, expires_at
), ordered AS (
    INSERT INTO orders (signal_id, destination, round, seq, type, ticker, intent, quantity, quantity_unit, sentiment, expires_at, is_shared)
    SELECT r.id, d.destination, r.round, r.seq, r.type, r.ticker, d.intent, d.quantity, d.quantity_unit, d.sentiment, r.expires_at,
           d.is_shared
    FROM replayed r JOIN undelivered_orders d ON d.signal_id = r.id
    WHERE $5::text IS NULL OR d.destination = $5
    UNION ALL
    SELECT id, g.destination, round, seq, type, ticker, intent, quantity, quantity_unit, sentiment, expires_at,
           count(*) OVER (PARTITION BY id) > 1
    FROM replayed JOIN unnest($6::uuid[], $7::text[]) AS g (id, destination) USING (id)
    WHERE NOT EXISTS (SELECT FROM orders o WHERE o.signal_id = replayed.id)
), event AS (
    INSERT INTO signal_events (signal_id, status, reason, reason_code, reason_params, detail)
    SELECT id, 'approved', $4, 'replayed', '{}', jsonb_build_object('round', round) FROM replayed
)
SELECT id FROM replayed
