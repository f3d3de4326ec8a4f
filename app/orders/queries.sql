-- Typed functions over these statements: app/orders/repository.py.
-- The rules that keep plans right whatever the statistics say: see app/decision/queries.sql.

-- name: find_due
-- $1 limit, $2 destination's key, $3 false: no row while the circuit is open, $4 true: no buy, since the tokens that are left are reserved
-- for exits, $5 destination's name, $6 seconds that an order waits after the delivery of an opposite one of its ticker. The comparison of
-- types is a condition of the index: however many buys wait, none of them is read.
-- The orders that are due, at most one of a ticker, its first; sells and manual orders before buys. With the open position of its ticker,
-- and what tells why there is none. Nothing is locked: `claim` locks, and compares.
-- An order of the ticker that is being sent is waited for, also a later one. Fails open: no exit waits behind a buy that waits for its
-- decision, unless nothing is open here and it sells a part of what such a buy will open; none behind a buy that has not left where a
-- position is open (such a buy waits for the exit instead), or behind an adjustment that waits for its next attempt. An exit waits for
-- no longer than $6: no buy of its ticker leaves meanwhile.
WITH recent AS MATERIALIZED (
    SELECT DISTINCT s.ticker, s.type = 'buy' AS is_buy
    FROM attempts a
    CROSS JOIN LATERAL (SELECT ticker, type FROM signals WHERE id = a.signal_id OFFSET 0) AS s
    WHERE a.destination = $2 AND a.ended_at > statement_timestamp() - make_interval(secs => $6) AND a.outcome = 'delivered'
      AND a.intent IS DISTINCT FROM 'adjust' AND NOT a.imported
), front AS NOT MATERIALIZED (
    SELECT o.id, o.signal_id, o.ticker, o.type, o.seq, o.intent, o.round, o.attempts, o.is_shared
    FROM orders o
    WHERE o.destination = $5 AND o.ended_at IS NULL AND o.seq > 0 AND (o.type = 'buy') <= (NOT $4::boolean)
      AND CASE
          WHEN o.status <> 'pending' OR o.expires_at <= statement_timestamp() OR o.not_before > statement_timestamp() THEN false
          -- read only where a gap is set
          WHEN CASE WHEN $6::int > 0 THEN o.intent IS DISTINCT FROM 'adjust' AND EXISTS (
              SELECT FROM recent r WHERE r.ticker = o.ticker AND r.is_buy <> (o.type = 'buy')) ELSE false END THEN false
          WHEN EXISTS (
              SELECT FROM orders e
              WHERE e.destination = $5 AND e.ticker = o.ticker AND e.seq < o.seq AND e.ended_at IS NULL
                AND CASE e.status WHEN 'sending' THEN true ELSE e.expires_at > statement_timestamp() END
                AND (o.type = 'buy'
                     OR (NOT (e.type = 'buy' AND e.status = 'pending' AND EXISTS (
                             SELECT FROM positions p WHERE p.ticker = o.ticker AND p.destination = $5 AND p.status <> 'closed'))
                         AND (e.intent IS DISTINCT FROM 'adjust' OR e.not_before IS NULL
                              OR e.not_before <= statement_timestamp())))) THEN false
          WHEN EXISTS (
              SELECT FROM unfinished_signals e
              WHERE e.ticker = o.ticker AND e.seq < o.seq AND e.is_undecided AND e.is_live
                AND CASE
                    WHEN o.type = 'buy' OR e.type <> 'buy' THEN true
                    ELSE o.intent = 'reduce' AND NOT EXISTS (
                        SELECT FROM positions p WHERE p.ticker = o.ticker AND p.destination = $5 AND p.status <> 'closed')
                    END) THEN false
          ELSE NOT EXISTS (
              SELECT FROM orders e
              WHERE e.destination = $5 AND e.ticker = o.ticker AND e.seq > o.seq AND e.ended_at IS NULL
                AND (e.status = 'sending'
                     -- what passes this buy, as above, is due itself: it is sent first
                     OR (o.type = 'buy' AND e.type <> 'buy' AND e.expires_at > statement_timestamp()
                         AND (e.not_before IS NULL OR e.not_before <= statement_timestamp())
                         AND EXISTS (SELECT FROM positions p WHERE p.ticker = o.ticker AND p.destination = $5 AND p.status <> 'closed'))))
      END
      AND NOT EXISTS (
          SELECT FROM destinations d
          WHERE d.destination = $2
            AND (d.held_until > statement_timestamp() OR (d.probe_at IS NOT NULL AND NOT $3::boolean)))
    ORDER BY o.type = 'buy', o.seq
), due AS (
    SELECT s.id, front.id AS order_id, ticker, type, seq, intent, s.price, s.body, round, attempts, is_shared
    FROM front
    -- by its id alone
    CROSS JOIN LATERAL (
        SELECT id, price, body FROM signals
        WHERE id = front.signal_id
          -- another destination's order may be being sent
          AND CASE status WHEN 'approved' THEN true WHEN 'forwarding' THEN front.is_shared ELSE false END
        OFFSET 0) AS s
    LIMIT $1
)
SELECT due.id, due.order_id, due.attempts, due.ticker, due.type, due.intent, due.price, due.body, p.id AS position_id, p.quantity, p.confirmed,
       p.average_price, p.realized,
       CASE WHEN due.attempts > 0 OR due.round > 1 THEN EXISTS (
           SELECT FROM attempts a WHERE a.signal_id = due.id AND a.sent_to = $5 AND a.outcome = 'unknown') ELSE false END
           AS is_retry_of_unknown,
       CASE WHEN p.id IS NULL AND due.type <> 'buy' THEN coalesce(
           (SELECT coalesce(
                (SELECT o.status NOT IN ('delivered', 'sending') FROM orders o  -- pending: overdue
                 WHERE o.signal_id = b.id AND o.destination = $5
                 ORDER BY o.round DESC
                 LIMIT 1),
                b.status IN ('rejected', 'failed', 'expired', 'received', 'approved'))
            FROM signals b
            WHERE b.ticker = due.ticker AND b.seq < due.seq
              AND CASE WHEN b.type = 'buy' THEN b.imported_at IS NULL ELSE false END
            ORDER BY b.seq DESC LIMIT 1), false)
       ELSE false END AS is_buy_undelivered, due.is_shared
