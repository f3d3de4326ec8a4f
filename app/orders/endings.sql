-- What ends signals and orders that have not left: those past their age, sells whose buy was not delivered, and buys that an exit, a
-- pause of buying or a risk rule ends. Typed functions: endings_repository.py.
-- The rules that keep plans right whatever the statistics say: see app/decision/queries.sql.

-- name: end_orders
-- $1 signals that a statement of this transaction has ended before they left, $2 status. In that statement the orders could not be
-- changed: it does not see an order that was committed while it waited for the lock of its signal.
UPDATE orders SET status = $2, ended_at = clock_timestamp(), not_before = NULL
WHERE signal_id = ANY ($1) AND status = 'pending'

-- name: find_overdue
-- $1 limit. Signals past their age: undecided, or with an order that has not left and is past its own.
-- A signal that is being sent may have such an order at another destination; only those that are shared are looked up by their orders.
SELECT id
FROM (
    (SELECT id FROM unfinished_signals WHERE NOT is_live ORDER BY expires_at LIMIT $1)
    UNION
    (SELECT signal_id FROM orders
     WHERE ended_at IS NULL AND is_shared AND expires_at <= statement_timestamp() AND CASE status WHEN 'pending' THEN true ELSE false END
     ORDER BY expires_at
     LIMIT $1)) AS overdue
LIMIT $1

-- name: lock_free_signals
-- $1 ids. Locks those that no other transaction has locked, and waits for none.
SELECT id FROM signals WHERE id = ANY ($1) ORDER BY id FOR UPDATE SKIP LOCKED

-- name: expire
-- $1 ids of signals that this transaction has locked in a statement before, so that this one sees all of their orders; $2 templates of
-- reasons by code. Expires the undecided ones, and the orders that have not left. `order` NULL: it was undecided.
-- What `expired` quotes is the reason for which that order waited.
WITH undecided AS (
    UPDATE signals
    SET status = 'expired', status_at = clock_timestamp(), reason = $2::jsonb ->> 'expired_undecided', reason_code = 'expired_undecided',
        reason_params = '{}'
    WHERE id = ANY ($1) AND CASE status WHEN 'received' THEN expires_at <= statement_timestamp() ELSE false END
    RETURNING id, ticker, type, reason, reason_code, reason_params
), overdue AS (
    UPDATE orders
    SET status = 'expired', ended_at = clock_timestamp(), not_before = NULL
    WHERE signal_id = ANY ($1) AND status = 'pending' AND expires_at <= statement_timestamp()
    RETURNING signal_id, destination, attempts, is_shared
), unsent AS (
    SELECT s.id, s.ticker, s.type, o.destination, o.is_shared, replace($2::jsonb ->> code, '{reason}', why.reason) AS reason, code,
           CASE WHEN code <> 'expired' THEN '{}'
                WHEN why.reason_code IS NULL THEN jsonb_build_object('reason', why.reason)
                ELSE jsonb_build_object('reason', jsonb_build_object('code', why.reason_code, 'params', why.reason_params))
           END AS params
    FROM overdue o
    JOIN signals s ON s.id = o.signal_id
    CROSS JOIN LATERAL (SELECT CASE WHEN o.attempts = 0 THEN 'expired_unsent' ELSE 'expired' END AS code) AS codes
    LEFT JOIN LATERAL (
        SELECT e.reason, e.reason_code, e.reason_params FROM signal_events e
        WHERE e.signal_id = s.id AND o.is_shared AND e.status = 'approved' AND e.detail ->> 'destination' = o.destination
        ORDER BY e.id DESC
        LIMIT 1) AS last ON true
    CROSS JOIN LATERAL (
        SELECT coalesce(last.reason, s.reason) AS reason,
               CASE WHEN last.reason IS NULL THEN s.reason_code ELSE last.reason_code END AS reason_code,
               CASE WHEN last.reason IS NULL THEN s.reason_params ELSE last.reason_params END AS reason_params) AS why
), alone AS (  -- that of a shared one is derived from its orders
    UPDATE signals s
    SET status = 'expired', status_at = clock_timestamp(), not_before = NULL, reason = u.reason, reason_code = u.code,
        reason_params = u.params
    FROM unsent u
    WHERE s.id = u.id AND s.id = ANY ($1) AND NOT u.is_shared
), event AS (
    INSERT INTO signal_events (signal_id, status, reason, reason_code, reason_params, detail)
    SELECT id, 'expired', reason, reason_code, reason_params, '{}'::jsonb FROM undecided
    UNION ALL
    SELECT id, 'expired', reason, code, params,
           CASE WHEN is_shared OR destination <> 'default' THEN jsonb_build_object('destination', destination) ELSE '{}' END
    FROM unsent
)
SELECT id, ticker, type, NULL AS destination, reason FROM undecided
UNION ALL
SELECT id, ticker, type, destination, reason FROM unsent

