-- attempts that count, found without reading past imported ones
-- depends: 20261128_06_qB7yR-mark-imported-attempts

-- migrate: apply

CREATE INDEX attempts_counted_by_end ON attempts (destination, ended_at DESC) WHERE ended_at IS NOT NULL AND NOT imported;

-- migrate: rollback

DROP INDEX attempts_counted_by_end;