FROM due
LEFT JOIN LATERAL (
    SELECT id, quantity, confirmed, average_price, realized FROM positions
    WHERE ticker = due.ticker AND destination = $5 AND status <> 'closed' OFFSET 0) AS p ON true
ORDER BY due.type = 'buy', due.seq

-- name: claim
-- $1 claim id, $2 lease in seconds, $3 destination's key, $4 JSON array of verdicts (`_VerdictRow`) on orders that `find_due` has found,
-- $5 how many at most, the first ones. Locks their signals. Without an intent the order is rejected. An order whose signal another transaction has locked, that is no longer
-- pending, or was attempted meanwhile, or has expired, or whose next attempt is not due, is passed over: only this statement sees what
-- was committed after `find_due` had begun. The attempt is inserted in the same statement, so it is committed before the request is sent.
WITH verdict AS (
    SELECT *
    FROM json_to_recordset($4::json) AS v (
        id bigint, signal uuid, attempts integer, intent text, quantity numeric, quantity_unit text, sentiment text, reason text, reason_code text,
        reason_params jsonb, detail jsonb)
), locked AS MATERIALIZED (
    SELECT s.id
    FROM verdict
    CROSS JOIN LATERAL (SELECT id FROM signals WHERE id = verdict.signal FOR UPDATE SKIP LOCKED) AS s
    LIMIT (SELECT $5::int)
), claimed AS (
    UPDATE orders o
    SET status = CASE WHEN v.intent IS NULL THEN 'rejected' ELSE 'sending' END,
        ended_at = CASE WHEN v.intent IS NULL THEN clock_timestamp() END,
        -- what an earlier version decided, with its quantity
        intent = CASE WHEN o.intent IS NULL OR o.intent = 'reduce_or_close' THEN coalesce(v.intent, o.intent) ELSE o.intent END,
        quantity = v.quantity, quantity_unit = v.quantity_unit, sentiment = v.sentiment,
        attempts = CASE WHEN v.intent IS NULL THEN o.attempts ELSE o.attempts + 1 END,
        not_before = NULL,
        claim_id = CASE WHEN v.intent IS NOT NULL THEN $1::uuid END,
        lease_until = CASE WHEN v.intent IS NOT NULL THEN clock_timestamp() + make_interval(secs => $2) END
    FROM verdict v
    JOIN locked ON locked.id = v.signal
    WHERE o.id = v.id AND o.id = ANY (ARRAY (SELECT id FROM verdict)) AND o.status = 'pending' AND o.attempts = v.attempts
      AND (o.not_before IS NULL OR o.not_before <= statement_timestamp()) AND o.expires_at > statement_timestamp()
    RETURNING o.signal_id AS id, o.status, o.round, o.attempts, o.claim_id, o.lease_until, o.intent AS decided, o.quantity,
              o.quantity_unit, o.sentiment, v.intent, v.reason, v.reason_code, v.reason_params, v.detail, o.destination, o.is_shared
), shown AS (
    UPDATE signals s
    SET status = CASE WHEN c.status = 'sending' THEN 'forwarding' ELSE 'rejected' END,
        status_at = clock_timestamp(), reason = c.reason, reason_code = c.reason_code, reason_params = c.reason_params,
        intent = c.decided, quantity = c.quantity, quantity_unit = c.quantity_unit, sentiment = c.sentiment,
        attempts = c.attempts, not_before = NULL, claim_id = c.claim_id, lease_until = c.lease_until
    FROM claimed c
    WHERE s.id = c.id AND s.id = ANY (ARRAY (SELECT id FROM claimed))
    RETURNING s.id, s.status
), attempt AS (
    INSERT INTO attempts (signal_id, round, number, destination, sent_to, webhook_id, claim_id, intent)
    SELECT id, round, attempts, $3, destination, id::text || CASE WHEN round > 1 THEN '.r' || round ELSE '' END, $1, intent
    FROM claimed WHERE status = 'sending'
    RETURNING id, signal_id, webhook_id, started_at
), event AS (
    INSERT INTO signal_events (signal_id, status, reason, reason_code, reason_params, detail)
    SELECT id, shown.status, reason, reason_code, reason_params,
           CASE WHEN c.status = 'sending' THEN jsonb_build_object('attempt', attempts) ELSE '{}' END || coalesce(detail, '{}')
               || CASE WHEN is_shared OR destination <> 'default' THEN jsonb_build_object('destination', destination) ELSE '{}' END
    FROM claimed c
    JOIN shown USING (id)
)
SELECT c.id, a.id AS attempt, c.attempts AS number, a.webhook_id, a.started_at
FROM claimed c
LEFT JOIN attempt a ON a.signal_id = c.id

