-- PostgreSQL plans by its last statistics, and at that time this queue was usually empty. These rules keep a burst from being
-- read again for each of its own rows (tests/api/trading/test_plans.py proves it):
-- * No step joins the queue with itself.
-- * Rows are found by id. An array of ids fits no other index, and neither does a condition within coalesce.
-- * The unfinished signals of a ticker are found by ticker and seq in the view unfinished_signals, which fits one index only.
--   OFFSET 0 keeps EXISTS, and a look-up in the view position_states, from becoming a join: each ticker is looked up by itself.
-- * The first rows of a queue are found in the order of its index. Conditions on its rows are within CASE, for which PostgreSQL
--   expects half of the rows whatever the statistics say. If it expected few, it would read and sort the whole queue.

-- name: claim_signals
-- $1 limit, $2 the active strategy's name, $3 true while the engine is paused: its list is frozen and counts as fresh, $4 how many
-- pending orders of a ticker are read, $5 `all`, or `exits` or `entries` where they are decided in transactions of their own, $6 names of
-- the destinations.
-- Claims the front of the queue. The lock on a ticker's first undecided row is the claim on all its rows: no other transaction
-- can claim a later one until this one ends, and a crash releases it. `SKIP LOCKED` alone would return the second row.
-- The facts are read in the same statement, so a decision and its facts are one transaction.
-- With the ticker's first row: `books` by destination, with the position and `pending`, its newest unfinished orders in order of
-- arrival; and `undecided`, the newest buys that wait for a fresh list, or for a transaction of their own. A destination that is not
-- configured has a book where something is open or unfinished: of many unfinished signals, in one of the newest.
WITH list AS (
    SELECT id, fetched_at,
           string_to_array(translate(array_to_string(tickers, ' '), './', '--'), ' ') AS tickers, cardinality(tickers) AS size,
           extract(epoch FROM statement_timestamp() - fetched_at)::float8 AS age_seconds,
           -- Fails closed: a list whose time is ahead of the clock is of unknown age, and not fresh.
           $3::boolean OR max_age_seconds IS NULL
               OR (fetched_at > statement_timestamp() - make_interval(secs => max_age_seconds) AND fetched_at <= clock_timestamp()) AS fresh
    FROM top_n_lists
    WHERE strategy = $2
    ORDER BY id DESC
    LIMIT 1
), front AS (
    SELECT id, ticker, type, body, seq, source, expires_at <= statement_timestamp() AS is_expired
    FROM signals s
    WHERE status = 'received'
      -- Fails closed: without a fresh list buys wait. Fails open: exits pass them, but for a part of what such a buy will open. Where
      -- buys have a transaction of their own, exits pass them likewise, but for an adjustment of what such a buy will open.
      AND CASE
          WHEN $5::text <> 'exits' AND coalesce((SELECT fresh FROM list), false) THEN $5 = 'all' OR type = 'buy'
          WHEN type = 'buy' OR $5 = 'entries' THEN false
          ELSE NOT (coalesce(intent, 'close') IN ('reduce', 'reduce_or_close')
                    OR ($5 = 'exits' AND intent = 'adjust' AND coalesce((SELECT fresh FROM list), false)))
              OR EXISTS (SELECT FROM positions p WHERE p.ticker = s.ticker AND p.status <> 'closed')
              OR NOT EXISTS (
                  SELECT FROM unfinished_signals b
                  WHERE b.ticker = s.ticker AND b.seq < s.seq AND b.type = 'buy' AND b.is_undecided AND b.is_live)
          END
    ORDER BY seq
    LIMIT $1
), locked AS (
    SELECT id, ticker, status
    FROM signals
    WHERE id = ANY (ARRAY (SELECT DISTINCT ON (ticker) id FROM front ORDER BY ticker, seq))
    FOR UPDATE SKIP LOCKED
), facts AS MATERIALIZED (
    SELECT locked.id AS first, locked.ticker, undecided.buys AS undecided, here.books,
           array_position(list.tickers, locked.ticker) AS rank, list.size AS list_size,
           list.age_seconds AS list_age_seconds, list.id AS list_id, list.fetched_at AS list_fetched_at
    FROM locked
    LEFT JOIN list ON true
    LEFT JOIN LATERAL (
        SELECT jsonb_agg(jsonb_build_object(
                   'id', id, 'seq', seq, 'status', status, 'type', type, 'intent', intent, 'quantity', quantity::text,
                   'unit', quantity_unit, 'sentiment', sentiment, 'source', source) ORDER BY seq) AS buys
        FROM (
            SELECT id, seq, status, type, intent, quantity, quantity_unit, sentiment,
                   (SELECT source FROM signals WHERE id = u.id) AS source
            FROM unfinished_signals u
            WHERE ticker = locked.ticker AND is_undecided AND is_live AND type = 'buy'
              AND ($5 = 'exits' OR NOT coalesce(list.fresh, false))
            ORDER BY seq DESC
            LIMIT $4) AS newest
        OFFSET 0) AS undecided ON true
    LEFT JOIN LATERAL (
        SELECT jsonb_object_agg(d.name, jsonb_build_object(
                   'is_open', p.is_open, 'quantity', p.quantity::text, 'confirmed', p.confirmed, 'pending', o.pending,
                   'last_exit', exits.sentiment)) AS books
        FROM (
            -- a name that occurs twice is one member of the object
            SELECT unnest($6::text[]) AS name
            UNION ALL
            SELECT destination FROM positions
            WHERE ticker = locked.ticker AND status <> 'closed' AND destination <> ALL ($6)
            UNION ALL
            SELECT o.destination
            FROM (
                SELECT id FROM unfinished_signals
                WHERE ticker = locked.ticker AND NOT is_undecided
                ORDER BY seq DESC
                LIMIT $4) AS u
            CROSS JOIN LATERAL (
                SELECT destination FROM orders
                WHERE signal_id = u.id AND CASE WHEN ended_at IS NULL THEN destination <> ALL ($6) ELSE false END OFFSET 0) AS o
        ) AS d
        LEFT JOIN LATERAL (
            SELECT true AS is_open, quantity, confirmed FROM positions
            WHERE ticker = locked.ticker AND destination = d.name AND status <> 'closed' OFFSET 0) AS p ON true
        LEFT JOIN LATERAL (
            SELECT jsonb_agg(jsonb_build_object(
                       'id', signal_id, 'seq', seq, 'status', status, 'type', type, 'intent', intent, 'quantity', quantity::text,
                       'unit', quantity_unit, 'sentiment', sentiment) ORDER BY seq) AS pending
            FROM (
                SELECT signal_id, seq, status, type, intent, quantity, quantity_unit, sentiment
                FROM orders
                WHERE destination = d.name AND ticker = locked.ticker AND ended_at IS NULL
                  AND CASE status WHEN 'sending' THEN true ELSE expires_at > statement_timestamp() END
                ORDER BY seq DESC
                LIMIT $4) AS newest
            OFFSET 0) AS o ON true
        -- of the ticker's last signals: an entry right behind an exit that was delivered there
        LEFT JOIN LATERAL (
            SELECT sentiment
            FROM (SELECT id, type, status, sentiment FROM signals WHERE ticker = locked.ticker ORDER BY seq DESC LIMIT 5) AS newest
            WHERE CASE WHEN type = 'buy' OR status IN ('received', 'rejected') THEN false ELSE EXISTS (
                SELECT FROM orders
                WHERE signal_id = newest.id AND destination = d.name AND status = 'delivered' OFFSET 0) END
            LIMIT 1) AS exits ON true) AS here ON true
    WHERE locked.status = 'received'  -- the row's status after the lock was granted
)
SELECT front.id, front.seq, ticker, type, body, source, is_expired, CASE WHEN front.id = facts.first THEN undecided END AS undecided,
       CASE WHEN front.id = facts.first THEN books END AS books, rank, list_size, list_age_seconds, list_id, list_fetched_at
