-- the indexes of expired sells: those of undelivered ones serve the same
-- depends: 20261129_09_uS4mB-undelivered-sells-by-time

-- migrate: apply

DROP INDEX signals_sells_expired;
DROP INDEX signals_sells_expired_at;

-- migrate: rollback

CREATE INDEX signals_sells_expired_at ON signals (status_at) WHERE status = 'expired' AND type <> 'buy';
CREATE INDEX signals_sells_expired ON signals (ticker) WHERE status = 'expired' AND type <> 'buy';
