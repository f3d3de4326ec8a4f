-- Typed functions over these statements: app/orders/repository.py.
-- The rules that keep plans right whatever the statistics say: see app/decision/queries.sql.

-- name: lock_limiter
-- $1 destination. Until the transaction ends, no other transaction of any process uses a token of this destination.
SELECT pg_advisory_xact_lock(hashtextextended('limiter ' || $1, 0))

-- name: read_ledger
-- $1 destination, $2 windows in seconds, $3 their limits. One row for each window, in the order given. Runs after the lock, in a
-- statement of its own, so that it sees what was committed while this transaction waited. `ended`: ended attempts that still count.
-- `leaves_at`, where no token is left: when the next token returns, or an earlier moment. `ahead_seconds`: by how much the newest end
-- is ahead of the clock; above 0 the clock has stepped back.
SELECT statement_timestamp() AS now, o.open, d.probe_at, u.ended,
       coalesce((SELECT extract(epoch FROM ended_at - statement_timestamp())::float8 FROM attempts
                 WHERE destination = $1 AND ended_at > statement_timestamp() AND NOT imported
                 ORDER BY ended_at DESC LIMIT 1), 0) AS ahead_seconds,
       CASE WHEN o.open + u.ended >= w.most THEN (
           SELECT ended_at + make_interval(secs => w.seconds) FROM attempts
           WHERE destination = $1 AND ended_at > w.since AND NOT imported
           ORDER BY ended_at
           OFFSET least(o.open + u.ended - w.most, 1000) LIMIT 1) END AS leaves_at
FROM (SELECT seconds, most, statement_timestamp() - make_interval(secs => seconds) AS since, place
      FROM unnest($2::int[], $3::int[]) WITH ORDINALITY AS given (seconds, most, place)) AS w
CROSS JOIN (SELECT count(*) AS open FROM attempts WHERE destination = $1 AND ended_at IS NULL) AS o
LEFT JOIN destinations d ON d.destination = $1
CROSS JOIN LATERAL (
    SELECT (SELECT coalesce(sum(ends), 0) FROM attempt_counts
            WHERE destination = $1 AND seconds = 60 AND start > date_trunc('minute', w.since, 'UTC'))
         + (SELECT coalesce(sum(ends), 0) FROM attempt_counts
            WHERE destination = $1 AND seconds = 1 AND start > date_trunc('second', w.since, 'UTC')
              AND start < date_trunc('minute', w.since, 'UTC') + interval '1 minute')
         + (SELECT count(*) FROM attempts
            WHERE destination = $1 AND ended_at > w.since AND NOT imported
              AND ended_at < date_trunc('second', w.since, 'UTC') + interval '1 second') AS ended
) AS u
ORDER BY w.place

-- name: move_ends_back
-- $1 destination, $2 seconds. For ends ahead of a clock that has stepped back: the newest becomes now, and the others keep their
-- distances. No real end was later than this, so no window holds more than its limit.
-- Fails open: a hold and the time of the next probe were set when an attempt ended, so they move with the ends. No exit waits longer
-- than the hold was long.
WITH moved AS (
    UPDATE attempts
    SET ended_at = ended_at - make_interval(secs => $2),
        started_at = least(started_at, ended_at - make_interval(secs => $2))
    WHERE destination = $1 AND ended_at > statement_timestamp() AND NOT imported
)
UPDATE destinations
SET held_until = CASE
        WHEN held_until > statement_timestamp() THEN held_until - make_interval(secs => $2) ELSE held_until END,
    probe_at = CASE
        WHEN probe_at > statement_timestamp() THEN probe_at - make_interval(secs => $2) ELSE probe_at END
WHERE destination = $1 AND (held_until > statement_timestamp() OR probe_at > statement_timestamp())

-- name: read_ends_ahead
-- $1 the current destination. It, and those that were held or failing: whose newest end of an attempt is ahead of the clock, and by
-- how many seconds. Ends ahead would be the newest for hours, and hide later ones from the circuit breaker.
SELECT d.destination, extract(epoch FROM a.ended_at - clock_timestamp())::float8 AS ahead_seconds
FROM (SELECT destination FROM destinations UNION SELECT $1::text) AS d
CROSS JOIN LATERAL (
    SELECT ended_at FROM attempts
    WHERE destination = d.destination AND ended_at > statement_timestamp() AND NOT imported
    ORDER BY ended_at DESC
    LIMIT 1
) AS a
WHERE a.ended_at > clock_timestamp()

-- name: read_clock
-- The time; the newest signal; one pending buy and its expiry, NULL without one.
SELECT clock_timestamp() AS now, (SELECT coalesce(max(seq), 0) FROM signals) AS last_seq, buy.id AS buy, buy.expires_at AS buy_expires_at
FROM (SELECT) AS one
LEFT JOIN LATERAL (
    SELECT id, expires_at FROM unfinished_signals WHERE type = 'buy' LIMIT 1
) AS buy ON true

-- name: read_seconds_ahead
-- By how many seconds the newest arrival, opening of a position, fetch of a list or end of a refresh is ahead of the clock; NULL: none
-- is. The condition on statement_timestamp() lets PostgreSQL use the index of arrivals.
SELECT extract(epoch FROM greatest(
    (SELECT max(greatest(received_at, renewed_at)) FROM unfinished_signals
     WHERE greatest(received_at, renewed_at) > clock_timestamp()),
    (SELECT max(received_at) FROM signals
     WHERE received_at > statement_timestamp() AND received_at > clock_timestamp() AND imported_at IS NULL),
    (SELECT max(opened_at) FROM positions WHERE status = 'open' AND opened_at > clock_timestamp()),
    (SELECT max(fetched_at) FROM top_n_lists WHERE fetched_at > clock_timestamp()),
    (SELECT max(greatest(at, requested_at)) FROM screener_refreshes WHERE greatest(at, requested_at) > clock_timestamp())
) - clock_timestamp())::float8

