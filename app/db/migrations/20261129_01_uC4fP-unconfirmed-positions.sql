-- positions that may be open, and sells that failed
-- depends: 20261128_01_nL3wB-attempt-counts 20261128_04_sE5wX-ended-sessions

-- migrate: apply

-- False: the position may be open. `buys` counts the delivered buys only, so it may be 0.
ALTER TABLE positions ADD COLUMN confirmed boolean NOT NULL DEFAULT true;

CREATE INDEX signals_sells_undelivered ON signals (ticker) WHERE status IN ('failed', 'expired') AND type <> 'buy';
CREATE INDEX signals_sells_undelivered_at ON signals (status_at) WHERE status IN ('failed', 'expired') AND type <> 'buy';
DROP INDEX signals_sells_expired;
DROP INDEX signals_sells_expired_at;

-- migrate: rollback

CREATE INDEX signals_sells_expired_at ON signals (status_at) WHERE status = 'expired' AND type <> 'buy';
CREATE INDEX signals_sells_expired ON signals (ticker) WHERE status = 'expired' AND type <> 'buy';
DROP INDEX signals_sells_undelivered_at;
DROP INDEX signals_sells_undelivered;

ALTER TABLE positions DROP COLUMN confirmed;