-- name: lock_signals
-- $1 ids. In the order of their ids, so that two transactions never wait for each other.
SELECT FROM signals WHERE id = ANY ($1) ORDER BY id FOR NO KEY UPDATE

-- name: record_delivered
-- $1 JSON array of successes (`DeliveredOrder`), $2 text of the reason. `position`, `held` and `was_confirmed` are the position before,
-- NULL: none; `is_open`, `quantity`, `is_confirmed`, `average_price` and `realized` the one after.
-- A ticker occurs once at most, and all are of one destination, so that no position is changed twice. Not fenced by the claim: a 2xx remains true whichever sender has
-- claimed the signal since. Only the change to 'forwarded' changes the position, so this happens once.
-- A 2xx of an earlier round delivers the order of that round, and the newest one with it: a replay that has not left is not sent.
-- A position that is no longer as it was before is not changed, and nothing is recorded of that signal: `is_stale`.
-- Where a signal has orders at several destinations, the caller has locked it: else their statements wait for each other.
-- The arrays, and the conditions in CASE, keep every plan on the primary keys.
WITH seen AS (
    SELECT attempt, signal, destination, http_status, decode(response, 'base64') AS response, has_ended, position, held, was_confirmed, is_open,
           quantity, is_confirmed, average_price, realized, buys, change
    FROM json_to_recordset($1::json) AS seen (
        attempt bigint, signal uuid, destination text, http_status integer, response text, has_ended boolean, position uuid, held numeric,
        was_confirmed boolean, is_open boolean, quantity numeric, is_confirmed boolean, average_price numeric, realized numeric,
        buys integer, change text)
), found AS (
    SELECT seen.*, s.ticker, coalesce(o.is_shared, false) AS is_shared, o.round AS newest_round,
           CASE WHEN o.is_shared THEN o.status = 'delivered' ELSE s.status = 'forwarded' END AS is_forwarded, a.is_stored, a.is_ended
    FROM seen
    LEFT JOIN LATERAL (SELECT ticker, status FROM signals WHERE id = seen.signal OFFSET 0) AS s ON true
    LEFT JOIN LATERAL (
        SELECT round, status, is_shared FROM orders WHERE signal_id = seen.signal AND destination = seen.destination
        ORDER BY round DESC
        LIMIT 1) AS o ON true
    LEFT JOIN LATERAL (
        SELECT true AS is_stored, ended_at IS NOT NULL AS is_ended FROM attempts WHERE id = seen.attempt OFFSET 0) AS a ON true
), todo AS (
    SELECT * FROM found WHERE CASE WHEN is_forwarded THEN false ELSE is_ended = has_ended END
), opened AS (
    INSERT INTO positions (ticker, destination, status, opened_by, buys, quantity, confirmed, average_price, realized)
    SELECT ticker, destination, CASE destination WHEN 'default' THEN 'open' ELSE 'held' END, signal, buys, quantity, is_confirmed,
           average_price, realized
    FROM todo WHERE position IS NULL AND is_open
    ON CONFLICT DO NOTHING
    RETURNING ticker
), moved AS (
    UPDATE positions p
    SET buys = p.buys + t.buys, realized = t.realized,
        -- a closed position keeps what it held last
        quantity = CASE WHEN t.is_open THEN t.quantity ELSE p.quantity END,
        confirmed = CASE WHEN t.is_open THEN t.is_confirmed ELSE p.confirmed END,
        average_price = CASE WHEN t.is_open THEN t.average_price ELSE p.average_price END,
        status = CASE WHEN t.is_open THEN p.status ELSE 'closed' END,
        closed_at = CASE WHEN NOT t.is_open THEN clock_timestamp() END,
        closed_by = CASE WHEN NOT t.is_open THEN t.signal END,
        reason = CASE WHEN t.is_open THEN p.reason ELSE 'sell delivered' END
    FROM todo t
    WHERE p.id = t.position AND p.id = ANY (ARRAY (SELECT position FROM seen))
      -- the index of open positions would be read from end to end
      AND CASE WHEN p.status <> 'closed' THEN p.quantity IS NOT DISTINCT FROM t.held AND p.confirmed = t.was_confirmed ELSE false END
    RETURNING p.ticker
), settled AS (
    SELECT todo.* FROM todo
    WHERE ticker IN (SELECT ticker FROM opened UNION ALL SELECT ticker FROM moved)
       OR (position IS NULL AND NOT is_open AND NOT EXISTS (
               SELECT FROM positions p
               WHERE p.ticker = todo.ticker AND p.destination = todo.destination AND p.status <> 'closed' OFFSET 0))
), ended AS (
    UPDATE attempts a
    SET ended_at = clock_timestamp(), outcome = 'delivered', booked = 'delivered', http_status = found.http_status, error = NULL,
        error_code = NULL, error_params = NULL, response = found.response
    FROM found
    WHERE a.id = found.attempt AND a.id = ANY (ARRAY (SELECT attempt FROM seen))
      AND (found.is_forwarded OR found.attempt IN (SELECT attempt FROM settled))
    RETURNING a.id, a.destination, a.sent_to, a.signal_id, a.round
), recovered AS (
    UPDATE destinations SET probe_at = NULL, failed_probes = 0
    WHERE destination IN (SELECT destination FROM ended) AND probe_at IS NOT NULL
    RETURNING destination
), done AS (
    UPDATE signals s
    SET status = 'forwarded', status_at = clock_timestamp(), reason = $2, reason_code = 'delivered', reason_params = '{}',
        claim_id = NULL, lease_until = NULL, not_before = NULL
    FROM settled
    WHERE s.id = settled.signal AND s.id = ANY (ARRAY (SELECT signal FROM seen)) AND (settled.is_shared OR s.status <> 'forwarded')
    RETURNING s.id, CASE WHEN settled.is_shared THEN settled.newest_round ELSE s.round END AS round, s.seq, s.type, s.ticker, s.expires_at,
              s.received_at, settled.destination, settled.is_shared, settled.http_status, settled.change
), newest AS (
    -- The order exists. An UPDATE would not see that of a replay which was committed while the signal's lock was waited for.
    INSERT INTO orders (signal_id, destination, round, seq, type, ticker, status, expires_at, ended_at, is_shared)
    SELECT id, destination, round, seq, type, ticker, 'delivered', expires_at, clock_timestamp(), is_shared FROM done
    ON CONFLICT (signal_id, destination, round) DO UPDATE
    SET status = 'delivered', ended_at = excluded.ended_at, claim_id = NULL, lease_until = NULL, not_before = NULL
), earlier AS (
    UPDATE orders o
    SET status = 'delivered', ended_at = clock_timestamp(), claim_id = NULL, lease_until = NULL, not_before = NULL
    FROM ended
    LEFT JOIN done ON done.id = ended.signal_id
    WHERE o.signal_id = ended.signal_id AND o.signal_id = ANY (ARRAY (SELECT signal FROM seen)) AND o.destination = ended.sent_to
      AND o.round = ended.round AND o.round IS DISTINCT FROM done.round AND o.status <> 'delivered'
), event AS (
    INSERT INTO signal_events (signal_id, status, reason, reason_code, reason_params, detail)
    SELECT id, 'forwarded', $2, 'delivered', '{}', jsonb_build_object('http_status', http_status, 'position', change)
        || CASE WHEN is_shared OR destination <> 'default' THEN jsonb_build_object('destination', destination) ELSE '{}' END
    FROM done
)
SELECT found.signal AS id, done.id IS NOT NULL AS is_done, ended.id IS NULL AND found.is_stored IS NOT NULL AS is_stale,
       done.change AS position, extract(epoch FROM clock_timestamp() - done.received_at)::float8 AS age_seconds,
       EXISTS (SELECT FROM recovered) AS has_closed_circuit
