-- Who approves orders: the decision workers side by side, everybody else one at a time and without them.

-- name: share
-- Any number of transactions may hold it at once.
SELECT pg_advisory_xact_lock_shared(hashtextextended('approvals', 0))

-- name: own
-- Until the transaction ends nobody else approves anything, in any process.
SELECT pg_advisory_xact_lock(hashtextextended('approvals', 0))
