-- alerts that could not be read, found by their ticker
-- depends: 20261129_04_iT5vL-intents

-- migrate: apply

CREATE INDEX signals_unread ON signals (ticker) WHERE intent = 'unread';

-- migrate: rollback

DROP INDEX signals_unread;
