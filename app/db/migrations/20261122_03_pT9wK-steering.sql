-- what people and circumstances steer: refreshes asked for, tickers that entered, orders taken up again, destinations that fail
-- depends: 20261122_01_aK3xQ-initial

-- migrate: apply

-- Set when reprocessing approved a rejected buy, which it does once.
ALTER TABLE signals ADD COLUMN reprocessed_at timestamptz;

-- Tickers that were not in the list before, if that was fresh, best first; and when reprocessing has looked at them.
ALTER TABLE top_n_lists
    ADD COLUMN entered text[] NOT NULL DEFAULT '{}',
    ADD COLUMN reprocessed_at timestamptz;
CREATE INDEX top_n_lists_to_reprocess ON top_n_lists (id) WHERE reprocessed_at IS NULL AND entered <> '{}';

-- When a person last asked for a refresh.
ALTER TABLE screener_refreshes ADD COLUMN requested_at timestamptz;

-- The circuit breaker: while it is open, one probe at a time from `probe_at` on. NULL: it is closed.
ALTER TABLE destinations
    ADD COLUMN probe_at timestamptz,
    ADD COLUMN failed_probes integer NOT NULL DEFAULT 0,
    ADD COLUMN last_probe uuid;

-- Failed and expired signals, newest first: the dead letters.
CREATE INDEX signals_dead ON signals (seq DESC) WHERE status IN ('failed', 'expired');

-- migrate: rollback

DROP INDEX signals_dead, top_n_lists_to_reprocess;
ALTER TABLE destinations DROP COLUMN probe_at, DROP COLUMN failed_probes, DROP COLUMN last_probe;
ALTER TABLE screener_refreshes DROP COLUMN requested_at;
ALTER TABLE top_n_lists DROP COLUMN entered, DROP COLUMN reprocessed_at;
ALTER TABLE signals DROP COLUMN reprocessed_at;
