-- what each attempt sent, and whether the position book has its outcome
-- depends: 20261129_12_pQ6kD-position-quantities

-- migrate: apply

-- `intent` is the one that was sent. `booked` is the outcome that changed the quantity of the position.
ALTER TABLE attempts ADD COLUMN intent text, ADD COLUMN booked text;

-- The version before serves while this one does, and after a rollback. It knows no quantities: one that it left as it was would be
-- wrong. So an outcome that was recorded without `booked` makes the quantity of its ticker unknown. Imported attempts are history.
CREATE FUNCTION forget_quantity() RETURNS trigger LANGUAGE plpgsql AS $$
BEGIN
    UPDATE positions SET quantity = NULL, average_price = NULL, realized = NULL
    WHERE status = 'open' AND quantity IS NOT NULL
      AND ticker = (SELECT ticker FROM signals WHERE id = NEW.signal_id AND intent IS DISTINCT FROM 'adjust');
    RETURN NULL;
END $$;
CREATE TRIGGER forget_quantity AFTER UPDATE OF outcome ON attempts
    FOR EACH ROW WHEN (NEW.outcome IN ('delivered', 'unknown') AND NEW.booked IS DISTINCT FROM NEW.outcome)
    EXECUTE FUNCTION forget_quantity();

-- migrate: rollback

DROP TRIGGER forget_quantity ON attempts;
DROP FUNCTION forget_quantity;
ALTER TABLE attempts DROP COLUMN intent, DROP COLUMN booked;
