-- what each alert asks for
-- depends: 20261129_02_uF4sV-unfinished-signals 20261129_03_cW8hN-longer-tickers

-- migrate: apply

-- open, add, close, reduce, reduce_or_close, adjust; 'unread': rejected, and it may have been an exit. NULL: not an alert, rejected as
-- an entry, or stored by an earlier version.
ALTER TABLE signals ADD COLUMN intent text;

CREATE OR REPLACE VIEW unfinished_signals AS
SELECT id, seq, status, type, ticker, received_at, renewed_at, expires_at, status_at, not_before, lease_until,
       CASE status WHEN 'received' THEN true ELSE false END AS is_undecided,
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

-- A view loses a column only with its dependents.
DROP VIEW position_states;
DROP VIEW unfinished_signals;
CREATE VIEW unfinished_signals AS
SELECT id, seq, status, type, ticker, received_at, renewed_at, expires_at, status_at, not_before, lease_until,
       CASE status WHEN 'received' THEN true ELSE false END AS is_undecided,
       CASE status WHEN 'forwarding' THEN true ELSE expires_at > statement_timestamp() END AS is_live,
       CASE status WHEN 'received' THEN false WHEN 'forwarding' THEN true ELSE expires_at > statement_timestamp() END AS is_pending
FROM signals
WHERE status IN ('received', 'approved', 'forwarding');
CREATE VIEW position_states AS
SELECT ticker,
       bool_or(fact = 'open')    AS is_open,
       bool_or(fact = 'opening') AS opening,
       bool_or(fact = 'closing') AS closing
FROM (
    SELECT ticker, 'open' AS fact FROM positions WHERE status = 'open'
    UNION ALL
    SELECT ticker, CASE type WHEN 'buy' THEN 'opening' ELSE 'closing' END
    FROM unfinished_signals WHERE is_pending
) AS facts
GROUP BY ticker;
ALTER TABLE signals DROP COLUMN intent;
