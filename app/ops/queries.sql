-- name: queues
-- How many signals are in each queue, and the age of the oldest in seconds, 0 for an empty queue.
SELECT count(*) FILTER (WHERE is_undecided) AS received,
       count(*) FILTER (WHERE NOT is_undecided) AS approved,
       coalesce(extract(epoch FROM clock_timestamp() - min(since) FILTER (WHERE is_undecided))::float8, 0) AS oldest_received,
       coalesce(extract(epoch FROM clock_timestamp() - min(since) FILTER (WHERE NOT is_undecided))::float8, 0) AS oldest_approved
FROM (SELECT is_undecided, coalesce(renewed_at, received_at) AS since FROM unfinished_signals) AS waiting;

-- name: at_risk
-- $1 keys of the destinations. What needs a person, by code of the alarm and subject: a ticker, with the name of the destination where it is
-- about orders at another one than `default`. `position_id` is the open position there. What a person has
-- settled is left out, unless the clock has stepped back since. An order that only adjusts others is no exit, and an exit of a part
-- replaces only another one.
-- `sells_late`: exits in the last tenth of their time to expiry. `exits_waiting`: undelivered 30 s after their alert, of a ticker that
-- is open or about to be, or that are forwarded without a position. `sells_expired`, `sells_failed`: exits that ended undelivered while their position is open, until a later
-- one is delivered; and, for 24 hours, those that a person ordered or that are forwarded
-- without a position. `exits_swallowed`: taken for duplicates.
-- `entries_after_exit`: a position opened within 120 s after an exit that found none. `alerts_unread`: rejected alerts of open
-- positions that may have been exits. `exits_without_destination`: no destination takes them. `positions_unconfirmed`: positions that may be open. `orders_refused`: the last orders were
-- refused with 400 or 422, at least three, by a destination.
WITH held AS (
    SELECT p.id, p.ticker, p.destination, p.opened_at, p.confirmed, entry.seq AS entry_seq, coalesce(entry.received_at, p.opened_at) AS asked_at, exit.*
    FROM positions p
    LEFT JOIN LATERAL (SELECT seq, received_at FROM signals WHERE id = p.opened_by OFFSET 0) AS entry ON true
    LEFT JOIN LATERAL (  -- once for each position, not for each of its signals
        SELECT max(seq) FILTER (WHERE intent <> 'reduce') AS last_whole, max(seq) AS last_part, max(received_at) AS last_at
        FROM (
            -- each part has an index; delivered here, whatever became of the order at another destination
            (SELECT id, seq, received_at FROM signals e
             WHERE ticker = p.ticker AND status = 'forwarded' AND type <> 'buy' AND intent IS DISTINCT FROM 'adjust'
               AND status_at > p.opened_at
             OFFSET 0)
            UNION ALL
            (SELECT id, seq, received_at FROM signals e
             WHERE ticker = p.ticker AND status IN ('failed', 'expired') AND type <> 'buy' AND intent IS DISTINCT FROM 'adjust'
               AND status_at > p.opened_at
             OFFSET 0)
            UNION ALL
            (SELECT id, seq, received_at FROM unfinished_signals e
             WHERE ticker = p.ticker AND type <> 'buy' AND intent IS DISTINCT FROM 'adjust' AND NOT is_undecided AND status_at > p.opened_at
             OFFSET 0)) AS sent
        CROSS JOIN LATERAL (
            SELECT coalesce(intent, 'close') AS intent FROM orders o
            WHERE o.signal_id = sent.id AND o.destination = p.destination AND o.status = 'delivered'
            LIMIT 1) AS delivered
    ) AS exit ON true
    WHERE p.status <> 'closed'
), undelivered AS (
    SELECT s.id, ended.status, s.ticker, ended.destination, coalesce(ended.at, s.status_at) AS at
    FROM held, LATERAL (  -- position by position, and not through everything that ever ended
        (SELECT id, status, ticker, status_at FROM signals u
         WHERE ticker = held.ticker AND status IN ('failed', 'expired') AND type <> 'buy' AND imported_at IS NULL
           AND status_at > held.opened_at AND intent IS DISTINCT FROM 'adjust'
           AND seq > coalesce(CASE intent WHEN 'reduce' THEN held.last_part ELSE held.last_whole END, 0)
         OFFSET 0)
        UNION ALL  -- while its order at another destination is unfinished
        (SELECT id, status, ticker, status_at FROM unfinished_signals u
         WHERE ticker = held.ticker AND type <> 'buy' AND NOT is_undecided AND status_at > held.opened_at AND intent IS DISTINCT FROM 'adjust'
           AND seq > coalesce(CASE intent WHEN 'reduce' THEN held.last_part ELSE held.last_whole END, 0)
         OFFSET 0)) AS s, LATERAL (  -- at the position's destination, or before it was decided
        (SELECT CASE d.status WHEN 'expired' THEN 'expired' ELSE 'failed' END AS status, d.destination,
                CASE WHEN d.is_shared AND d.ended_at <= clock_timestamp() THEN d.ended_at END AS at
         FROM undelivered_orders d
         WHERE d.signal_id = s.id AND d.destination = held.destination
           AND CASE d.status WHEN 'failed' THEN true WHEN 'unknown' THEN true WHEN 'expired' THEN true ELSE false END
         OFFSET 0)
        UNION ALL
        (SELECT s.status, NULL, NULL WHERE NOT EXISTS (SELECT FROM orders o WHERE o.signal_id = s.id OFFSET 0))) AS ended
    UNION
    SELECT s.id, ended.status, s.ticker, ended.destination, coalesce(ended.at, s.status_at)
    FROM (
        (SELECT id, status, ticker, status_at
         FROM signals
         WHERE status IN ('failed', 'expired') AND type <> 'buy' AND imported_at IS NULL AND status_at > now() - interval '24 hours'
           AND (type = 'manual_sell'
                OR EXISTS (SELECT FROM signal_events e WHERE e.signal_id = signals.id AND e.reason_code = 'unmatched' OFFSET 0))
         OFFSET 0)
        UNION ALL  -- while its order at another destination is unfinished; an order that a person places is the only one of its signal
        (SELECT u.id, u.status, u.ticker, u.status_at
         FROM (SELECT DISTINCT signal_id FROM orders WHERE ended_at IS NULL AND is_shared AND type <> 'buy') AS unfinished
         CROSS JOIN LATERAL (SELECT id, status, ticker, status_at FROM signals WHERE id = unfinished.signal_id OFFSET 0) AS u
         WHERE EXISTS (SELECT FROM signal_events e WHERE e.signal_id = u.id AND e.reason_code = 'unmatched' OFFSET 0)
         OFFSET 0)) AS s, LATERAL (  -- each order; else the signal
        (SELECT CASE d.status WHEN 'expired' THEN 'expired' ELSE 'failed' END AS status, d.destination,
                CASE WHEN d.is_shared AND d.ended_at <= clock_timestamp() THEN d.ended_at END AS at
         FROM undelivered_orders d
         WHERE d.signal_id = s.id
           AND CASE d.status WHEN 'failed' THEN true WHEN 'unknown' THEN true WHEN 'expired' THEN true ELSE false END
         OFFSET 0)
        UNION ALL  -- a version before ends a signal whose order at another destination than `default` it does not know
        (SELECT s.status, NULL, NULL
         WHERE CASE s.status WHEN 'failed' THEN true WHEN 'expired' THEN true ELSE false END
           AND NOT EXISTS (
               SELECT FROM undelivered_orders d
               WHERE d.signal_id = s.id
                 AND CASE d.status WHEN 'failed' THEN true WHEN 'unknown' THEN true WHEN 'expired' THEN true ELSE false END
               OFFSET 0))) AS ended
), waiting AS (  -- each order; undecided: the signal
    SELECT u.id, u.ticker, o.destination, coalesce(u.renewed_at, u.received_at) AS since, u.seq, u.type,
           coalesce(o.expires_at, u.expires_at) AS expires_at
    FROM unfinished_signals u
    LEFT JOIN LATERAL (
        SELECT destination, expires_at FROM orders
        WHERE signal_id = u.id AND CASE WHEN ended_at IS NULL THEN true ELSE false END
        OFFSET 0) AS o ON true
    WHERE u.type <> 'buy' AND u.intent IS DISTINCT FROM 'adjust'
), late AS (  -- a ticker once at each destination, so that the look at its position is made once
    SELECT ticker, destination, min(since) AS since, max(seq) AS newest, count(*) AS exits,
           bool_or(type = 'manual_sell'
                   OR EXISTS (SELECT FROM signal_events e WHERE e.signal_id = waiting.id AND e.reason_code = 'unmatched' OFFSET 0)) AS is_ordered
    FROM waiting WHERE since < clock_timestamp() - interval '30 seconds'
    GROUP BY ticker, destination
), found AS (
    SELECT 'sells_late' AS code, ticker, destination, since AS at, 1 AS count FROM waiting
    WHERE expires_at - clock_timestamp() < (expires_at - since) / 10
    UNION ALL
    SELECT 'exits_waiting', ticker, destination, since, exits FROM late
    WHERE is_ordered
       OR EXISTS (SELECT FROM held WHERE held.ticker = late.ticker AND held.destination = late.destination)
       OR (destination IS NULL AND EXISTS (SELECT FROM held WHERE held.ticker = late.ticker))
       OR EXISTS (SELECT FROM unfinished_signals b
                  WHERE b.ticker = late.ticker AND b.type = 'buy' AND b.seq < late.newest AND b.is_live OFFSET 0)
    UNION ALL
    SELECT 'sells_' || status, ticker, destination, at, 1 FROM undelivered
    UNION ALL
    SELECT 'exits_swallowed', held.ticker, NULL, swallowed.at, 1
    FROM held JOIN swallowed_exits swallowed USING (ticker)
    WHERE swallowed.at > held.asked_at AND swallowed.at > coalesce(held.last_at, '-infinity')
    UNION ALL
    SELECT 'entries_after_exit', held.ticker, NULL, held.asked_at, 1
    FROM held, LATERAL (
        SELECT FROM (SELECT status, type, intent, received_at, imported_at FROM signals u
                     WHERE ticker = held.ticker AND seq < held.entry_seq ORDER BY seq DESC LIMIT 10) AS earlier
        WHERE status = 'rejected' AND type <> 'buy' AND intent IS DISTINCT FROM 'adjust' AND imported_at IS NULL
          AND received_at > held.asked_at - interval '120 seconds'
        LIMIT 1) AS unmatched
    UNION ALL
    SELECT 'alerts_unread', held.ticker, NULL, alert.received_at, 1
    FROM held, LATERAL (
        SELECT received_at FROM signals u
        WHERE ticker = held.ticker AND intent = 'unread' AND received_at > held.asked_at AND seq > coalesce(held.last_whole, 0)
        OFFSET 0) AS alert
    UNION ALL
    SELECT 'exits_without_destination', held.ticker, NULL, alert.received_at, 1
    FROM held, LATERAL (
        SELECT received_at FROM signals u
        WHERE ticker = held.ticker AND status = 'rejected' AND type <> 'buy' AND reason_code = 'no_destination'
          AND received_at > held.asked_at AND seq > coalesce(held.last_whole, 0)
        OFFSET 0) AS alert
    UNION ALL
    SELECT 'positions_unconfirmed', ticker, NULL, opened_at, 1 FROM held WHERE NOT confirmed
), refused AS (
    SELECT key, signal_id, ended_at
    FROM unnest($1::text[]) AS given (key)
    CROSS JOIN LATERAL (
        SELECT signal_id, outcome, http_status, ended_at,
               count(*) FILTER (WHERE outcome = 'delivered') OVER (ORDER BY ended_at DESC) AS deliveries_since
        FROM (SELECT signal_id, outcome, http_status, ended_at FROM attempts
              WHERE destination = key AND ended_at IS NOT NULL AND NOT imported
              ORDER BY ended_at DESC LIMIT 20) AS newest) AS counted
    WHERE deliveries_since = 0 AND outcome = 'refused' AND http_status IN (400, 422)
      AND ended_at > coalesce((
          SELECT until FROM settled_alarms
          WHERE code = 'orders_refused' AND subject = '' AND until <= clock_timestamp()), '-infinity')
)
SELECT code, subject, cases, since, newest, coalesce(there.id, anywhere.id) AS position_id
FROM (
    SELECT code, subject, ticker, max(destination) AS destination, bool_or(destination IS NULL) AS is_of_any, sum(count)::int AS cases,
           min(at) AS since, max(at) AS newest
    FROM (SELECT *, ticker || CASE WHEN destination <> 'default' THEN ' (' || destination || ')' ELSE '' END AS subject FROM found) AS named
    WHERE NOT EXISTS (
        SELECT FROM settled_alarms settled
        WHERE settled.code = named.code AND settled.subject = named.subject AND settled.until >= named.at
          AND settled.until <= clock_timestamp())
    GROUP BY code, subject, ticker) AS unsettled