-- name: reject_orphans
-- $1 tickers with a buy that ended undelivered, $2 text of the reason, $3 destination. Rejects the sells after it that have nothing else to
-- close there. One with orders at other destinations, too, is judged when it is claimed.
WITH orphan AS (
    UPDATE signals s
    SET status = 'rejected', status_at = clock_timestamp(), not_before = NULL,
        reason = $2, reason_code = 'buy_undelivered', reason_params = '{}'
    WHERE s.id = ANY (ARRAY (SELECT id FROM unfinished_signals WHERE ticker = ANY ($1) AND type <> 'buy' OFFSET 0))
      AND s.status = 'approved' AND s.type IN ('sell', 'position_close', 'sell_all')
      AND EXISTS (
          SELECT FROM orders o
          WHERE o.signal_id = s.id AND o.destination = $3 AND o.round = s.round AND NOT o.is_shared OFFSET 0)
      AND NOT EXISTS (SELECT FROM positions p WHERE p.ticker = s.ticker AND p.destination = $3 AND p.status <> 'closed')
      AND NOT EXISTS (
          SELECT FROM unfinished_signals b
          WHERE b.ticker = s.ticker AND b.type = 'buy' AND b.seq < s.seq AND b.is_live
          OFFSET 0)
    RETURNING s.id, s.ticker, s.reason
), event AS (
    INSERT INTO signal_events (signal_id, status, reason, reason_code, reason_params)
    SELECT id, 'rejected', reason, 'buy_undelivered', '{}' FROM orphan
)
SELECT id, ticker, $3 AS destination, reason FROM orphan

-- name: find_unsent_entries
-- $1 tickers, NULL: all, $2 `seq` of the last signal that counts, NULL: all count, $3 limit, NULL: none. Buys that have not left, decided
-- or not. One that is being sent may not have left at another destination.
SELECT id FROM unfinished_signals u
WHERE type = 'buy' AND is_live AND ($1::text[] IS NULL OR ticker = ANY ($1)) AND ($2::bigint IS NULL OR seq <= $2)
  AND CASE status WHEN 'forwarding' THEN EXISTS (
      SELECT FROM orders o
      WHERE o.signal_id = u.id AND CASE o.status WHEN 'pending' THEN o.expires_at > statement_timestamp() ELSE false END OFFSET 0) ELSE true END
LIMIT $3

-- name: end_entries
-- $1 ids of buys whose signals this transaction has locked in a statement before, so that this one sees all of their orders; $2 reason,
-- $3 its code, $4 its parameters, $5 destination, NULL: all. Ends the undecided ones, and the orders that have not left for it.
WITH undecided AS (
    UPDATE signals
    SET status = 'rejected', status_at = clock_timestamp(), reason = $2, reason_code = $3, reason_params = $4
    WHERE id = ANY ($1) AND type = 'buy' AND CASE status WHEN 'received' THEN true ELSE false END
    RETURNING id, ticker
), unsent AS (
    UPDATE orders
    SET status = 'rejected', ended_at = clock_timestamp(), not_before = NULL
    WHERE signal_id = ANY ($1) AND type = 'buy' AND status = 'pending' AND ($5::text IS NULL OR destination = $5)
    RETURNING signal_id AS id, ticker, destination, is_shared
), alone AS (  -- that of a shared one is derived from its orders
    UPDATE signals s
    SET status = 'rejected', status_at = clock_timestamp(), not_before = NULL, reason = $2, reason_code = $3, reason_params = $4
    FROM unsent u
    WHERE s.id = u.id AND s.id = ANY ($1) AND NOT u.is_shared
), event AS (
    INSERT INTO signal_events (signal_id, status, reason, reason_code, reason_params, detail)
    SELECT id, 'rejected', $2, $3, $4::jsonb, '{}'::jsonb FROM undecided
    UNION ALL
    SELECT id, 'rejected', $2, $3, $4,
           CASE WHEN is_shared OR destination <> 'default' THEN jsonb_build_object('destination', destination) ELSE '{}' END
    FROM unsent
)
SELECT id, ticker, NULL AS destination, $2::text AS reason FROM undecided
UNION ALL
SELECT id, ticker, destination, $2 FROM unsent