-- name: lock_corrections
-- Until the transaction ends no other process corrects the ages of pending signals.
SELECT pg_advisory_xact_lock(hashtextextended('clock', 0))

-- name: has_later_expiry
-- $1 a signal, $2 its expiry before the step. False: another process has corrected it.
SELECT EXISTS (SELECT FROM signals WHERE id = $1 AND expires_at >= $2)

-- name: shift_pending
-- $1 seconds, $2 true while the size of the step is unknown, $3 the newest signal before the step, NULL where it is unknown.
-- Pending signals that arrived while the clock was ahead become as old as they are, with their deduplication keys. A lease, and the
-- delay of a retry, are as old as their signal's status.
-- Fails closed: a buy that arrived up to $3 has aged by $1 whatever its time says, and one of unknown age expires.
-- Fails open: an exit is shifted only where its time proves that it is ahead. Skips locked rows.
WITH ahead AS MATERIALIZED (
    SELECT id, status_at > clock_timestamp() AS is_status_ahead,
           coalesce(coalesce(renewed_at, received_at) > clock_timestamp() OR (type = 'buy' AND seq <= $3::bigint), false) AS is_aged
    FROM unfinished_signals
    WHERE coalesce(renewed_at, received_at) > clock_timestamp() OR status_at > clock_timestamp()
       OR (type = 'buy' AND seq <= $3::bigint)
    ORDER BY id
    FOR UPDATE SKIP LOCKED
), shifted AS (
    UPDATE signals s
    SET received_at = CASE
            WHEN (is_aged AND renewed_at IS NULL) OR received_at > clock_timestamp() THEN received_at - make_interval(secs => $1)
            ELSE received_at END,
        renewed_at = CASE WHEN is_aged THEN renewed_at - make_interval(secs => $1) ELSE renewed_at END,
        expires_at = CASE
            WHEN is_aged AND $2::boolean AND type = 'buy'
                THEN least(expires_at - make_interval(secs => $1), clock_timestamp())
            WHEN is_aged THEN expires_at - make_interval(secs => $1)
            ELSE expires_at END,
        status_at = CASE WHEN is_status_ahead THEN status_at - make_interval(secs => $1) ELSE status_at END,
        not_before = CASE WHEN is_status_ahead THEN not_before - make_interval(secs => $1) ELSE not_before END,
        lease_until = CASE WHEN is_status_ahead THEN lease_until - make_interval(secs => $1) ELSE lease_until END
    FROM ahead
    WHERE s.id = ahead.id AND s.id = ANY (ARRAY (SELECT id FROM ahead))
    RETURNING s.id, s.round, s.expires_at, is_aged, is_status_ahead
), ordered AS (
    UPDATE orders o
    SET expires_at = shifted.expires_at,
        not_before = CASE WHEN is_status_ahead THEN not_before - make_interval(secs => $1) ELSE not_before END,
        lease_until = CASE WHEN is_status_ahead THEN lease_until - make_interval(secs => $1) ELSE lease_until END
    FROM shifted
    WHERE o.signal_id = shifted.id AND o.signal_id = ANY (ARRAY (SELECT id FROM shifted)) AND o.round = shifted.round
), held AS MATERIALIZED (
    SELECT key FROM intake_keys
    WHERE expires_at > statement_timestamp() AND signal_id IN (SELECT id FROM shifted WHERE is_aged)
    ORDER BY key  -- as intake does: two transactions lock keys in the same order
    FOR UPDATE
), released AS (
    UPDATE intake_keys SET expires_at = expires_at - make_interval(secs => $1)
    WHERE key = ANY (ARRAY (SELECT key FROM held))
)
SELECT count(*) FROM shifted

-- name: has_pending_ahead
SELECT EXISTS (
    SELECT FROM unfinished_signals
    WHERE coalesce(renewed_at, received_at) > clock_timestamp() OR status_at > clock_timestamp())

-- name: shift_ended
-- $1 seconds, $2 limit. The same for signals that have ended: their keys, and the windows of reprocessing. Imported ones keep their times.
-- Fails open: a key that is released early lets an equal alert in, and none swallows an exit.
WITH ahead AS MATERIALIZED (
    SELECT id FROM signals
    WHERE received_at > statement_timestamp() AND received_at > clock_timestamp() AND imported_at IS NULL
      AND status IN ('rejected', 'forwarded', 'failed', 'expired')
    LIMIT $2
    FOR UPDATE SKIP LOCKED
), shifted AS (
    UPDATE signals
    SET received_at = received_at - make_interval(secs => $1),
        status_at = CASE WHEN status_at > clock_timestamp() THEN status_at - make_interval(secs => $1) ELSE status_at END
    WHERE id = ANY (ARRAY (SELECT id FROM ahead))
    RETURNING id
), held AS MATERIALIZED (
    SELECT key FROM intake_keys
    WHERE expires_at > statement_timestamp() AND signal_id IN (SELECT id FROM shifted)
    ORDER BY key
    FOR UPDATE
), released AS (
    UPDATE intake_keys SET expires_at = expires_at - make_interval(secs => $1)
    WHERE key = ANY (ARRAY (SELECT key FROM held))
)
SELECT count(*) FROM shifted

-- name: shift_positions
-- $1 seconds. An open position is older than a sell that expires later: that sell is an alarm.
UPDATE positions SET opened_at = opened_at - make_interval(secs => $1)
WHERE status = 'open' AND opened_at > clock_timestamp()

