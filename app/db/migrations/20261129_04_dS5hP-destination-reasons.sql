-- reasons of destinations as a code with parameters
-- depends: 20261129_03_aT2wM-attempt-errors

-- migrate: apply

ALTER TABLE destinations ADD COLUMN reason_code text, ADD COLUMN reason_params jsonb;

-- migrate: rollback

ALTER TABLE destinations DROP COLUMN reason_code, DROP COLUMN reason_params;