LEFT JOIN held AS there ON there.ticker = unsettled.ticker AND there.destination = unsettled.destination
LEFT JOIN (SELECT DISTINCT ON (ticker) ticker, id FROM held ORDER BY ticker, opened_at) AS anywhere
    ON anywhere.ticker = unsettled.ticker AND unsettled.is_of_any
UNION ALL
SELECT 'orders_refused', '', cases, since, newest, NULL
FROM (SELECT count(DISTINCT signal_id)::int AS cases, min(ended_at) AS since, max(ended_at) AS newest
      FROM refused
      GROUP BY key
      HAVING count(DISTINCT signal_id) >= 3
      ORDER BY newest DESC
      LIMIT 1) AS latest
ORDER BY since

-- name: probe
-- $1 strategy. One row: its newest list and last refresh, NULL where there is none. Ages in seconds.
SELECT list.size AS list_size, list.age AS list_age, list.max_age AS list_max_age, list.at AS list_at,
       coalesce(refresh.error, '') AS refresh_error
FROM (SELECT) AS one
LEFT JOIN LATERAL (
    SELECT cardinality(tickers) AS size,
           extract(epoch FROM clock_timestamp() - fetched_at)::float8 AS age,
           max_age_seconds AS max_age,
           fetched_at AS at
    FROM top_n_lists WHERE strategy = $1 ORDER BY id DESC LIMIT 1
) AS list ON true
LEFT JOIN screener_refreshes AS refresh ON refresh.strategy = $1;

-- name: blocked
-- $1 server processes of this application process, $2 seconds. Their statements that have waited for a lock for longer, and the
-- server process that holds the lock.
SELECT a.pid, extract(epoch FROM clock_timestamp() - a.query_start)::float8 AS seconds, b.pid AS blocker,
       coalesce(b.state LIKE 'idle in transaction%', false) AS is_idle
FROM pg_stat_activity a
CROSS JOIN LATERAL (
    SELECT pid, state FROM pg_stat_activity WHERE pid = ANY (pg_blocking_pids(a.pid)) ORDER BY xact_start LIMIT 1
) AS b
WHERE a.pid = ANY ($1::int[]) AND a.wait_event_type = 'Lock'
  AND a.query_start < clock_timestamp() - make_interval(secs => $2)
ORDER BY a.query_start
