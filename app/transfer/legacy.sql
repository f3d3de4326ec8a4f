-- Import of the replaced system's database. Used by legacy_repository.py only.
-- Statements named source_… read its database; they name no column that a version of it may lack. The others are about our own.

-- name: source_tables
SELECT coalesce(array_agg(relname::text), '{}') AS tables
FROM pg_class
WHERE relkind IN ('r', 'p') AND relnamespace = 'public'::regnamespace
  AND relname IN ('signals', 'signal_events', 'positions', 'finviz_urls', 'admin_actions')

-- name: source_has_old_signals
SELECT EXISTS (SELECT FROM pg_attribute WHERE attrelid = 'public.signals'::regclass AND attname = 'signal_id' AND NOT attisdropped)

-- name: source_tokens
-- Tokens that were typed, wrong ones too, those of the most calls first. $1 shortest, $2 limit.
SELECT to_jsonb(a) ->> 'admin_token' AS token
FROM public.admin_actions a
WHERE length(to_jsonb(a) ->> 'admin_token') >= $1
GROUP BY token
ORDER BY count(*) DESC, token
LIMIT $2

-- name: source_signals
-- Each signal with its newest events, oldest first. $1 how many events of a signal.
SELECT (to_jsonb(s) - 'original_signal')::text AS signal, (to_jsonb(s) -> 'original_signal')::text AS body,
       coalesce(e.events, '[]')::text AS events
FROM public.signals s
LEFT JOIN (
    SELECT signal_id, jsonb_agg(event ORDER BY number DESC) AS events
    FROM (
        SELECT event ->> 'signal_id' AS signal_id, event,
               row_number() OVER (PARTITION BY event ->> 'signal_id'
                                  ORDER BY event ->> 'timestamp' DESC NULLS LAST, lpad(event ->> 'event_id', 20, '0') DESC) AS number
        FROM (SELECT to_jsonb(e) AS event FROM public.signal_events e OFFSET 0) AS plain
    ) AS numbered
    WHERE number <= $1
    GROUP BY signal_id
) AS e ON e.signal_id = to_jsonb(s) ->> 'signal_id'
ORDER BY to_jsonb(s) ->> 'created_at' NULLS FIRST, to_jsonb(s) ->> 'signal_id'

-- name: source_signals_without_events
SELECT (to_jsonb(s) - 'original_signal')::text AS signal, (to_jsonb(s) -> 'original_signal')::text AS body, '[]' AS events
FROM public.signals s
ORDER BY to_jsonb(s) ->> 'created_at' NULLS FIRST, to_jsonb(s) ->> 'signal_id'

-- name: source_positions
SELECT to_jsonb(p)::text AS position
FROM public.positions p
ORDER BY to_jsonb(p) ->> 'opened_at' NULLS FIRST, to_jsonb(p) ->> 'id'

-- name: source_buys_being_sent
-- Buys that were being sent and have no position: they may have been executed.
SELECT (to_jsonb(s) - 'original_signal')::text AS signal
FROM public.signals s
WHERE lower(to_jsonb(s) ->> 'status') = 'forwarding'
  AND NOT EXISTS (SELECT FROM public.positions p WHERE to_jsonb(p) ->> 'entry_signal_id' = to_jsonb(s) ->> 'signal_id')
ORDER BY to_jsonb(s) ->> 'created_at' NULLS FIRST, to_jsonb(s) ->> 'signal_id'

-- name: source_strategies
SELECT to_jsonb(f)::text AS strategy
FROM public.finviz_urls f
ORDER BY to_jsonb(f) ->> 'name'

-- name: source_actions
-- Without the token. $1 after this number.
SELECT action::text
FROM (
    SELECT action, (CASE WHEN number ~ '^[0-9]{1,18}$' THEN number END)::bigint AS number
    FROM (
        SELECT to_jsonb(a) - 'admin_token' AS action, coalesce(to_jsonb(a) ->> 'action_id', to_jsonb(a) ->> 'id') AS number
        FROM public.admin_actions a OFFSET 0
    ) AS plain
) AS numbered
WHERE number > $1
ORDER BY number

-- name: present_signals
-- $1 ids. Those that exist.
SELECT id FROM signals WHERE id = ANY ($1::uuid[])

-- name: present_positions
-- $1 ids. Those that exist.
SELECT id FROM positions WHERE id = ANY ($1::uuid[])

-- name: open_tickers
-- $1 tickers. Those with an open position.
SELECT ticker FROM positions WHERE status = 'open' AND ticker = ANY ($1::text[])

-- name: adopt
-- $1 ids, $2 tickers, $3 opened at, $4 opened by, $5 reason. An unconfirmed position lets exits pass. One that exists stays as it is, and
-- so does another open position in the ticker. Returns the adopted ids.
INSERT INTO positions (id, ticker, opened_at, opened_by, buys, confirmed, reason)
SELECT id, ticker, opened_at, opened_by, 0, false, $5
FROM unnest($1::uuid[], $2::text[], $3::timestamptz[], $4::uuid[]) WITH ORDINALITY AS given (id, ticker, opened_at, opened_by, line)
ORDER BY line
ON CONFLICT DO NOTHING
RETURNING id

-- name: insert_closed
-- $1 ids, $2 tickers, $3 opened at, $4 opened by, $5 closed at, $6 closed by, $7 reasons. Returns the new ids.
INSERT INTO positions (id, ticker, status, opened_at, opened_by, closed_at, closed_by, reason)
SELECT id, ticker, 'closed', opened_at, opened_by, closed_at, closed_by, reason
FROM unnest($1::uuid[], $2::text[], $3::timestamptz[], $4::uuid[], $5::timestamptz[], $6::uuid[], $7::text[])
     WITH ORDINALITY AS given (id, ticker, opened_at, opened_by, closed_at, closed_by, reason, line)
ORDER BY line
ON CONFLICT (id) DO NOTHING
RETURNING id

-- name: last_action
-- $1 session of imported actions. The number that the newest of them had.
SELECT coalesce(max((after ->> 'action_id')::bigint), -1) FROM actions WHERE session = $1

-- name: insert_actions
-- $1 session, $2 times, $3 origins, $4 actions, $5 targets, $6 details, $7 results; in order.
INSERT INTO actions (at, session, origin, action, target, after, result)
SELECT at, $1, origin, action, target, after, result
FROM unnest($2::timestamptz[], $3::text[], $4::text[], $5::text[], $6::json[], $7::text[])
     WITH ORDINALITY AS given (at, origin, action, target, after, result, line)
ORDER BY line
