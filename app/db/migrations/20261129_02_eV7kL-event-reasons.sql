-- reasons of events as a code with parameters
-- depends: 20261129_01_cR4nT-signal-reasons

-- migrate: apply

ALTER TABLE signal_events ADD COLUMN reason_code text, ADD COLUMN reason_params jsonb;

-- migrate: rollback

ALTER TABLE signal_events DROP COLUMN reason_code, DROP COLUMN reason_params;
