-- when verified backups of the database were made
-- depends: 20261129_14_qW5tN-refusal-codes

-- migrate: apply

-- One row for each backup. `run.py --backup-db` inserts one once the dump is verified; another backup program may, too.
CREATE TABLE database_backups (
    made_at timestamptz NOT NULL DEFAULT clock_timestamp()
);
CREATE INDEX database_backups_by_time ON database_backups (made_at);

-- migrate: rollback

DROP TABLE database_backups;
