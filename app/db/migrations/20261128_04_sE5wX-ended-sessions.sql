-- sessions that were ended by signing out
-- depends: 20261128_05_iM4pT-imported-attempts

-- migrate: apply

-- A session is a signed cookie that is valid for twelve hours; one that was signed out of stays here until then.
CREATE TABLE ended_sessions (
    session    text PRIMARY KEY,
    expires_at timestamptz NOT NULL
);

-- migrate: rollback

DROP TABLE ended_sessions;