-- name: clamp_times
-- $1 the longest hold, $2 the longest delay of a probe, $3 the longest retry delay, $4 the longest lease, in seconds. A time further
-- ahead was set before the clock stepped back. Holds, probes and retries become due at once. A request that may be open keeps a whole
-- lease. Returns how many times were clamped, and by how much the furthest was ahead.
WITH ahead AS (
    SELECT greatest(
        (SELECT max(greatest(
             CASE WHEN held_until > statement_timestamp() + make_interval(secs => $1) THEN held_until END,
             CASE WHEN probe_at > statement_timestamp() + make_interval(secs => $2) THEN probe_at END)) FROM destinations),
        (SELECT max(greatest(
             CASE WHEN not_before > statement_timestamp() + make_interval(secs => $3) THEN not_before END,
             CASE WHEN lease_until > statement_timestamp() + make_interval(secs => $4) THEN lease_until END))
         FROM orders WHERE ended_at IS NULL)) AS newest
), held AS (
    UPDATE destinations
    SET held_until = CASE
            WHEN held_until > statement_timestamp() + make_interval(secs => $1) THEN statement_timestamp() ELSE held_until END,
        probe_at = CASE
            WHEN probe_at > statement_timestamp() + make_interval(secs => $2) THEN statement_timestamp() ELSE probe_at END
    WHERE held_until > statement_timestamp() + make_interval(secs => $1)
       OR probe_at > statement_timestamp() + make_interval(secs => $2)
    RETURNING 1
), waiting AS MATERIALIZED (
    SELECT s.id, o.id AS order_id,
           CASE WHEN o.not_before > statement_timestamp() + make_interval(secs => $3)
               THEN statement_timestamp() ELSE o.not_before END AS not_before,
           least(o.lease_until, statement_timestamp() + make_interval(secs => $4)) AS lease_until
    FROM orders o
    JOIN signals s ON s.id = o.signal_id
    WHERE o.ended_at IS NULL
      AND (o.not_before > statement_timestamp() + make_interval(secs => $3)
           OR o.lease_until > statement_timestamp() + make_interval(secs => $4))
    FOR UPDATE OF s, o
), ordered AS (
    UPDATE orders o SET not_before = w.not_before, lease_until = w.lease_until
    FROM waiting w
    WHERE o.id = w.order_id AND o.id = ANY (ARRAY (SELECT order_id FROM waiting))
), clamped AS (
    UPDATE signals s SET not_before = w.not_before, lease_until = w.lease_until
    FROM waiting w
    WHERE s.id = w.id AND s.id = ANY (ARRAY (SELECT id FROM waiting))
)
SELECT (SELECT count(*) FROM held) + (SELECT count(*) FROM waiting) AS clamped,
       coalesce((SELECT extract(epoch FROM newest - statement_timestamp())::float8 FROM ahead), 0) AS ahead_seconds,
       clock_timestamp() AS now

-- name: lock_due
-- $1 limit, $2 destination, $3 false: no row while the circuit is open, $4 true: no buy, since the tokens that are left are reserved for
-- exits. The comparison is a condition of the index: however many buys wait, none of them is read.
-- Locks the signals of the orders that are due, at most one of a ticker, its first; sells and manual orders before buys. With the open
-- position of its ticker, and what tells why there is none.
-- An order of the ticker that is being sent is waited for, also a later one. Fails open: no exit waits behind a buy that waits for its
-- decision, behind one that has not left where a position is open (such a buy waits for the exit instead), or behind an adjustment that
-- waits for its next attempt.
WITH due AS (
    SELECT s.id, o.id AS order_id, o.ticker, o.type, o.seq, o.intent, s.price, s.body, o.round, o.attempts
    FROM orders o
    JOIN signals s ON s.id = o.signal_id
    WHERE o.destination = 'default' AND o.ended_at IS NULL AND o.seq > 0 AND (o.type = 'buy') <= (NOT $4::boolean)
      AND CASE
          WHEN o.status <> 'pending' OR o.expires_at <= statement_timestamp() OR o.not_before > statement_timestamp() THEN false
          WHEN EXISTS (
              SELECT FROM orders e
              WHERE e.destination = 'default' AND e.ticker = o.ticker AND e.seq < o.seq AND e.ended_at IS NULL
                AND CASE e.status WHEN 'sending' THEN true ELSE e.expires_at > statement_timestamp() END
                AND (o.type = 'buy'
                     OR (NOT (e.type = 'buy' AND e.status = 'pending' AND EXISTS (
                             SELECT FROM positions p WHERE p.ticker = o.ticker AND p.status = 'open'))
                         AND (e.intent IS DISTINCT FROM 'adjust' OR e.not_before IS NULL
                              OR e.not_before <= statement_timestamp())))) THEN false
          WHEN EXISTS (
              SELECT FROM unfinished_signals e
              WHERE e.ticker = o.ticker AND e.seq < o.seq AND e.is_undecided AND e.is_live
                AND (o.type = 'buy' OR e.type <> 'buy')) THEN false
          ELSE NOT EXISTS (
              SELECT FROM orders e
              WHERE e.destination = 'default' AND e.ticker = o.ticker AND e.seq > o.seq AND e.ended_at IS NULL
                AND (e.status = 'sending'
                     -- what passes this buy, as above, is due itself: it is sent first
                     OR (o.type = 'buy' AND e.type <> 'buy' AND e.expires_at > statement_timestamp()
                         AND (e.not_before IS NULL OR e.not_before <= statement_timestamp())
                         AND EXISTS (SELECT FROM positions p WHERE p.ticker = o.ticker AND p.status = 'open'))))
      END
      AND NOT EXISTS (
          SELECT FROM destinations d
          WHERE d.destination = $2
            AND (d.held_until > statement_timestamp() OR (d.probe_at IS NOT NULL AND NOT $3::boolean)))
    ORDER BY o.type = 'buy', o.seq
    LIMIT (SELECT $1::int)  -- a value that is unknown in any plan: else each claim would be planned anew
    FOR UPDATE OF s SKIP LOCKED
)
SELECT due.id, due.order_id, due.ticker, due.type, due.intent, due.price, due.body, p.id AS position_id, p.quantity, p.confirmed,
       p.average_price, p.realized,
       CASE WHEN due.attempts > 0 OR due.round > 1 THEN EXISTS (
           SELECT FROM attempts a WHERE a.signal_id = due.id AND a.outcome = 'unknown') ELSE false END AS is_retry_of_unknown,
       CASE WHEN p.id IS NULL AND due.type <> 'buy' THEN coalesce(
           (SELECT b.status FROM signals b
            WHERE b.ticker = due.ticker AND b.seq < due.seq
              AND CASE WHEN b.type = 'buy' THEN b.imported_at IS NULL ELSE false END
            ORDER BY b.seq DESC LIMIT 1) IN ('rejected', 'failed', 'expired', 'received', 'approved'), false)  -- overdue
       ELSE false END AS is_buy_undelivered
