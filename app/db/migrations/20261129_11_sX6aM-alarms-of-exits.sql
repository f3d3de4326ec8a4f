-- partial exits that were taken for duplicates, and alarms that a person has settled
-- depends: 20261129_10_eS5xC-expired-sells

-- migrate: apply

-- A partial exit that only its body made a duplicate, while the first one closed no position: it was not executed.
CREATE TABLE swallowed_exits (
    signal_id uuid NOT NULL,             -- the first one
    ticker    text NOT NULL,
    at        timestamptz NOT NULL DEFAULT clock_timestamp()
);
CREATE INDEX swallowed_exits_by_ticker ON swallowed_exits (ticker);

-- What happened up to `until` is no alarm of this code and subject any more.
CREATE TABLE settled_alarms (
    code    text NOT NULL,
    subject text NOT NULL,               -- a ticker, or empty
    until   timestamptz NOT NULL,
    PRIMARY KEY (code, subject)
);

-- migrate: rollback

DROP TABLE swallowed_exits, settled_alarms;