FROM front
JOIN facts USING (ticker)
ORDER BY front.seq

-- name: lock_entries
-- $1 ids of entries that were claimed for a transaction of their own. Locks and returns those that are undecided. It waits for none,
-- since the transaction of exits waits for the entries that an exit ends: the two would wait for each other.
SELECT id FROM signals
WHERE id = ANY ($1) AND CASE status WHEN 'received' THEN true ELSE false END
ORDER BY id
FOR UPDATE SKIP LOCKED

-- name: lock_first_undecided
-- $1 tickers. Those whose first undecided signal could be locked: no other transaction decides it now.
SELECT ticker
FROM signals
WHERE id = ANY (ARRAY (
    SELECT (SELECT u.id FROM unfinished_signals u WHERE u.ticker = wanted.ticker AND u.is_undecided ORDER BY u.seq LIMIT 1)
    FROM unnest($1::text[]) AS wanted (ticker)))
FOR UPDATE SKIP LOCKED

-- name: find_undecided_exits
-- $1 tickers. For each the `seq` of its first undecided exit.
SELECT wanted.ticker, found.seq
FROM unnest($1::text[]) AS wanted (ticker)
CROSS JOIN LATERAL (
    SELECT seq FROM unfinished_signals e
    WHERE e.ticker = wanted.ticker AND e.type <> 'buy' AND e.is_undecided
    ORDER BY seq
    LIMIT 1) AS found