FROM due
LEFT JOIN LATERAL (
    SELECT id, quantity, confirmed, average_price, realized FROM positions
    WHERE ticker = due.ticker AND status = 'open' OFFSET 0) AS p ON true
ORDER BY due.type = 'buy', due.seq

-- name: claim
-- $1 claim id, $2 lease in seconds, $3 destination, $4 JSON array of verdicts (`_VerdictRow`) on orders whose signals this transaction has
-- locked. Without an intent the order is rejected. An order that is not pending any more is passed over: only this statement sees what
-- was committed while the lock was waited for. The attempt is inserted in the same transaction, so it is committed before the request
-- is sent.
WITH verdict AS (
    SELECT *
    FROM json_to_recordset($4::json) AS v (
        id bigint, intent text, quantity numeric, quantity_unit text, sentiment text, reason text, reason_code text,
        reason_params jsonb, detail jsonb)
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
    WHERE o.id = v.id AND o.id = ANY (ARRAY (SELECT id FROM verdict)) AND o.status = 'pending'
    RETURNING o.signal_id AS id, o.status, o.round, o.attempts, o.claim_id, o.lease_until, o.intent AS decided, o.quantity,
              o.quantity_unit, o.sentiment, v.intent, v.reason, v.reason_code, v.reason_params, v.detail
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
    INSERT INTO attempts (signal_id, round, number, destination, webhook_id, claim_id, intent)
    SELECT id, round, attempts, $3, id::text || CASE WHEN round > 1 THEN '.r' || round ELSE '' END, $1, intent
    FROM claimed WHERE status = 'sending'
    RETURNING id, signal_id, webhook_id, started_at
), event AS (
    INSERT INTO signal_events (signal_id, status, reason, reason_code, reason_params, detail)
    SELECT id, shown.status, reason, reason_code, reason_params,
           CASE WHEN c.status = 'sending' THEN jsonb_build_object('attempt', attempts) ELSE '{}' END || coalesce(detail, '{}')
    FROM claimed c
    JOIN shown USING (id)
)
SELECT a.signal_id AS id, a.id AS attempt, c.attempts AS number, a.webhook_id, a.started_at
FROM claimed c
JOIN attempt a ON a.signal_id = c.id

-- name: record_delivered
-- $1 JSON array of successes (`DeliveredOrder`), $2 text of the reason. `position`, `held` and `was_confirmed` are the position before,
-- NULL: none; `is_open`, `quantity`, `is_confirmed`, `average_price` and `realized` the one after.
-- A ticker occurs once at most, so that no position is changed twice. Not fenced by the claim: a 2xx remains true whichever sender has
-- claimed the signal since. Only the change to 'forwarded' changes the position, so this happens once.
-- A position that is no longer as it was before is not changed, and nothing is recorded of that signal: `is_stale`.
-- The arrays, and the conditions in CASE, keep every plan on the primary keys.
WITH seen AS (
    SELECT attempt, signal, http_status, decode(response, 'base64') AS response, has_ended, position, held, was_confirmed, is_open,
           quantity, is_confirmed, average_price, realized, buys, change
    FROM json_to_recordset($1::json) AS seen (
        attempt bigint, signal uuid, http_status integer, response text, has_ended boolean, position uuid, held numeric,
        was_confirmed boolean, is_open boolean, quantity numeric, is_confirmed boolean, average_price numeric, realized numeric,
        buys integer, change text)
), found AS (
    SELECT seen.*, s.ticker, s.status = 'forwarded' AS is_forwarded, a.is_stored, a.is_ended
    FROM seen
    LEFT JOIN LATERAL (SELECT ticker, status FROM signals WHERE id = seen.signal OFFSET 0) AS s ON true
    LEFT JOIN LATERAL (
        SELECT true AS is_stored, ended_at IS NOT NULL AS is_ended FROM attempts WHERE id = seen.attempt OFFSET 0) AS a ON true
), todo AS (
    SELECT * FROM found WHERE CASE WHEN is_forwarded THEN false ELSE is_ended = has_ended END
), opened AS (
    INSERT INTO positions (ticker, opened_by, buys, quantity, confirmed, average_price, realized)
    SELECT ticker, signal, buys, quantity, is_confirmed, average_price, realized FROM todo WHERE position IS NULL AND is_open
    ON CONFLICT (ticker) WHERE status = 'open' DO NOTHING
    RETURNING ticker
), moved AS (
    UPDATE positions p
    SET buys = p.buys + t.buys, realized = t.realized,
        -- a closed position keeps what it held last
        quantity = CASE WHEN t.is_open THEN t.quantity ELSE p.quantity END,
        confirmed = CASE WHEN t.is_open THEN t.is_confirmed ELSE p.confirmed END,
        average_price = CASE WHEN t.is_open THEN t.average_price ELSE p.average_price END,
        status = CASE WHEN t.is_open THEN 'open' ELSE 'closed' END,
        closed_at = CASE WHEN NOT t.is_open THEN clock_timestamp() END,
        closed_by = CASE WHEN NOT t.is_open THEN t.signal END,
        reason = CASE WHEN t.is_open THEN p.reason ELSE 'sell delivered' END
    FROM todo t
    WHERE p.id = t.position AND p.id = ANY (ARRAY (SELECT position FROM seen))
      -- the index of open positions would be read from end to end
      AND CASE WHEN p.status = 'open' THEN p.quantity IS NOT DISTINCT FROM t.held AND p.confirmed = t.was_confirmed ELSE false END
    RETURNING p.ticker
), settled AS (
    SELECT todo.* FROM todo
    WHERE ticker IN (SELECT ticker FROM opened UNION ALL SELECT ticker FROM moved)
       OR (position IS NULL AND NOT is_open AND NOT EXISTS (
               SELECT FROM positions p WHERE p.ticker = todo.ticker AND p.status = 'open' OFFSET 0))
), ended AS (
    UPDATE attempts a
    SET ended_at = clock_timestamp(), outcome = 'delivered', booked = 'delivered', http_status = found.http_status, error = NULL,
        error_code = NULL, error_params = NULL, response = found.response
    FROM found
    WHERE a.id = found.attempt AND a.id = ANY (ARRAY (SELECT attempt FROM seen))
      AND (found.is_forwarded OR found.attempt IN (SELECT attempt FROM settled))
    RETURNING a.id, a.destination
), recovered AS (
    UPDATE destinations SET probe_at = NULL, failed_probes = 0
    WHERE destination IN (SELECT destination FROM ended) AND probe_at IS NOT NULL
    RETURNING destination
), done AS (
    UPDATE signals s
    SET status = 'forwarded', status_at = clock_timestamp(), reason = $2, reason_code = 'delivered', reason_params = '{}',
        claim_id = NULL, lease_until = NULL, not_before = NULL
    FROM settled
    WHERE s.id = settled.signal AND s.id = ANY (ARRAY (SELECT signal FROM seen)) AND s.status <> 'forwarded'
    RETURNING s.id, s.round, s.ticker, s.received_at, settled.http_status, settled.change
), ordered AS (
    UPDATE orders o
    SET status = 'delivered', ended_at = clock_timestamp(), claim_id = NULL, lease_until = NULL, not_before = NULL
    FROM done
    WHERE o.signal_id = done.id AND o.signal_id = ANY (ARRAY (SELECT signal FROM seen)) AND o.destination = 'default'
      AND o.round = done.round
), event AS (
    INSERT INTO signal_events (signal_id, status, reason, reason_code, reason_params, detail)
    SELECT id, 'forwarded', $2, 'delivered', '{}', jsonb_build_object('http_status', http_status, 'position', change)
    FROM done
)
SELECT found.signal AS id, done.id IS NOT NULL AS is_done, ended.id IS NULL AND found.is_stored IS NOT NULL AS is_stale,
       done.change AS position, extract(epoch FROM clock_timestamp() - done.received_at)::float8 AS age_seconds,
       EXISTS (
           SELECT FROM unfinished_signals n WHERE n.ticker = done.ticker AND n.is_pending OFFSET 0)
           OR EXISTS (SELECT FROM recovered) AS has_more_due,
       EXISTS (SELECT FROM recovered) AS has_closed_circuit
