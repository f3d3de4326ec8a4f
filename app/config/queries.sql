-- The configuration in force, which the processes of one stack agree on.

-- name: lock
-- Until the transaction ends nobody else changes the configuration, in any process.
SELECT pg_advisory_xact_lock(hashtextextended('configuration', 0))

-- name: revision
SELECT revision FROM configuration

-- name: current
SELECT revision, documents FROM configuration

-- name: store
-- $1 revision, the one after that in force; $2 documents. Under the lock.
INSERT INTO configuration (revision, documents) VALUES ($1, $2)
ON CONFLICT (only_row) DO UPDATE
SET revision = excluded.revision, at = clock_timestamp(), documents = excluded.documents
