-- The whole intake of posts that have one key at the most, in one statement and so one round trip. A post that is not
-- counted has a key that is held: the statements below, in a transaction, say what it is.

-- name: store_posts
WITH post AS (
    SELECT place, id, type, ticker, max_age, reason, sender_signal_id, price, decode(body, 'base64') AS body,
           decode(key, 'base64') AS key, decode(digest, 'base64') AS digest, seconds
    FROM json_to_recordset($1::json) AS post (
        place integer, id uuid, type text, ticker text, max_age integer, reason text, sender_signal_id text, price numeric,
        body text, key text, digest text, seconds integer
    )
), taken AS (
    INSERT INTO intake_keys AS held (key, signal_id, body_digest, expires_at)
    SELECT key, id, digest, now() + make_interval(secs => seconds) FROM post WHERE key IS NOT NULL ORDER BY key
    ON CONFLICT (key) DO UPDATE
        SET signal_id = excluded.signal_id, body_digest = excluded.body_digest, expires_at = excluded.expires_at
        WHERE held.expires_at <= now()
    RETURNING signal_id
), stored AS (
    INSERT INTO signals (id, status, type, ticker, expires_at, reason, sender_signal_id, price, body)
    SELECT
        id, CASE WHEN type IS NULL THEN 'rejected' ELSE 'received' END, type, ticker,
        clock_timestamp() + make_interval(secs => max_age), reason, sender_signal_id, price, body
    FROM post
    WHERE key IS NULL OR id IN (SELECT signal_id FROM taken)
    ORDER BY place
    ON CONFLICT (id) DO NOTHING  -- this batch again, after its first commit's outcome got lost
    RETURNING id, seq, status, reason, received_at
), told AS (
    INSERT INTO signal_events (signal_id, at, status, reason)
    SELECT id, received_at, event.status, event.reason
    FROM stored, LATERAL (VALUES (1, 'received', ''), (2, stored.status, stored.reason)) AS event (place, status, reason)
    WHERE event.place = 1 OR stored.status = 'rejected'
    ORDER BY seq, event.place
)
SELECT count(*) FROM stored;

-- Sorted, so that two processes with the same keys wait for one another instead of locking each other out.
-- A key that is held stays locked to the end of the transaction, so its owner cannot change before key_owners reads it.

-- name: take_keys
INSERT INTO intake_keys AS held (key, signal_id, body_digest, expires_at)
SELECT key, signal_id, digest, now() + make_interval(secs => seconds)
FROM unnest($1::bytea[], $2::uuid[], $3::bytea[], $4::integer[]) AS post (key, signal_id, digest, seconds)
ORDER BY key
ON CONFLICT (key) DO UPDATE
    SET signal_id = excluded.signal_id, body_digest = excluded.body_digest, expires_at = excluded.expires_at
    WHERE held.expires_at <= now()
RETURNING key;

-- name: key_owners
SELECT key, signal_id, body_digest FROM intake_keys WHERE key = ANY ($1::bytea[]);

-- name: hand_over_keys
UPDATE intake_keys SET signal_id = given.first
FROM unnest($1::bytea[], $2::uuid[]) AS given (key, first)
WHERE intake_keys.key = given.key;

-- name: give_back_keys
DELETE FROM intake_keys WHERE key = ANY ($1::bytea[]);

-- name: insert_signals
WITH stored AS (
    INSERT INTO signals (id, status, type, ticker, expires_at, reason, sender_signal_id, price, body)
    SELECT
        id, CASE WHEN type IS NULL THEN 'rejected' ELSE 'received' END, type, ticker,
        clock_timestamp() + make_interval(secs => max_age), reason, sender_signal_id, price,
        decode(body, 'base64')
    FROM json_to_recordset($1::json) AS post (
        place integer, id uuid, type text, ticker text, max_age integer, reason text, sender_signal_id text, price numeric,
        body text
    )
    ORDER BY place
    ON CONFLICT (id) DO NOTHING
    RETURNING id, seq, status, reason, received_at
)
INSERT INTO signal_events (signal_id, at, status, reason)
SELECT id, received_at, event.status, event.reason
FROM stored, LATERAL (VALUES (1, 'received', ''), (2, stored.status, stored.reason)) AS event (place, status, reason)
WHERE event.place = 1 OR stored.status = 'rejected'
ORDER BY seq, event.place;

-- name: insert_refused
INSERT INTO refused_posts (at, status, reason, client, size, head)
SELECT at, status, reason, client, size, head
FROM unnest($1::timestamptz[], $2::smallint[], $3::text[], $4::text[], $5::integer[], $6::bytea[])
    AS post (at, status, reason, client, size, head);

-- name: trim_refused
DELETE FROM refused_posts WHERE id <= (SELECT id FROM refused_posts ORDER BY id DESC OFFSET $1 LIMIT 1);

-- name: purge_keys
DELETE FROM intake_keys WHERE key IN (
    SELECT key FROM intake_keys WHERE expires_at <= now() ORDER BY expires_at LIMIT $1 FOR UPDATE SKIP LOCKED
);

-- name: try_writing
-- What a post writes, for a transaction that is rolled back: whether it can be written at all.
WITH signal AS (
    INSERT INTO signals (id, status, ticker, expires_at, body)
    VALUES (gen_random_uuid(), 'rejected', 'NONE', statement_timestamp(), '')
    RETURNING id
)
INSERT INTO signal_events (signal_id, status) SELECT id, 'rejected' FROM signal
