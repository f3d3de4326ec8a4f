-- orders: what goes to a destination for a signal
-- depends: 20261130_01_wF3jK-what-if

-- migrate: apply

-- One row for each round of a signal at a destination since this table exists; the newest round counts. `seq`, `type` and `ticker` are the signal's.
-- 'rejected': ended before it left, such as overtaken by an exit. 'unknown': its last attempt may have been executed, and it is not sent
-- again. A statement that changes an order holds the lock on its signal's row, so `signals.status`, which is derived, changes with it.
CREATE TABLE orders (
    id            bigint GENERATED ALWAYS AS IDENTITY PRIMARY KEY,
    signal_id     uuid NOT NULL REFERENCES signals ON DELETE CASCADE,
    destination   text NOT NULL DEFAULT 'default',
    round         smallint NOT NULL,
    seq           bigint NOT NULL,
    type          text NOT NULL,
    ticker        text NOT NULL,
    intent        text,
    quantity      numeric,
    quantity_unit text,
    sentiment     text,
    status        text NOT NULL DEFAULT 'pending'
        CHECK (status IN ('pending', 'sending', 'delivered', 'failed', 'expired', 'unknown', 'rejected')),
    attempts      integer NOT NULL DEFAULT 0,
    expires_at    timestamptz NOT NULL,
    not_before    timestamptz,
    claim_id      uuid,
    lease_until   timestamptz,
    ended_at      timestamptz,                   -- NULL: unfinished
    UNIQUE (signal_id, destination, round),
    CHECK ((ended_at IS NULL) = (status IN ('pending', 'sending')))
) WITH (fillfactor = 75, autovacuum_vacuum_scale_factor = 0.02, autovacuum_vacuum_cost_delay = 0);

-- Unfinished orders, by ticker and in the order in which they are sent: exits first. `status` is in neither, so that a claim changes no
-- index. `seq > 0` is true of every order, and only the claim says it: a look-up by ticker cannot be planned on the second index.
CREATE INDEX orders_unfinished ON orders (destination, ticker, seq) WHERE ended_at IS NULL;
CREATE INDEX orders_to_send ON orders (destination, (type = 'buy'), seq) WHERE ended_at IS NULL AND seq > 0;

-- The order that a version without this table means by a signal's row.
CREATE VIEW orders_of_signals AS
SELECT id AS signal_id, round, seq, type, ticker, intent, quantity, quantity_unit, sentiment,
       CASE status
           WHEN 'approved' THEN 'pending'
           WHEN 'forwarding' THEN 'sending'
           WHEN 'forwarded' THEN 'delivered'
           WHEN 'failed' THEN CASE (SELECT a.outcome FROM attempts a WHERE a.signal_id = s.id AND a.round = s.round ORDER BY a.id DESC LIMIT 1)
               WHEN 'unknown' THEN 'unknown' ELSE 'failed' END
           ELSE status
       END AS status,
       attempts, expires_at, not_before, claim_id, lease_until,
       CASE WHEN status NOT IN ('approved', 'forwarding') THEN status_at END AS ended_at
FROM signals s
WHERE type IS NOT NULL
  AND CASE
      WHEN status = 'received' THEN false
      WHEN status IN ('approved', 'forwarding', 'forwarded', 'failed') OR attempts > 0 THEN true
      ELSE EXISTS (SELECT FROM signal_events e WHERE e.signal_id = s.id AND e.status = 'approved')
          OR EXISTS (SELECT FROM orders o WHERE o.signal_id = s.id AND o.round = s.round)
  END;

-- The version before serves while this one does, and after a rollback: what it writes to a signal counts for the order. Sessions that
-- write orders themselves say so (app/db/pool.py). Without that setting, as behind a pooler, this changes nothing that they have written.
CREATE FUNCTION follow_signal() RETURNS trigger LANGUAGE plpgsql AS $$
BEGIN
    INSERT INTO public.orders AS o (
        signal_id, round, seq, type, ticker, intent, quantity, quantity_unit, sentiment, status, attempts, expires_at, not_before,
        claim_id, lease_until, ended_at)
    SELECT * FROM public.orders_of_signals WHERE signal_id = NEW.id
    ON CONFLICT (signal_id, destination, round) DO UPDATE
    SET ticker = excluded.ticker, intent = excluded.intent, quantity = excluded.quantity, quantity_unit = excluded.quantity_unit,
        sentiment = excluded.sentiment, status = excluded.status, attempts = excluded.attempts, expires_at = excluded.expires_at,
        not_before = excluded.not_before, claim_id = excluded.claim_id, lease_until = excluded.lease_until,
        ended_at = excluded.ended_at
    WHERE (o.ticker, o.intent, o.quantity, o.quantity_unit, o.sentiment, o.status, o.attempts, o.expires_at, o.not_before, o.claim_id,
           o.lease_until)
        IS DISTINCT FROM (excluded.ticker, excluded.intent, excluded.quantity, excluded.quantity_unit, excluded.sentiment,
                          excluded.status, excluded.attempts, excluded.expires_at, excluded.not_before, excluded.claim_id,
                          excluded.lease_until);
    RETURN NULL;
END $$;
CREATE TRIGGER follow_signal
    AFTER INSERT OR UPDATE OF ticker, intent, quantity, quantity_unit, sentiment, status, attempts, round, expires_at, not_before, claim_id,
                              lease_until ON signals
    FOR EACH ROW WHEN (current_setting('trading_signals.writes_orders', true) IS DISTINCT FROM 'on')
    EXECUTE FUNCTION follow_signal();

-- migrate: rollback

DROP TRIGGER follow_signal ON signals;
DROP FUNCTION follow_signal;
DROP VIEW orders_of_signals;
DROP TABLE orders;