FROM found
LEFT JOIN done ON done.id = found.signal
LEFT JOIN ended ON ended.id = found.attempt

-- name: read_ended_attempt
-- $1 attempt. No row while it is open. `is_newest`: no other order of its ticker has ended since.
SELECT NOT EXISTS (
           SELECT FROM signals o
           WHERE o.ticker = s.ticker AND o.id <> s.id AND o.attempts > 0 AND o.status_at > a.ended_at
             AND o.status IN ('forwarded', 'failed')) AS is_newest
FROM attempts a
JOIN signals s ON s.id = a.signal_id
WHERE a.id = $1 AND a.ended_at IS NOT NULL

-- name: lock_position
-- $1 ticker. Locks its open position.
SELECT id, quantity, confirmed, average_price, realized FROM positions WHERE ticker = $1 AND status = 'open' FOR UPDATE

-- name: write_unknown
-- $1 ticker, $2 signal, $3 quantity, $4 average price, $5 gain. What an order of unknown outcome may have left open: unconfirmed.
INSERT INTO positions (ticker, opened_by, buys, confirmed, quantity, average_price, realized) VALUES ($1, $2, 0, false, $3, $4, $5)
ON CONFLICT (ticker) WHERE status = 'open' DO UPDATE
SET confirmed = false, quantity = excluded.quantity, average_price = excluded.average_price, realized = excluded.realized

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
), next AS (
    SELECT CASE WHEN is_overtaken THEN 'rejected' ELSE $10 END AS status, CASE WHEN is_overtaken THEN $15 ELSE $11 END AS reason,
           CASE WHEN is_overtaken THEN 'overtaken' ELSE $12 END AS reason_code,
           CASE WHEN is_overtaken THEN '{}' ELSE $13::jsonb END AS reason_params
    FROM (SELECT $10 = 'approved' AND s.type = 'buy' AND EXISTS (
                     SELECT FROM unfinished_signals c
                     WHERE c.ticker = s.ticker AND c.seq > s.seq AND c.type <> 'buy' AND coalesce(c.intent, 'close') = 'close'
                       AND c.is_pending OFFSET 0) AS is_overtaken
          FROM signals s WHERE s.id = $2) AS later
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
    RETURNING o.signal_id, o.not_before
), done AS (
    UPDATE signals s
    SET status = next.status, status_at = clock_timestamp(), reason = next.reason, reason_code = next.reason_code,
        reason_params = next.reason_params, claim_id = NULL, lease_until = NULL, not_before = o.not_before
    FROM next, ended_order o
    WHERE s.id = $2 AND s.id = o.signal_id
    RETURNING s.id, s.status, s.reason, s.reason_code, s.reason_params
), event AS (
    INSERT INTO signal_events (signal_id, status, reason, reason_code, reason_params, detail)
    SELECT id, status, reason, reason_code, reason_params, jsonb_strip_nulls(jsonb_build_object(
        'outcome', $4::text, 'http_status', $5::int, 'error', $7::text,
        'retry_in_seconds', CASE WHEN status = 'approved' THEN round($14::numeric, 1) END))
    FROM done
)
SELECT (SELECT status FROM done) AS status,
       $4 = 'unknown' AND EXISTS (
           SELECT FROM signals WHERE id = (SELECT signal_id FROM ended) AND status <> 'forwarded') AS is_unclear

