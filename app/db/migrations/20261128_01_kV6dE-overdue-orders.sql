-- overdue orders are not pending any more
-- depends: 20261128_05_iM4pT-imported-attempts

-- migrate: apply

-- An approved order that is past its age is never sent, whether or not the sweep has marked it as expired.
CREATE OR REPLACE VIEW position_states AS
SELECT ticker,
       bool_or(fact = 'open')    AS is_open,
       bool_or(fact = 'opening') AS opening,
       bool_or(fact = 'closing') AS closing
FROM (
    SELECT ticker, 'open' AS fact FROM positions WHERE status = 'open'
    UNION ALL
    SELECT ticker, CASE type WHEN 'buy' THEN 'opening' ELSE 'closing' END
    FROM signals
    WHERE status IN ('received', 'approved', 'forwarding') AND status <> 'received'
      AND (status = 'forwarding' OR expires_at > statement_timestamp())
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
    FROM signals WHERE status IN ('received', 'approved', 'forwarding') AND status <> 'received'
) AS facts
GROUP BY ticker;
