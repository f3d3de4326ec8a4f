-- errors of attempts as a code with parameters
-- depends: 20261129_02_eV7kL-event-reasons

-- migrate: apply

ALTER TABLE attempts ADD COLUMN error_code text, ADD COLUMN error_params jsonb;

-- migrate: rollback

ALTER TABLE attempts DROP COLUMN error_code, DROP COLUMN error_params;
