-- The current configuration, which the processes of one stack share. Used by repository.py only.

-- name: lock
-- Until the transaction ends no other process changes the configuration.
SELECT pg_advisory_xact_lock(hashtextextended('configuration', 0))

-- name: current_number
SELECT revision FROM configuration

-- name: current
SELECT revision, documents FROM configuration

-- name: store
-- $1 revision, one more than the current one; $2 documents as JSON. Under the lock.
INSERT INTO configuration (revision, documents) VALUES ($1, $2)
ON CONFLICT (only_row) DO UPDATE
SET revision = excluded.revision, at = clock_timestamp(), documents = excluded.documents

-- name: destinations_in_use
-- $1 names of destinations. Those where anything is open or unfinished, with its tickers.
SELECT destination AS name,
       coalesce(array_agg(ticker ORDER BY ticker) FILTER (WHERE is_open), '{}')     AS open,
       coalesce(array_agg(ticker ORDER BY ticker) FILTER (WHERE NOT is_open), '{}') AS pending
FROM book_states
WHERE destination = ANY ($1)
GROUP BY destination
ORDER BY destination

-- name: revoke_tokens
-- $1 the SHA-256 of each token. In the transaction of what removes them.
INSERT INTO revoked_tokens (sha256) SELECT DISTINCT sha256 FROM unnest($1::text[]) AS sha256 ORDER BY sha256
ON CONFLICT (sha256) DO NOTHING
