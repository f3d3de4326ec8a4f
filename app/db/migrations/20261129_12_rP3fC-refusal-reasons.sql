-- reasons of refused posts as a code with parameters
-- depends: 20261129_11_sX6aM-alarms-of-exits

-- migrate: apply

-- NULL: stored by an earlier version.
ALTER TABLE refused_posts ADD COLUMN reason_code text, ADD COLUMN reason_params jsonb;

-- migrate: rollback

ALTER TABLE refused_posts DROP COLUMN reason_code, DROP COLUMN reason_params;
