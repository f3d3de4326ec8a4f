-- Open positions, and the orders that people place. Used by repository.py only.
-- The caller of a statement that inserts orders holds lock_approvals_exclusive of app/orders.

-- name: open_positions
-- With the pending orders of each; $1 a position's id, or NULL for all of them.
SELECT p.id, p.ticker, p.destination, p.opened_at, p.opened_by, p.buys, p.quantity, p.average_price, p.realized, p.confirmed,
       coalesce(s.opening, false) AS opening, coalesce(s.closing, false) AS closing
FROM positions p
LEFT JOIN LATERAL (
    SELECT opening, closing FROM book_states WHERE ticker = p.ticker AND destination = p.destination) AS s ON true
WHERE p.status <> 'closed' AND ($1::uuid IS NULL OR p.id = $1)
ORDER BY p.ticker, p.destination

-- name: places_being_bought
-- Tickers without an open position at the destination where their buy is being sent, or could not be ended and may still be sent.
SELECT DISTINCT o.ticker, o.destination
FROM orders o
WHERE o.ended_at IS NULL AND o.type = 'buy' AND CASE o.status WHEN 'sending' THEN true ELSE o.expires_at > statement_timestamp() END
  AND NOT EXISTS (
      SELECT FROM positions p WHERE p.ticker = o.ticker AND p.destination = o.destination AND p.status <> 'closed' OFFSET 0)
ORDER BY o.ticker, o.destination

-- name: read_without_destination
-- $1 names of the configured destinations. Open positions at any other, by its name.
SELECT destination, count(*) AS positions, min(opened_at) AS since
FROM positions
WHERE status <> 'closed' AND destination <> ALL ($1)
GROUP BY destination
ORDER BY destination

-- name: ticker_of_position
-- $1 position's id, open or closed.
SELECT ticker FROM positions WHERE id = $1

-- name: position_opened_by
-- $1 a signal's id. The newest position that this signal opened.
SELECT id FROM positions WHERE opened_by = $1 ORDER BY opened_at DESC LIMIT 1

-- name: pending_orders
-- $1 tickers, $2 types, $3 destinations. Exits of a part are left out. In the order of arrival.
SELECT o.signal_id, o.ticker, o.type, o.destination
FROM orders o
WHERE o.ended_at IS NULL AND o.destination = ANY ($3) AND o.ticker = ANY ($1) AND o.type = ANY ($2) AND coalesce(o.intent, 'close') = 'close'
  AND CASE o.status WHEN 'sending' THEN true ELSE o.expires_at > statement_timestamp() END
ORDER BY o.seq, o.destination

-- name: newest_alerts
-- $1 tickers. For each the newest alert that was delivered, else the newest. Imported history does not count.
SELECT ticker, body
FROM (
    SELECT ticker, coalesce(
        (SELECT body FROM signals
         WHERE ticker = wanted.ticker AND type IN ('buy', 'sell') AND imported_at IS NULL AND status = 'forwarded'
         ORDER BY seq DESC LIMIT 1),
        (SELECT body FROM signals
         WHERE ticker = wanted.ticker AND type IN ('buy', 'sell') AND imported_at IS NULL
         ORDER BY seq DESC LIMIT 1)) AS body
    FROM unnest($1::text[]) AS wanted (ticker)
) AS newest
WHERE body IS NOT NULL

