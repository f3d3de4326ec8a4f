# Runs inside the database's container, before `trading_signals_incoming` takes the place of `trading_signals`.
# First the limiter's rows of the last hour are carried over, with the signals they belong to: the destination counts what it got
# whichever database we use. Then whatever is not final ends, so that nothing old is sent, and delivery is paused in the
# configuration's revision. Prints what was held, as JSON. Either database may have the schema of an older version.
set -eu
work=$(mktemp -d)
trap 'rm -rf "$work"' EXIT
touch "$work/decided"

# What the limits count. An older schema has no mark on attempts: there the signal's mark says that they are imported history.
counted="(a.ended_at IS NULL OR a.ended_at > now() - interval '1 hour') AND NOT coalesce((to_jsonb(a) ->> 'imported')::boolean, \
(SELECT to_jsonb(s) ->> 'imported_at' IS NOT NULL FROM signals s WHERE s.id = a.signal_id))"

psql -U postgres -d trading_signals -X -q -v ON_ERROR_STOP=1 <<SQL
BEGIN TRANSACTION ISOLATION LEVEL REPEATABLE READ READ ONLY;
\copy (SELECT signal_id, round, number, destination, webhook_id, claim_id, started_at, ended_at, outcome, http_status, error, response FROM attempts a WHERE $counted) TO '$work/attempts'
\copy (SELECT id, status, type, ticker, received_at, expires_at, status_at, reason, sender_signal_id, price, body, round, attempts FROM signals s WHERE EXISTS (SELECT FROM attempts a WHERE a.signal_id = s.id AND $counted)) TO '$work/signals'
\copy (SELECT destination, held_until, reason FROM destinations WHERE held_until > now()) TO '$work/destinations'
SELECT to_regclass('configuration') IS NOT NULL AS has_configuration \gset
\if :has_configuration
\copy (SELECT documents #> '{decided,switches}' FROM configuration WHERE documents #>> '{decided,revision}' = revision::text) TO '$work/decided'
\endif
COMMIT;
SQL

psql -U postgres -d trading_signals_incoming -X -qAt -v ON_ERROR_STOP=1 <<SQL
BEGIN;
CREATE TEMP TABLE carried_attempts ON COMMIT DROP AS
    SELECT signal_id, round, number, destination, webhook_id, claim_id, started_at, ended_at, outcome, http_status, error, response
    FROM attempts WHERE false;
CREATE TEMP TABLE carried_signals ON COMMIT DROP AS
    SELECT id, status, type, ticker, received_at, expires_at, status_at, reason, sender_signal_id, price, body, round, attempts
    FROM signals WHERE false;
CREATE TEMP TABLE carried_destinations ON COMMIT DROP AS SELECT destination, held_until, reason FROM destinations WHERE false;
\copy carried_attempts FROM '$work/attempts'
\copy carried_signals FROM '$work/signals'
\copy carried_destinations FROM '$work/destinations'

WITH added AS (
    INSERT INTO signals (id, status, type, ticker, received_at, expires_at, status_at, reason, sender_signal_id, price, body, round, attempts)
    SELECT id, status, type, ticker, received_at, expires_at, status_at, reason, sender_signal_id, price, body, round, attempts
    FROM carried_signals ORDER BY received_at
    ON CONFLICT (id) DO NOTHING
    RETURNING id, status
)
INSERT INTO signal_events (signal_id, status, reason)
SELECT id, status, 'carried over from the replaced database, because it was sent within the last hour' FROM added;

-- an attempt that was open when the dump was made, and ended since
UPDATE attempts a
SET ended_at = c.ended_at, outcome = c.outcome, http_status = c.http_status, error = c.error, response = c.response
FROM carried_attempts c
WHERE a.signal_id = c.signal_id AND a.claim_id = c.claim_id AND a.ended_at IS NULL AND c.ended_at IS NOT NULL;
INSERT INTO attempts (signal_id, round, number, destination, webhook_id, claim_id, started_at, ended_at, outcome, http_status, error, response)
SELECT signal_id, round, number, destination, webhook_id, claim_id, started_at, ended_at, outcome, http_status, error, response
FROM carried_attempts c
WHERE NOT EXISTS (SELECT FROM attempts a WHERE a.signal_id = c.signal_id AND a.claim_id = c.claim_id)
ORDER BY started_at;
UPDATE attempts SET ended_at = clock_timestamp(), outcome = 'unknown', error = 'restored' WHERE ended_at IS NULL;

DELETE FROM destinations WHERE destination IN (SELECT destination FROM carried_destinations);
INSERT INTO destinations (destination, held_until, reason) SELECT destination, held_until, reason FROM carried_destinations;

CREATE TEMP TABLE held ON COMMIT DROP AS
    SELECT id, type FROM signals WHERE status IN ('received', 'approved', 'forwarding');
UPDATE signals
SET status = 'expired', status_at = clock_timestamp(), reason = 'restored', claim_id = NULL, lease_until = NULL, not_before = NULL
WHERE id IN (SELECT id FROM held);
INSERT INTO signal_events (signal_id, status, reason) SELECT id, 'expired', 'restored' FROM held;
-- Those at other destinations than `default` do not follow from their signals.
SELECT to_regclass('orders') IS NOT NULL AS has_orders \gset
\if :has_orders
UPDATE orders
SET status = 'expired', ended_at = clock_timestamp(), claim_id = NULL, lease_until = NULL, not_before = NULL
WHERE ended_at IS NULL;
\endif

-- What the replaced database says of switches, its file has not said yet; what the dump says of them is older than the file.
-- Fails closed: the pause is in the revision too, so that it holds, for exits as well, where the application cannot use the file.
SELECT to_regclass('configuration') IS NOT NULL AS has_configuration \gset
\if :has_configuration
CREATE TEMP TABLE carried_decisions (switches json) ON COMMIT DROP;
\copy carried_decisions FROM '$work/decided'
CREATE TEMP TABLE decided ON COMMIT DROP AS
    SELECT key, value FROM carried_decisions, json_each(switches) WHERE key <> 'delivery_paused'
    UNION ALL SELECT 'delivery_paused', 'true'::json;
INSERT INTO actions (session, origin, action, target, before, after, result)
SELECT 'file', 'config/system_config.json', 'config.edit', 'system_config.json',
       json_strip_nulls(json_build_object('delivery_paused', documents #> '{system_config.json,delivery_paused}')),
       '{"delivery_paused": true}', 'done'
FROM configuration WHERE documents #>> '{system_config.json,delivery_paused}' IS DISTINCT FROM 'true';
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
);
\endif

SELECT json_build_object(
    'signals', (SELECT count(*) FROM signals),
    'open', (SELECT count(*) FROM positions WHERE status <> 'closed'),
    'held_buys', (SELECT count(*) FROM held WHERE type = 'buy'),
    'held_others', (SELECT count(*) FROM held WHERE type IS DISTINCT FROM 'buy'),
    'carried', (SELECT count(*) FROM carried_attempts));
COMMIT;
SQL
