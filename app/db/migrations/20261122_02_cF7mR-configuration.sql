-- the configuration in force, who changed what, and signals that were imported
-- depends: 20261122_01_aK3xQ-initial

-- migrate: apply

-- The last good revision of the three JSON files: one row, what all processes of one stack agree on.
CREATE TABLE configuration (
    only_row  boolean PRIMARY KEY DEFAULT true CHECK (only_row),
    revision  bigint NOT NULL,
    at        timestamptz NOT NULL DEFAULT clock_timestamp(),
    documents json NOT NULL           -- file name → content; json, not jsonb, keeps numbers and their order as written
);

-- The actions log: every change that a person made, by the page, the API or an editor.
CREATE TABLE actions (
    id      bigint GENERATED ALWAYS AS IDENTITY PRIMARY KEY,
    at      timestamptz NOT NULL DEFAULT clock_timestamp(),
    session text NOT NULL,            -- the session's id, 'token' for a bearer, 'file' for an edited file
    origin  text NOT NULL,            -- the address it came from, or the file
    action  text NOT NULL,            -- 'delivery.pause', 'strategy.create', …
    target  text NOT NULL DEFAULT '', -- what it was done to: a strategy's name, a position's id
    before  json,                     -- only what differs, secrets masked
    after   json,
    result  text NOT NULL             -- 'done', or why it was refused
);

-- History brought from elsewhere: shown, never traded again.
ALTER TABLE signals ADD COLUMN imported_at timestamptz;

-- What went to the destination, or is on its way there: the list of orders.
CREATE INDEX signals_ordered ON signals (seq DESC)
    WHERE status IN ('approved', 'forwarding', 'forwarded', 'failed') OR attempts > 0;

-- migrate: rollback

DROP INDEX signals_ordered;
ALTER TABLE signals DROP COLUMN imported_at;
DROP TABLE actions, configuration;
