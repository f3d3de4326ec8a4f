-- open positions by ticker and destination
-- depends: 20261130_06_aN8sT-attempts-by-name

-- migrate: apply

-- An open position at `default` is 'open', at any other destination 'held'. A version before allows one open position of a ticker: it
-- sees those of `default` alone, and the index that its statements name stays. The constraint allows more than the one before.
ALTER TABLE positions DROP CONSTRAINT positions_status_check;
ALTER TABLE positions ADD CONSTRAINT positions_status_check
    CHECK (status = 'closed' OR status = CASE destination WHEN 'default' THEN 'open' ELSE 'held' END) NOT VALID;
CREATE UNIQUE INDEX positions_open ON positions (ticker, destination) WHERE status <> 'closed';

-- What is open at a destination, and what its pending orders will make of it.
CREATE VIEW book_states AS
SELECT ticker, destination,
       bool_or(fact = 'open')    AS is_open,
       bool_or(fact = 'opening') AS opening,
       bool_or(fact = 'closing') AS closing
FROM (
    SELECT ticker, destination, 'open' AS fact FROM positions WHERE status <> 'closed'
    UNION ALL
    SELECT ticker, destination,
           CASE WHEN type = 'buy' THEN 'opening' WHEN coalesce(intent, 'close') = 'close' THEN 'closing' ELSE 'reducing' END
    FROM orders WHERE ended_at IS NULL AND CASE status WHEN 'sending' THEN true ELSE expires_at > statement_timestamp() END
) AS facts
GROUP BY ticker, destination;

-- migrate: rollback

DROP VIEW book_states;
DROP INDEX positions_open;
ALTER TABLE positions DROP CONSTRAINT positions_status_check;
ALTER TABLE positions ADD CONSTRAINT positions_status_check CHECK (status IN ('open', 'closed')) NOT VALID;