FROM found
LEFT JOIN done ON done.id = found.signal
LEFT JOIN ended ON ended.id = found.attempt

-- name: read_ended_attempt
-- $1 attempt. No row while it is open. `is_newest`: no other order of its ticker has ended at its destination since.
SELECT NOT EXISTS (
           SELECT FROM signals other
           JOIN orders o ON o.signal_id = other.id AND o.destination = a.sent_to
           WHERE other.ticker = s.ticker AND other.id <> s.id AND other.status_at > a.ended_at
             AND o.attempts > 0 AND o.ended_at > a.ended_at AND o.status IN ('delivered', 'failed', 'unknown')) AS is_newest
FROM attempts a
JOIN signals s ON s.id = a.signal_id
WHERE a.id = $1 AND a.ended_at IS NOT NULL

-- name: lock_position
-- $1 ticker, $2 destination. Locks its open position there.
SELECT id, quantity, confirmed, average_price, realized FROM positions
WHERE ticker = $1 AND destination = $2 AND status <> 'closed'
FOR UPDATE

-- name: write_unknown
-- $1 ticker, $2 signal, $3 quantity, $4 average price, $5 gain, $6 id of the position as it was before, or null, $7 destination. What an
-- order of unknown outcome may have left open: unconfirmed. Of a position that was opened or recorded meanwhile, the quantity is unknown.
INSERT INTO positions (ticker, destination, status, opened_by, buys, confirmed, quantity, average_price, realized)
VALUES ($1, $7, CASE $7 WHEN 'default' THEN 'open' ELSE 'held' END, $2, 0, false, $3, $4, $5)
ON CONFLICT (ticker, destination) WHERE status <> 'closed' DO UPDATE
SET confirmed = false,
    quantity = CASE WHEN positions.id = $6 THEN excluded.quantity END,
    average_price = CASE WHEN positions.id = $6 THEN excluded.average_price END,
    realized = CASE WHEN positions.id = $6 THEN excluded.realized ELSE positions.realized END

