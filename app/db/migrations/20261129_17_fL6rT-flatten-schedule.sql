-- when all positions are sold next, by `risk.flatten_at`
-- depends: 20261129_16_sL4qE-expected-sources

-- migrate: apply

-- One row, or none before the first time is configured. It decides which process sells: the one that moves `due_at` on. Without a
-- configured time the row stays, so that what was handled is not handled again.
CREATE TABLE flatten_schedule (
    only_row       boolean PRIMARY KEY DEFAULT true CHECK (only_row),
    flatten_at     text,                 -- as configured; another time is scheduled anew
    due_at         timestamptz,
    handled_due_at timestamptz,          -- the latest one that was handled, so that none is handled twice
    missed_due_at  timestamptz           -- that one, if it was handled too late to sell
);

-- What the risk rules count is read for each batch of entries: the entries of a day at a destination, and the last exit of a ticker.
CREATE INDEX attempts_of_entries ON attempts (destination, ended_at)
    WHERE outcome IN ('delivered', 'unknown') AND intent IN ('open', 'add') AND NOT imported;
CREATE INDEX signals_exits_delivered_at ON signals (ticker, status_at)
    WHERE status = 'forwarded' AND type <> 'buy' AND imported_at IS NULL AND intent IS DISTINCT FROM 'adjust';

-- migrate: rollback

DROP INDEX signals_exits_delivered_at, attempts_of_entries;
DROP TABLE flatten_schedule;
