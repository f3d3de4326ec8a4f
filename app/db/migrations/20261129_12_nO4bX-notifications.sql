-- alarms while they last, and messages about them
-- depends: 20261129_11_sX6aM-alarms-of-exits

-- migrate: apply

-- An alarm from its begin to its end. Every process renews `seen_at` of those that it sees; one that none sees any more ends.
CREATE TABLE alarms (
    id           bigint GENERATED ALWAYS AS IDENTITY PRIMARY KEY,
    code         text NOT NULL,
    subject      text NOT NULL,          -- such as a ticker, or empty
    began_at     timestamptz NOT NULL DEFAULT clock_timestamp(),
    seen_at      timestamptz NOT NULL DEFAULT clock_timestamp(),
    announced_at timestamptz,            -- since when a message about it is in `notifications`; NULL: none
    text         text NOT NULL DEFAULT '',  -- what that message says
    ended_at     timestamptz
);
CREATE UNIQUE INDEX alarms_open ON alarms (code, subject) WHERE ended_at IS NULL;
CREATE INDEX alarms_ended ON alarms (code, subject, ended_at) WHERE ended_at IS NOT NULL;

-- Messages to people, one row for each target.
CREATE TABLE notifications (
    id            bigint GENERATED ALWAYS AS IDENTITY PRIMARY KEY,
    target        text NOT NULL,         -- a hash of its URL: never the URL, it holds a password
    once          text,                  -- a message of this name is sent once
    severity      text NOT NULL,         -- that of its most severe alarm; 'success' where alarms have ended
    title         text NOT NULL,
    body          text NOT NULL,
    created_at    timestamptz NOT NULL DEFAULT clock_timestamp(),
    due_at        timestamptz NOT NULL DEFAULT clock_timestamp(),
    claimed_until timestamptz,
    attempts      integer NOT NULL DEFAULT 0,
    error         text NOT NULL DEFAULT '',  -- of the last attempt
    sent_at       timestamptz,
    given_up_at   timestamptz,
    UNIQUE (target, once)
);
CREATE INDEX notifications_pending ON notifications (target, id) WHERE sent_at IS NULL AND given_up_at IS NULL;

-- migrate: rollback

DROP TABLE alarms, notifications;