-- name: insert_orders
-- $1 type, $2 seconds until they expire, $3 ids, $4 tickers, $5 bodies, $6 reason, $7 its code, $8 its parameters, $9 destinations. No
-- rule decides them: a person has approved them, or set the time.
WITH ordered AS (
    INSERT INTO signals (id, status, type, intent, ticker, expires_at, reason, reason_code, reason_params, body)
    SELECT id, 'approved', $1, 'close', ticker, clock_timestamp() + make_interval(secs => $2), $6, $7, $8::jsonb, body
    FROM unnest($3::uuid[], $4::text[], $5::bytea[]) WITH ORDINALITY AS o (id, ticker, body, number)
    ORDER BY number
    RETURNING id AS signal_id, round, seq, type, ticker, intent, expires_at
), destined AS (
    INSERT INTO orders (signal_id, destination, round, seq, type, ticker, intent, expires_at)
    SELECT signal_id, d.destination, round, seq, type, ticker, intent, expires_at
    FROM ordered JOIN unnest($3::uuid[], $9::text[]) AS d (id, destination) ON d.id = signal_id
    RETURNING signal_id, destination
), timeline AS (
    INSERT INTO signal_events (signal_id, status, reason, reason_code, reason_params)
    SELECT signal_id, e.status, $6, $7, $8::jsonb
    FROM ordered, (VALUES (1, 'received'), (2, 'approved')) AS e (number, status)
    ORDER BY seq, e.number
)
SELECT signal_id, ticker, type, destination FROM ordered JOIN destined USING (signal_id) ORDER BY seq

-- name: adopt
-- $1 ticker, $2 destination, $3 quantity, $4 average price; NULL: unknown. Unconfirmed: exits pass until a person confirms or dismisses it.
-- No row: a position in the ticker is open there.
INSERT INTO positions (ticker, destination, status, buys, confirmed, quantity, average_price, realized)
VALUES ($1, $2, CASE $2 WHEN 'default' THEN 'open' ELSE 'held' END, 0, false, $3, $4, CASE WHEN $4::numeric IS NOT NULL THEN 0 END)
ON CONFLICT DO NOTHING
RETURNING id

-- name: confirm
-- $1 position's id. A position whose buy was not known to be delivered counts one buy from now on. No row: it is not open.
UPDATE positions SET confirmed = true, buys = greatest(buys, 1) WHERE id = $1 AND status <> 'closed' RETURNING ticker

-- name: mark_closed
-- $1 position's id, $2 reason, $3 true: only if it is unconfirmed. No row: the position is not open, or it is confirmed.
UPDATE positions
SET status = 'closed', closed_at = clock_timestamp(), reason = $2
WHERE id = $1 AND status <> 'closed' AND NOT ($3 AND confirmed)
RETURNING id AS position_id, ticker, destination, buys, opened_at, closed_at, reason

-- name: read_flatten_schedule
-- From here on: the daily sell-all of `risk.flatten_at`. One row always: the time, and the schedule, NULL without one.
SELECT clock_timestamp() AS now, f.flatten_at, f.due_at, f.handled_due_at
FROM (SELECT) AS one
LEFT JOIN flatten_schedule f ON true

-- name: set_flatten_schedule
-- $1 the configured time, $2 when it is next. What was handled stays handled.
INSERT INTO flatten_schedule (flatten_at, due_at) VALUES ($1, $2)
ON CONFLICT (only_row) DO UPDATE
SET flatten_at = excluded.flatten_at, due_at = excluded.due_at,
    missed_due_at = CASE WHEN flatten_schedule.flatten_at = excluded.flatten_at THEN flatten_schedule.missed_due_at END

-- name: clear_flatten_schedule
-- No time is configured. What was handled stays handled.
UPDATE flatten_schedule SET flatten_at = NULL, due_at = NULL, missed_due_at = NULL

-- name: claim_flatten
-- $1 the configured time, $2 when it was due, $3 when it is next, $4 true: it was missed. The row decides: no row is returned where
-- another process has handled $2. Returns the `seq` of the newest signal.
UPDATE flatten_schedule
SET due_at = $3, handled_due_at = $2, missed_due_at = CASE WHEN $4::boolean THEN $2::timestamptz END
WHERE flatten_at = $1 AND due_at = $2
RETURNING coalesce((SELECT max(seq) FROM signals), 0)

-- name: read_missed_flatten
-- The latest sell-all that was missed, while a position of before it is open.
SELECT f.flatten_at, f.missed_due_at
FROM flatten_schedule f
WHERE EXISTS (SELECT FROM positions p WHERE p.status <> 'closed' AND p.opened_at <= f.missed_due_at)
