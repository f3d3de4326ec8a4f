-- orders whose last attempt may have been executed
-- depends: 20261130_02_oR4dT-orders

-- migrate: apply

-- Whether a failed order is unknown follows from its last attempt, and others end that one, too: an import of a version before inserts it after
-- its signal, and an attempt that no sender has is ended after its order. A step of its own: with the trigger on signals it would lock
-- two tables, which deliveries lock in another order.
CREATE FUNCTION follow_attempt() RETURNS trigger LANGUAGE plpgsql AS $$
BEGIN
    UPDATE public.orders
    SET status = CASE NEW.outcome WHEN 'unknown' THEN 'unknown' ELSE 'failed' END
    WHERE signal_id = NEW.signal_id AND round = NEW.round AND status IN ('failed', 'unknown')
      AND status IS DISTINCT FROM CASE NEW.outcome WHEN 'unknown' THEN 'unknown' ELSE 'failed' END
      AND NOT EXISTS (SELECT FROM public.attempts WHERE signal_id = NEW.signal_id AND round = NEW.round AND id > NEW.id);
    RETURN NULL;
END $$;
CREATE TRIGGER follow_attempt
    AFTER INSERT OR UPDATE OF outcome ON attempts
    FOR EACH ROW WHEN (NEW.outcome <> 'delivered')
    EXECUTE FUNCTION follow_attempt();

-- migrate: rollback

DROP TRIGGER follow_attempt ON attempts;
DROP FUNCTION follow_attempt;
