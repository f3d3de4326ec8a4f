-- reasons of signals as a code with parameters
-- depends: 20261128_01_nL3wB-attempt-counts 20261128_04_sE5wX-ended-sessions

-- migrate: apply

-- Beside the English text, see app/signals/reasons.py; NULL where the text has no code.
-- One table in a step: the lock that a new column takes is held until its transaction ends.
ALTER TABLE signals ADD COLUMN reason_code text, ADD COLUMN reason_params jsonb;

-- migrate: rollback

ALTER TABLE signals DROP COLUMN reason_code, DROP COLUMN reason_params;
