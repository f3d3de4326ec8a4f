-- name: store_posts
-- $1 JSON array of posts, each with one key at most, no two with the same. Stores them in one statement, and so in one round trip.
-- Stores none of them if a key is held: the statements below then resolve all in a transaction, in their order. That transaction
-- stores the new ones by this statement, too, without keys.
WITH post AS (
    SELECT place, id, source, type, intent, ticker, max_age, coalesce(reason, '') AS reason, reason_code, reason_params,
           coalesce(detail, '{}') AS detail, sender_signal_id, price,
           decode(body, 'base64') AS body, decode(key, 'base64') AS key, decode(digest, 'base64') AS digest, seconds
    FROM json_to_recordset($1::json) AS post (
        place integer, id uuid, source text, type text, intent text, ticker text, max_age integer, reason text, reason_code text,
        reason_params jsonb, detail jsonb, sender_signal_id text, price numeric, body text, key text, digest text,
        seconds integer
    )
), acquired AS (
    INSERT INTO intake_keys AS held (key, signal_id, body_digest, expires_at)
    SELECT key, id, digest, now() + make_interval(secs => seconds) FROM post WHERE key IS NOT NULL ORDER BY key
    ON CONFLICT (key) DO UPDATE
        SET signal_id = excluded.signal_id, body_digest = excluded.body_digest, expires_at = excluded.expires_at
        WHERE held.expires_at <= now()
    RETURNING signal_id
), stored AS (
    INSERT INTO signals (id, status, source, type, intent, ticker, expires_at, reason, reason_code, reason_params,
                         sender_signal_id, price, body)
    SELECT
        id, CASE WHEN reason_code IS NULL THEN 'received' ELSE 'rejected' END, source, type, intent, ticker,
        clock_timestamp() + make_interval(secs => max_age), reason, reason_code, reason_params, sender_signal_id,
        price, body
    FROM post
    WHERE (SELECT count(*) FROM acquired) = (SELECT count(key) FROM post)
    ORDER BY place
    ON CONFLICT (id) DO NOTHING  -- the batch is repeated if the result of its commit was lost
    RETURNING id, seq, status, reason, received_at
), inserted_event AS (
    INSERT INTO signal_events (signal_id, at, status, reason, reason_code, reason_params, detail)
    SELECT id, received_at, event.status, event.reason, event.reason_code, event.reason_params, event.detail
    FROM stored JOIN post USING (id), LATERAL (VALUES
        (1, 'received', '', NULL, NULL, post.detail),
        (2, stored.status, stored.reason, post.reason_code, post.reason_params, '{}')
    ) AS event (place, status, reason, reason_code, reason_params, detail)
    WHERE event.place = 1 OR stored.status = 'rejected'
    ORDER BY seq, event.place
)
SELECT count(*) FROM stored;

-- name: count_last_minute
-- $1 names of sources, $2 how many signals of each to count at most. How many of them arrived within the last minute; imported history
-- did not, nor did a time ahead of the clock. statement_timestamp() is stable, so that the index by arrival serves.
SELECT quota.source, newest.signals
FROM unnest($1::text[], $2::integer[]) AS quota (source, most)
CROSS JOIN LATERAL (
    SELECT count(*) AS signals
    FROM (
        SELECT FROM signals
        WHERE source_of(source, type) = quota.source AND imported_at IS NULL
          AND received_at > statement_timestamp() - interval '1 minute' AND received_at <= clock_timestamp()
        LIMIT quota.most
    ) AS arrival
) AS newest;

-- name: find_stored
-- $1 ids of signals. Those that are stored.
SELECT id FROM signals WHERE id = ANY ($1::uuid[]);

