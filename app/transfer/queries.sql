-- Export, import and clearance of the signals.

-- name: extent
-- The newest signal of an export or a clearance that begins now: later signals are not part of it.
SELECT coalesce(max(seq), 0) AS last_seq, clock_timestamp() AS at,
       (SELECT count(*) FROM unfinished_signals) AS undelivered
FROM signals

-- name: contents
-- The number of rows of each table, and the size of the database on the disk.
SELECT s.*, p.*,
       (SELECT count(*) FROM signal_events) AS events,
       (SELECT count(*) FROM attempts) AS attempts,
       (SELECT count(*) FROM refused_posts) AS refused_posts,
       (SELECT count(*) FROM actions) AS actions,
       pg_database_size(current_database()) AS size_bytes
FROM (
    SELECT coalesce(jsonb_object_agg(status, signals), '{}') AS signals, min(oldest) AS oldest
    FROM (SELECT status, count(*) AS signals, min(received_at) AS oldest FROM signals GROUP BY status) AS counted
) AS s, (
    SELECT count(*) FILTER (WHERE status <> 'closed') AS open_positions,
           count(*) FILTER (WHERE status = 'closed') AS closed_positions
    FROM positions
) AS p

-- name: page
-- $1 after this seq, $2 up to this seq, $3 limit, $4 only those that had ended at this time (NULL: all).
SELECT s.seq, s.id, s.received_at, s.status, s.status_at, s.type, s.ticker, s.price, s.reason, s.sender_signal_id, s.round,
       s.attempts, s.expires_at, s.body, source_of(s.source, s.type) AS source, s.imported_at,
       (SELECT coalesce(json_agg(json_build_object(
                   'at', to_char(e.at AT TIME ZONE 'UTC', 'YYYY-MM-DD"T"HH24:MI:SS.US"Z"'), 'status', e.status, 'reason', e.reason, 'detail', e.detail) ORDER BY e.id), '[]')
        FROM signal_events e WHERE e.signal_id = s.id)::text AS events,
       (SELECT coalesce(json_agg(json_build_object(
                   'round', a.round, 'number', a.number, 'destination', a.destination, 'webhook_id', a.webhook_id,
                   'started_at', to_char(a.started_at AT TIME ZONE 'UTC', 'YYYY-MM-DD"T"HH24:MI:SS.US"Z"'), 'ended_at', to_char(a.ended_at AT TIME ZONE 'UTC', 'YYYY-MM-DD"T"HH24:MI:SS.US"Z"'), 'outcome', a.outcome,
                   'http_status', a.http_status, 'error', a.error,
                   'response', translate(encode(a.response, 'base64'), E'\n', ''), 'sent_to', a.sent_to) ORDER BY a.id), '[]')
        FROM attempts a WHERE a.signal_id = s.id)::text AS deliveries,
       (SELECT coalesce(json_agg(json_build_object(
                   'destination', o.destination, 'round', o.round, 'status', o.status, 'attempts', o.attempts,
                   'ended_at', to_char(o.ended_at AT TIME ZONE 'UTC', 'YYYY-MM-DD"T"HH24:MI:SS.US"Z"')) ORDER BY o.id), '[]')
        FROM orders o
        WHERE o.signal_id = s.id AND EXISTS (
            SELECT FROM orders n WHERE n.signal_id = s.id AND (n.is_shared OR n.destination <> 'default')))::text AS orders
FROM signals s
WHERE s.seq > $1 AND s.seq <= $2
  AND ($4::timestamptz IS NULL
       OR s.status IN ('rejected', 'forwarded', 'failed', 'expired') AND s.status_at <= $4)
ORDER BY s.seq
LIMIT $3

-- name: clear
-- $1 up to this seq, $2 ended at this time at the latest, $3 limit. A signal that was attempted within the last hour is kept:
-- the limiter counts its attempts.
DELETE FROM signals
WHERE id IN (
    SELECT id FROM signals s
    WHERE seq <= $1 AND status IN ('rejected', 'forwarded', 'failed', 'expired') AND status_at <= $2
      AND NOT EXISTS (
          SELECT FROM attempts a
          WHERE a.signal_id = s.id AND (a.ended_at IS NULL OR a.ended_at > now() - interval '1 hour'))
    ORDER BY seq
    LIMIT $3
    FOR UPDATE SKIP LOCKED)