-- name: record_undelivered
-- $1 attempt, $2 signal, $3 claim id, $4 outcome, $5 HTTP status, $6 beginning of the response, $7 error, $8 its code, $9 its
-- parameters, $10 next status, $11 reason, $12 its code, $13 its parameters, $14 seconds until the next attempt, $15 text of the reason
-- of a buy that an exit has overtaken. Fenced by the claim: with a stale one only the attempt is ended.
-- Fails open: no exit waits for the next attempt of a buy before it.
-- `status`: NULL if the claim was lost. `is_unclear`: this has ended the attempt, and the position may have changed. Recorded again
-- later it is not.
WITH ended AS (
    UPDATE attempts
    SET ended_at = clock_timestamp(), outcome = $4, booked = $4, http_status = $5, response = $6, error = $7,
        error_code = $8, error_params = $9
    WHERE id = $1 AND ended_at IS NULL
    RETURNING signal_id
), sent AS (
    SELECT sent_to AS destination FROM attempts WHERE id = $1
), next AS (
    SELECT CASE WHEN is_overtaken THEN 'rejected' ELSE $10 END AS status, CASE WHEN is_overtaken THEN $15 ELSE $11 END AS reason,
           CASE WHEN is_overtaken THEN 'overtaken' ELSE $12 END AS reason_code,
           CASE WHEN is_overtaken THEN '{}' ELSE $13::jsonb END AS reason_params
    FROM (SELECT $10 = 'approved' AND s.type = 'buy' AND EXISTS (
                     SELECT FROM orders c
                     WHERE c.destination = sent.destination AND c.ticker = s.ticker AND c.seq > s.seq AND c.ended_at IS NULL
                       AND c.type <> 'buy' AND coalesce(c.intent, 'close') = 'close'
                       AND CASE c.status WHEN 'sending' THEN true ELSE c.expires_at > statement_timestamp() END OFFSET 0) AS is_overtaken
          FROM signals s, sent WHERE s.id = $2) AS later
), locked AS MATERIALIZED (
    SELECT id FROM signals WHERE id = $2 FOR UPDATE
), ended_order AS (
    UPDATE orders o
    SET status = CASE next.status WHEN 'approved' THEN 'pending' WHEN 'failed' THEN CASE $4 WHEN 'unknown' THEN 'unknown' ELSE 'failed' END
                                  ELSE next.status END,
        ended_at = CASE WHEN next.status <> 'approved' THEN clock_timestamp() END, claim_id = NULL, lease_until = NULL,
        not_before = CASE WHEN next.status = 'approved' THEN clock_timestamp() + make_interval(secs => $14::float8) END
    FROM next, locked
    WHERE o.signal_id = locked.id AND o.claim_id = $3 AND o.status = 'sending'
    RETURNING o.signal_id, o.not_before, o.destination, o.is_shared
), done AS (
    UPDATE signals s
    SET status = next.status, status_at = clock_timestamp(), reason = next.reason, reason_code = next.reason_code,
        reason_params = next.reason_params, claim_id = NULL, lease_until = NULL, not_before = o.not_before
    FROM next, ended_order o
    WHERE s.id = $2 AND s.id = o.signal_id
    RETURNING s.id, s.status, s.reason, s.reason_code, s.reason_params, o.destination, o.is_shared
), event AS (
    INSERT INTO signal_events (signal_id, status, reason, reason_code, reason_params, detail)
    SELECT id, status, reason, reason_code, reason_params, jsonb_strip_nulls(jsonb_build_object(
        'destination', CASE WHEN is_shared OR destination <> 'default' THEN destination END,
        'outcome', $4::text, 'http_status', $5::int, 'error', $7::text,
        'retry_in_seconds', CASE WHEN status = 'approved' THEN round($14::numeric, 1) END))
    FROM done
)
SELECT (SELECT status FROM done) AS status,
       $4 = 'unknown' AND EXISTS (SELECT FROM ended) AND NOT EXISTS (
           SELECT FROM orders o
           WHERE o.signal_id = $2 AND o.destination = (SELECT destination FROM sent) AND o.status = 'delivered') AS is_unclear