-- name: try_lock_entry_limits
-- Held until the transaction ends: no other process decides entries under a limit, so that what one approves the next one counts.
-- Exits do not need it. False: another transaction holds it.
SELECT pg_try_advisory_xact_lock(hashtextextended('entry limits', 0))

-- name: store_decisions
-- $1 JSON array of decisions (`_DecisionRow`), $2 their signals in order, $3 what they were decided by (app/decision/record.py). Without
-- an order its columns stay empty, and the intent that was read stays. The signal has the terms of its first order; `others` are those at
-- other destinations. A row that has expired meanwhile keeps its status; its index
-- is recorded. `at` is before the commit, and after the claim: a later batch of a ticker has a later time. Returns the count by status.
WITH decision AS (
    SELECT *
    FROM json_to_recordset($1::json) AS d (
        id uuid, status text, reason text, reason_code text, reason_params jsonb, detail jsonb, intent text, quantity numeric,
        quantity_unit text, sentiment text, destination text, others json)
), decided AS (
    UPDATE signals s
    SET status = d.status, reason = d.reason, reason_code = d.reason_code, reason_params = d.reason_params,
        status_at = clock_timestamp(), intent = coalesce(d.intent, s.intent), quantity = d.quantity,
        quantity_unit = d.quantity_unit, sentiment = d.sentiment
    FROM decision d
    WHERE s.id = d.id AND s.id = ANY (ARRAY (SELECT id FROM decision)) AND coalesce(s.status = 'received', false)
    RETURNING s.id, s.status, s.round, s.seq, s.type, s.ticker, s.intent, s.quantity, s.quantity_unit, s.sentiment, s.expires_at,
              d.destination, d.others
), ordered AS (
    INSERT INTO orders (signal_id, destination, round, seq, type, ticker, intent, quantity, quantity_unit, sentiment, expires_at, is_shared)
    SELECT id, destination, round, seq, type, ticker, intent, quantity, quantity_unit, sentiment, expires_at, others IS NOT NULL
    FROM decided
    WHERE status = 'approved'
    UNION ALL
    SELECT id, o.destination, round, seq, type, ticker, o.intent, o.quantity, o.quantity_unit, o.sentiment, expires_at, true
    FROM decided
    CROSS JOIN LATERAL json_to_recordset(others) AS o (
        destination text, intent text, quantity numeric, quantity_unit text, sentiment text)
    WHERE status = 'approved' AND others IS NOT NULL
), inserted_event AS (
    INSERT INTO signal_events (signal_id, status, reason, reason_code, reason_params, detail)
    SELECT id, d.status, reason, reason_code, reason_params, detail FROM decision d JOIN decided USING (id)
    RETURNING status
), recorded AS (
    INSERT INTO decision_batches (at, signal_ids, inputs)
    SELECT clock_timestamp(), $2::uuid[], $3::jsonb || CASE
        WHEN (SELECT count(*) FROM decided) = cardinality($2::uuid[]) THEN '{}'
        ELSE jsonb_build_object('ended', (
            SELECT jsonb_agg(number - 1 ORDER BY number) FROM unnest($2::uuid[]) WITH ORDINALITY AS batch (id, number)
            WHERE id NOT IN (SELECT id FROM decided)))
    END
)
SELECT status, count(*) AS signals FROM inserted_event GROUP BY status

-- name: record_batch
-- $1 signals in order, $2 what they were decided by. For reprocessing, in the transaction of its decisions.
INSERT INTO decision_batches (at, signal_ids, inputs) VALUES (clock_timestamp(), $1, $2)

-- name: find_entries_before
-- $1 tickers, $2 for each the `seq` of an exit. The entries that arrived before it and have not ended.
SELECT found.id
FROM unnest($1::text[], $2::bigint[]) AS exit (ticker, seq)
CROSS JOIN LATERAL (
    SELECT id FROM unfinished_signals b WHERE b.ticker = exit.ticker AND b.seq < exit.seq AND b.type = 'buy' OFFSET 0) AS found

