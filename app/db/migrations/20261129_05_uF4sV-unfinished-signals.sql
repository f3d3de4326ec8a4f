-- unfinished signals: one view says which they are
-- depends: 20261129_04_iT5vL-intents

-- migrate: apply

-- Signals that are not rejected, forwarded, failed or expired. Only the index signals_unfinished_by_ticker has this condition.
-- So this index finds them, however many signals have ended and whatever the statistics say.
-- PostgreSQL looks into no CASE: it expects half of the rows, and uses no other index. With `status = 'received'` in its place it
-- could read the whole queue of undecided signals for each ticker. By statistics it would expect hardly any `expires_at` ahead,
-- and read all of a ticker's signals to find the first.
CREATE VIEW unfinished_signals AS
SELECT id, seq, status, type, ticker, received_at, renewed_at, expires_at, status_at, not_before, lease_until,
       CASE status WHEN 'received' THEN true ELSE false END AS is_undecided,
       -- an overdue signal is never sent, whether or not the sweep has ended it
       CASE status WHEN 'forwarding' THEN true ELSE expires_at > statement_timestamp() END AS is_live,
       CASE status WHEN 'received' THEN false WHEN 'forwarding' THEN true ELSE expires_at > statement_timestamp() END AS is_pending,
       intent
FROM signals
WHERE status IN ('received', 'approved', 'forwarding');

-- An exit of a part is no reason to leave out an order that closes the rest.
CREATE OR REPLACE VIEW position_states AS
SELECT ticker,
       bool_or(fact = 'open')    AS is_open,
       bool_or(fact = 'opening') AS opening,
       bool_or(fact = 'closing') AS closing
FROM (
    SELECT ticker, 'open' AS fact FROM positions WHERE status = 'open'
    UNION ALL
    SELECT ticker, CASE WHEN type = 'buy' THEN 'opening' WHEN coalesce(intent, 'close') = 'close' THEN 'closing' ELSE 'reducing' END
    FROM unfinished_signals WHERE is_pending
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
    FROM signals
    WHERE status IN ('received', 'approved', 'forwarding') AND status <> 'received'
      AND (status = 'forwarding' OR expires_at > statement_timestamp())
) AS facts
GROUP BY ticker;
DROP VIEW unfinished_signals;
