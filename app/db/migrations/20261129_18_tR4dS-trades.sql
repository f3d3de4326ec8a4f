-- closed positions in order of their closing, and the delivered orders of a ticker
-- depends: 20261129_17_aC3tN-token-actors 20261129_17_fL6rT-flatten-schedule

-- migrate: apply

CREATE INDEX positions_by_close ON positions (closed_at, id) WHERE status = 'closed';
CREATE INDEX positions_of_ticker_by_close ON positions (ticker, closed_at, id) WHERE status = 'closed';
CREATE INDEX signals_delivered ON signals (ticker, status_at) WHERE status = 'forwarded';

-- A version that knows no quantities may close a position, too. The gain of earlier exits is then not the trade's result.
CREATE OR REPLACE FUNCTION forget_quantity() RETURNS trigger LANGUAGE plpgsql AS $$
DECLARE
    traded text := (SELECT ticker FROM signals WHERE id = NEW.signal_id AND intent IS DISTINCT FROM 'adjust');
BEGIN
    UPDATE positions SET quantity = NULL, average_price = NULL, realized = NULL
    WHERE ticker = traded AND status = 'open' AND quantity IS NOT NULL;
    UPDATE positions SET quantity = NULL, realized = NULL
    WHERE ticker = traded AND status = 'closed' AND closed_by = NEW.signal_id;
    RETURN NULL;
END $$;

-- migrate: rollback

CREATE OR REPLACE FUNCTION forget_quantity() RETURNS trigger LANGUAGE plpgsql AS $$
BEGIN
    UPDATE positions SET quantity = NULL, average_price = NULL, realized = NULL
    WHERE status = 'open' AND quantity IS NOT NULL
      AND ticker = (SELECT ticker FROM signals WHERE id = NEW.signal_id AND intent IS DISTINCT FROM 'adjust');
    RETURN NULL;
END $$;
DROP INDEX signals_delivered;
DROP INDEX positions_of_ticker_by_close;
DROP INDEX positions_by_close;
