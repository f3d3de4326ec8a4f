-- imported attempts are history: they count for no rate limit and no circuit breaker
-- depends: 20261127_02_rN5tC-queue-lookups

-- migrate: apply

-- Alone: the lock that a new column takes holds back every delivery until its transaction ends.
ALTER TABLE attempts ADD COLUMN imported boolean NOT NULL DEFAULT false;

-- migrate: rollback

ALTER TABLE attempts DROP COLUMN imported;
