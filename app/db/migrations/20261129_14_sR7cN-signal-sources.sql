-- the source of each signal
-- depends: 20261129_13_bK8vH-booked-attempts

-- migrate: apply

-- NULL: `default`, as in every row of a version before, or an order of a person. Named sources alone are in the index.
ALTER TABLE signals ADD COLUMN source text;
CREATE INDEX signals_by_source ON signals (source, seq DESC) WHERE source IS NOT NULL;

CREATE FUNCTION source_of(source text, type text) RETURNS text LANGUAGE sql IMMUTABLE PARALLEL SAFE
RETURN CASE WHEN type IN ('manual_sell', 'position_close', 'sell_all') THEN source ELSE coalesce(source, 'default') END;

-- migrate: rollback

DROP FUNCTION source_of(text, text);
ALTER TABLE signals DROP COLUMN source;
