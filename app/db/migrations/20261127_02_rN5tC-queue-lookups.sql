-- what is on its way for a ticker, found by the ticker whatever PostgreSQL believes about the queue
-- depends: 20261127_01_wQ8hD-expired-orders

-- migrate: apply

-- 'unfinished, but not received' instead of the two that are left: only the index by ticker has that as its condition.
CREATE OR REPLACE VIEW position_states AS
SELECT ticker,
       bool_or(fact = 'open')    AS is_open,
       bool_or(fact = 'opening') AS opening,
       bool_or(fact = 'closing') AS closing
FROM (
    SELECT ticker, 'open' AS fact FROM positions WHERE status = 'open'
    UNION ALL
    SELECT ticker, CASE type WHEN 'buy' THEN 'opening' ELSE 'closing' END
    FROM signals WHERE status IN ('received', 'approved', 'forwarding') AND status <> 'received'
) AS facts
GROUP BY ticker;

-- migrate: rollback

CREATE OR REPLACE VIEW position_states AS
SELECT ticker,
       bool_or(fact = 'open')    AS is_open,
       bool_or(fact = 'opening') AS opening,
       bool_or(fact = 'closing') AS closing
FROM (
    SELECT ticker, 'open' AS fact FROM positions WHERE status = 'open'
    UNION ALL
    SELECT ticker, CASE type WHEN 'buy' THEN 'opening' ELSE 'closing' END
    FROM signals WHERE status IN ('approved', 'forwarding')
) AS facts
GROUP BY ticker;
