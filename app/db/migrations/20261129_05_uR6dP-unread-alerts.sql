-- alerts that could not be read, found by their ticker
-- depends: 20261129_05_uF4sV-unfinished-signals

-- migrate: apply

CREATE INDEX signals_unread ON signals (ticker) WHERE intent = 'unread';

-- migrate: rollback

DROP INDEX signals_unread;
