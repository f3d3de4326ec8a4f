-- signals whose age began anew, and sells that expired
-- depends: 20261122_02_cF7mR-configuration 20261122_03_pT9wK-steering

-- migrate: apply

-- When its age began anew, by reprocessing or a replay; NULL: it counts from its arrival.
ALTER TABLE signals ADD COLUMN renewed_at timestamptz;

-- Sells that expired while their position stays open are an alarm.
CREATE INDEX signals_sells_expired ON signals (ticker) WHERE status = 'expired' AND type <> 'buy';

-- No version ever wrote it: the signal of a failed probe waits longer instead.
ALTER TABLE destinations DROP COLUMN last_probe;

-- migrate: rollback

ALTER TABLE destinations ADD COLUMN last_probe uuid;
DROP INDEX signals_sells_expired;
ALTER TABLE signals DROP COLUMN renewed_at;
