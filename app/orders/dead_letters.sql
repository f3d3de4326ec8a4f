-- What failed or expired (the view `dead_letters`), and its replay by a person. Typed functions: dead_letters_repository.py.

-- name: read_dead_letters
-- $1 to $11 the filter (`SignalFilter.arguments`), $12 cursor (a seq), NULL for the first page, $13 limit. Newest first.
-- `blocked`: each destination where it was not delivered has a later pending order of its ticker.
SELECT s.id, s.seq, s.status, s.type, s.ticker, s.reason, s.reason_code, s.reason_params, s.received_at, s.status_at,
       s.attempts, s.round, source_of(s.source, s.type) AS source, s.quantity, s.quantity_unit, s.price,
       coalesce(places.is_blocked, false) AS blocked,
       EXISTS (
           SELECT FROM attempts a
           WHERE a.signal_id = s.id AND a.outcome = 'unknown' AND NOT EXISTS (
               SELECT FROM orders o
               WHERE o.signal_id = s.id AND o.destination = a.sent_to
                 AND CASE WHEN o.status IN ('failed', 'unknown', 'expired') THEN false ELSE true END OFFSET 0)) AS may_be_executed
FROM dead_letters s
CROSS JOIN LATERAL (
    SELECT bool_and(EXISTS (
               SELECT FROM orders o
               WHERE o.destination = d.destination AND o.ticker = s.ticker AND o.seq > s.seq AND o.ended_at IS NULL
                 AND CASE o.status WHEN 'sending' THEN true ELSE o.expires_at > statement_timestamp() END OFFSET 0)) AS is_blocked
    FROM undelivered_orders d WHERE d.signal_id = s.id) AS places
WHERE {signal_filter}
  AND ($12::bigint IS NULL OR s.seq < $12)
ORDER BY s.seq DESC
LIMIT $13

-- name: read_replay_candidates
-- $1 to $11 the filter (`SignalFilter.arguments`), $12 ids, NULL for any, $13 limit, $14 false while buying is paused, $15 false: no
-- entry where an attempt has an unknown outcome, $16 names of the destinations, $17 false: one was asked for. Oldest first.
-- `free`: the destinations where it was not delivered and no later order of its ticker is pending: two orders of a ticker would be sent
-- at once, in the wrong order. What is unfinished at another destination blocks nothing. A signal that expired undecided has no order:
-- it may go to each, and `held` are those where its ticker is open or about to be.
SELECT s.id, s.ticker, s.type, coalesce(s.source, 'default') AS source, places.is_decided, places.free, places.held,
       places.may_be_executed
FROM dead_letters s
CROSS JOIN LATERAL (
    SELECT coalesce(bool_or(is_decided), true) AS is_decided, count(*) AS wanted,
           coalesce(array_agg(name ORDER BY place) FILTER (WHERE NOT is_blocked), '{}') AS free,
           coalesce(array_agg(name ORDER BY place) FILTER (WHERE is_held), '{}') AS held,
           coalesce(array_agg(name ORDER BY place) FILTER (WHERE may_be_executed), '{}') AS may_be_executed
    FROM (
        SELECT name, place, decided.is_decided,
               (s.type = 'buy' AND NOT $14::boolean) OR EXISTS (
                   SELECT FROM orders o
                   WHERE o.destination = name AND o.ticker = s.ticker AND o.seq > s.seq AND o.ended_at IS NULL
                     AND CASE o.status WHEN 'sending' THEN true ELSE o.expires_at > statement_timestamp() END OFFSET 0) AS is_blocked,
               NOT decided.is_decided AND EXISTS (
                   SELECT FROM book_states b
                   WHERE b.ticker = s.ticker AND b.destination = name AND (b.is_open OR b.opening) OFFSET 0) AS is_held,
               s.type = 'buy' AND EXISTS (
                   SELECT FROM attempts a
                   WHERE a.signal_id = s.id AND a.sent_to = name AND a.outcome = 'unknown' OFFSET 0) AS may_be_executed
        FROM unnest($16::text[]) WITH ORDINALITY AS given (name, place)
        CROSS JOIN LATERAL (SELECT EXISTS (SELECT FROM orders o WHERE o.signal_id = s.id OFFSET 0) AS is_decided) AS decided
        WHERE NOT decided.is_decided OR EXISTS (
            SELECT FROM undelivered_orders d WHERE d.signal_id = s.id AND d.destination = name OFFSET 0)) AS found
    -- Fails open: an exit is replayed whatever became of it, since it can only close.
    WHERE $15::boolean OR NOT may_be_executed) AS places
