-- The log of who changed what.

-- name: record
-- $1 session, $2 origin, $3 action, $4 target, $5 before, $6 after, $7 result.
INSERT INTO actions (session, origin, action, target, before, after, result) VALUES ($1, $2, $3, $4, $5, $6, $7)