-- name: hold_destination
-- $1 destination, $2 seconds, $3 reason, $4 its code, $5 its parameters. A shorter hold does not shorten a longer one.
INSERT INTO destinations (destination, held_until, reason, reason_code, reason_params)
VALUES ($1, clock_timestamp() + make_interval(secs => $2), $3, $4, $5)
ON CONFLICT (destination) DO UPDATE
SET held_until = excluded.held_until, reason = excluded.reason, reason_code = excluded.reason_code,
    reason_params = excluded.reason_params
WHERE destinations.held_until < excluded.held_until

-- name: read_hold_reason
-- $1 destination. No row while it is neither held nor its circuit open.
SELECT reason
FROM destinations
WHERE destination = $1 AND (held_until > statement_timestamp() OR probe_at IS NOT NULL)

-- name: lock_abandoned
-- $1 attempts to pass over. Open attempts whose lease has run out: the sender died, or could not record the outcome. Locks their
-- signals, 500 at most, and their orders: a lease that is renewed meanwhile is seen.
SELECT a.id AS attempt, s.id, o.type, o.ticker, o.claim_id, coalesce(a.intent, o.intent) AS intent, o.quantity, o.quantity_unit,
       o.sentiment, s.price
FROM attempts a
JOIN signals s ON s.id = a.signal_id
JOIN orders o ON o.signal_id = a.signal_id AND o.claim_id = a.claim_id
WHERE a.ended_at IS NULL AND o.lease_until < statement_timestamp()  -- only an order that is being sent has a lease
  AND a.id <> ALL ($1::bigint[])
ORDER BY o.seq
LIMIT 500
FOR UPDATE OF s, o SKIP LOCKED

-- name: renew_leases
-- $1 attempts, $2 seconds. Renews a lease that runs out within 8 s, and one that has run out and was not recovered yet.
-- The arrays keep every plan on the primary keys.
WITH short AS MATERIALIZED (
    SELECT s.id, o.id AS order_id
    FROM attempts a
    JOIN signals s ON s.id = a.signal_id
    JOIN orders o ON o.signal_id = a.signal_id AND o.claim_id = a.claim_id
    WHERE a.id = ANY ($1::bigint[]) AND o.lease_until < statement_timestamp() + interval '8 seconds'
    FOR UPDATE OF s, o SKIP LOCKED
), ordered AS (
    UPDATE orders SET lease_until = clock_timestamp() + make_interval(secs => $2)
    WHERE id = ANY (ARRAY (SELECT order_id FROM short))
)
UPDATE signals SET lease_until = clock_timestamp() + make_interval(secs => $2)
WHERE id = ANY (ARRAY (SELECT id FROM short))

-- name: end_strays
-- $1 attempts to pass over, $2 the longest lease in seconds, $3 error, $4 its code. Ends open attempts whose order no longer has
-- their claim and that began too long ago to be open, or ahead of a clock that has stepped back. An outcome that is still recorded
-- later counts.
-- Returns how many; an order whose signal is not delivered otherwise may have changed its position.
WITH ended AS (
    UPDATE attempts a
    SET ended_at = clock_timestamp(), outcome = 'unknown', booked = 'unknown', error = $3, error_code = $4, error_params = '{}'
    WHERE a.ended_at IS NULL AND a.id <> ALL ($1::bigint[])
      AND a.started_at NOT BETWEEN statement_timestamp() - make_interval(secs => $2) AND statement_timestamp()
      AND NOT EXISTS (SELECT FROM orders o WHERE o.signal_id = a.signal_id AND o.claim_id = a.claim_id OFFSET 0)
    RETURNING a.id, a.signal_id, a.intent
)
SELECT e.id AS attempt, s.id, s.type, s.ticker, s.claim_id, coalesce(e.intent, s.intent) AS intent, s.quantity, s.quantity_unit,
       s.sentiment, s.price, s.status <> 'forwarded' AS is_unclear
FROM ended e
JOIN signals s ON s.id = e.signal_id AND s.id = ANY (ARRAY (SELECT signal_id FROM ended))
ORDER BY e.id

-- name: has_attempt
-- $1 attempt, $2 its signal, $3 its claim.
SELECT EXISTS (SELECT FROM attempts WHERE id = $1 AND signal_id = $2 AND claim_id = $3)

-- name: read_open_attempts
-- $1 attempts. Returns those of them that have not ended.
SELECT id FROM attempts WHERE id = ANY ($1) AND ended_at IS NULL

-- name: expire
-- $1 limit, $2 templates of reasons by code. Skips locked rows: they are being decided or claimed, and the next sweep sees them again.
WITH overdue AS (
    SELECT id, status FROM unfinished_signals
    WHERE NOT is_live
    ORDER BY expires_at
    LIMIT $1
    FOR UPDATE SKIP LOCKED
), expired AS (
    UPDATE signals s
    SET status = 'expired', status_at = clock_timestamp(), not_before = NULL,
        (reason, reason_code, reason_params) = (
            SELECT replace($2::jsonb ->> code, '{reason}', s.reason), code,
                   CASE WHEN code <> 'expired' THEN '{}'
                        WHEN s.reason_code IS NULL THEN jsonb_build_object('reason', s.reason)
                        ELSE jsonb_build_object(
                            'reason', jsonb_build_object('code', s.reason_code, 'params', s.reason_params))
                   END
            FROM (SELECT CASE
                      WHEN o.status = 'received' THEN 'expired_undecided'
                      WHEN s.attempts = 0 THEN 'expired_unsent'
                      ELSE 'expired'
                  END AS code) AS why)
    FROM overdue o
    WHERE s.id = o.id
    RETURNING s.id, s.ticker, s.type, s.reason, s.reason_code, s.reason_params
), ordered AS (
    UPDATE orders SET status = 'expired', ended_at = clock_timestamp(), not_before = NULL
    WHERE signal_id = ANY (ARRAY (SELECT id FROM expired)) AND status = 'pending'
), event AS (
    INSERT INTO signal_events (signal_id, status, reason, reason_code, reason_params)
    SELECT id, 'expired', reason, reason_code, reason_params FROM expired
)
SELECT id, ticker, type, reason FROM expired

