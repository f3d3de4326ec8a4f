-- sells that ended undelivered, found by their ticker
-- depends: 20261129_07_eT9sW-folded-history

-- migrate: apply

CREATE INDEX signals_sells_undelivered ON signals (ticker) WHERE status IN ('failed', 'expired') AND type <> 'buy';

-- migrate: rollback

DROP INDEX signals_sells_undelivered;
