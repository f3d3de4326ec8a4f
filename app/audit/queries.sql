-- The actions log. Used by repository.py only.

-- name: insert_action
-- $1 session, $2 origin, $3 name of the token, or NULL, $4 action, $5 target, $6 before and $7 after as JSON or NULL, $8 result, $9 the
-- code of its refusal and $10 the parameters, or NULL.
INSERT INTO actions (session, origin, actor, action, target, before, after, result, result_code, result_params)
VALUES ($1, $2, $3, $4, $5, $6, $7, $8, $9, $10)
