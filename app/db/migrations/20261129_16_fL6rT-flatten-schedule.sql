-- when all positions are sold next, by `risk.flatten_at`
-- depends: 20261129_15_bA6kP-database-backups

-- migrate: apply

-- One row, or none while no time is configured. It decides which process sells: the one that moves `due_at` on.
CREATE TABLE flatten_schedule (
    only_row       boolean PRIMARY KEY DEFAULT true CHECK (only_row),
    flatten_at     text NOT NULL,        -- as configured; another time is scheduled anew
    due_at         timestamptz NOT NULL,
    handled_due_at timestamptz,          -- the latest one that was handled, so that none is handled twice
    missed_due_at  timestamptz           -- that one, if it was handled too late to sell
);

-- migrate: rollback

DROP TABLE flatten_schedule;