-- name: read_risk_counts
-- $1 tickers of the batch, $2 destination's key, $3 when its day began, $4 the cooldown in seconds, $5 the most buys of a day; 0: no such rule.
-- $6 true: positions are counted, $7 destination's name. Nothing is read for a rule that is not set. No exit is decided in this transaction.
-- `positions`: other tickers that are open and not being closed, or being opened. `buys_today`: entries that are pending, or were
-- delivered or may have been executed since $3. At most 10 attempts are read for each of the $5: fails closed, as if they were as many
-- entries. `since_exit`: seconds since the last exit that was delivered there, by ticker, up to $4.
SELECT CASE WHEN $6::boolean THEN (
           SELECT count(*) FROM book_states
           WHERE destination = $7 AND ticker <> ALL ($1) AND CASE WHEN opening THEN true ELSE is_open AND NOT coalesce(closing, false) END)
       ELSE 0 END AS positions,
       CASE WHEN $5::int > 0 THEN (
           SELECT greatest(count(DISTINCT id), count(*) FILTER (WHERE is_ended) / 10) FROM (
               SELECT signal_id AS id, false AS is_ended FROM orders
               WHERE destination = $7 AND ended_at IS NULL AND type = 'buy'
                 AND CASE status WHEN 'sending' THEN true ELSE expires_at > statement_timestamp() END
               UNION ALL
               SELECT signal_id, true FROM (
                   SELECT signal_id FROM attempts
                   WHERE destination = $2 AND ended_at >= $3 AND NOT imported
                     AND outcome IN ('delivered', 'unknown') AND intent IN ('open', 'add')
                   ORDER BY ended_at
                   LIMIT 10 * $5::bigint) AS ended) AS buys)
       ELSE 0 END AS buys_today,
       CASE WHEN $4::int > 0 THEN (
           SELECT jsonb_object_agg(ticker, greatest(0, extract(epoch FROM statement_timestamp() - delivered_at)))
           FROM unnest($1::text[]) AS wanted (ticker)
           CROSS JOIN LATERAL (
               SELECT ended_at AS delivered_at FROM orders o
               WHERE o.destination = $7 AND o.ticker = wanted.ticker AND o.status = 'delivered' AND o.type <> 'buy'
                 AND o.intent IS DISTINCT FROM 'adjust' AND o.ended_at > statement_timestamp() - make_interval(secs => $4::int)
                 AND EXISTS (SELECT FROM signals WHERE id = o.signal_id AND imported_at IS NULL OFFSET 0)
               ORDER BY ended_at DESC
               LIMIT 1) AS newest)
       END AS since_exit

-- name: has_pending_lists
-- From here on: reprocessing of rejected buys. A transaction that approves holds the exclusive approval lock of app/orders.
SELECT EXISTS (SELECT FROM top_n_lists WHERE reprocessed_at IS NULL AND entered <> '{}')

-- name: lock_pending_lists
-- Lists with entered tickers that are not processed yet, oldest first, without those that another process has locked.
SELECT id, strategy, entered FROM top_n_lists
WHERE reprocessed_at IS NULL AND entered <> '{}'
ORDER BY id
LIMIT 20
FOR UPDATE SKIP LOCKED

-- name: mark_lists_processed
-- $1 ids of lists.
UPDATE top_n_lists SET reprocessed_at = clock_timestamp() WHERE id = ANY ($1)

-- name: find_current_list
-- $1 strategy, $2 true while its list is frozen and counts as fresh. The strategy's current list, if it is fresh.
SELECT id, fetched_at, tickers, extract(epoch FROM statement_timestamp() - fetched_at)::float8 AS age_seconds
FROM top_n_lists
WHERE id = (SELECT max(id) FROM top_n_lists WHERE strategy = $1)
  AND ($2::boolean OR max_age_seconds IS NULL
       OR (fetched_at > statement_timestamp() - make_interval(secs => max_age_seconds) AND fetched_at <= clock_timestamp()))