-- name: lock_abandoned
-- $1 attempts to pass over. Open attempts whose lease has run out: the sender died, or could not record the outcome. Locks their
-- signals, 500 at most, and their orders: a lease that is renewed meanwhile is seen.
SELECT late.attempt, late.signal_id AS id, o.destination, o.type, o.ticker, o.claim_id, coalesce(late.intent, o.intent) AS intent, o.quantity,
       o.quantity_unit, o.sentiment, s.price
FROM (
    SELECT a.id AS attempt, a.claim_id, a.intent, leased.*
    FROM attempts a
    CROSS JOIN LATERAL (
        SELECT id, signal_id, seq FROM orders
        WHERE signal_id = a.signal_id AND claim_id = a.claim_id AND lease_until < statement_timestamp() OFFSET 0) AS leased
    WHERE a.ended_at IS NULL AND a.id <> ALL ($1::bigint[])
    ORDER BY leased.seq
    LIMIT 500) AS late
CROSS JOIN LATERAL (SELECT price FROM signals WHERE id = late.signal_id FOR UPDATE SKIP LOCKED) AS s
CROSS JOIN LATERAL (
    SELECT * FROM orders
    WHERE id = late.id AND claim_id = late.claim_id AND lease_until < statement_timestamp() FOR UPDATE SKIP LOCKED) AS o
