-- The configuration in force, which the processes of one stack agree on, and the log of who changed what.

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

-- name: record
-- $1 session, $2 origin, $3 action, $4 target, $5 before, $6 after, $7 result.
INSERT INTO actions (session, origin, action, target, before, after, result) VALUES ($1, $2, $3, $4, $5, $6, $7)