-- name: find_candidates
-- $1 tickers, $2 window and $3 maximum age in seconds (0: no limit), $4 the window for later sells in seconds (0: no limit),
-- NULL if sells do not matter, $5 names of the destinations. Returns for each ticker the newest buy that was rejected because it was not
-- in the list, and `free`: where the ticker has no open position and nothing unfinished. None if nothing is free, or a buy is undecided. A sell that arrived within $4 after the buy supersedes it. Imported history does not count.
SELECT wanted.ticker, found.id, found.seq, found.type, found.body, coalesce(found.source, 'default') AS source, books.free
FROM unnest($1::text[]) WITH ORDINALITY AS wanted (ticker, place)
CROSS JOIN LATERAL (
    SELECT b.id, b.seq, b.type, b.body, b.source
    FROM signals b
    WHERE b.ticker = wanted.ticker AND b.type = 'buy' AND b.status = 'rejected' AND b.reprocessed_at IS NULL
      AND b.imported_at IS NULL AND b.reason_code = 'not_listed' AND b.intent IS DISTINCT FROM 'add'
      AND ($2 = 0 OR b.received_at > statement_timestamp() - make_interval(secs => $2::float8))
      AND ($3 = 0 OR b.received_at > statement_timestamp() - make_interval(secs => $3::float8))
      AND ($4::int IS NULL OR NOT EXISTS (
          SELECT FROM signals s
          WHERE s.ticker = b.ticker AND s.seq > b.seq AND s.type <> 'buy' AND s.imported_at IS NULL
            AND ($4 = 0 OR s.received_at <= b.received_at + make_interval(secs => $4::float8))))
    ORDER BY b.seq DESC
    LIMIT 1
) AS found
CROSS JOIN LATERAL (
    SELECT array_agg(d.name ORDER BY d.place) AS free
    FROM unnest($5::text[]) WITH ORDINALITY AS d (name, place)
    WHERE NOT EXISTS (SELECT FROM book_states p WHERE p.ticker = wanted.ticker AND p.destination = d.name OFFSET 0)) AS books
WHERE books.free IS NOT NULL
  AND NOT EXISTS (
      SELECT FROM unfinished_signals q
      WHERE q.ticker = wanted.ticker AND q.type = 'buy' AND q.is_undecided
      OFFSET 0)
ORDER BY wanted.place

-- name: reject_again
-- $1 ids, $2 reasons, $3 their codes, $4 their parameters: of the risk rules that refuse them.
WITH decision AS (
    SELECT * FROM unnest($1::uuid[], $2::text[], $3::text[], $4::jsonb[]) AS d (id, reason, reason_code, reason_params)
), rejected AS (
    UPDATE signals s
    SET reason = d.reason, reason_code = d.reason_code, reason_params = d.reason_params, status_at = clock_timestamp()
    FROM decision d
    WHERE s.id = d.id AND s.status = 'rejected' AND s.reprocessed_at IS NULL
    RETURNING s.id
)
INSERT INTO signal_events (signal_id, status, reason, reason_code, reason_params)
SELECT id, 'rejected', d.reason, d.reason_code, d.reason_params FROM decision d JOIN rejected USING (id)

-- name: approve_rejected_buys
-- $1 ids, $2 reasons, $3 their codes, $4 their parameters, $5 details, $6 seconds until they expire; $7 ids, each with a destination of
-- $8: one order for each.
WITH decision AS (
    SELECT * FROM unnest($1::uuid[], $2::text[], $3::text[], $4::jsonb[], $5::jsonb[])
        AS d (id, reason, reason_code, reason_params, detail)
), approved AS (
    UPDATE signals s
    SET status = 'approved', status_at = clock_timestamp(), reason = d.reason, reason_code = d.reason_code,
        reason_params = d.reason_params, reprocessed_at = clock_timestamp(), renewed_at = clock_timestamp(),
        expires_at = clock_timestamp() + make_interval(secs => $6::float8)
    FROM decision d
    WHERE s.id = d.id AND s.status = 'rejected' AND s.reprocessed_at IS NULL
    RETURNING s.id, s.round, s.seq, s.type, s.ticker, s.intent, s.quantity, s.quantity_unit, s.sentiment, s.expires_at
), ordered AS (
    INSERT INTO orders (signal_id, destination, round, seq, type, ticker, intent, quantity, quantity_unit, sentiment, expires_at, is_shared)
    SELECT id, o.destination, round, seq, type, ticker, intent, quantity, quantity_unit, sentiment, expires_at,
           count(*) OVER (PARTITION BY id) > 1
    FROM approved JOIN unnest($7::uuid[], $8::text[]) AS o (id, destination) USING (id)
)
INSERT INTO signal_events (signal_id, status, reason, reason_code, reason_params, detail)
SELECT id, 'approved', d.reason, d.reason_code, d.reason_params, d.detail FROM decision d JOIN approved USING (id)
