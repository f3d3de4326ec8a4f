-- sells that expired lately, found without reading all that ever expired
-- depends: 20261122_04_vB2sN-renewal

-- migrate: apply

CREATE INDEX signals_sells_expired_at ON signals (status_at) WHERE status = 'expired' AND type <> 'buy';

-- migrate: rollback

DROP INDEX signals_sells_expired_at;