ORDER BY o.seq

-- name: renew_leases
-- $1 attempts, $2 seconds. Renews a lease that runs out within 8 s, and one that has run out and was not recovered yet.
-- The arrays keep every plan on the primary keys.
WITH short AS MATERIALIZED (
    SELECT soon.signal_id AS id, o.id AS order_id
    FROM attempts a
    CROSS JOIN LATERAL (
        SELECT id, signal_id FROM orders
        WHERE signal_id = a.signal_id AND claim_id = a.claim_id
          AND lease_until < statement_timestamp() + interval '8 seconds' OFFSET 0) AS soon
    CROSS JOIN LATERAL (SELECT FROM signals WHERE id = soon.signal_id FOR UPDATE SKIP LOCKED) AS s
    CROSS JOIN LATERAL (
        SELECT id FROM orders WHERE id = soon.id AND claim_id = a.claim_id FOR UPDATE SKIP LOCKED) AS o
    WHERE a.id = ANY ($1::bigint[])
), ordered AS (
    UPDATE orders SET lease_until = clock_timestamp() + make_interval(secs => $2)
    WHERE id = ANY (ARRAY (SELECT order_id FROM short))
    RETURNING signal_id, lease_until
)
UPDATE signals s SET lease_until = o.lease_until
FROM ordered o
WHERE s.id = o.signal_id AND s.id = ANY (ARRAY (SELECT id FROM short))

-- name: end_strays
-- $1 attempts to pass over, $2 the longest lease in seconds, $3 error, $4 its code. Ends open attempts whose order no longer has
-- their claim and that began too long ago to be open, or ahead of a clock that has stepped back. An outcome that is still recorded
-- later counts.
-- `is_unclear`: the signal is not delivered otherwise, so the attempt may have changed the position.
WITH ended AS (
    UPDATE attempts a
    SET ended_at = clock_timestamp(), outcome = 'unknown', booked = 'unknown', error = $3, error_code = $4, error_params = '{}'
    WHERE a.ended_at IS NULL AND a.id <> ALL ($1::bigint[])
      AND a.started_at NOT BETWEEN statement_timestamp() - make_interval(secs => $2) AND statement_timestamp()
      AND NOT EXISTS (SELECT FROM orders o WHERE o.signal_id = a.signal_id AND o.claim_id = a.claim_id OFFSET 0)
    RETURNING a.id, a.signal_id, a.intent, a.sent_to
)
SELECT e.id AS attempt, s.id, e.sent_to AS destination, s.type, s.ticker, s.claim_id, coalesce(e.intent, s.intent) AS intent, s.quantity,
       s.quantity_unit, s.sentiment, s.price,
       NOT EXISTS (
           SELECT FROM orders o WHERE o.signal_id = s.id AND o.destination = e.sent_to AND o.status = 'delivered') AS is_unclear
FROM ended e
JOIN signals s ON s.id = e.signal_id AND s.id = ANY (ARRAY (SELECT signal_id FROM ended))
ORDER BY e.id

-- name: has_attempt
-- $1 attempt, $2 its signal, $3 its claim.
SELECT EXISTS (SELECT FROM attempts WHERE id = $1 AND signal_id = $2 AND claim_id = $3)

-- name: read_open_attempts
-- $1 attempts. Returns those of them that have not ended.
SELECT id FROM attempts WHERE id = ANY ($1) AND ended_at IS NULL

-- name: store_paper_delivery
-- $1 webhook id, $2 headers, $3 body of the request that a live destination would have received.
INSERT INTO paper_deliveries (webhook_id, headers, body) VALUES ($1, $2, $3)

-- name: lock_approvals_shared
-- The approval lock, shared by the decision workers, until the transaction ends.
SELECT pg_advisory_xact_lock_shared(hashtextextended('approvals', 0))

-- name: try_lock_approvals_exclusive
-- False: another transaction has it. This one does not queue, so no decision waits behind it.
SELECT pg_try_advisory_xact_lock(hashtextextended('approvals', 0))

-- name: lock_approvals_exclusive
-- The approval lock, held alone: until the transaction ends no other transaction of any process approves a signal.
SELECT pg_advisory_xact_lock(hashtextextended('approvals', 0))