-- name: insert
-- $1 … $16 the columns of the signals, in the order of the file. An existing signal stays as it is. Returns the new ids.
INSERT INTO signals (id, received_at, status, status_at, type, ticker, price, reason, sender_signal_id, round, attempts,
                     expires_at, body, source, reason_code, reason_params, imported_at)
SELECT id, received_at, status, status_at, type, ticker, price, reason, sender_signal_id, round, attempts, expires_at, body,
       nullif(source, 'default'), reason_code, reason_params, clock_timestamp()
FROM unnest($1::uuid[], $2::timestamptz[], $3::text[], $4::timestamptz[], $5::text[], $6::text[], $7::numeric[],
            $8::text[], $9::text[], $10::smallint[], $11::integer[], $12::timestamptz[], $13::bytea[],
            $14::text[], $15::text[], $16::jsonb[])
     WITH ORDINALITY AS given (id, received_at, status, status_at, type, ticker, price, reason, sender_signal_id, round,
                               attempts, expires_at, body, source, reason_code, reason_params, line)
ORDER BY line
ON CONFLICT (id) DO NOTHING
RETURNING id

-- name: insert_events
-- $1 signals, $2 times, $3 statuses, $4 reasons, $5 details, $6 and $7 codes and parameters of the reasons; in order.
INSERT INTO signal_events (signal_id, at, status, reason, detail, reason_code, reason_params)
SELECT signal_id, at, status, reason, detail, reason_code, reason_params
FROM unnest($1::uuid[], $2::timestamptz[], $3::text[], $4::text[], $5::jsonb[], $6::text[], $7::jsonb[])
     WITH ORDINALITY AS given (signal_id, at, status, reason, detail, reason_code, reason_params, line)
ORDER BY line

-- name: insert_attempts
-- $1 … $12 the columns of the attempts, in order. Each has ended; the limiter ignores imported attempts.
INSERT INTO attempts (signal_id, round, number, destination, webhook_id, claim_id, started_at, ended_at, outcome,
                      http_status, error, response, sent_to, imported)
SELECT signal_id, round, number, destination, webhook_id, gen_random_uuid(), started_at, ended_at, outcome, http_status,
       error, response, sent_to, true
FROM unnest($1::uuid[], $2::smallint[], $3::integer[], $4::text[], $5::text[], $6::timestamptz[], $7::timestamptz[],
            $8::text[], $9::smallint[], $10::text[], $11::bytea[], $12::text[])
     WITH ORDINALITY AS given (signal_id, round, number, destination, webhook_id, started_at, ended_at, outcome,
                               http_status, error, response, sent_to, line)
ORDER BY line

-- name: insert_named_orders
-- $1 … $7 the columns of the orders, in order. Each has ended. After the events and attempts of their signals.
INSERT INTO orders (signal_id, destination, round, seq, type, ticker, intent, quantity, quantity_unit, sentiment, status, attempts,
                    expires_at, ended_at, is_shared)
SELECT s.id, given.destination, given.round, s.seq, s.type, s.ticker, s.intent, s.quantity, s.quantity_unit, s.sentiment, given.status,
       given.attempts, s.expires_at, given.ended_at, given.is_shared
FROM unnest($1::uuid[], $2::text[], $3::smallint[], $4::text[], $5::integer[], $6::timestamptz[], $7::boolean[])
     WITH ORDINALITY AS given (signal_id, destination, round, status, attempts, ended_at, is_shared, line)
JOIN signals s ON s.id = given.signal_id
WHERE s.type IS NOT NULL
ORDER BY line
ON CONFLICT (signal_id, destination, round) DO NOTHING

-- name: insert_orders
-- $1 signals. After their events and attempts.
INSERT INTO orders (signal_id, round, seq, type, ticker, intent, quantity, quantity_unit, sentiment, status, attempts, expires_at,
                    not_before, claim_id, lease_until, ended_at)
SELECT * FROM orders_of_signals WHERE signal_id = ANY ($1::uuid[])
ORDER BY seq
ON CONFLICT (signal_id, destination, round) DO NOTHING
