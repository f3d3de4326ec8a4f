-- signals with orders at several destinations
-- depends: 20261130_04_eO6bG-orders-of-signals

-- migrate: apply

-- The signal has orders at other destinations, too.
ALTER TABLE orders ADD COLUMN is_shared boolean NOT NULL DEFAULT false;

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
    FOR EACH ROW WHEN (NEW.is_shared AND current_setting('trading_signals.writes_orders', true) = 'on')
    EXECUTE FUNCTION derive_status();

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
DROP TRIGGER derive_status ON orders;
DROP FUNCTION derive_status;
ALTER TABLE orders DROP COLUMN is_shared;