WHERE {signal_filter}
  AND ($12::uuid[] IS NULL OR s.id = ANY ($12))
  -- at a destination that is not configured: it cannot be replayed, which is said
  AND (places.wanted > 0 OR ($17::boolean AND NOT EXISTS (
      SELECT FROM undelivered_orders d WHERE d.signal_id = s.id AND d.destination = ANY ($16))))
ORDER BY s.seq
LIMIT $13

-- name: start_round
-- $1 ids, $2 seconds until a buy expires, $3 seconds until any other type expires, $4 text of the reason; $5 ids, each with the name of a
-- destination in $6 where it goes. Nothing goes where the newest order was delivered, or is unfinished. This transaction has locked the
-- signals in a statement before, so that this one sees all of their orders. The new round counts its attempts from 1 and has its own
-- webhook-id. A signal whose order at another destination is unfinished keeps that one, and the age that alarms count.
WITH place AS MATERIALIZED (
    SELECT s.id, g.destination, d.id IS NULL AS is_new, d.intent, d.quantity, d.quantity_unit, d.sentiment,
           CASE WHEN d.id IS NULL THEN count(*) OVER (PARTITION BY s.id) > 1 ELSE d.is_shared END AS is_shared
    FROM unnest($5::uuid[], $6::text[]) AS g (id, destination)
    JOIN signals s ON s.id = g.id AND s.id = ANY ($1)
    LEFT JOIN LATERAL (
        SELECT * FROM undelivered_orders u WHERE u.signal_id = g.id AND u.destination = g.destination OFFSET 0) AS d ON true
    WHERE CASE s.status WHEN 'failed' THEN true WHEN 'expired' THEN true ELSE d.is_shared END
      AND (d.id IS NOT NULL OR NOT EXISTS (SELECT FROM orders o WHERE o.signal_id = g.id OFFSET 0))
), replayed AS (
    UPDATE signals s
    SET status = CASE status WHEN 'forwarding' THEN status ELSE 'approved' END, status_at = moment.now, reason = $4,
        reason_code = 'replayed', reason_params = '{}', round = round + 1, attempts = 0, not_before = NULL,
        claim_id = CASE status WHEN 'forwarding' THEN claim_id END, lease_until = CASE status WHEN 'forwarding' THEN lease_until END,
        renewed_at = CASE status WHEN 'failed' THEN moment.now WHEN 'expired' THEN moment.now ELSE renewed_at END,
        -- not before an order that is unfinished
        expires_at = greatest(
            moment.now + make_interval(secs => CASE type WHEN 'buy' THEN $2::float8 ELSE $3::float8 END),
            (SELECT max(o.expires_at) FROM orders o WHERE o.signal_id = s.id AND o.ended_at IS NULL))
    FROM (SELECT clock_timestamp() AS now) AS moment
    WHERE id = ANY ($1) AND id IN (SELECT id FROM place)
    RETURNING id, round, seq, type, ticker, intent, quantity, quantity_unit, sentiment,
              moment.now + make_interval(secs => CASE type WHEN 'buy' THEN $2::float8 ELSE $3::float8 END) AS expires_at
), ordered AS (
    INSERT INTO orders (signal_id, destination, round, seq, type, ticker, intent, quantity, quantity_unit, sentiment, expires_at, is_shared)
    SELECT r.id, p.destination, r.round, r.seq, r.type, r.ticker, CASE WHEN is_new THEN r.intent ELSE p.intent END,
           CASE WHEN is_new THEN r.quantity ELSE p.quantity END, CASE WHEN is_new THEN r.quantity_unit ELSE p.quantity_unit END,
           CASE WHEN is_new THEN r.sentiment ELSE p.sentiment END, r.expires_at, p.is_shared
    FROM replayed r JOIN place p USING (id)
), event AS (
    INSERT INTO signal_events (signal_id, status, reason, reason_code, reason_params, detail)
    SELECT r.id, 'approved', $4, 'replayed', '{}', jsonb_build_object('round', round) || coalesce(single.detail, '{}')
    FROM replayed r
    LEFT JOIN LATERAL (
        SELECT jsonb_build_object('destination', min(destination)) AS detail FROM place p
        WHERE p.id = r.id AND (is_shared OR destination <> 'default')
        HAVING count(*) = 1) AS single ON true
)
SELECT id FROM replayed
