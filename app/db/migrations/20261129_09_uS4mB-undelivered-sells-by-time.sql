-- sells that ended undelivered lately
-- depends: 20261129_08_uS3lA-undelivered-sells

-- migrate: apply

CREATE INDEX signals_sells_undelivered_at ON signals (status_at) WHERE status IN ('failed', 'expired') AND type <> 'buy';

-- migrate: rollback

DROP INDEX signals_sells_undelivered_at;