-- name: reject_orphans
-- $1 tickers with a buy that ended undelivered, $2 text of the reason. Rejects the sells after it that have nothing else to close.
WITH orphan AS (
    UPDATE signals s
    SET status = 'rejected', status_at = clock_timestamp(), not_before = NULL,
        reason = $2, reason_code = 'buy_undelivered', reason_params = '{}'
    WHERE s.ticker = ANY ($1) AND s.status = 'approved' AND s.type IN ('sell', 'position_close', 'sell_all')
      AND NOT EXISTS (SELECT FROM positions p WHERE p.ticker = s.ticker AND p.status = 'open')
      AND NOT EXISTS (
          SELECT FROM unfinished_signals b
          WHERE b.ticker = s.ticker AND b.type = 'buy' AND b.seq < s.seq AND b.is_live
          OFFSET 0)
    RETURNING s.id, s.ticker, s.reason
), ordered AS (
    UPDATE orders SET status = 'rejected', ended_at = clock_timestamp(), not_before = NULL
    WHERE signal_id = ANY (ARRAY (SELECT id FROM orphan)) AND status = 'pending'
), event AS (
    INSERT INTO signal_events (signal_id, status, reason, reason_code, reason_params)
    SELECT id, 'rejected', reason, 'buy_undelivered', '{}' FROM orphan
)
SELECT id, ticker, reason FROM orphan

-- name: find_unsent_entries
-- $1 tickers, NULL for all. Buys that have not left, decided or not.
SELECT id FROM unfinished_signals
WHERE type = 'buy' AND status <> 'forwarding' AND is_live AND ($1::text[] IS NULL OR ticker = ANY ($1))

-- name: end_entries
-- $1 ids of buys, $2 reason, $3 its code, $4 its parameters. Ends those that have not left.
WITH ended AS (
    UPDATE signals
    SET status = 'rejected', status_at = clock_timestamp(), not_before = NULL, reason = $2, reason_code = $3, reason_params = $4
    WHERE id = ANY ($1) AND type = 'buy' AND CASE status WHEN 'received' THEN true WHEN 'approved' THEN true ELSE false END
    RETURNING id, ticker, reason
), ordered AS (
    UPDATE orders SET status = 'rejected', ended_at = clock_timestamp(), not_before = NULL
    WHERE signal_id = ANY (ARRAY (SELECT id FROM ended)) AND status = 'pending'
), event AS (
    INSERT INTO signal_events (signal_id, status, reason, reason_code, reason_params)
    SELECT id, 'rejected', $2, $3, $4 FROM ended
)
SELECT id, ticker, reason FROM ended

-- name: has_unsent_entries
-- $1 `seq` of the last signal that counts, NULL: all count.
SELECT EXISTS (
    SELECT FROM unfinished_signals
    WHERE type = 'buy' AND status <> 'forwarding' AND is_live AND ($1::bigint IS NULL OR seq <= $1))

-- name: end_unlocked_entries
-- $1 as above, $2 reason, $3 its code, $4 its parameters. Ends the buys that have not left, decided or not.
-- Fails open: it waits for no row, so that no exit waits for it. A buy that is locked, such as by its claim, is passed over.
WITH unsent AS MATERIALIZED (
    SELECT id
    FROM signals
    WHERE id = ANY (ARRAY (
              SELECT id FROM unfinished_signals
              WHERE type = 'buy' AND status <> 'forwarding' AND is_live AND ($1::bigint IS NULL OR seq <= $1)))
      AND CASE status WHEN 'received' THEN true WHEN 'approved' THEN true ELSE false END
    ORDER BY id
    FOR UPDATE SKIP LOCKED
), ended AS (
    UPDATE signals
    SET status = 'rejected', status_at = clock_timestamp(), not_before = NULL, reason = $2, reason_code = $3, reason_params = $4
    WHERE id = ANY (ARRAY (SELECT id FROM unsent))
    RETURNING id, ticker, reason
), ordered AS (
    UPDATE orders SET status = 'rejected', ended_at = clock_timestamp(), not_before = NULL
    WHERE signal_id = ANY (ARRAY (SELECT id FROM ended)) AND status = 'pending'
), event AS (
    INSERT INTO signal_events (signal_id, status, reason, reason_code, reason_params)
    SELECT id, 'rejected', $2, $3, $4 FROM ended
)
SELECT id, ticker, reason FROM ended

-- name: store_paper_delivery
-- $1 webhook id, $2 headers, $3 body of the request that a live destination would have received.
INSERT INTO paper_deliveries (webhook_id, headers, body) VALUES ($1, $2, $3)

-- name: lock_circuit
-- From here on: the circuit breaker. `probe_at` set: the circuit is open, and from that moment one probe at a time may be sent.
-- $1 destination. Locks its row, so that two failures are recorded one after the other.
SELECT probe_at, failed_probes FROM destinations WHERE destination = $1 FOR UPDATE

-- name: read_recent_attempts
-- $1 destination, $2 errors of attempts that the application ended itself, which are left out, $3 limit. Ended attempts, newest first.
SELECT signal_id, outcome, http_status
FROM attempts
WHERE destination = $1 AND ended_at IS NOT NULL AND NOT imported
  AND http_status IS DISTINCT FROM 429 AND (error IS NULL OR error <> ALL ($2::text[]))
ORDER BY ended_at DESC
LIMIT $3

