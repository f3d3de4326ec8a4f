-- imported attempts are history: they count for no rate limit and no circuit breaker
-- depends: 20261127_02_rN5tC-queue-lookups

-- migrate: apply

ALTER TABLE attempts ADD COLUMN imported boolean NOT NULL DEFAULT false;
UPDATE attempts a SET imported = true FROM signals s WHERE s.id = a.signal_id AND s.imported_at IS NOT NULL;

-- migrate: rollback

ALTER TABLE attempts DROP COLUMN imported;
