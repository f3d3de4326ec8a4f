-- positions that may be open, after an order of unknown outcome
-- depends: 20261128_01_nL3wB-attempt-counts 20261128_04_sE5wX-ended-sessions

-- migrate: apply

-- False: the position may be open. `buys` counts the delivered buys only, so it may be 0.
ALTER TABLE positions ADD COLUMN confirmed boolean NOT NULL DEFAULT true;

-- migrate: rollback

ALTER TABLE positions DROP COLUMN confirmed;
