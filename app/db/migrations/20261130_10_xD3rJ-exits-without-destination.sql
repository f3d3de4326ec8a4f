-- exits that no destination takes, found by their ticker
-- depends: 20261130_09_dE4xC-delivered-exits-by-destination

-- migrate: apply

CREATE INDEX signals_without_destination ON signals (ticker) WHERE reason_code = 'no_destination' AND status = 'rejected' AND type <> 'buy';

-- migrate: rollback

DROP INDEX signals_without_destination;
