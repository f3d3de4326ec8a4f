-- who acted, by the name of the token, and tokens that were removed
-- depends: 20261129_16_sL4qE-expected-sources

-- migrate: apply

-- NULL: an edited file, or written by a version before.
ALTER TABLE actions ADD COLUMN actor text;

-- Tokens that were removed, by their SHA-256. Kept, so that none counts again because of an old file.
CREATE TABLE revoked_tokens (
    sha256 text PRIMARY KEY,
    at     timestamptz NOT NULL DEFAULT clock_timestamp()
);

-- migrate: rollback

DROP TABLE revoked_tokens;
ALTER TABLE actions DROP COLUMN actor;