-- name: last_arrivals
-- $1 names of sources. When the newest signal of each arrived; imported history does not count. Those of `default` have no index: it
-- has none if there is none among the newest 100,000 signals.
SELECT wanted.source, newest.at
FROM unnest($1::text[]) AS wanted (source)
CROSS JOIN LATERAL (
    (SELECT received_at AS at FROM signals
     WHERE wanted.source <> 'default' AND source = wanted.source AND imported_at IS NULL
     ORDER BY seq DESC
     LIMIT 1)
    UNION ALL
    (SELECT received_at FROM signals
     WHERE wanted.source = 'default' AND source_of(source, type) = 'default' AND imported_at IS NULL
       AND seq > (SELECT max(seq) FROM signals) - 100000
     ORDER BY seq DESC
     LIMIT 1)
) AS newest;

-- name: acquire_keys
-- $1 keys, $2 ids of their signals, $3 digests of their bodies, $4 seconds until they expire, $5 ids of all posts of the batch, whose
-- keys are free to it: it is repeated if the result of its commit was lost. Returns the keys acquired.
-- Sorted, so that two processes with the same keys wait for each other instead of deadlocking.
-- A key that is held stays locked to the end of the transaction, so its owner cannot change before find_key_owners reads it.
INSERT INTO intake_keys AS held (key, signal_id, body_digest, expires_at)
SELECT key, signal_id, digest, now() + make_interval(secs => seconds)
FROM unnest($1::bytea[], $2::uuid[], $3::bytea[], $4::integer[]) AS post (key, signal_id, digest, seconds)
ORDER BY key
ON CONFLICT (key) DO UPDATE
    SET signal_id = excluded.signal_id, body_digest = excluded.body_digest, expires_at = excluded.expires_at
    WHERE held.expires_at <= now() OR held.signal_id = ANY ($5::uuid[])
RETURNING key;

-- name: find_key_owners
-- $1 keys, $2 ids of all posts of the batch: no signal of theirs came since. A person's order did; imported history did not.
SELECT held.key, held.signal_id, held.body_digest,
       NOT EXISTS (SELECT FROM unanswered_posts u WHERE u.signal_id = s.id) AS is_answered,
       coalesce(s.status IN ('rejected', 'failed', 'expired'), true) AS is_over,
       EXISTS (
           SELECT FROM signals later
           WHERE later.ticker = s.ticker AND later.seq > s.seq AND later.imported_at IS NULL AND later.id <> ALL ($2::uuid[])
       ) AS is_followed,
       coalesce(s.type = 'sell', false) AND EXISTS (
           SELECT FROM signal_events e WHERE e.signal_id = s.id AND e.detail ->> 'position' = 'closed') AS has_closed
FROM intake_keys held
LEFT JOIN signals s ON s.id = held.signal_id
WHERE held.key = ANY ($1::bytea[]);

-- name: transfer_keys
-- $1 keys, $2 ids of the signals that own them from now on, $3 seconds until they expire.
UPDATE intake_keys SET signal_id = transfer.signal_id, expires_at = now() + make_interval(secs => seconds)
FROM unnest($1::bytea[], $2::uuid[], $3::integer[]) AS transfer (key, signal_id, seconds)
WHERE intake_keys.key = transfer.key;

-- name: release_keys
-- $1 keys.
DELETE FROM intake_keys WHERE key = ANY ($1::bytea[]);

-- name: insert_duplicates
-- $1 ids of signals, $2 reasons, $3 their codes, $4 whether the post's 202 answers the signal's sender, too, $5 whether an exit is lost
-- by it; one each for each post that is their duplicate. The status stays as it is.
WITH post AS (
    SELECT *
    FROM unnest($1::uuid[], $2::text[], $3::text[], $4::boolean[], $5::boolean[]) WITH ORDINALITY
        AS post (signal_id, reason, reason_code, is_answer, is_swallowed_exit, place)
), answered AS (
    DELETE FROM unanswered_posts WHERE signal_id IN (SELECT signal_id FROM post WHERE is_answer)
), swallowed AS (
    INSERT INTO swallowed_exits (signal_id, ticker)
    SELECT s.id, s.ticker FROM post JOIN signals s ON s.id = post.signal_id WHERE post.is_swallowed_exit
)
INSERT INTO signal_events (signal_id, status, reason, reason_code, reason_params)
SELECT s.id, s.status, post.reason, post.reason_code, '{}'
FROM post
JOIN signals s ON s.id = post.signal_id
ORDER BY post.place
FOR KEY SHARE OF s;