-- name: open_circuit
-- $1 destination, $2 seconds until the first probe, $3 reason, $4 its code, $5 its parameters. No row: another transaction has opened it.
INSERT INTO destinations AS d (destination, held_until, reason, reason_code, reason_params, probe_at)
VALUES ($1, clock_timestamp(), $3, $4, $5, clock_timestamp() + make_interval(secs => $2))
ON CONFLICT (destination) DO UPDATE
SET probe_at = excluded.probe_at, failed_probes = 0, reason = excluded.reason, reason_code = excluded.reason_code,
    reason_params = excluded.reason_params
WHERE d.probe_at IS NULL
RETURNING true

-- name: record_failed_probe
-- $1 destination, $2 seconds until the next probe, $3 reason, $4 its code, $5 its parameters.
UPDATE destinations
SET probe_at = clock_timestamp() + make_interval(secs => $2), failed_probes = failed_probes + 1, reason = $3, reason_code = $4,
    reason_params = $5
WHERE destination = $1

-- name: close_circuit
-- $1 destination. Returns a row only if the circuit was open.
UPDATE destinations SET probe_at = NULL, failed_probes = 0 WHERE destination = $1 AND probe_at IS NOT NULL
RETURNING true

-- name: is_circuit_open
-- $1 destination.
SELECT EXISTS (SELECT FROM destinations WHERE destination = $1 AND probe_at IS NOT NULL)

-- name: read_circuit_reason
-- $1 destination. The reason of the latest failure; no row while the circuit is closed.
SELECT reason, reason_code, reason_params FROM destinations WHERE destination = $1 AND probe_at IS NOT NULL

-- name: read_dead_letters
-- From here on: failed and expired signals, and their replay by a person. Imported history is left out.
-- $1 to $11 the filter (`SignalFilter.arguments`), $12 cursor (a seq), NULL for the first page, $13 limit. Newest first.
SELECT s.id, s.seq, s.status, s.type, s.ticker, s.reason, s.reason_code, s.reason_params, s.received_at, s.status_at,
       s.attempts, s.round, source_of(s.source, s.type) AS source, s.quantity, s.quantity_unit, s.price,
       EXISTS (
           SELECT FROM unfinished_signals o
           WHERE o.ticker = s.ticker AND o.seq > s.seq AND o.is_pending) AS blocked,
       EXISTS (SELECT FROM attempts a WHERE a.signal_id = s.id AND a.outcome = 'unknown') AS may_be_executed
FROM signals s
WHERE s.status IN ('failed', 'expired') AND s.type IS NOT NULL AND s.imported_at IS NULL
  AND {signal_filter}
  AND ($12::bigint IS NULL OR s.seq < $12)
ORDER BY s.seq DESC
LIMIT $13

-- name: read_replay_candidates
-- $1 to $11 the filter (`SignalFilter.arguments`), $12 ids, NULL for any, $13 limit, $14 false while buying is paused, $15 false: no
-- entry with an attempt of unknown outcome. Oldest first. A later pending order of the ticker blocks the replay: two orders of a
-- ticker would be sent at once, in the wrong order.
SELECT s.id,
       (s.type = 'buy' AND NOT $14::boolean) OR EXISTS (
           SELECT FROM unfinished_signals o
           WHERE o.ticker = s.ticker AND o.seq > s.seq AND o.is_pending) AS blocked,
       s.type = 'buy' AND EXISTS (
           SELECT FROM attempts a WHERE a.signal_id = s.id AND a.outcome = 'unknown') AS may_be_executed
FROM signals s
WHERE s.status IN ('failed', 'expired') AND s.type IS NOT NULL AND s.imported_at IS NULL
  AND {signal_filter}
  AND ($12::uuid[] IS NULL OR s.id = ANY ($12))
  -- Fails open: an exit is replayed whatever became of it, since it can only close.
  AND ($15::boolean OR s.type <> 'buy'
       OR NOT EXISTS (SELECT FROM attempts a WHERE a.signal_id = s.id AND a.outcome = 'unknown'))
ORDER BY s.seq
LIMIT $13

-- name: start_round
-- $1 ids, $2 seconds until a buy expires, $3 seconds until any other type expires, $4 text of the reason. The new round counts its
-- attempts from 1 and has its own webhook-id.
WITH replayed AS (
    UPDATE signals
    SET status = 'approved', status_at = clock_timestamp(), reason = $4, reason_code = 'replayed', reason_params = '{}',
        round = round + 1, attempts = 0, not_before = NULL, claim_id = NULL, lease_until = NULL, renewed_at = clock_timestamp(),
        expires_at = clock_timestamp() + make_interval(secs => CASE type WHEN 'buy' THEN $2::float8 ELSE $3::float8 END)
    WHERE id = ANY ($1) AND status IN ('failed', 'expired')
    RETURNING id, round, seq, type, ticker, intent, quantity, quantity_unit, sentiment, expires_at
), ordered AS (
    INSERT INTO orders (signal_id, round, seq, type, ticker, intent, quantity, quantity_unit, sentiment, expires_at)
    SELECT id, round, seq, type, ticker, intent, quantity, quantity_unit, sentiment, expires_at FROM replayed
), event AS (
    INSERT INTO signal_events (signal_id, status, reason, reason_code, reason_params, detail)
    SELECT id, 'approved', $4, 'replayed', '{}', jsonb_build_object('round', round) FROM replayed
)
SELECT id FROM replayed

-- name: lock_approvals_shared
-- The approval lock, shared by the decision workers, until the transaction ends.
SELECT pg_advisory_xact_lock_shared(hashtextextended('approvals', 0))

-- name: try_lock_approvals_exclusive
-- False: another transaction has it. This one does not queue, so no decision waits behind it.
SELECT pg_try_advisory_xact_lock(hashtextextended('approvals', 0))

-- name: lock_approvals_exclusive
-- The approval lock, held alone: until the transaction ends no other transaction of any process approves a signal.
SELECT pg_advisory_xact_lock(hashtextextended('approvals', 0))
