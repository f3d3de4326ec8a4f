-- Open positions, and the orders that people place. Used by repository.py only.
-- The caller of a statement that inserts orders holds lock_approvals_exclusive of app/orders.

-- name: open_positions
-- With the pending orders of each; $1 a position's id, or NULL for all of them.
SELECT p.id, p.ticker, p.opened_at, p.opened_by, p.buys, p.quantity, p.average_price, p.realized, p.confirmed, coalesce(s.opening, false) AS opening,
       coalesce(s.closing, false) AS closing
FROM positions p
LEFT JOIN LATERAL (SELECT opening, closing FROM position_states WHERE ticker = p.ticker) AS s ON true
WHERE p.status = 'open' AND ($1::uuid IS NULL OR p.id = $1)
ORDER BY p.ticker

-- name: tickers_being_bought
-- Tickers without an open position whose buy is being sent.
SELECT DISTINCT u.ticker
FROM unfinished_signals u
WHERE CASE u.status WHEN 'forwarding' THEN u.type = 'buy' ELSE false END
  AND NOT EXISTS (SELECT FROM positions p WHERE p.ticker = u.ticker AND p.status = 'open' OFFSET 0)
ORDER BY u.ticker

-- name: ticker_of_position
-- $1 position's id, open or closed.
SELECT ticker FROM positions WHERE id = $1

-- name: position_opened_by
-- $1 a signal's id. The newest position that this signal opened.
SELECT id FROM positions WHERE opened_by = $1 ORDER BY opened_at DESC LIMIT 1

-- name: pending_orders
-- $1 tickers, $2 types. Exits of a part are left out. In the order of arrival.
SELECT id AS signal_id, ticker, type
FROM unfinished_signals
WHERE ticker = ANY ($1) AND type = ANY ($2) AND is_pending AND coalesce(intent, 'close') = 'close'
ORDER BY seq

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
-- $1 type, $2 seconds until they expire, $3 ids, $4 tickers, $5 bodies, $6 text of the reason. No rule decides them: a person has approved them.
WITH ordered AS (
    INSERT INTO signals (id, status, type, intent, ticker, expires_at, reason, reason_code, reason_params, body)
    SELECT id, 'approved', $1, 'close', ticker, clock_timestamp() + make_interval(secs => $2), $6, 'by_person', '{}', body
    FROM unnest($3::uuid[], $4::text[], $5::bytea[]) WITH ORDINALITY AS o (id, ticker, body, number)
    ORDER BY number
    RETURNING id AS signal_id, ticker, type, seq
), timeline AS (
    INSERT INTO signal_events (signal_id, status, reason, reason_code, reason_params)
    SELECT signal_id, e.status, $6, 'by_person', '{}'
    FROM ordered, (VALUES (1, 'received'), (2, 'approved')) AS e (number, status)
    ORDER BY seq, e.number
)
SELECT signal_id, ticker, type FROM ordered ORDER BY seq

-- name: confirm
-- $1 position's id. A position whose buy was not known to be delivered counts one buy from now on. No row: it is not open.
UPDATE positions SET confirmed = true, buys = greatest(buys, 1) WHERE id = $1 AND status = 'open' RETURNING ticker

-- name: mark_closed
-- $1 position's id, $2 reason, $3 true: only if it is unconfirmed. No row: the position is not open, or it is confirmed.
UPDATE positions
SET status = 'closed', closed_at = clock_timestamp(), reason = $2
WHERE id = $1 AND status = 'open' AND NOT ($3 AND confirmed)
RETURNING id AS position_id, ticker, buys, opened_at, closed_at, reason
