-- sources that are expected to send within some time
-- depends: 20261129_15_bA6kP-database-backups

-- migrate: apply

-- One row for each source with `expect_within_minutes`: since when its silence counts. That is its last signal, the end of a pause of
-- intake, or when it was first expected; at most a minute behind. Kept, so that neither a restart nor a clearance hides or begins a silence.
CREATE TABLE expected_sources (
    source       text PRIMARY KEY,
    silent_since timestamptz NOT NULL
);

-- migrate: rollback

DROP TABLE expected_sources;
