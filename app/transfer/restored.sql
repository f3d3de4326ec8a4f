-- Before a restored database takes the place of the current one. Either may have the schema of an older version.
-- `current_` statements read the current database, the others change the restored one.

-- name: current_attempts
-- What the limits count. An older schema has no mark on attempts: there the signal's mark says that they are imported history.
SELECT signal_id, round, number, destination, webhook_id, claim_id, started_at, ended_at, outcome, http_status, error, response,
       coalesce(to_jsonb(a) ->> 'sent_to', 'default') AS sent_to
FROM attempts a
WHERE (ended_at IS NULL OR ended_at > now() - interval '1 hour')
    AND NOT coalesce(
        (to_jsonb(a) ->> 'imported')::boolean,
        (SELECT to_jsonb(s) ->> 'imported_at' IS NOT NULL FROM signals s WHERE s.id = a.signal_id)
    )
ORDER BY started_at

-- name: current_signals
SELECT id, status, type, ticker, received_at, expires_at, status_at, reason, sender_signal_id, price, body, round, attempts
FROM signals WHERE id = ANY($1::uuid[])
ORDER BY received_at

-- name: has_destinations
-- Whether the schema knows several destinations.
SELECT EXISTS (SELECT FROM pg_attribute WHERE attrelid = to_regclass('attempts') AND attname = 'sent_to')

-- name: current_orders
-- $1 signals. The orders of those with one at another destination than `default`; that of any other signal follows from it.
SELECT signal_id, destination, round, intent, quantity, quantity_unit, sentiment, status, attempts, ended_at, is_shared
FROM orders o
WHERE signal_id = ANY($1::uuid[])
    AND EXISTS (SELECT FROM orders n WHERE n.signal_id = o.signal_id AND (n.is_shared OR n.destination <> 'default'))
ORDER BY id

-- name: current_destinations
SELECT destination, held_until, reason FROM destinations WHERE held_until > now()

-- name: has_configuration
SELECT to_regclass('configuration') IS NOT NULL

