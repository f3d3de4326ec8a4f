-- The actions log. Used by repository.py only.

-- name: insert_action
-- $1 session, $2 origin, $3 action, $4 target, $5 before and $6 after as JSON or NULL, $7 result.
INSERT INTO actions (session, origin, action, target, before, after, result) VALUES ($1, $2, $3, $4, $5, $6, $7)
