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