-- name: current_switches
SELECT (documents #> '{decided,switches}')::text
FROM configuration WHERE documents #>> '{decided,revision}' = revision::text

-- name: carry_signals
WITH added AS (
    INSERT INTO signals (id, status, type, ticker, received_at, expires_at, status_at, reason, sender_signal_id, price, body, round, attempts)
    SELECT * FROM unnest(
        $1::uuid[], $2::text[], $3::text[], $4::text[], $5::timestamptz[], $6::timestamptz[], $7::timestamptz[], $8::text[],
        $9::text[], $10::numeric[], $11::bytea[], $12::smallint[], $13::integer[]
    )
    ON CONFLICT (id) DO NOTHING
    RETURNING id, status
), noted AS (
    INSERT INTO signal_events (signal_id, status, reason)
    SELECT id, status, 'carried over from the replaced database, because it was sent within the last hour' FROM added
)
SELECT id FROM added

-- name: forget_orders
-- $1 signals that were carried over: the order that the trigger has made of each.
DELETE FROM orders WHERE signal_id = ANY($1::uuid[])

-- name: carry_orders
INSERT INTO orders (signal_id, destination, round, seq, type, ticker, intent, quantity, quantity_unit, sentiment, status, attempts,
                    expires_at, ended_at, is_shared)
SELECT s.id, c.destination, c.round, s.seq, s.type, s.ticker, c.intent, c.quantity, c.quantity_unit, c.sentiment, c.status, c.attempts,
       s.expires_at, c.ended_at, c.is_shared
FROM unnest(
    $1::uuid[], $2::text[], $3::smallint[], $4::text[], $5::numeric[], $6::text[], $7::text[], $8::text[], $9::integer[],
    $10::timestamptz[], $11::boolean[]
) AS c (signal_id, destination, round, intent, quantity, quantity_unit, sentiment, status, attempts, ended_at, is_shared)
JOIN signals s ON s.id = c.signal_id

-- name: end_carried_attempts
-- An attempt that was open when the dump was made, and ended since.
UPDATE attempts a
SET ended_at = c.ended_at, outcome = c.outcome, http_status = c.http_status, error = c.error, response = c.response
FROM unnest($1::uuid[], $2::uuid[], $3::timestamptz[], $4::text[], $5::smallint[], $6::text[], $7::bytea[])
    AS c (signal_id, claim_id, ended_at, outcome, http_status, error, response)
WHERE a.signal_id = c.signal_id AND a.claim_id = c.claim_id AND a.ended_at IS NULL AND c.ended_at IS NOT NULL

-- name: carry_attempts
INSERT INTO attempts (signal_id, round, number, destination, webhook_id, claim_id, started_at, ended_at, outcome, http_status, error, response)
SELECT c.*
FROM unnest(
    $1::uuid[], $2::smallint[], $3::integer[], $4::text[], $5::text[], $6::uuid[], $7::timestamptz[], $8::timestamptz[],
    $9::text[], $10::smallint[], $11::text[], $12::bytea[]
) AS c (signal_id, round, number, destination, webhook_id, claim_id, started_at, ended_at, outcome, http_status, error, response)
WHERE NOT EXISTS (SELECT FROM attempts a WHERE a.signal_id = c.signal_id AND a.claim_id = c.claim_id)
ORDER BY c.started_at

-- name: name_destinations
UPDATE attempts a
SET sent_to = c.sent_to
FROM unnest($1::uuid[], $2::uuid[], $3::text[]) AS c (signal_id, claim_id, sent_to)
WHERE a.signal_id = c.signal_id AND a.claim_id = c.claim_id AND a.sent_to <> c.sent_to

-- name: end_open_attempts
UPDATE attempts SET ended_at = clock_timestamp(), outcome = 'unknown', error = 'restored' WHERE ended_at IS NULL

-- name: forget_destinations
DELETE FROM destinations WHERE destination = ANY($1::text[])

-- name: carry_destinations
INSERT INTO destinations (destination, held_until, reason) SELECT * FROM unnest($1::text[], $2::timestamptz[], $3::text[])

-- name: expire_unfinished
WITH held AS (
    UPDATE signals
    SET status = 'expired', status_at = clock_timestamp(), reason = 'restored', claim_id = NULL, lease_until = NULL, not_before = NULL
    WHERE status IN ('received', 'approved', 'forwarding')
    RETURNING id, type
), noted AS (
    INSERT INTO signal_events (signal_id, status, reason) SELECT id, 'expired', 'restored' FROM held
)
SELECT count(*) FILTER (WHERE type = 'buy') AS held_buys, count(*) FILTER (WHERE type IS DISTINCT FROM 'buy') AS held_others FROM held

-- name: has_orders
SELECT to_regclass('orders') IS NOT NULL

-- name: expire_orders
-- Those of signals with an order at another destination than `default` do not follow from their signals.
UPDATE orders
SET status = 'expired', ended_at = clock_timestamp(), claim_id = NULL, lease_until = NULL, not_before = NULL
WHERE ended_at IS NULL

-- name: record_pause
INSERT INTO actions (session, origin, action, target, before, after, result)
SELECT 'file', 'config/system_config.json', 'config.edit', 'system_config.json',
    json_strip_nulls(json_build_object('delivery_paused', documents #> '{system_config.json,delivery_paused}')),
    '{"delivery_paused": true}', 'done'
FROM configuration WHERE documents #>> '{system_config.json,delivery_paused}' IS DISTINCT FROM 'true'

-- name: pause_delivery
-- $1: what the current database says of switches that its file has not got yet. What the restored one says is older than the file.
-- Fails closed: the pause is in the revision too, so that it holds, for exits as well, where the application cannot use the file.
WITH decided AS (
    SELECT key, value FROM json_each($1::text::json) WHERE key <> 'delivery_paused'
    UNION ALL SELECT 'delivery_paused', 'true'::json
)
UPDATE configuration
SET revision = revision + 1, at = clock_timestamp(), documents = (
    SELECT json_object_agg(key, value) FROM (
        SELECT key, value FROM json_each(documents) WHERE key NOT IN ('system_config.json', 'decided', 'switched_at')
        UNION ALL
        SELECT 'system_config.json', json_object_agg(key, value) FROM (
            SELECT key, value FROM json_each(documents -> 'system_config.json') WHERE key NOT IN (SELECT key FROM decided)
            UNION ALL SELECT key, value FROM decided WHERE key NOT LIKE '%.%'  -- within a section: the application writes it
        ) AS system
        UNION ALL
        SELECT 'decided', json_build_object('revision', revision + 1, 'switches', (SELECT json_object_agg(key, value) FROM decided))
    ) AS document
)

-- name: contents
SELECT (SELECT count(*) FROM signals) AS signals, (SELECT count(*) FROM positions WHERE status <> 'closed') AS open
