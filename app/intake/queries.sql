-- name: store_posts
-- $1 JSON array of posts, each with one key at most. Stores them in one statement, and so in one round trip. A post that is
-- not counted has a key that is held: the statements below resolve it in a transaction.
WITH post AS (
    SELECT place, id, type, intent, ticker, max_age, reason, detail, sender_signal_id, price, decode(body, 'base64') AS body,
           decode(key, 'base64') AS key, decode(digest, 'base64') AS digest, seconds
    FROM json_to_recordset($1::json) AS post (
        place integer, id uuid, type text, intent text, ticker text, max_age integer, reason text, detail jsonb,
        sender_signal_id text, price numeric, body text, key text, digest text, seconds integer
    )
), acquired AS (
    INSERT INTO intake_keys AS held (key, signal_id, body_digest, expires_at)
    SELECT key, id, digest, now() + make_interval(secs => seconds) FROM post WHERE key IS NOT NULL ORDER BY key
    ON CONFLICT (key) DO UPDATE
        SET signal_id = excluded.signal_id, body_digest = excluded.body_digest, expires_at = excluded.expires_at
        WHERE held.expires_at <= now()
    RETURNING signal_id
), stored AS (
    INSERT INTO signals (id, status, type, intent, ticker, expires_at, reason, sender_signal_id, price, body)
    SELECT
        id, CASE WHEN type IS NULL THEN 'rejected' ELSE 'received' END, type, intent, ticker,
        clock_timestamp() + make_interval(secs => max_age), reason, sender_signal_id, price, body
    FROM post
    WHERE key IS NULL OR id IN (SELECT signal_id FROM acquired)
    ORDER BY place
    ON CONFLICT (id) DO NOTHING  -- the batch is repeated if the result of its commit was lost
    RETURNING id, seq, status, reason, received_at
), inserted_event AS (
    INSERT INTO signal_events (signal_id, at, status, reason, detail)
    SELECT id, received_at, event.status, event.reason, event.detail
    FROM stored JOIN post USING (id), LATERAL (
        VALUES (1, 'received', '', post.detail), (2, stored.status, stored.reason, '{}')) AS event (place, status, reason, detail)
    WHERE event.place = 1 OR stored.status = 'rejected'
    ORDER BY seq, event.place
)
SELECT count(*) FROM stored;

-- name: acquire_keys
-- $1 keys, $2 ids of their signals, $3 digests of their bodies, $4 seconds until they expire. Returns the keys acquired.
-- Sorted, so that two processes with the same keys wait for each other instead of deadlocking.
-- A key that is held stays locked to the end of the transaction, so its owner cannot change before find_key_owners reads it.
INSERT INTO intake_keys AS held (key, signal_id, body_digest, expires_at)
SELECT key, signal_id, digest, now() + make_interval(secs => seconds)
FROM unnest($1::bytea[], $2::uuid[], $3::bytea[], $4::integer[]) AS post (key, signal_id, digest, seconds)
ORDER BY key
ON CONFLICT (key) DO UPDATE
    SET signal_id = excluded.signal_id, body_digest = excluded.body_digest, expires_at = excluded.expires_at
    WHERE held.expires_at <= now()
RETURNING key;

-- name: find_key_owners
-- $1 keys.
SELECT key, signal_id, body_digest FROM intake_keys WHERE key = ANY ($1::bytea[]);

-- name: transfer_keys
-- $1 keys, $2 ids of the signals that own them from now on.
UPDATE intake_keys SET signal_id = transfer.signal_id
FROM unnest($1::bytea[], $2::uuid[]) AS transfer (key, signal_id)
WHERE intake_keys.key = transfer.key;

-- name: release_keys
-- $1 keys.
DELETE FROM intake_keys WHERE key = ANY ($1::bytea[]);

-- name: insert_signals
-- $1 JSON array of posts.
WITH post AS (
    SELECT * FROM json_to_recordset($1::json) AS post (
        place integer, id uuid, type text, intent text, ticker text, max_age integer, reason text, detail jsonb,
        sender_signal_id text, price numeric, body text
    )
), stored AS (
    INSERT INTO signals (id, status, type, intent, ticker, expires_at, reason, sender_signal_id, price, body)
    SELECT
        id, CASE WHEN type IS NULL THEN 'rejected' ELSE 'received' END, type, intent, ticker,
        clock_timestamp() + make_interval(secs => max_age), reason, sender_signal_id, price,
        decode(body, 'base64')
    FROM post
    ORDER BY place
    ON CONFLICT (id) DO NOTHING
    RETURNING id, seq, status, reason, received_at
)
INSERT INTO signal_events (signal_id, at, status, reason, detail)
SELECT id, received_at, event.status, event.reason, event.detail
FROM stored JOIN post USING (id), LATERAL (
    VALUES (1, 'received', '', post.detail), (2, stored.status, stored.reason, '{}')) AS event (place, status, reason, detail)
WHERE event.place = 1 OR stored.status = 'rejected'
ORDER BY seq, event.place;

-- name: insert_refused_posts
-- $1 times, $2 HTTP statuses, $3 reasons, $4 client addresses, $5 sizes in bytes, $6 beginnings of the bodies.
INSERT INTO refused_posts (at, status, reason, client, size, head)
SELECT at, status, reason, client, size, head
FROM unnest($1::timestamptz[], $2::smallint[], $3::text[], $4::text[], $5::integer[], $6::bytea[])
    AS post (at, status, reason, client, size, head);

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
