-- the destination of each attempt by its name
-- depends: 20261130_05_sO7dS-shared-orders

-- migrate: apply

-- `destination` is the key of its limits: another one after its URL has changed. A step of its own, which locks one table.
ALTER TABLE attempts ADD COLUMN sent_to text NOT NULL DEFAULT 'default';

-- Whether a failed order is unknown follows from the last attempt of its round at its destination.
CREATE OR REPLACE FUNCTION follow_attempt() RETURNS trigger LANGUAGE plpgsql AS $$
BEGIN
    UPDATE public.orders
    SET status = CASE NEW.outcome WHEN 'unknown' THEN 'unknown' ELSE 'failed' END
    WHERE signal_id = NEW.signal_id AND destination = NEW.sent_to AND round = NEW.round AND status IN ('failed', 'unknown')
      AND status IS DISTINCT FROM CASE NEW.outcome WHEN 'unknown' THEN 'unknown' ELSE 'failed' END
      AND NOT EXISTS (
          SELECT FROM public.attempts
          WHERE signal_id = NEW.signal_id AND sent_to = NEW.sent_to AND round = NEW.round AND id > NEW.id);
    RETURN NULL;
END $$;

-- migrate: rollback

CREATE OR REPLACE FUNCTION follow_attempt() RETURNS trigger LANGUAGE plpgsql AS $$
BEGIN
    UPDATE public.orders
    SET status = CASE NEW.outcome WHEN 'unknown' THEN 'unknown' ELSE 'failed' END
    WHERE signal_id = NEW.signal_id AND round = NEW.round AND status IN ('failed', 'unknown')
      AND status IS DISTINCT FROM CASE NEW.outcome WHEN 'unknown' THEN 'unknown' ELSE 'failed' END
      AND NOT EXISTS (SELECT FROM public.attempts WHERE signal_id = NEW.signal_id AND round = NEW.round AND id > NEW.id);
    RETURN NULL;
END $$;
ALTER TABLE attempts DROP COLUMN sent_to;
