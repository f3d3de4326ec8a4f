-- delivered exits by ticker, for the check of each open position
-- depends: 20261129_10_eS5xC-expired-sells

-- migrate: apply

CREATE INDEX signals_exits_delivered ON signals (ticker, seq) WHERE status = 'forwarded' AND type <> 'buy';

-- migrate: rollback

DROP INDEX signals_exits_delivered;
