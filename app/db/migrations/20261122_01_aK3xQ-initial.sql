-- the tables a signal's whole life is written in
-- depends:

-- migrate: apply

-- One row per accepted alert or manual order. `seq` is the order of everything: arrival, decision and delivery within a ticker.
-- Claims and leases are columns, not states.
CREATE TABLE signals (
    id               uuid PRIMARY KEY,
    seq              bigint GENERATED ALWAYS AS IDENTITY UNIQUE,
    status           text NOT NULL DEFAULT 'received'
        CHECK (status IN ('received', 'approved', 'rejected', 'forwarding', 'forwarded', 'failed', 'expired')),
    -- NULL: no order could be read from the alert; such a row is always 'rejected'
    type             text CHECK (type IN ('buy', 'sell', 'manual_sell', 'position_close', 'sell_all')),
    ticker           text NOT NULL CHECK (ticker ~ '^[A-Z0-9.-]{1,20}$'),
    received_at      timestamptz NOT NULL DEFAULT clock_timestamp(),
    expires_at       timestamptz NOT NULL,
    status_at        timestamptz NOT NULL DEFAULT clock_timestamp(),
    reason           text NOT NULL DEFAULT '',   -- why it is in this status, in words a trader reads
    sender_signal_id text,
    price            numeric,
    body             bytea NOT NULL,             -- as it came, the secret removed
    round            smallint NOT NULL DEFAULT 1,  -- 1, and one more for each replay by a person
    attempts         integer NOT NULL DEFAULT 0,   -- delivery attempts made in this round
    not_before       timestamptz,                -- the next attempt waits for this moment
    claim_id         uuid,
    lease_until      timestamptz
) WITH (fillfactor = 75, autovacuum_vacuum_scale_factor = 0.02, autovacuum_vacuum_cost_delay = 0);

CREATE INDEX signals_to_decide ON signals (seq) WHERE status = 'received';
-- sells and manual orders are sent before buys
CREATE INDEX signals_to_deliver ON signals ((type = 'buy'), seq) WHERE status = 'approved';
CREATE INDEX signals_unfinished_by_ticker ON signals (ticker, seq) WHERE status IN ('received', 'approved', 'forwarding');
CREATE INDEX signals_by_ticker ON signals (ticker, seq DESC);
-- the last 24 hours out of a month; rows lie in the order they came, so ranges of pages are enough
CREATE INDEX signals_by_arrival ON signals USING brin (received_at) WITH (pages_per_range = 64, autosummarize = on);

-- Every change of a signal, in order; the story told on /admin.
CREATE TABLE signal_events (
    id        bigint GENERATED ALWAYS AS IDENTITY PRIMARY KEY,
    signal_id uuid NOT NULL REFERENCES signals ON DELETE CASCADE,
    at        timestamptz NOT NULL DEFAULT clock_timestamp(),
    status    text NOT NULL,          -- the status entered
    reason    text NOT NULL DEFAULT '',
    detail    jsonb NOT NULL DEFAULT '{}'  -- facts behind the reason: rank, size and age of the list, HTTP status, worker …
);
CREATE INDEX signal_events_by_signal ON signal_events (signal_id, id);

-- What makes a post a duplicate: a header's key for 24 h, a body's for dedupe_window_seconds. An expired key is free.
CREATE TABLE intake_keys (
    key         bytea PRIMARY KEY,    -- a hash
    signal_id   uuid NOT NULL,        -- the signal that came first
    body_digest bytea NOT NULL,
    expires_at  timestamptz NOT NULL
) WITH (autovacuum_vacuum_scale_factor = 0.05);
CREATE INDEX intake_keys_by_expiry ON intake_keys (expires_at);

-- The last 1,000 posts that were not taken, but for those with a wrong secret.
CREATE TABLE refused_posts (
    id     bigint GENERATED ALWAYS AS IDENTITY PRIMARY KEY,
    at     timestamptz NOT NULL,
    status smallint NOT NULL,
    reason text NOT NULL,
    client text NOT NULL,             -- the address it came from
    size   integer NOT NULL,          -- bytes received
    head   bytea NOT NULL             -- the first 2 KB, the secret removed
);