-- name: insert_unanswered_posts
-- $1 ids of signals. Sorted, so that two processes with the same ids do not deadlock.
INSERT INTO unanswered_posts (signal_id) SELECT unnest($1::uuid[]) ORDER BY 1 ON CONFLICT DO NOTHING;

-- name: insert_posts_of_crash
-- $1 seconds. If a process crashed: the signals that are at most so old may be unanswered.
WITH crashed AS (
    DELETE FROM intake_processes p
    WHERE NOT EXISTS (
        SELECT FROM pg_stat_activity a
        WHERE a.pid = p.backend_pid AND coalesce(a.backend_start, p.backend_start) = p.backend_start)
    RETURNING id
)
INSERT INTO unanswered_posts (signal_id)
SELECT id FROM signals
WHERE EXISTS (SELECT FROM crashed)
  AND received_at > statement_timestamp() - make_interval(secs => $1)  -- stable, so that the index serves
  AND received_at <= clock_timestamp()
ON CONFLICT DO NOTHING;

-- name: purge_unanswered_posts
-- $1 seconds, $2 limit.
DELETE FROM unanswered_posts WHERE signal_id IN (
    SELECT signal_id FROM unanswered_posts WHERE at < now() - make_interval(secs => $1) ORDER BY at LIMIT $2
);

-- name: upsert_process
-- $1 id of the process. Its connection is the one that runs this.
INSERT INTO intake_processes (id, backend_pid, backend_start)
SELECT $1, pid, backend_start FROM pg_stat_activity WHERE pid = pg_backend_pid()
ON CONFLICT (id) DO UPDATE SET backend_pid = excluded.backend_pid, backend_start = excluded.backend_start;

-- name: delete_process
-- $1 id of the process.
DELETE FROM intake_processes WHERE id = $1;

-- name: insert_refused_posts
-- $1 times, $2 HTTP statuses, $3 reasons, $4 their codes, $5 their parameters, $6 client addresses, $7 sizes in bytes, $8 beginnings
-- of the bodies.
INSERT INTO refused_posts (at, status, reason, reason_code, reason_params, client, size, head)
SELECT at, status, reason, reason_code, reason_params, client, size, head
FROM unnest($1::timestamptz[], $2::smallint[], $3::text[], $4::text[], $5::jsonb[], $6::text[], $7::integer[], $8::bytea[])
    AS post (at, status, reason, reason_code, reason_params, client, size, head);

-- name: trim_refused_posts
-- $1 how many of the newest to keep.
DELETE FROM refused_posts WHERE id <= (SELECT id FROM refused_posts ORDER BY id DESC OFFSET $1 LIMIT 1);

-- name: purge_expired_keys
-- $1 limit.
DELETE FROM intake_keys WHERE key IN (
    SELECT key FROM intake_keys WHERE expires_at <= now() ORDER BY expires_at LIMIT $1 FOR UPDATE SKIP LOCKED
);

-- name: probe_insert
-- Writes to every table that a post writes to, to test whether that is possible; the transaction is rolled back.
WITH signal AS (
    INSERT INTO signals (id, status, ticker, expires_at, body)
    VALUES (gen_random_uuid(), 'rejected', 'NONE', statement_timestamp(), '')
    RETURNING id
), held_key AS (
    INSERT INTO intake_keys (key, signal_id, body_digest, expires_at)
    SELECT uuid_send(id), id, '', statement_timestamp() FROM signal
)
INSERT INTO signal_events (signal_id, status) SELECT id, 'rejected' FROM signal
