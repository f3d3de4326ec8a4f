-- Typed functions over these statements: app/alarms/repository.py.

-- name: settle
-- $1 code, $2 subject, $3 until when. A later moment that another person settled stays.
INSERT INTO settled_alarms (code, subject, until) VALUES ($1, $2, $3)
ON CONFLICT (code, subject) DO UPDATE SET until = greatest(settled_alarms.until, excluded.until)