-- Append-only but for its own end; committed before the request is sent. `ended_at` NULL = open.
CREATE TABLE attempts (
    id          bigint GENERATED ALWAYS AS IDENTITY PRIMARY KEY,
    signal_id   uuid NOT NULL REFERENCES signals ON DELETE CASCADE,
    round       smallint NOT NULL,
    number      integer NOT NULL,
    destination text NOT NULL,        -- 'paper', or the origin and a hash of the URL: never the URL, it holds a password
    webhook_id  text NOT NULL,
    claim_id    uuid NOT NULL,
    started_at  timestamptz NOT NULL DEFAULT clock_timestamp(),
    ended_at    timestamptz,
    outcome     text CHECK (outcome IN ('delivered', 'refused', 'not_taken', 'unknown')),
    http_status smallint,
    error       text,
    response    bytea                 -- the first 2 KB of the answer
);
CREATE INDEX attempts_by_signal ON attempts (signal_id, id);
-- what the limiter counts: attempts that are open, and when the others ended
CREATE INDEX attempts_open ON attempts (destination) WHERE ended_at IS NULL;
CREATE INDEX attempts_by_end ON attempts (destination, ended_at DESC) WHERE ended_at IS NOT NULL;

-- Until when a destination asked us to hold everything (429, Retry-After). No row: it never did.
CREATE TABLE destinations (
    destination text PRIMARY KEY,
    held_until  timestamptz NOT NULL,
    reason      text NOT NULL
);

CREATE TABLE positions (
    id        uuid PRIMARY KEY DEFAULT gen_random_uuid(),
    ticker    text NOT NULL,
    status    text NOT NULL DEFAULT 'open' CHECK (status IN ('open', 'closed')),
    opened_at timestamptz NOT NULL DEFAULT clock_timestamp(),
    opened_by uuid,                   -- the signal delivered first; kept when retention removes the signal
    buys      integer NOT NULL DEFAULT 1,
    closed_at timestamptz,
    closed_by uuid,
    reason    text NOT NULL DEFAULT ''
);
CREATE UNIQUE INDEX positions_one_open_per_ticker ON positions (ticker) WHERE status = 'open';

-- The state of each ticker: a stored position, and what pending orders will make of it.
CREATE VIEW position_states AS
SELECT ticker,
       bool_or(fact = 'open')    AS is_open,
       bool_or(fact = 'opening') AS opening,
       bool_or(fact = 'closing') AS closing
FROM (
    SELECT ticker, 'open' AS fact FROM positions WHERE status = 'open'
    UNION ALL
    SELECT ticker, CASE type WHEN 'buy' THEN 'opening' ELSE 'closing' END
    FROM signals WHERE status IN ('approved', 'forwarding')
) AS facts
GROUP BY ticker;

-- The stored Top-N. A strategy's row with the highest id is in force; a refresh that finds the same list only renews
-- fetched_at.
CREATE TABLE top_n_lists (
    id              bigint GENERATED ALWAYS AS IDENTITY PRIMARY KEY,
    strategy        text NOT NULL,
    source          text NOT NULL CHECK (source IN ('html', 'csv', 'list', 'file')),
    fetched_at      timestamptz NOT NULL DEFAULT clock_timestamp(),
    max_age_seconds integer,          -- NULL: never stale (list: and file: sources)
    tickers         text[] NOT NULL   -- in rank order, rank 1 first
);
CREATE INDEX top_n_lists_by_strategy ON top_n_lists (strategy, id DESC);

-- How each strategy's latest refresh ended; `error` is empty after a good one.
CREATE TABLE screener_refreshes (
    strategy text PRIMARY KEY,
    at       timestamptz NOT NULL DEFAULT clock_timestamp(),
    error    text NOT NULL
);

-- What the built-in paper destination received.
CREATE TABLE paper_deliveries (
    id          bigint GENERATED ALWAYS AS IDENTITY PRIMARY KEY,
    received_at timestamptz NOT NULL DEFAULT clock_timestamp(),
    webhook_id  text NOT NULL,
    headers     jsonb NOT NULL,
    body        bytea NOT NULL
);

-- migrate: rollback

DROP VIEW position_states;
DROP TABLE refused_posts, screener_refreshes, destinations, intake_keys, paper_deliveries, top_n_lists, positions, attempts, signal_events, signals;
