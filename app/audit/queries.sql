-- The actions log. Used by repository.py only.

-- name: insert_action
-- $1 session, $2 origin, $3 action, $4 target, $5 before and $6 after as JSON or NULL, $7 result, $8 the code of its refusal and
-- $9 the parameters, or NULL.
INSERT INTO actions (session, origin, action, target, before, after, result, result_code, result_params)
VALUES ($1, $2, $3, $4, $5, $6, $7, $8, $9)
