-- refusals of actions and errors of refreshes as a code with parameters
-- depends: 20261129_13_bK8vH-booked-attempts

-- migrate: apply

-- Beside the English text, see app/signals/reasons.py; NULL where the text has no code.
ALTER TABLE actions ADD COLUMN result_code text, ADD COLUMN result_params jsonb;
ALTER TABLE screener_refreshes ADD COLUMN error_code text, ADD COLUMN error_params jsonb;

-- migrate: rollback

ALTER TABLE screener_refreshes DROP COLUMN error_code, DROP COLUMN error_params;
ALTER TABLE actions DROP COLUMN result_code, DROP COLUMN result_params;
