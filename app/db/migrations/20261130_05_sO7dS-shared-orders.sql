-- signals with orders at several destinations
-- depends: 20261130_04_eO6bG-orders-of-signals

-- migrate: apply

-- The signal has orders at other destinations, too.
ALTER TABLE orders ADD COLUMN is_shared boolean NOT NULL DEFAULT false;

-- Such an order ends at its own time, while its signal is being sent elsewhere. There is none before this migration.
CREATE INDEX orders_shared ON orders (expires_at) WHERE ended_at IS NULL AND is_shared;

-- The status of a signal with orders at several destinations: the newest order of each counts. Rejected ones left nothing to wait for.
-- A statement of its own under the lock of the signal: so it sees what another destination's sender has committed meanwhile. Its reason
-- is that of the newest event with this status.
CREATE FUNCTION derive_status() RETURNS trigger LANGUAGE plpgsql AS $$
DECLARE
    derived text;
BEGIN
    PERFORM FROM public.signals WHERE id = NEW.signal_id FOR NO KEY UPDATE;
    SELECT CASE
            WHEN bool_or(status = 'sending') THEN 'forwarding'
            WHEN bool_or(status = 'pending') THEN 'approved'
            WHEN bool_or(status IN ('failed', 'unknown')) THEN 'failed'
            WHEN bool_or(status = 'expired') THEN 'expired'
            WHEN bool_or(status = 'delivered') THEN 'forwarded'
            ELSE 'rejected'
        END
    INTO derived
    FROM (SELECT DISTINCT ON (destination) status FROM public.orders WHERE signal_id = NEW.signal_id ORDER BY destination, round DESC) AS newest;
    UPDATE public.signals s
    SET status = derived, reason = coalesce(e.reason, s.reason), reason_code = CASE WHEN e.id IS NULL THEN s.reason_code ELSE e.reason_code END,
        reason_params = CASE WHEN e.id IS NULL THEN s.reason_params ELSE e.reason_params END
    FROM (SELECT) AS one
    LEFT JOIN LATERAL (
        SELECT id, reason, reason_code, reason_params FROM public.signal_events
        WHERE signal_id = NEW.signal_id AND status = derived
        ORDER BY id DESC
        LIMIT 1) AS e ON true
    WHERE s.id = NEW.signal_id AND s.status <> derived;
    RETURN NULL;
END $$;
CREATE TRIGGER derive_status AFTER INSERT OR UPDATE OF status ON orders
    FOR EACH ROW WHEN (NEW.is_shared)
    EXECUTE FUNCTION derive_status();

-- A signal with an order at another destination than `default` does not say what its orders are: what a version before writes to it
-- changes none of them.
CREATE OR REPLACE FUNCTION follow_signal() RETURNS trigger LANGUAGE plpgsql AS $$
BEGIN
    INSERT INTO public.orders AS o (
        signal_id, round, seq, type, ticker, intent, quantity, quantity_unit, sentiment, status, attempts, expires_at, not_before,
        claim_id, lease_until, ended_at)
    SELECT * FROM public.orders_of_signals v
    WHERE signal_id = NEW.id
      AND NOT EXISTS (
          SELECT FROM public.orders other WHERE other.signal_id = v.signal_id AND (other.is_shared OR other.destination <> 'default'))
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

-- What a replay of a signal sends again: the newest order of each destination, unless it was delivered or ended before it left. The only
-- order of a signal follows from the signal.
CREATE VIEW undelivered_orders AS
SELECT o.*
FROM orders o
WHERE (NOT o.is_shared OR o.status IN ('failed', 'unknown', 'expired'))
  AND NOT EXISTS (
      SELECT FROM orders n WHERE n.signal_id = o.signal_id AND n.destination = o.destination AND n.round > o.round);

-- migrate: rollback

DROP VIEW undelivered_orders;
CREATE OR REPLACE FUNCTION follow_signal() RETURNS trigger LANGUAGE plpgsql AS $$
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
DROP TRIGGER derive_status ON orders;
DROP FUNCTION derive_status;
DROP INDEX orders_shared;
ALTER TABLE orders DROP COLUMN is_shared;
